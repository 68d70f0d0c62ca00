"""One life of a process: numbered points at which it may die, and numbered waits in which it may be cancelled."""

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import sqlalchemy as sa

__all__ = ["Cancel", "Life", "SimulatedCrash", "died", "foreseen", "locked"]


class SimulatedCrash(BaseException):
    """The process is gone: nothing it does afterwards may have an effect."""


def died(error: BaseException) -> bool:
    """Whether the life ended, alone or inside a group of tasks that ended with it."""
    if isinstance(error, BaseExceptionGroup):
        return any(map(died, error.exceptions))
    return isinstance(error, SimulatedCrash)


def foreseen(error: BaseException, kind: type[BaseException]) -> bool:
    """Whether the error, or each of a group of errors, is of a kind."""
    if isinstance(error, BaseExceptionGroup):
        return all(foreseen(one, kind) for one in error.exceptions)
    return isinstance(error, kind)


@dataclass(frozen=True, slots=True)
class Cancel:
    """The task is cancelled in its wait number `at`: the whole run, as SIGTERM does, or the very `step` that waits.

    `stays`: the process goes on and renders again; else it ends, and another one starts.
    """

    at: int
    whom: Literal["run", "step"] = "run"
    stays: bool = False

    def __str__(self) -> str:
        return f"cancel {self.whom} {self.at}{' stays' if self.stays else ''}"


@dataclass(slots=True)
class Life:
    """Counts the points that a process passes and ends it at number `ends_at`; 0: it lives on.

    `trail` names every point passed, `waits` every wait where `watched`. `statements` makes each writing SQL statement a
    point, not only each commit.
    """

    ends_at: int = 0
    statements: bool = True
    cancel: Cancel | None = None
    watched: bool = False
    dead: bool = False
    cancelled: bool = False
    trail: list[str] = field(default_factory=list)
    waits: list[str] = field(default_factory=list)
    last: str = ""
    run: "asyncio.Task[Any] | None" = None
    at_end: Callable[[], object] | None = None
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
        if self.at_end is not None:
            self.at_end()
        raise SimulatedCrash(self.trail[-1] if self.trail else "")

    def check(self) -> None:
        """What is dead does nothing."""
        if self.dead:
            raise SimulatedCrash

    def suspends(self, who: str) -> None:
        """A watched task waits: cancel it, or its run, if this is the wait."""
        self.waits.append(f"{who} after {self.last or 'start'}")
        if self.cancel is None or self.cancelled or len(self.waits) != self.cancel.at:
            return
        task = self.run if self.cancel.whom == "run" else asyncio.current_task()
        if task is not None:
            self.cancelled = task.cancel()

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

    def committed(self) -> None:
        """A transaction is on disk, which its sender may never hear."""
        if self.sabotage is not None:
            self.sabotage(f"{self.last}:DONE")


def locked(statement: str) -> sa.exc.OperationalError:
    """What SQLAlchemy raises where another process holds the database."""
    return sa.exc.OperationalError(statement, {}, sqlite3.OperationalError("database is locked"))
