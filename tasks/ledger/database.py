"""One code path to SQLite and PostgreSQL: private files, one writer at a time, statements compiled once a dialect.

SQLite: WAL, synchronous=FULL, BEGIN IMMEDIATE (sqlite.org/wal.html, sqlite.org/pragma.html#pragma_synchronous).
PostgreSQL: a writer locks the ledger's only row first, so that the order of later locks cannot matter.
"""

import datetime as dt
import errno
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import psycopg
from sqlalchemy.engine import URL, Connection, Dialect, Engine
from sqlalchemy.engine.interfaces import DBAPIConnection

from tasks.disk import ROOM, is_full, trouble
from tasks.errors import SetupProblem
from tasks.ledger.files import open_private
from tasks.seams import Clock, SystemClock

__all__ = [
    "PATIENCE",
    "Database",
    "LedgerAway",
    "LedgerFull",
    "LedgerUnavailable",
    "Prepared",
    "micros_of",
    "moment",
    "parse_url",
    "prepare_file",
    "rows_of",
    "unwritable",
]

PATIENCE = 15.0
"""Seconds that a writer waits for another one."""
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def _postgres() -> Dialect:
    made: Dialect = psycopg.dialect()  # type: ignore[no-untyped-call]
    return made


_DIALECTS: Mapping[str, Dialect] = {"sqlite": sqlite.dialect(paramstyle="named"), "postgresql": _postgres()}
_REMOTE_DISKS = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "fuse.sshfs"}


class LedgerUnavailable(SetupProblem):
    """The ledger cannot be read or written now, which says nothing about the provider.

    Before a create this means that none is sent; after one the journal holds its answer, and the call is to be repeated.
    """


class LedgerAway(LedgerUnavailable):
    """It may be back in seconds: its server restarts, or another process holds its file."""


class LedgerFull(LedgerUnavailable):
    """Its disk takes nothing more. What it holds is whole."""


def micros_of(moment: dt.datetime) -> int:
    """Microseconds since 1970 of an aware time."""
    return (moment - _EPOCH) // dt.timedelta(microseconds=1)


def moment(micros: int) -> dt.datetime:
    """The aware UTC time of `micros`."""
    return _EPOCH + dt.timedelta(microseconds=micros)


class Prepared:
    """A statement whose text is compiled once a dialect, however many ledgers a process opens."""

    def __init__(self, statement: sa.sql.ClauseElement) -> None:
        self._statement = statement
        self._texts: dict[str, str] = {}

    def on(self, dialect: str) -> str:
        """Its text; parameters are given by name."""
        if dialect not in self._texts:
            self._texts[dialect] = str(self._statement.compile(dialect=_DIALECTS[dialect]))
        return self._texts[dialect]


def parse_url(url: str) -> URL:
    """Read a ledger's URL.

    Raises:
        SetupProblem: neither a SQLite file nor PostgreSQL.
    """
    hint = "Set RUSHES_LEDGER to sqlite:////folder/ledger.db or postgresql://user@host/database."
    try:
        parsed = sa.make_url(url.replace("postgres://", "postgresql://", 1))
    except sa.exc.ArgumentError:
        raise SetupProblem("RUSHES_LEDGER is not a database URL", hint) from None
    backend = parsed.get_backend_name()
    if backend == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise SetupProblem(f"a ledger cannot live in {backend}", hint)
    if not parsed.database or parsed.database == ":memory:" or parsed.database.startswith("file:") or parsed.query:
        raise SetupProblem("a ledger in SQLite needs a plain file", hint)
    return parsed


