"""Every accepted job is asked after, when its next try is due, until its clip is stored or there is none (F87, F106, F109)."""

import asyncio
import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from flows.collect import Collected, collect, exit_code
from flows.plan import Ask, make_plan
from flows.shooting import HEARTBEAT, PlainSteps, begin, make_shots
from tasks.gate import Approval, Wish, gate
from tasks.ledger import Intent, IntentState, Ledger
from tasks.production import Production
from tasks.report import RunReport
from tasks.seams import SystemClock
from tests.fixtures.till import Till, paid_board, till

S = IntentState
PROVIDERS = pytest.mark.parametrize("provider", ["shortapi", "sjinn"])


class Travelling(SystemClock):
    """The machine's clock, so many seconds ahead; it counts what is slept and sleeps a hundredth of it."""

    def __init__(self, ahead: float = 0.0) -> None:
        self.ahead = ahead
        self.slept = 0.0

    def now(self) -> dt.datetime:
        """The machine's time, ahead."""
        return super().now() + dt.timedelta(seconds=self.ahead)

    async def sleep(self, seconds: float) -> None:
        """Count it, unless the run's heartbeat sleeps."""
        self.slept += seconds if seconds != HEARTBEAT else 0.0
        await asyncio.sleep(min(seconds / 100, 0.05))


@dataclass(frozen=True)
class Timed(Till):
    """A till whose ledger and waits share one clock that a test turns."""

    clock: Travelling = field(default_factory=Travelling)

    def open(self) -> Production:
        """The production on that clock."""
        opened = super().open()
        opened.ledger.close()
        settings = opened.settings
        ledger = Ledger.open(settings.ledger_url, home=settings.home, clock=self.clock, rng=opened.rng)
        return replace(opened, ledger=ledger, clock=self.clock)

    async def collected(self, *, due_only: bool = False) -> Sequence[Collected]:
        """Collect, as a schedule or a person does; every sleep is counted anew."""
        self.clock.slept = 0.0
        async with self.open() as production:
            return await collect(production, "test", due_only=due_only)


def timed(here: Till, provider: str) -> Timed:
    """The same installation with a clock to turn."""
    return Timed(here.folder, here.sandbox, provider=provider, poll_seconds=here.poll_seconds, more=here.more)


def _seen(here: Till, kind: str) -> int:
    """How many requests of a kind the sandbox has seen."""
    return sum(one.kind == kind for one in here.truth.requests)


def _two_takes(provider: str) -> str:
    return paid_board(provider=provider).replace("Push in 1}", "Push in 1, take: 2}")


@PROVIDERS
async def test_F106_a_dead_link_holds_no_run_and_its_next_try_is_in_the_ledger(provider: str, tmp_path: Path) -> None:
    """The run ends within a minute of waiting; `collect` asks when the try is due, sleeps for nothing, and stores it then."""
    with till(tmp_path, "file-410*400") as here:
        house = timed(here, provider)
        report = await house.render(here.board(paid_board(provider=provider)))
        assert (report.exit_code, report.rows[0].state) == (6, "held")
        assert house.clock.slept < 90
        (held,) = house.intents()
        assert held.next_try is not None
        assert 200 < (held.next_try - house.clock.now()).total_seconds() < 330
        asked = _seen(here, "file")
        (early,) = await house.collected(due_only=True)
        assert (early.intent.tries, _seen(here, "file")) == (1, asked), "it was not due"
        pauses = []
        for tries in range(2, 8):
            house.clock.ahead += 3700
            (one,) = await house.collected(due_only=True)
            assert (one.intent.state, one.intent.tries) == (S.RESULT_HELD, tries)
            assert one.intent.next_try is not None
            pauses.append(round((one.intent.next_try - house.clock.now()).total_seconds(), -2))
            assert house.clock.slept < 10
        assert pauses == [500, 1100, 2200, 3600, 3600, 3600]
        here.sandbox.clear_faults()
        (by_hand,) = await house.collected()
        account = here.truth
    assert (by_hand.intent.state, by_hand.early, len(account.jobs)) == (S.STORED, True, 1)


@PROVIDERS
async def test_F106_nobody_waits_behind_a_dead_link(provider: str, tmp_path: Path) -> None:
    """Nine dead links, more than are fetched at once: collect sleeps for none, and two at a time ask no job twice."""
    with till(tmp_path, "file-410*4000") as here:
        house = timed(here, provider)
        await house.render(here.board(paid_board(shots=9, provider=provider)))
        house.clock.ahead += 400
        before = _seen(here, "file")
        once, twice = await asyncio.gather(house.collected(due_only=True), house.collected(due_only=True))
        assert house.clock.slept < 10
        tries = [one.tries for one in house.intents()]
        files = _seen(here, "file") - before
        states = {one.state for one in house.intents()}
    assert (len(once), len(twice), states) == (9, 9, {S.RESULT_HELD})
    assert tries == [2] * 9
    assert files <= 18, "each link is tried, and once more after a fresh query"


