"""Histories that nobody thought of: Hypothesis orders submits, answers, losses, crashes, clocks and people as it likes."""

import asyncio
import concurrent.futures
import datetime as dt
import logging
import os
import shutil
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hypothesis import HealthCheck, Phase, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from flows.collect import collect
from tasks.errors import RushesError
from tasks.production import Production
from tasks.submit import submit_shot
from tests.proof.checks import violations
from tests.proof.crashes import Life, died
from tests.proof.forks import forks
from tests.proof.parking import Parked, ParkingOracle
from tests.proof.schedule import render, rest, scratch, settle, unfinished
from tests.proof.stage import BOARD, Stage
from tests.proof.truth import Script
from tests.proof.virtual import VirtualLoop

__all__ = ["Histories", "Steps", "run_machine", "run_machines"]

SCRIPT = Script("history", shots=3, cap=4, exact=False, overbills=True)
ANSWERS = (
    "ok", "ok", "ok", "lost:before", "lost:after", "lost:late", "closed:after", "http:502-after", "http:502",
    "http:429-2", "http:422", "http:402", "html:after", "id:null", "id-outside", "contradiction", "amount:word",
    "bill:1.01", "bill:1.3", "callback-first", "timeout:after",
)  # fmt: skip
QUERIES = ("404", "500", "lost", "html", "unknown-status", "other-job", "failed-first", "no-urls", "backwards")
FILES = ("410", "500", "break", "cut-closed", "html", "empty")


@dataclass(slots=True)
class Steps:
    """How much was played, and what was wrong."""

    examples: int = 0
    steps: int = 0
    wrong: list[tuple[str, str]] = field(default_factory=list)


COUNT = Steps()


