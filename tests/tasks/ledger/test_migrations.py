"""A ledger of any age opens: from the oldest schema, with and without rows, step by step, or not at all."""

import shutil
from pathlib import Path

import pytest
import sqlalchemy as sa

from specs.money import Money
from tasks.ledger import IntentState, Taken
from tasks.ledger.database import Database, parse_url, prepare_file
from tasks.ledger.migrations import STEPS, NewerSchema, Step, applied, migrate
from tests.tasks.ledger.desk import Desk, TurnedClock, artifact, in_state, order, usd

S = IntentState
GOLDEN = Path(__file__).parents[2] / "assets" / "ledger"
NEXT = Step("9999-note", ("ALTER TABLE intent ADD COLUMN note TEXT NOT NULL DEFAULT ''", "CREATE TABLE x (n {serial})"))


def _database(desk: Desk) -> Database:
    database = Database(parse_url(desk.url), clock=TurnedClock(), durable=False)
    if database.path is not None:
        desk.home.mkdir(mode=0o700, exist_ok=True)
        prepare_file(database.path, fresh=not database.path.exists(), durable=False)
    return database


def test_the_oldest_schema_without_rows_becomes_the_present_one(desk: Desk) -> None:
    """Each step runs once and is recorded by its name."""
    database = _database(desk)
    with database.writing() as connection:
        assert applied(connection) is None
        assert migrate(connection, 0, STEPS[:1]) == ["0001-ledger"]
    with database.writing() as connection:
        assert migrate(connection, 0) == [step.name for step in STEPS[1:]]
        assert migrate(connection, 0) == []
        assert applied(connection) == [step.name for step in STEPS]
    database.close()


def test_a_later_step_runs_on_a_ledger_with_rows(desk: Desk) -> None:
    """The rows are there afterwards, and the step is not run again."""
    one = in_state(desk.begun(), S.STORED)
    database = _database(desk)
    for expected in (["9999-note"], []):
        with database.writing() as connection:
            assert migrate(connection, 0, (*STEPS, NEXT)) == expected
    with database.reading() as connection:
        assert connection.execute(sa.text("SELECT intent_id, note FROM intent")).all() == [(one.intent_id, "")]
        with pytest.raises(NewerSchema):
            migrate(connection, 0)
    database.close()


def test_a_step_that_fails_leaves_the_schema_before_it(desk: Desk) -> None:
    """All or nothing, also for CREATE and ALTER."""
    desk.begun()
    database = _database(desk)
    broken = Step("9999-broken", ("CREATE TABLE half (n {serial})", "ALTER TABLE nobody ADD COLUMN x TEXT"))
    with pytest.raises(Exception, match="the ledger cannot be used"), database.writing() as connection:
        migrate(connection, 0, (*STEPS, broken))
    with database.writing() as connection:
        assert applied(connection) == [step.name for step in STEPS]
        assert "half" not in sa.inspect(connection).get_table_names()
    database.close()


@pytest.fixture(params=sorted(GOLDEN.glob("version-*")), ids=lambda path: path.name)
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> Desk:
    """A copy of a ledger that a released version wrote."""
    home = Path(shutil.copytree(request.param, tmp_path / "home"))
    home.chmod(0o700)
    desk = Desk(f"sqlite:///{home}/ledger.db", home)
    desk.clock.turn(3600)
    return desk


def test_F83_a_ledger_of_each_released_version_opens_and_recovers(golden: Desk) -> None:
    """Every row is in the state that it is named for, the journal's answer is applied, nothing is bought again."""
    ledger = golden.open(durable=True)
    found = ledger.recover("worker-2")
    assert found.halted == ""
    expected = {f"SH-{state}": state for state in S}
    expected |= {"SH-SUBMITTING": S.IN_DOUBT, "SH-JOURNAL": S.SUBMITTED, "SH-OVERBILLED": S.SUCCEEDED}
    assert {one.shot: one.state for one in ledger.intents()} == expected
    assert ledger.verify() == []
    assert usd(ledger.totals().settled_usd) == "7.15"
    golden.begun("run-2", ledger=ledger, approved_by="person")
    assert isinstance(ledger.reserve(order("SH-STORED", run_id="run-2")), Taken)
    golden.close()


def test_F102_a_run_of_before_approvals_has_one_of_its_own_that_allows_nothing_more(golden: Desk) -> None:
    """What it spent is counted under it, it is over, and nothing of it counts as spent unasked."""
    ledger = golden.open()
    run = ledger.run("run-1")
    assert run is not None
    assert (run.approval_id, ledger.closed("run-1", "anybody")) == ("run-1", "has ended, nothing more is bought for it")
    spent = {scope: [(one.limit, one.committed) for one in ledger.caps(scope)] for scope in ("run", "approval", "auto")}
    assert [committed for _, committed in spent["approval"]] == [committed for _, committed in spent["run"]]
    assert spent["auto"] == []
    golden.close()