@PROVIDERS
@pytest.mark.parametrize("way", ["retake", "write-off and retake", "take: 2"])
async def test_F87_a_held_clip_is_collected_after_its_shot_was_bought_anew(
    way: str, provider: str, tmp_path: Path
) -> None:
    """Its take is laid beside the newer one, which stays the shot's, under its own number; both are paid, once each."""
    with till(tmp_path, "file-html*400") as here:
        house = timed(here, provider)
        board = here.board(paid_board(provider=provider))
        await house.render(board)
        here.sandbox.clear_faults()
        again = await _bought_anew(house, board, way, provider)
        old, new = house.intents()
        ended = S.ABANDONED if "write-off" in way else S.SUPERSEDED
        assert (old.state, new.state, again.rows[0].state) == (ended, S.STORED, "stored")
        house.clock.ahead += 4000
        (found,) = await house.collected(due_only=True)
        after = await house.collected(due_only=True)
        latest = await house.render(board)
        old, new = house.intents()
        account = here.truth
    assert (found.before, found.intent.intent_id, exit_code([found])) == (ended, old.intent_id, 0)
    assert (old.state, old.extra, old.take, new.take) == (S.STORED, True, 1, 2)
    assert (latest.rows[0].action, latest.rows[0].take) == ("reuse", 2)
    assert after == []
    folder = tmp_path / "store/TILL/shots/SH010"
    assert {path.name for path in folder.glob("*.mp4")} == {"SH010_TK01.mp4", "SH010_TK02.mp4"}
    assert sum(one.settled.amount for one in (old, new)) == sum(job.billed for job in account.jobs)
    assert len(account.jobs) == 2


async def test_F87_a_clip_that_comes_after_a_failure_does_not_undo_the_retake(tmp_path: Path) -> None:
    """Called failed and refunded, bought anew, then done all the same: the film keeps the take that a person asked for."""
    with till(tmp_path) as here:
        house = timed(here, "shortapi")
        board = here.board()
        await _bought(house, board, lambda ledger, one: ledger.failed(one, "it says failed", refunded=True))
        await house.retake(board, "it failed")
        house.clock.ahead += 4000
        await house.collected(due_only=True)
        latest = await house.render(board)
        (planned,) = house.run("plan", str(board), "--json").document["shots"]
        old, new = house.intents()
        account = here.truth
    assert (old.state, old.take, new.state, new.take) == (S.STORED, 1, S.STORED, 2)
    assert [(row.action, row.take) for row in latest.rows] == [("reuse", 2)]
    assert (planned["action"], planned["take"]) == ("reuse", 2)
    assert sum(one.settled.amount for one in (old, new)) == sum(job.billed for job in account.jobs)


async def _bought_anew(house: Timed, board: Path, way: str, provider: str) -> RunReport:
    if way == "write-off and retake":
        assert house.run("resolve", house.intents()[0].intent_id, "--write-off").code == 0
    if "retake" in way:
        return await house.retake(board, "too dark")
    return await house.render(house.board(_two_takes(provider)))


@PROVIDERS
async def test_F87_a_held_clip_that_was_written_off_is_fetched_without_further_questions(
    provider: str, tmp_path: Path
) -> None:
    """While its link stays dead it stays written off, exit 0; when it comes to life the take is stored."""
    with till(tmp_path, "file-410*400") as here:
        house = timed(here, provider)
        await house.render(here.board(paid_board(provider=provider)))
        (held,) = house.intents()
        with house.ledger() as ledger:
            ledger.write_off(held.intent_id, "test", "the client has gone")
        house.clock.ahead += 4000
        dead = await house.collected(due_only=True)
        (still,) = house.intents()
        here.sandbox.clear_faults()
        house.clock.ahead += 4000
        (found,) = await house.collected(due_only=True)
        account = here.truth
    assert (dead, still.state, still.tries) == ([], S.ABANDONED, 2)
    assert (found.intent.state, found.intent.settled.amount) == (S.STORED, account.jobs[0].billed)