class Database:
    """The open database. Time is the database's own; SQLite's is the host's, that is `clock`."""

    def __init__(self, url: URL, *, clock: Clock, durable: bool, patience: float = PATIENCE) -> None:
        self.dialect = url.get_backend_name()
        self.path = Path(url.database or "").absolute() if self.dialect == "sqlite" else None
        self.away = False
        self._clock = clock
        self._database_time = self.dialect == "postgresql" and isinstance(clock, SystemClock)
        make = _sqlite_engine if self.path else _postgres_engine
        self._engine = make(url, durable=durable, patience=patience)

    @property
    def identity(self) -> str:
        """Which database this is, without user or password."""
        if self.path:
            return f"sqlite:{self.path}"
        url = self._engine.url
        return f"postgresql://{url.host or url.query.get('host', '')}:{url.port or 5432}/{url.database}"

    def now(self, connection: Connection) -> int:
        """Microseconds since 1970."""
        if not self._database_time:
            return micros_of(self._clock.now())
        text = "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)"
        return int(connection.exec_driver_sql(text).scalar_one())

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that is the only writer from its start; committed at the end, rolled back by any exception.

        Raises:
            LedgerUnavailable: the database refused; nothing was written.
        """
        with self._translated(), self._engine.connect() as connection:
            connection.execution_options(rushes_writes=True)
            with connection.begin():
                yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One consistent view of the ledger.

        Raises:
            LedgerUnavailable: the database cannot be read.
        """
        with self._translated(), self._engine.connect() as connection:
            if self.dialect == "postgresql":
                connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.DBAPIError as error:
            ours = _unavailable(error.orig, self.path)
            self.away = isinstance(ours, LedgerAway)
            raise ours from None
        self.away = False

    def check(self) -> None:
        """Refuse a damaged file before anything is written to it.

        Raises:
            SetupProblem: SQLite finds its pages out of order.
        """
        if self.path is None:
            return
        with self.reading() as connection:
            found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
        if found != "ok":
            raise SetupProblem(f"the ledger is damaged: {found}", _DAMAGED.format(path=self.path))

    def keep_write_ahead(self) -> None:
        """Switch a SQLite file to WAL; the mode stays with the file."""
        if self.path is None:
            return
        with self._translated(), self._engine.connect() as connection:
            driver = connection.connection.driver_connection
            assert driver is not None
            mode = driver.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode != "wal":
            raise SetupProblem(f"{self.path} cannot use write-ahead logging", "Use a local disk.")

    def close(self) -> None:
        """Give every connection back."""
        self._engine.dispose()


_SHUT_OUT = "Another process holds it for long; look for a stopped `rushes` and end it, then run this again."
_DAMAGED = "{path} is damaged. Restore it from a backup; it is never made anew over old purchases."
_ELSE = "See `rushes doctor`; nothing is bought while the ledger cannot be written."
# https://www.postgresql.org/docs/current/errcodes-appendix.html: connections lost, shutting down, starting up, no slot,
# locked for long, a deadlock, and a server that has become a standby. A connection that fails has no code at all.
_AWAY_STATES = {"57P01", "57P02", "57P03", "57P05", "53300", "55P03", "40001", "40P01", "25006"}
_DISK_FULL = "53100"


def unwritable(path: Path, error: OSError) -> LedgerUnavailable:
    """What the operating system says of `path`, in words: full, or not ours to write."""
    if is_full(error):
        return LedgerFull(f"disk full: {path} cannot grow ({error.strerror or error})", ROOM)
    return LedgerUnavailable(
        f"{path} cannot be written: {error.strerror or error}", "Check the disk and the rights there."
    )


def _unavailable(error: BaseException | None, path: Path | None) -> LedgerUnavailable:
    """Translate what the driver says, in its own words only: the exception around it may quote parameters."""
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
    if path is None:
        return _from_server(error, f"the ledger cannot be used: {reason}")
    return _from_file(error, f"the ledger cannot be used: {reason}", path)


