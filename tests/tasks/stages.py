"""One shot taken through submit, wait and store of the real code, at a provider that lies as its script says."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from flows.collect import collect
from tasks.ledger import Intent
from tasks.production import Production
from tasks.store import store_take
from tasks.submit import submit_shot
from tasks.wait import wait_for
from tests.proof.crashes import Life
from tests.proof.stage import BOARD, Stage
from tests.proof.truth import Script
from tests.proof.virtual import VirtualLoop

__all__ = ["Shoot", "shooting"]

T = TypeVar("T")


class Shoot:
    """An open stage with a run begun; each call runs to its end on virtual time."""

    def __init__(self, stage: Stage, loop: VirtualLoop) -> None:
        self.stage = stage
        self._loop = loop
        self.production: Production = stage.open(Life())
        self.begin("run-1")

    def begin(self, run_id: str) -> None:
        """Begin a run that a rule approved."""
        self.production.ledger.begin_run(
            run_id, board=BOARD, spec_sha256="", digest=run_id, caps=(), approved_by="auto", approval=""
        )

    def submit(self, shot: int = 0, run_id: str = "run-1") -> Intent:
        """Buy a shot."""
        submission = self.stage.submission(self.production, self.stage.requests[shot], run_id)
        return self._loop.run_until_complete(submit_shot(self.production, submission))

    def cut_off(self, after: float, shot: int = 0, run_id: str = "run-1") -> None:
        """Begin to buy a shot, and cancel everything so many seconds later, as the end of a loop does."""
        submission = self.stage.submission(self.production, self.stage.requests[shot], run_id)
        self._loop.create_task(submit_shot(self.production, submission))
        self._loop.run_until_complete(asyncio.sleep(after))
        self._loop.bury()

    def ended(self, after: float, shot: int = 0, run_id: str = "run-1") -> float:
        """Begin to buy a shot, cancel that so many seconds later, and wait for its end: how long it took."""
        submission = self.stage.submission(self.production, self.stage.requests[shot], run_id)
        buying = self._loop.create_task(submit_shot(self.production, submission))
        self._loop.run_until_complete(asyncio.sleep(after))
        buying.cancel()
        started = self._loop.time()
        self._loop.run_until_complete(asyncio.wait({buying}))
        assert buying.cancelled()
        return self._loop.time() - started

    def wait(self, intent: Intent) -> Intent:
        """Wait for its job."""
        return self._loop.run_until_complete(wait_for(self.production, intent))

    def store(self, intent: Intent) -> Intent:
        """Fetch and publish it."""
        return self._loop.run_until_complete(store_take(self.production, intent))

    def stored(self) -> Intent:
        """All three."""
        return self.store(self.wait(self.submit()))

    def collect(self) -> None:
        """`rushes collect`."""
        self._loop.run_until_complete(collect(self.production, "test"))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Whatever else is to be run."""
        return self._loop.run_until_complete(work)

    def kinds(self, intent: Intent) -> list[str]:
        """What the ledger tells of it, in order."""
        return [event.kind for event in self.production.ledger.events(intent.intent_id)]


@contextmanager
def shooting(script: Script, folder: Path, *, callback: bool = False) -> Iterator[Shoot]:
    """A stage in `folder` that plays `script`."""
    stage = Stage(folder / "stage", script, 1, callback)
    loop = VirtualLoop(stage.time)
    try:
        yield Shoot(stage, loop)
    finally:
        stage.end()
        loop.close()
