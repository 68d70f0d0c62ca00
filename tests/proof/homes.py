"""A home is copied at some moment, goes on, is lost and put back: nothing is bought again, and every clip is found again."""

import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tasks.adoption import adopt_slips
from tasks.production import Production
from tests.proof.crashes import Life
from tests.proof.schedule import Played, Schedule, _aftermath, _loop, _work, render, rest, scratch
from tests.proof.scripts import SCRIPTS
from tests.proof.stage import Stage

__all__ = ["PutBack", "put_back", "put_back_many"]

HOMES = (
    "ok",
    "two-shots",
    "create-lost-after",
    "http-502-after",
    "http-429-2",
    "http-402",
    "queue-full",
    "bill-1pct",
    "failed-billed",
    "file-410-for-ever",
    "receipt-fails",
    "slip-rewrite-fails",
    "sjinn-ok",
    "sjinn-lost-after",
    "failover-http-402",
)
FIRST, LAST = 3, 90
"""Between which points of its life a home is copied: before them nothing has happened, behind them nothing happens."""


@dataclass(slots=True)
class BackedUp(Stage):
    """A stage whose home is copied at point number `copy_at`, whatever is under way."""

    copy_at: int = 0
    copied: bool = False

    def _sleeps(self, point: str) -> None:
        Stage._sleeps(self, point)
        if not self.copied and len(self.life.trail) == self.copy_at and self.home.exists():
            shutil.copytree(self.home, self.root / "backup")
            self.copied = True

    def put_back(self) -> None:
        """The home is lost with its journal; the copy takes its place some time later."""
        self.close()
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self.journalled.clear()
        shutil.rmtree(self.home)
        (self.root / "backup").rename(self.home)
        self.forgetful = True
        self.time.turn(500)


@dataclass(slots=True)
class PutBack:
    """Homes that were put back, the orders that were adopted, and what went wrong."""

    homes: int = 0
    adopted: int = 0
    wrong: list[tuple[str, str]] = field(default_factory=list)


def put_back(script: str, copy_at: int, ends_at: int, folder: Path) -> PutBack:
    """One home: copied at a point, dead at a later one (0: never) or at rest, put back, rendered, adopted, collected."""
    done, played = PutBack(), Played(Schedule(SCRIPTS[script]))
    stage = BackedUp(folder / "stage", SCRIPTS[script], copy_at, callback=False, copy_at=copy_at)
    loop = _loop()
    loop.clock = stage.time
    loop.live(life := Life(ends_at), _lost(stage, life))
    if stage.copied:
        stage.put_back()
        done.homes += 1
        loop.live(life := Life(), _found(stage, life, played, done))
    stage.end()
    shutil.rmtree(stage.root, ignore_errors=True)
    where = f"{script} copied at {copy_at}, dead at {ends_at}"
    done.wrong += [(kind, f"{text} [{where}]") for kind, text in (*stage.wrong, *played.wrong)]
    done.wrong += [("stray", f"{loop.strays.pop()!r} [{where}]") for _ in range(len(loop.strays))]
    return done


async def _lost(stage: Stage, life: Life) -> None:
    await _work(stage, stage.open(life))


async def _found(stage: Stage, life: Life, played: Played, done: PutBack) -> None:
    production = stage.open(life)
    await render(stage, production)  # before anybody has adopted anything
    done.adopted += _adopted(production)
    collected = await rest(stage, production)
    if _adopted(production):
        done.wrong.append(("stuck", "what was adopted is not known"))
    await _aftermath(stage, production, collected, played)


def _adopted(production: Production) -> int:
    return sum(one.intent is not None for one in adopt_slips(production, "", "the proof", "the home was put back"))


def put_back_many(homes: int, *, seed: int) -> PutBack:
    """Random moments of every script in turn; every second life is cut off some points after its copy was made."""
    total, folder = PutBack(), scratch()
    try:
        for script, copy_at, ends_at in _moments(homes, seed):
            one = put_back(script, copy_at, ends_at, folder)
            total.homes += one.homes
            total.adopted += one.adopted
            total.wrong += one.wrong
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return total


def _moments(homes: int, seed: int) -> Iterator[tuple[str, int, int]]:
    rng = random.Random(seed)
    for number in range(homes):
        copy_at = rng.randint(FIRST, LAST)
        yield HOMES[number % len(HOMES)], copy_at, copy_at + rng.randint(1, 40) if number % 2 else 0
