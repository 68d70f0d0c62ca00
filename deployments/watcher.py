"""The drop watcher: local inboxes by the file system's own events, any other by listing; a full look at start and now and then.

Alone: `python -m deployments.watcher` (settings as everywhere). `rushes serve` runs it inside.
"""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from watchfiles import awatch

from deployments.ending import in_words, until_told
from flows.sweep import STEADY, Sweeper
from tasks.errors import RushesError, SetupProblem
from tasks.inbox import Inbox
from tasks.seams import SystemClock, SystemRng
from tasks.settings import Settings
from tasks.storage.store import local_path

__all__ = ["main", "watch"]

LOCAL_EVERY = 30.0
REMOTE_EVERY = 10.0


async def watch(url: str, stop: asyncio.Event, *, steady: float = STEADY, every: float | None = None) -> None:
    """Hand over every storyboard that is dropped at `url`, until `stop`; no failure ends it."""
    folder = local_path(url)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    pause = every or (LOCAL_EVERY if folder is not None else REMOTE_EVERY)
    sweeper = Sweeper(Inbox(url), clock=SystemClock(), rng=SystemRng(), steady=steady)
    changed = asyncio.Event()
    noticing = asyncio.create_task(_notice(folder, changed, stop)) if folder is not None else None
    try:
        while not stop.is_set():
            changed.clear()
            await _look(sweeper)
            await _until(changed, stop, max(steady, 0.2) if sweeper.unsteady else pause)
    finally:
        if noticing is not None:
            noticing.cancel()


async def _look(sweeper: Sweeper) -> None:
    try:
        await sweeper.look()
    except RushesError as error:
        print(f"inbox: {error}", file=sys.stderr)  # noqa: T201


async def _until(changed: asyncio.Event, stop: asyncio.Event, seconds: float) -> None:
    waiting = [asyncio.ensure_future(changed.wait()), asyncio.ensure_future(stop.wait())]
    try:
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waiting:
            one.cancel()


async def _notice(folder: Path, changed: asyncio.Event, stop: asyncio.Event) -> None:
    """Events only hasten the next look: where the file system sends none, or goes away, the timer does."""
    async for _ in awatch(folder, stop_event=stop, recursive=True):
        changed.set()


def main(argv: Sequence[str] | None = None) -> int:
    """Watch the inbox of the settings until interrupted."""
    del argv
    settings = Settings.load()
    if settings.inbox is None:
        raise SetupProblem("there is no inbox", "Set RUSHES_INBOX to a folder or a storage address.")
    asyncio.run(until_told(lambda stop: watch(str(settings.inbox), stop)))
    return 0


if __name__ == "__main__":
    sys.exit(in_words(main))
