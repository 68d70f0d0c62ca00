"""What goes wrong for one shot is that shot's outcome, told from the ledger's facts; the others go on (F85, F105)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from flows.collect import exit_code
from flows.plan import Ask, make_plan, plan_json
from tasks.deliver import deliver
from tasks.errors import SetupProblem, Transient
from tasks.estimate import Action
from tasks.exits import ExitCode
from tasks.ledger import Intent, IntentState
from tasks.outcome import Outcome, report_of
from tasks.production import Production
from tasks.storage import Store
from tasks.storage.backend import Source
from tasks.storage.folder import Folder
from tests.fixtures.till import Till, paid_board, till

S = IntentState


@dataclass
class Refusing:
    """A folder that answers each first write of a path with `fails`, while it answers anything."""

    folder: Folder
    fails: Callable[[str], Exception | None]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.folder, name)

    def create(self, source: Source, path: str, content_type: str | None) -> None:
        """Write, or fail."""
        if error := self.fails(path):
            raise error
        self.folder.create(source, path, content_type)

    def replace(self, source: Source, path: str, content_type: str | None) -> None:
        """Write what may change, or fail."""
        if error := self.fails(path):
            raise error
        self.folder.replace(source, path, content_type)


@dataclass(frozen=True)
class Spoiled(Till):
    """A till whose store fails as `fails` says."""

    fails: Callable[[str], Exception | None] = field(default=lambda _: None)

    def open(self) -> Production:
        """The production with that store."""
        opened = super().open()
        store = Store(Refusing(Folder(self.folder / "store"), self.fails), pause=lambda _: None)
        return replace(opened, store=store)


@contextmanager
def spoiled(folder: Path, fails: Callable[[str], Exception | None], provider: str) -> Iterator[tuple[Spoiled, Path]]:
    """A till with that store, and a board of two shots at `provider`."""
    with till(folder) as here:
        there = Spoiled(
            here.folder, here.sandbox, provider=provider, poll_seconds=here.poll_seconds, more=here.more, fails=fails
        )
        yield there, there.board(paid_board(shots=2, provider=provider))


def _by_shot(here: Till) -> list[Intent]:
    """The orders as the board has them; which of two is reserved first is chance."""
    return sorted(here.intents(), key=lambda one: one.shot)


def _refuses_takes(path: str) -> Exception | None:
    return Transient("the storage answers 503") if path.endswith((".mp4", "TK01.json")) else None


def _trips_over_one(path: str) -> Exception | None:
    return KeyError("a defect") if path.endswith("SH010_TK01.mp4") else None


@pytest.mark.parametrize("provider", ["shortapi", "sjinn"])
async def test_F105_what_is_paid_and_not_stored_is_held_with_its_money(provider: str, tmp_path: Path) -> None:
    """The store takes no clip: exit 6, the job, its bill and its intent are named, and `collect` picks it up."""
    with spoiled(tmp_path, _refuses_takes, provider) as (here, board):
        report = await here.render(board)
        intents, account = _by_shot(here), here.truth
        later = await Till(here.folder, here.sandbox).collect()
        stored = here.intents()
    assert (report.exit_code, [row.state for row in report.rows]) == (6, ["held", "held"])
    assert [row.intent_id for row in report.rows] == [one.intent_id for one in intents]
    assert {row.job_id for row in report.rows} == {job.job_id for job in account.jobs}
    assert {row.billed.amount for row in report.rows if row.billed} == {job.billed for job in account.jobs}
    assert "503" in report.rows[0].note
    assert exit_code(later) == 0
    assert {one.state for one in stored} == {S.STORED}
    assert len(account.jobs) == 2


@pytest.mark.parametrize("provider", ["shortapi", "sjinn"])
async def test_F85_a_defect_in_one_shot_lets_the_others_go_on(
    provider: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Exit 1 at the end with its money, job and clip named; `collect` too goes on with the others."""
    fails = dict.fromkeys(("SH010_TK01.mp4",), KeyError("a defect"))
    with spoiled(tmp_path, lambda path: fails.get(path.rpartition("/")[2]), provider) as (here, board):
        report = await here.render(board)
        first, second = _by_shot(here)
        again = await here.collect()
        fails.clear()
        mended = await here.collect()
        account = here.truth
    assert (report.exit_code, [row.state for row in report.rows]) == (1, ["held", "stored"])
    for named in ("a defect of Rushes (KeyError", first.intent_id, str(first.job_id), "not stored"):
        assert named in report.rows[0].note
    assert first.settled.amount == account.job(str(first.job_id)).billed
    assert second.state is S.STORED
    assert "Traceback" in caplog.text
    assert (exit_code(again), exit_code(mended)) == (1, 0)
    assert any(first.intent_id in one.line() for one in again)