def _from_server(error: BaseException | None, words: str) -> LedgerUnavailable:
    state = getattr(error, "sqlstate", None) or ""
    if state == _DISK_FULL:
        return LedgerFull(f"disk full at the ledger's server: {words}", f"Its disk needs room. {ROOM}")
    broken = type(error).__name__ == "OperationalError" and not state  # a connection that breaks has no code
    if broken or state.startswith("08") or state in _AWAY_STATES:
        return LedgerAway(words, _SHUT_OUT if state == "55P03" else "Is its server up? `rushes doctor` asks it.")
    return LedgerUnavailable(words, _ELSE)


def _from_file(error: BaseException | None, words: str, path: Path) -> LedgerUnavailable:
    # https://www.sqlite.org/rescode.html: the low byte is the kind.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_BUSY if "locked" in words else 0) & 0xFF
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return LedgerAway(words, _SHUT_OUT)
    if code == sqlite3.SQLITE_FULL:
        return unwritable(path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    # A failed write says no more than that, be the disk full, read-only or broken: a write beside it tells which.
    if code in {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY} and (found := trouble(path)):
        return unwritable(path, found)
    cures = {
        sqlite3.SQLITE_CORRUPT: _DAMAGED.format(path=path),
        sqlite3.SQLITE_NOTADB: _DAMAGED.format(path=path),
        sqlite3.SQLITE_IOERR: f"The disk of {path} fails: look at the system's log. The ledger itself may be whole.",
    }
    return LedgerUnavailable(words, cures.get(code, _ELSE))


def _sqlite_engine(url: URL, *, durable: bool, patience: float) -> Engine:
    engine = sa.create_engine(url, hide_parameters=True, connect_args={"timeout": patience})

    def connected(connection: DBAPIConnection, _record: object) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (f"synchronous={'FULL' if durable else 'OFF'}", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def begun(connection: Connection) -> None:
        writes = connection.get_execution_options().get("rushes_writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    sa.event.listen(engine, "connect", connected)
    sa.event.listen(engine, "begin", begun)
    return engine


def _postgres_engine(url: URL, *, durable: bool, patience: float) -> Engine:
    options = [url.query.get("options", ""), f"-c lock_timeout={round(patience * 1000)}"]
    options += [] if durable else ["-c synchronous_commit=off"]
    connect: dict[str, Any] = {"connect_timeout": 10, "options": " ".join(map(str, options)).strip()}
    try:
        return sa.create_engine(url, hide_parameters=True, pool_pre_ping=True, connect_args=connect)
    except ImportError:
        raise SetupProblem("PostgreSQL needs psycopg", "Install rushes[postgres].") from None


def prepare_file(path: Path, *, fresh: bool, durable: bool, template: bytes = b"") -> None:
    """Create the database's file with mode 0600, or check that the present one is a private file on a local disk.

    Raises:
        SetupProblem: a symbolic link, another user's file, or a network file system.
    """
    if durable and (kind := _disk(path.parent)) in _REMOTE_DISKS:
        raise SetupProblem(
            f"{path.parent} is on {kind}, which cannot keep a ledger", "Use a local disk, or PostgreSQL."
        )
    for companion in (Path(f"{path}-wal"), Path(f"{path}-shm")):
        if companion.is_symlink():
            raise SetupProblem(f"{companion} is a symbolic link", "The ledger follows none.")
    descriptor = open_private(path, os.O_RDWR | (os.O_CREAT if fresh else 0))
    try:
        if template and fresh and os.fstat(descriptor).st_size == 0:
            os.write(descriptor, template)
    finally:
        os.close(descriptor)


def _disk(folder: Path) -> str:
    """The type of the file system that holds `folder`; "" where the kernel does not list mounts."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    inside = [fields for line in mounts.splitlines() if (fields := line.split()) and folder.is_relative_to(fields[1])]
    return max(inside, key=lambda fields: len(fields[1]), default=["", "", ""])[2]


def rows_of(connection: Connection, statement: Prepared, parameters: Mapping[str, Any]) -> Sequence[Any]:
    """Every row of a prepared query."""
    return connection.exec_driver_sql(statement.on(connection.dialect.name), dict(parameters)).all()
