"""A ledger of any age opens: from the oldest schema, with and without rows, step by step, or not at all."""

import shutil
from pathlib import Path

import pytest
import sqlalchemy as sa

from specs.money import Money
from tasks.ledger import IntentState, Taken
from tasks.ledger.database import Database, parse_url, prepare_file
from tasks.ledger.migrations import STEPS, NewerSchema, Step, applied, migrate
from tests.tasks.ledger.desk import Desk, TurnedClock, in_state, order, usd

S = IntentState
GOLDEN = Path(__file__).parents[2] / "assets" / "ledger"
NEXT = Step("0002-note", ("ALTER TABLE intent ADD COLUMN note TEXT NOT NULL DEFAULT ''", "CREATE TABLE x (n {serial})"))


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
    for expected in (["0002-note"], []):
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
    broken = Step("0002-broken", ("CREATE TABLE half (n {serial})", "ALTER TABLE nobody ADD COLUMN x TEXT"))
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


def test_F83_jobs_of_a_golden_ledger_are_finished_by_this_version(golden: Desk) -> None:
    """What was in flight when the old version stopped is collected."""
    ledger = golden.open()
    one = ledger.by_job("sjinn", "job-JOURNAL")
    assert one is not None
    ledger.succeeded(one.intent_id, ["https://files.example/1.mp4"], Money.of(900, "sjinn-credits"))
    assert usd(ledger.get(one.intent_id).reserved) == "900 sjinn-credits"
    assert ledger.verify() == []
    golden.close()
