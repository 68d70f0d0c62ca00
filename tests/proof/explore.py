"""Every crash point of every script, and pairs of them, spread over the processors."""

import concurrent.futures
import gc
import itertools
import logging
import os
import random
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

from tests.proof.crashes import Cancel
from tests.proof.forks import forks
from tests.proof.schedule import Played, Schedule, play, scratch
from tests.proof.scripts import FAMILY_OF, SCRIPTS

__all__ = ["PROTOCOL", "Tally", "Work", "all_work", "explore", "explore_one"]

PROTOCOL = frozenset(f"K{number}" for number in range(1, 23))


WAYS = tuple(itertools.product(("run", "step"), (False, True)))
"""Who is cancelled, and whether the process goes on."""


@dataclass(frozen=True, slots=True)
class Work:
    """One script: a crash at every `stride`-th point from `first` on, and `pairs` drawn by `seed`.

    In every `cancel`-th wait a run or a step is cancelled, each in `ways` of the four ways; 0: in none. Scripts that go on
    for long are thinned to about `most` points and as many waits.
    """

    script: str
    callback: bool
    statements: bool = False
    first: int = 1
    stride: int = 1
    pairs: int = 0
    cancel: int = 0
    ways: int = 1
    seed: int = 1
    most: int = 60


@dataclass(slots=True)
class Tally:
    """What was run, which points were crashed at, and everything that was wrong."""

    schedules: int = 0
    crashes: int = 0
    pairs: int = 0
    accepts: int = 0
    failovers: int = 0
    attempts: int = 0
    families: dict[str, Counter[str]] = field(default_factory=dict)
    points: Counter[str] = field(default_factory=Counter)
    waits: Counter[str] = field(default_factory=Counter)
    wrong: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, played: Played) -> None:
        """Count one schedule."""
        self.schedules += 1
        self.accepts += played.accepts
        self.failovers += played.failovers
        self.attempts += played.attempts
        self.crashes += len(played.crashes)
        self.pairs += len(played.crashes) + len(played.cancels) > 1
        of_family = {"schedules": 1, "accepts": played.accepts, "beside": played.beside, "failures": played.failures}
        self.families.setdefault(FAMILY_OF[played.schedule.script.name], Counter()).update(of_family)
        self.points.update(played.crashes)
        self.waits.update(played.cancels)
        self.wrong += [(kind, text, str(played.schedule)) for kind, text in played.wrong]

    def merge(self, other: "Tally") -> None:
        """Add what another process counted."""
        for name in ("schedules", "crashes", "pairs", "accepts", "failovers", "attempts"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name, counts in other.families.items():
            self.families.setdefault(name, Counter()).update(counts)
        self.points += other.points
        self.waits += other.waits
        self.wrong += other.wrong

    @property
    def cancels(self) -> int:
        """How many runs and steps were cancelled."""
        return self.waits.total()

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


CLOSELY = ("ok", "create-lost-after", "http-429-2", "failover-http-402")
"""Scripts that CI too cancels in every wait in all four ways, and kills at every statement; others at commits, in every other wait."""


def all_work(*, nightly: bool = False, seed: int = 1) -> list[Work]:
    """CI: each point of each script, thinned with callbacks, and some pairs. Nightly: all, each statement, many pairs."""
    if nightly:
        whole = {"statements": True, "pairs": 150, "cancel": 1, "ways": len(WAYS), "seed": seed, "most": 1 << 20}
        return [Work(name, callback, **whole) for name in SCRIPTS for callback in (False, True)]
    return [
        *(Work(name, callback=True, statements=True, cancel=1, ways=len(WAYS), seed=seed) for name in CLOSELY),
        *(Work(name, callback=False, pairs=1, cancel=2, seed=seed) for name in SCRIPTS),
        *(Work(name, callback=True, first=1 + at % 10, stride=10, seed=seed) for at, name in enumerate(SCRIPTS)),
    ]


def explore_one(work: Work, *, stop_at_first: bool = False) -> Tally:
    """The clean run tells how many points there are; then a crash at the first, the next, and so on; then pairs."""
    logging.disable(logging.CRITICAL)
    gc.freeze()  # what was imported need not be looked through again
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
    for point in _thinned(work, work.first, clean.points, work.stride):
        yield replace(plain, ends=(point,), seed=work.seed + point)
    yield from _cancelled(work, plain, clean)
    chance = random.Random(f"{work}")
    for _ in range(work.pairs):
        ends = (chance.randint(1, clean.points), chance.randint(1, clean.points))
        yield replace(plain, ends=ends, seed=chance.randint(1, 1 << 20))


def _cancelled(work: Work, plain: Schedule, clean: Played) -> Iterator[Schedule]:
    """Cancelled in a wait; with pairs, also killed in what follows."""
    if not work.cancel:
        return
    chance = random.Random(f"{work} {plain.script.name}")
    first = 1 + sum(map(ord, work.script)) % work.cancel
    for wait in _thinned(work, first, clean.waits, work.cancel):
        for way in range(work.ways):
            whom, stays = WAYS[(wait // work.cancel + way) % len(WAYS)]
            yield replace(plain, ends=(Cancel(wait, whom, stays),), seed=work.seed + wait)
    for _ in range(work.pairs if clean.waits else 0):
        whom, _ = chance.choice(WAYS)
        ends = (Cancel(chance.randint(1, clean.waits), whom), chance.randint(1, clean.points))
        yield replace(plain, ends=ends, seed=chance.randint(1, 1 << 20))


def _thinned(work: Work, first: int, last: int, stride: int) -> range:
    """All of a script of usual length; of a long one, which repeats itself, a part."""
    most = work.most if last < 2 * work.most else work.most // 5
    return range(first, last + 1, max(stride, last // most))


def explore(works: Iterable[Work], *, processes: int | None = None) -> Tally:
    """All the work, the longest scripts first to come in."""
    total = Tally()
    count = processes or os.cpu_count()
    with concurrent.futures.ProcessPoolExecutor(count, forks(), initializer=os.nice, initargs=(2,)) as pool:
        for tally in pool.map(explore_one, works):
            total.merge(tally)
    return total
