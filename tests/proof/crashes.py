"""One life of a process: numbered points at which it may die, and seams that are silent once it has."""

import asyncio
import datetime as dt
import random
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Engine

__all__ = ["Inline", "Life", "LifeClock", "LifeRng", "SimulatedCrash", "VirtualTime", "died", "watch_database"]

P = ParamSpec("P")
T = TypeVar("T")
START = dt.datetime(2026, 3, 1, 12, 0, tzinfo=dt.UTC)


class SimulatedCrash(BaseException):
    """The process is gone: nothing it does afterwards may have an effect."""


def died(error: BaseException) -> bool:
    """Whether the life ended, alone or inside a group of tasks that ended with it."""
    if isinstance(error, BaseExceptionGroup):
        return any(map(died, error.exceptions))
    return isinstance(error, SimulatedCrash)


@dataclass(slots=True)
class Life:
    """Counts the points that a process passes and ends it at number `ends_at`; 0: it lives on.

    `trail` names every point passed. `statement` makes each writing SQL statement a point, not only each commit.
    """

    ends_at: int = 0
    statements: bool = True
    dead: bool = False
    trail: list[str] = field(default_factory=list)
    last: str = ""
    sabotage: Callable[[str], None] | None = None
    passing: Callable[[str], None] | None = None

    def __call__(self, point: str) -> None:
        """Pass a point, perhaps for the last time."""
        self.check()
        self.trail.append(point)
        if point[1:].isdigit():
            self.last = point
        if self.passing is not None:
            self.passing(point)
        if len(self.trail) == self.ends_at:
            self.end()

    def end(self) -> None:
        """Die here."""
        self.dead = True
        raise SimulatedCrash(self.trail[-1] if self.trail else "")

    def check(self) -> None:
        """What is dead does nothing."""
        if self.dead:
            raise SimulatedCrash

    def sql(self, statement: str) -> None:
        """A statement is about to run; inside K2 to K5 and K12 to K14 it is a point of the protocol."""
        self.check()
        if self.sabotage is not None:
            self.sabotage(f"{self.last}:{statement[:24]}")
        if self.statements and statement.startswith(("INSERT", "UPDATE")):
            self(self._named(statement))

    def _named(self, statement: str) -> str:
        if self.last == "K2":
            return "K3 in the transaction" if statement.startswith("UPDATE cap") else "K4 in the transaction"
        return "K13 in the transaction" if self.last == "K12" else f"after {self.last or 'start'}: {statement[:18]}"

    def commits(self) -> None:
        """A transaction is about to be committed."""
        self.check()
        if self.sabotage is not None:
            self.sabotage(f"{self.last}:COMMIT")
        self(f"commit after {self.last or 'start'}")


def watch_database(engine: Engine, life: Life) -> Callable[[], None]:
    """Make each statement and commit of the engine a point of the life; returns how to stop watching."""

    def before(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        life.sql(statement)

    def commit(connection: sa.Connection) -> None:
        if connection.get_execution_options().get("rushes_writes"):
            life.commits()

    sa.event.listen(engine, "before_cursor_execute", before)
    sa.event.listen(engine, "commit", commit)

    def stop() -> None:
        sa.event.remove(engine, "before_cursor_execute", before)
        sa.event.remove(engine, "commit", commit)

    return stop


def locked(statement: str) -> sa.exc.OperationalError:
    """What SQLAlchemy raises where another process holds the database."""
    return sa.exc.OperationalError(statement, {}, sqlite3.OperationalError("database is locked"))


@dataclass(slots=True)
class VirtualTime:
    """Time that passes only when somebody sleeps; `later` runs what is due on the way."""

    wall: dt.datetime = START
    ticks: float = 1000.0
    due: list[tuple[float, int, Callable[[], object]]] = field(default_factory=list)

    def later(self, seconds: float, what: Callable[[], object]) -> None:
        """Let `what` happen in so many seconds."""
        self.due.append((self.ticks + seconds, len(self.due), what))

    def turn(self, seconds: float) -> None:
        """Let time pass."""
        until = self.ticks + max(0.0, seconds)
        while ready := sorted(one for one in self.due if one[0] <= until):
            self.due.remove(ready[0])
            self._to(ready[0][0])
            ready[0][2]()
        self._to(until)

    def _to(self, ticks: float) -> None:
        passed = max(0.0, ticks - self.ticks)
        self.wall += dt.timedelta(seconds=passed)
        self.ticks += passed


@dataclass(slots=True)
class LifeClock:
    """The clock of one process; it stops with it."""

    time: VirtualTime
    life: Life

    def now(self) -> dt.datetime:
        """Virtual UTC time."""
        self.life.check()
        return self.time.wall

    def monotonic(self) -> float:
        """Virtual seconds."""
        return self.time.ticks

    async def sleep(self, seconds: float) -> None:
        """Turn the clock instead of waiting; others get their turn."""
        self.life.check()
        self.time.turn(seconds)
        await asyncio.sleep(0)
        self.life.check()


@dataclass(slots=True)
class LifeRng:
    """Chance from a seed, for all lives of a schedule in turn; keeps the tokens so that leaks can be looked for."""

    seed: int
    tokens: list[str] = field(default_factory=list)
    _random: random.Random = field(init=False)
    _numbers: Iterator[int] = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._numbers = iter(range(1, 1_000_000))

    def new_id(self) -> str:
        """26 characters that count up, as ULIDs do."""
        return f"01PROOF{next(self._numbers):07d}{self._random.getrandbits(48):012X}"

    def token(self) -> str:
        """A callback token, remembered."""
        self.tokens.append(f"tok-{self._random.getrandbits(192):048x}")
        return self.tokens[-1]

    def uniform(self, low: float, high: float) -> float:
        """Jitter."""
        return self._random.uniform(low, high)


class Inline(ThreadPoolExecutor):
    """Threads' work done at once where it is asked for, so that a schedule always runs the same way."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Run `fn` now."""
        done: Future[T] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - handed on to whoever awaits it
            done.set_exception(error)
        return done
