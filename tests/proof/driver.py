"""SQLite without SQLAlchemy's engine in between, whose statements are a life's points: half of the time of a schedule else.

The statements, the transactions and the file are the ledger's own. Races and kills go through the engine.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Engine

from tests.proof.crashes import Life

__all__ = ["Driver"]

DIALECT = sqlite.dialect(paramstyle="named")


class Rows:
    """What a statement gave."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor

    @property
    def rowcount(self) -> int:
        """Rows changed."""
        return self._cursor.rowcount

    def __iter__(self) -> Iterator[Any]:
        return iter(self._cursor)

    def all(self) -> Sequence[Any]:
        """Every row."""
        return self._cursor.fetchall()

    def scalars(self) -> Iterator[Any]:
        """The first column."""
        return (row[0] for row in self._cursor)

    def scalar_one(self) -> Any:
        """The one value."""
        [(value,)] = self._cursor.fetchall()
        return value


class Driver:
    """The engine and its one connection, which is the engine's own."""

    def __init__(self, engine: Engine, life: Life) -> None:
        self.dialect = engine.dialect
        self._life = life
        self._engine = engine
        self._borrowed = engine.raw_connection()
        self._sqlite: Any = self._borrowed.driver_connection
        self._writes = False

    def connect(self) -> Self:
        """The connection."""
        self._writes = False
        return self

    def execution_options(self, *, rushes_writes: bool = False) -> Self:
        """Whether the next transaction writes."""
        self._writes = rushes_writes
        return self

    def begin(self) -> "Scope":
        """A transaction: committed at its end, rolled back by any exception."""
        return Scope(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def exec_driver_sql(self, text: str, parameters: Any = ()) -> Rows:
        """Run a statement, once or once for each set of parameters."""
        self._life.sql(text)
        try:
            if isinstance(parameters, list):
                return Rows(self._sqlite.executemany(text, parameters))
            return Rows(self._sqlite.execute(text, parameters))
        except sqlite3.Error as error:
            raise sa.exc.DBAPIError(text, None, error) from error

    def execute(self, statement: Any) -> Rows:
        """Run a statement that SQLAlchemy has still to compile."""
        compiled = statement.compile(dialect=DIALECT, compile_kwargs={"render_postcompile": True})
        return self.exec_driver_sql(str(compiled), compiled.params)

    def enter(self) -> None:
        """Begin."""
        self.exec_driver_sql("BEGIN IMMEDIATE" if self._writes else "BEGIN")

    def leave(self, *, well: bool) -> None:
        """Commit or roll back."""
        try:
            if well and self._writes:
                self._life.commits()
            self._sqlite.execute("COMMIT" if well else "ROLLBACK")
            if well and self._writes:
                self._life.committed()
        except BaseException:
            if self._sqlite.in_transaction:
                self._sqlite.execute("ROLLBACK")
            raise

    def dispose(self) -> None:
        """Close."""
        self._borrowed.invalidate()
        self._engine.dispose()


class Scope:
    """One transaction."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def __enter__(self) -> None:
        self._driver.enter()

    def __exit__(self, kind: object, *_: object) -> None:
        self._driver.leave(well=kind is None)