@PROVIDERS
async def test_F87_a_failed_job_that_succeeds_late_is_collected(provider: str, tmp_path: Path) -> None:
    """It was settled as failed after a day; asked after further, its clip is stored and nothing is booked twice."""
    with till(tmp_path) as here:
        house = timed(here, provider)
        board = here.board(paid_board(provider=provider))
        await _bought(house, board, lambda ledger, one: ledger.failed(one, "it says failed", refunded=None))
        house.clock.ahead += 25 * 3600
        with house.ledger() as ledger:
            ledger.settle_failed(house.clock.now())
        (intent,) = house.intents()
        assert intent.state is S.FAILED_FINAL
        house.clock.ahead += 4000
        (found,) = await house.collected(due_only=True)
        with house.ledger() as ledger:
            assert ledger.verify() == []
    assert (found.before, found.intent.state) == (S.FAILED_FINAL, S.STORED)
    assert found.intent.settled == intent.settled


async def _bought(house: Timed, board: Path, ends: Callable[[Ledger, str], Intent]) -> None:
    """A purchase whose wait ended as `ends` records it."""

    class Waits(PlainSteps):
        async def wait(self, production: Production, intent: Intent, _wakeups: Any) -> Intent:
            return ends(production.ledger, intent.intent_id)

    async with house.open() as production:
        plan = await make_plan(production, Ask(str(board)))
        approval = gate(plan, production.ledger, Wish(yes=True))
        assert isinstance(approval, Approval)
        run = begin(production, plan, approval, production.clock.now())
        await make_shots(production, run, plan.shots, Waits())


async def test_F87_asking_ends_when_the_provider_says_for_good_that_there_is_none(tmp_path: Path) -> None:
    """After five tries and a day "not found" is its last word: named to a person, asked no more by a schedule."""
    with till(tmp_path, "stuck") as here:
        house = timed(here, "shortapi")
        await _bought(house, here.board(), lambda ledger, one: ledger.stalled(one, "no result after 45 minutes"))
        here.sandbox.fault("query-404", times=None)
        for _ in range(7):
            house.clock.ahead += 6 * 3600
            await house.collected(due_only=True)
        (gone,) = house.intents()
        asked = _seen(here, "query")
        house.clock.ahead += 6 * 3600
        (left,) = await house.collected(due_only=True)
        assert _seen(here, "query") == asked
        await house.collected()
        assert _seen(here, "query") == asked + 1, "a person may ask at any time"
    assert gone.gone
    assert "does not know the job any more" in gone.reason
    assert exit_code([left]) == 6


async def test_F87_a_refunded_failure_is_asked_after_for_a_day_before_it_is_the_last_word(tmp_path: Path) -> None:
    """Its money is free at once, its clip is not given up at once: the schedule asks some more times and then leaves it."""
    with till(tmp_path, "failed-refunded") as here:
        house = timed(here, "shortapi")
        report = await house.render(here.board())
        (failed,) = house.intents()
        asked = [_seen(here, "query")]
        for _ in range(8):
            house.clock.ahead += 6 * 3600
            await house.collected(due_only=True)
            asked.append(_seen(here, "query"))
        (left,) = house.intents()
    assert (report.exit_code, failed.state, failed.gone) == (5, S.FAILED_FINAL, False)
    assert (failed.settled.micros, left.settled.micros) == (0, 0)
    assert asked == [*range(asked[0], asked[0] + 6), *[asked[0] + 5] * 3], "five more times, then never again"
    assert left.gone


@PROVIDERS
async def test_F109_a_shot_that_waits_for_a_slot_asks_after_dead_jobs_of_its_own_run(
    provider: str, tmp_path: Path
) -> None:
    """The process that waited for the first part's job is gone; the second part has the same run and needs its slot."""
    name = f"{provider.upper()}_MAX_IN_FLIGHT"
    with till(tmp_path, more={name: "1"}) as here:
        async with here.open() as production:
            plan = await make_plan(production, Ask(str(here.board(paid_board(shots=2, provider=provider)))))
            approval = gate(plan, production.ledger, Wish(yes=True))
            assert isinstance(approval, Approval)
            run = begin(production, plan, approval, production.clock.now())
            dying = asyncio.create_task(make_shots(production, run, plan.shots[:1], PlainSteps()))
            while not production.ledger.intents(states={S.SUBMITTED}):  # noqa: ASYNC110 - a row sets no event
                await asyncio.sleep(0.01)
            dying.cancel()
            await asyncio.gather(dying, return_exceptions=True)
            made = make_shots(production, run, plan.shots[1:], PlainSteps())
            (outcome,) = await asyncio.wait_for(made, 120)
        account = here.truth
    assert outcome.state == "stored"
    assert len(account.jobs) == 2
