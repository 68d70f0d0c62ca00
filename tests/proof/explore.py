"""Every crash point of every script, and pairs of them, spread over the processors."""

import concurrent.futures
import gc
import logging
import multiprocessing
import os
import random
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

from tests.proof.schedule import Played, Schedule, play, scratch
from tests.proof.scripts import SCRIPTS

__all__ = ["PROTOCOL", "Tally", "Work", "all_work", "explore", "explore_one"]

PROTOCOL = frozenset(f"K{number}" for number in range(1, 23))


@dataclass(frozen=True, slots=True)
class Work:
    """One script: a crash at every `stride`-th point from `first` on, and `pairs` drawn by `seed`.

    Scripts that go on for long are thinned to about `most` points.
    """

    script: str
    callback: bool
    statements: bool = False
    first: int = 1
    stride: int = 1
    pairs: int = 0
    seed: int = 1
    most: int = 60


@dataclass(slots=True)
class Tally:
    """What was run, which points were crashed at, and everything that was wrong."""

    schedules: int = 0
    crashes: int = 0
    pairs: int = 0
    accepts: int = 0
    points: Counter[str] = field(default_factory=Counter)
    wrong: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, played: Played) -> None:
        """Count one schedule."""
        self.schedules += 1
        self.accepts += played.accepts
        self.crashes += played.crashes
        self.pairs += played.crashes > 1
        for trail, end in zip(played.trails, played.schedule.ends, strict=False):
            if len(trail) == end:
                self.points[trail[-1]] += 1
        self.wrong += [(kind, text, str(played.schedule)) for kind, text in played.wrong]

    def merge(self, other: "Tally") -> None:
        """Add what another process counted."""
        for name in ("schedules", "crashes", "pairs", "accepts"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.points += other.points
        self.wrong += other.wrong

    @property
    def covered(self) -> set[str]:
        """The points of the protocol (K1 to K22) at which a life ended."""
        return {point.split(" ")[0] for point in self.points} & PROTOCOL

    def of(self, *kinds: str) -> int:
        """How many violations of these kinds."""
        return sum(kind in kinds for kind, _, _ in self.wrong)

    @property
    def overspent(self) -> Decimal:
        """USD over the caps, summed."""
        return sum((Decimal(text) for kind, text, _ in self.wrong if kind == "overspend"), Decimal(0))


def all_work(*, nightly: bool = False, seed: int = 1) -> list[Work]:
    """CI: each point of each script, thinned with callbacks, and some pairs. Nightly: everything, each statement, many pairs."""
    if nightly:
        return [
            Work(name, callback, statements=True, pairs=150, seed=seed, most=1 << 20)
            for name in SCRIPTS
            for callback in (False, True)
        ]
    return [
        *(Work(name, callback=False, pairs=3, seed=seed) for name in SCRIPTS),
        *(Work(name, callback=True, first=1 + at % 2, stride=2, pairs=1, seed=seed) for at, name in enumerate(SCRIPTS)),
        *(Work(name, callback=True, statements=True, seed=seed) for name in ("ok", "create-lost-after", "bill-30pct")),
    ]


def explore_one(work: Work, *, stop_at_first: bool = False) -> Tally:
    """The clean run tells how many points there are; then a crash at the first, the next, and so on; then pairs."""
    logging.disable(logging.CRITICAL)
    gc.disable()
    folder, tally = scratch(), Tally()
    try:
        for schedule in _schedules(work, folder, tally):
            tally.add(play(schedule, folder))
            if stop_at_first and tally.wrong:
                break
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        logging.disable(logging.NOTSET)
        gc.enable()
        gc.collect()
    return tally


def _schedules(work: Work, folder: Path, tally: Tally) -> Iterator[Schedule]:
    plain = Schedule(SCRIPTS[work.script], work.callback, seed=work.seed, statements=work.statements)
    clean = play(plain, folder)
    tally.add(clean)
    stride = max(work.stride, clean.points // (work.most if clean.points < 120 else work.most // 3))
    for point in range(work.first, clean.points + 1, stride):
        yield replace(plain, ends=(point,), seed=work.seed + point)
    chance = random.Random(f"{work}")
    for _ in range(work.pairs):
        ends = (chance.randint(1, clean.points), chance.randint(1, clean.points))
        yield replace(plain, ends=ends, seed=chance.randint(1, 1 << 20))


def explore(works: Iterable[Work], *, processes: int | None = None) -> Tally:
    """All the work, the longest scripts first to come in."""
    total = Tally()
    context = multiprocessing.get_context("forkserver")
    with concurrent.futures.ProcessPoolExecutor(processes or os.cpu_count(), mp_context=context) as pool:
        for tally in pool.map(explore_one, works):
            total.merge(tally)
    return total