def test_F83_jobs_of_a_golden_ledger_are_finished_by_this_version(golden: Desk) -> None:
    """What was in flight when the old version stopped is collected."""
    ledger = golden.open()
    one = ledger.by_job("sjinn", "job-JOURNAL")
    assert one is not None
    one = ledger.succeeded(one.intent_id, ["https://files.example/1.mp4"], Money.of(900, "sjinn-credits"))
    assert (str(one.amount), str(one.reserved)) == ("900 sjinn-credits", "1000 sjinn-credits")
    assert str(ledger.stored(one.intent_id, artifact(), None).billed) == "900 sjinn-credits"
    assert ledger.verify() == []
    golden.close()


def test_F108_an_old_ledger_that_holds_one_job_twice_opens_and_keeps_both_rows(desk: Desk) -> None:
    """The older row keeps the job; the other one is flagged, told, and asked about until a person has settled its bill."""
    database = _database(desk)
    with database.writing() as connection:
        migrate(connection, 0, STEPS[:1])
        connection.exec_driver_sql(
            "INSERT INTO ledger (one, ledger_id, schema_no, recovery, created_at) VALUES (1, 'old', 1, '', 0)"
        )
        connection.exec_driver_sql(
            "INSERT INTO run (run_id, board, spec_sha256, digest, caps, approved_by, approval, begun_at)"
            " VALUES ('run-0', 'LIFTOFF', '', '', '[]', 'auto', '', 0)"
        )
        for shot, url in OLD_ROWS.items():
            connection.exec_driver_sql(_old_row(shot, url))
            connection.exec_driver_sql(
                "INSERT INTO money (intent_id, kind, micros, round, evidence, at)"
                f" VALUES ('{shot}', 'RESERVE', 1430000, 0, '', 0), ('{shot}', 'SETTLE', 1430000, 0, '', 0)"
            )
            connection.exec_driver_sql(
                "INSERT INTO event (intent_id, at, actor, kind, state, alert, payload)"
                f""" VALUES ('{shot}', 0, 'machine', 'held', 'RESULT_HELD', 0, '{{"job_id": "job-1"}}')"""
            )
    database.close()
    ledger = desk.open()
    assert {one.shot: (one.account, one.twin) for one in ledger.intents()} == {
        "SH1": ("default", False),
        "SH2": ("default", True),
        "SH3": ("stand-in", False),
    }
    (asked,) = ledger.unconfirmed_bills()
    assert (asked.shot, [event.kind for event in ledger.events("SH2")]) == ("SH2", ["held", "duplicate-job"])
    found = ledger.by_job("shortapi", "job-1", "default")
    assert found is not None
    assert found.shot == "SH1"
    ledger.settle("SH2", Money(0), "the account shows one job", "ada")
    assert ledger.unconfirmed_bills() == []
    desk.close()
    desk.opened.clear()  # its caps were never kept: these rows were written by hand


OLD_ROWS = {"SH1": "https://api.example", "SH2": "https://API.example/", "SH3": "http://127.0.0.1:8000"}


def _old_row(shot: str, url: str) -> str:
    """A paid row of the first schema, all with one job id at one provider."""
    facts = {
        **dict.fromkeys(("intent_id", "shot", "shot_key", "family"), shot),
        **dict.fromkeys(("model", "request_sha256", "request_json", "price_version", "mode", "lease_owner"), "-"),
        **dict.fromkeys(("token_hash", "doubt_reason", "reason", "day", "month"), "-"),
        **dict.fromkeys(("audio", "lease_until", "not_after", "reserved_micros", "settled_at", "extra"), 0),
        **dict.fromkeys(("moderated", "created_at", "updated_at"), 0),
        **dict.fromkeys(("take", "attempt_no", "seconds", "epoch", "round"), 1),
        "run_id": "run-0",
        "board": "LIFTOFF",
        "provider": "shortapi",
        "base_url": url,
        "account": "default",
        "quote_micros": 1430000,
        "settled_micros": 1430000,
        "unit": "USD",
        "state": "RESULT_HELD",
        "job_id": "job-1",
        "urls": "[]",
    }
    return f"INSERT INTO intent ({', '.join(facts)}) VALUES ({', '.join(map(repr, facts.values()))})"