class Histories(RuleBasedStateMachine):
    """One installation, one provider, three shots and every kind of mischief, in any order."""

    def __init__(self) -> None:
        super().__init__()
        logging.disable(logging.CRITICAL)
        COUNT.examples += 1
        self.loop = VirtualLoop()
        self.folder: Path = scratch()
        self.tasks: list[asyncio.Task[Any]] = []
        self.abandoned: list[Parked] = []

    @initialize(callback=st.booleans(), seed=st.integers(1, 1 << 16))
    def opens(self, callback: bool, seed: int) -> None:
        """A fresh installation."""
        self.stage = Stage(self.folder / "stage", SCRIPT, seed, callback)
        stage = self.stage
        self.loop.clock = stage.time
        self.oracle = ParkingOracle(SCRIPT, stage.time, stage._accepts, stage._creates, stage._called)
        stage.oracle = self.oracle
        self._start()

    def _start(self) -> None:
        self.production: Production = self.stage.open(Life())
        self.production.ledger.recover("proof")
        self._begin()

    def _begin(self) -> None:
        self.stage.runs += 1
        run_id = f"run-{self.stage.runs}"
        by: Literal["auto", "person"] = "person" if self.stage.person else "auto"
        ledger = self.production.ledger
        ledger.begin_run(run_id, board=BOARD, spec_sha256="", digest=run_id, caps=(), approved_by=by, approval="")

    def _spin(self, turns: int = 40) -> None:
        async def spin() -> None:
            for _ in range(turns):
                await asyncio.sleep(0)

        self.loop.run_until_complete(spin())
        for task in [one for one in self.tasks if one.done()]:
            self.tasks.remove(task)
            error = None if task.cancelled() else task.exception()
            if error is not None and not isinstance(error, RushesError) and not died(error):
                raise error

    def _run(self, work: Coroutine[Any, Any, Any]) -> None:
        """To its end, but for what waits on the wire."""
        self.tasks.append(self.loop.create_task(work))
        self._spin()

    @rule(shot=st.integers(0, 2))
    def submits(self, shot: int) -> None:
        """Somebody submits a shot, perhaps one that is under way."""
        request = self.stage.requests[shot]
        submission = self.stage.submission(self.production, request, f"run-{self.stage.runs}")
        self._run(submit_shot(self.production, submission))

    @rule()
    def new_run(self) -> None:
        """The board is rendered again."""
        self._begin()

    @precondition(lambda self: self.oracle.parked)
    @rule(which=st.integers(0, 5), kind=st.sampled_from(ANSWERS))
    def answers(self, which: int, kind: str) -> None:
        """The provider decides about a create on the wire."""
        one = self.oracle.parked[which % len(self.oracle.parked)]
        if not one.answer.done():
            one.answer.set_result(kind)
        self._spin()

    @precondition(lambda self: self.abandoned)
    @rule()
    def accepts_late(self) -> None:
        """A create whose sender is dead arrives after all."""
        one = self.abandoned.pop()
        self.oracle._accept(one.create, one.asked, one.body)

    @rule(sort=st.sampled_from(("query", "file")), at=st.integers(0, 8))
    def lies(self, sort: str, at: int) -> None:
        """The next query or download goes wrong."""
        kinds = QUERIES if sort == "query" else FILES
        self.oracle.ordered[sort] = kinds[at % len(kinds)]

    @rule(outcome=st.sampled_from(("failed", "failed-refunded", "failed-billed", "moderated")))
    def fails(self, outcome: str) -> None:
        """The next job fails."""
        self.oracle.ordered["job"] = outcome

    @rule()
    def collects(self) -> None:
        """`rushes collect`."""
        self._run(collect(self.production, "proof"))

    @rule()
    def hears(self) -> None:
        """Callbacks are received; a forged one changes nothing."""
        if self.oracle.jobs:
            job = next(iter(self.oracle.jobs))
            intent = next(iter(self.production.ledger.intents()), None)
            if intent is not None:
                self.stage.inbox.append((f"https://rushes.example/cb/{intent.intent_id}/{'0' * 43}", job))
        self._run(self.stage.receive(self.production))

    @rule(seconds=st.sampled_from((1.0, 20.0, 61.0, 600.0, 4000.0, 90_000.0)))
    def waits(self, seconds: float) -> None:
        """Time passes: pauses and leases end, jobs finish, refunds come due."""
        self.loop.run_until_complete(asyncio.sleep(seconds))
        self._spin()

    @precondition(lambda self: self.tasks)
    @rule(which=st.integers(0, 5))
    def cancels(self, which: int) -> None:
        """One of what is under way is cancelled; what is on the wire goes on (F77)."""
        self.tasks[which % len(self.tasks)].cancel()
        self._spin()

    @rule(hours=st.sampled_from((-1, 1)))
    def clock_jumps(self, hours: int) -> None:
        """The wall clock is set; the monotonic one is not (F76)."""
        self.stage.time.wall += dt.timedelta(hours=hours)

    @rule()
    def crashes(self) -> None:
        """Kill -9: what is on the wire may still arrive."""
        self.stage.life.dead = True
        self.abandoned += [one for one in self.oracle.parked if not one.answer.done()]
        self.oracle.parked.clear()
        self.loop.bury()
        self.tasks.clear()
        self.stage.close()
        self._start()

    @rule(times=st.sampled_from((1, 2, 4)))
    def cap_changes(self, times: int) -> None:
        """A person moves the caps (F80)."""
        self.stage.cap = times

    @precondition(lambda self: not self.oracle.parked and not self.tasks)
    @rule()
    def person_decides(self) -> None:
        """A person settles the doubts by the provider's own list, two hours later."""
        self.abandoned.clear()
        self.loop.run_until_complete(settle(self.stage, self.production))

    @precondition(lambda self: self.production.ledger.doubts())
    @rule()
    def person_writes_off(self) -> None:
        """A person gives a doubt up; what comes of it later is still collected."""
        intent = self.production.ledger.doubts()[0]
        self.production.ledger.write_off(intent.intent_id, "ada", "no use")
        self.stage.permits[intent.shot] += 1

    @invariant()
    def holds(self) -> None:
        """I1, I3 to I7 after every step."""
        COUNT.steps += 1
        if hasattr(self, "stage") and self.stage.ledger is not None:
            assert not self.stage.wrong, self.stage.wrong
            assert not self.production.ledger.verify()

    def teardown(self) -> None:
        """To rest, then everything is compared with the provider's account."""
        logging.disable(logging.NOTSET)
        try:
            if hasattr(self, "stage") and not self.stage.wrong:
                self._rests()
        finally:
            if hasattr(self, "stage"):
                self.stage.end()
            self.loop.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def _rests(self) -> None:
        self.crashes()
        self.abandoned.clear()
        self.oracle.ordered.clear()
        self.stage.person, self.stage.cap = True, 10
        for _ in range(4):
            self.loop.run_until_complete(self._rendered())
            if not unfinished(self.stage, self.production):
                break
        assert not self.stage.wrong, self.stage.wrong
        collected = self.loop.run_until_complete(rest(self.stage, self.production))
        found = violations(self.stage, self.production, collected)
        assert not found, found

    async def _rendered(self) -> None:
        await rest(self.stage, self.production)
        await settle(self.stage, self.production)
        rendering = asyncio.ensure_future(render(self.stage, self.production))
        while not rendering.done():
            for one in list(self.oracle.parked):
                if not one.answer.done():
                    one.answer.set_result("ok")
            await asyncio.sleep(0.5)
        await rendering
        await rest(self.stage, self.production)


def run_machine(*, examples: int, steps: int, seed: int, shrink: bool = False) -> Steps:
    """Play `examples` histories of up to `steps` steps."""
    COUNT.examples = COUNT.steps = 0
    COUNT.wrong = []
    machine = seeded(seed)(type("Seeded", (Histories,), {}))
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        print_blob=False,
        phases=(Phase.generate, Phase.shrink) if shrink else (Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(machine, settings=chosen)
    except (AssertionError, BaseExceptionGroup) as error:
        COUNT.wrong.append(("machine", "; ".join(map(str, getattr(error, "exceptions", (error,))))[:500]))
    return COUNT


CHUNK = 50


def run_machines(*, examples: int, steps: int, seed: int) -> Steps:
    """The same, spread over the processors, fifty histories at a time from a seed of their own."""
    total = Steps()
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count(), forks(), initializer=os.nice, initargs=(2,)) as pool:
        chunks = [
            pool.submit(run_machine, examples=min(CHUNK, examples - done), steps=steps, seed=seed * 1000 + done)
            for done in range(0, examples, CHUNK)
        ]
        for one in [chunk.result() for chunk in chunks]:
            total.examples += one.examples
            total.steps += one.steps
            total.wrong += one.wrong
    return total