async def test_F85_a_shot_that_nobody_bought_and_a_defect_ended_is_exit_1(tmp_path: Path) -> None:
    """Nothing is in the ledger for it, and the other shot is stored."""

    class Watching(Spoiled):
        def open(self) -> Production:
            opened = super().open()

            def trips(shot: str, phase: str) -> None:
                if (shot, phase) == ("SH010", "queued"):
                    raise ZeroDivisionError

            opened.watcher.shot = trips  # type: ignore[method-assign]
            return opened

    with till(tmp_path) as here:
        there = Watching(here.folder, here.sandbox, poll_seconds=0.2)
        report = await there.render(there.board(shots=2))
        intents = there.intents()
    assert (report.exit_code, [row.state for row in report.rows]) == (1, ["failed", "stored"])
    assert [one.shot for one in intents] == ["SH020"]


async def test_F105_that_every_take_is_kept_is_said_only_where_it_is_so(tmp_path: Path) -> None:
    """Files that cannot be delivered end with the worse exit code, and name the takes that are not stored."""
    with spoiled(tmp_path, _trips_over_one, "shortapi") as (here, board):
        report = await here.render(board)
        production = replace(here, fails=lambda _: Transient("the storage answers 503")).open()
        plan = await _plan(production, board)
        with pytest.raises(SetupProblem, match="cannot be delivered") as caught:
            deliver(production, plan, replace(report, exit_code=6), plan_json(plan))
        production.ledger.close()
    assert caught.value.exit_code == 6
    assert f"Not stored yet: SH010 TK01 (held, intent {report.rows[0].intent_id})" in caught.value.hint
    assert "Every take" not in caught.value.hint


async def _plan(production: Production, board: Path) -> Any:
    from flows.plan import Ask, make_plan

    return await make_plan(production, Ask(str(board)))


async def test_F105_a_receipt_that_the_store_refused_is_written_by_the_next_render(tmp_path: Path) -> None:
    """The take itself is stored and reported so."""
    fails = {"SH010_TK01.json": Transient("the storage answers 503")}
    with spoiled(tmp_path, lambda path: fails.get(path.rpartition("/")[2]), "shortapi") as (here, board):
        report = await here.render(board)
        receipt = tmp_path / "store/TILL/shots/SH010/SH010_TK01.json"
        assert not receipt.exists()
        fails.clear()
        after = await here.render(board)
    assert (report.exit_code, report.rows[0].state) == (0, "stored")
    assert "503" in report.rows[0].note
    assert ([row.action for row in after.rows], receipt.exists()) == (["reuse", "reuse"], True)


async def test_F105_a_report_is_made_from_the_ledger_whatever_a_step_returned(tmp_path: Path) -> None:
    """A step that lost its result on the way back: the row has the intent, the job and the money all the same."""
    with spoiled(tmp_path, _refuses_takes, "shortapi") as (here, board):
        first = await here.render(board)
        async with here.open() as production:
            plan = await _plan(production, board)
            shots = [
                replace(one, decision=replace(one.decision, action=Action.CREATE, intent=None)) for one in plan.shots
            ]
            lost = [Outcome(one, "failed", None, "no result", ExitCode.SOME_FAILED) for one in shots]
            report = report_of(production, plan, lost, run_id=first.run_id, started_at=first.started_at)
    assert (report.exit_code, [row.state for row in report.rows]) == (6, ["held", "held"])
    assert [row.intent_id for row in report.rows] == [row.intent_id for row in first.rows]


@dataclass(frozen=True)
class Doubled(Till):
    """A till whose provider makes a second job of the first order."""

    def open(self) -> Production:
        """Between the answer and the wait the second job comes to light."""
        production = super().open()

        def comes_to_light(point: str) -> None:
            orders = production.ledger.intents() if point == "K14" else []
            if len(orders) == 1:
                production.ledger.accepted(orders[0].intent_id, "the-second-job", None)

        return replace(production, hooks=comes_to_light)


async def test_F89_a_second_job_has_its_row_and_needs_a_person_but_is_no_part_of_the_film(tmp_path: Path) -> None:
    """Every cent of the run is in costs.csv, the exit code says 6, and the reel shows the shot once."""
    with till(tmp_path) as plain:
        here = Doubled(plain.folder, plain.sandbox, poll_seconds=plain.poll_seconds)
        board = here.board()
        report = await here.render(board)
        async with here.open() as production:
            plan = await make_plan(production, Ask(str(board)))
            deliver(production, plan, report, plan_json(plan))
            booked = production.ledger.totals(run_id=report.run_id)
            lines = production.store.read(f"TILL/runs/{report.run_id}/costs.csv", limit=1 << 20).decode().splitlines()
            film = production.store.read(f"TILL/runs/{report.run_id}/reel.otio", limit=1 << 20).decode()
    shot, second = report.rows
    assert (shot.state, shot.beside, second.beside, second.job_id) == ("stored", False, True, "the-second-job")
    assert report.exit_code == ExitCode.MONEY_NEEDS_A_PERSON
    assert report.totals.billed_usd + report.totals.reserved_usd == (booked.settled_usd + booked.reserved_usd).amount
    assert len(lines) == 3
    assert (film.count("SH010_TK01"), film.count("SH010_TK02")) == (film.count("SH010_TK"), 0)
