"""How a ledger is opened: created once, migrated, compared with its journal; never made anew over old purchases (F65)."""

import functools
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tasks.errors import SetupProblem
from tasks.ledger import recovery, schema
from tasks.ledger.database import Database, Prepared, parse_url, prepare_file, rows_of
from tasks.ledger.files import Home, Senders
from tasks.ledger.journal import Journal
from tasks.ledger.migrations import STEPS, NewerSchema, NotALedger, migrate
from tasks.ledger.recovery import Replay
from tasks.ledger.transaction import Transaction, binds
from tasks.seams import Clock, Rng, SystemClock

__all__ = ["Opened", "forgive", "open_ledger", "read_journal"]

_MIGRATING = 0x52555348
_LEDGER_ID = Prepared(sa.select(schema.ledger.c.ledger_id))
_FIRST_INTENT = Prepared(sa.text("SELECT 1 FROM intent LIMIT 1"))
_NEW_LEDGER = Prepared(sa.insert(schema.ledger).values(binds(schema.ledger)).inline())
_HOMES = Prepared(sa.select(schema.home.c.home_id, schema.home.c.journal_bytes))
_NEW_HOME = Prepared(sa.text("INSERT INTO home (home_id, journal_bytes) VALUES (:home_id, 0)"))
_READ_TO = Prepared(sa.text("UPDATE home SET journal_bytes = :place WHERE home_id = :home_id"))


@dataclass(slots=True)
class Opened:
    """The parts of an open ledger."""

    database: Database
    home: Home
    home_id: str
    ledger_id: str
    journal: Journal
    senders: Senders


def open_ledger(url: str, folder: Path, *, clock: Clock, rng: Rng, durable: bool, patience: float) -> Opened:
    """Open, or create where none ever was.

    Raises:
        SetupProblem: vanished, damaged, written by a newer version, not private, or unreachable.
    """
    parsed = parse_url(url)
    database = Database(parsed, clock=clock, durable=durable, patience=patience)
    home = Home(folder.absolute(), _identity(database, folder.absolute()))
    try:
        with home.opening():
            return _open(database, home, rng, durable=durable)
    except OSError as error:
        database.close()
        raise SetupProblem(f"{home.folder} cannot be written: {error.strerror}", "Free space in RUSHES_HOME.") from None
    except BaseException:
        database.close()
        raise


def _identity(database: Database, folder: Path) -> str:
    """The database's name in its home; one that lies inside moves with it."""
    if database.path is not None and database.path.is_relative_to(folder):
        return f"sqlite:{database.path.relative_to(folder)}"
    return database.identity


def _open(database: Database, home: Home, rng: Rng, *, durable: bool) -> Opened:
    marker = home.marker()
    if database.path is not None:
        _file(database.path, home, existed=marker is not None, durable=durable)
    if durable:
        database.check()
    with database.writing() as connection:
        ledger_id = _schema(database, connection, rng, existed=marker is not None)
    database.keep_write_ahead()
    had_journal = os.path.lexists(home.file(".journal"))
    journal = Journal(home.file(".journal"), home.file(".reserve"), durable=durable)
    home_id = (marker or {}).get("home_id") or rng.new_id()
    opened = Opened(database, home, home_id, ledger_id, journal, Senders(home.folder / "sending"))
    try:
        journal.drain()
        _compare(opened, rng, ledger_id, marker, had_journal=had_journal)
    except BaseException:
        journal.close()
        raise
    facts = {"ledger_id": (marker or {}).get("ledger_id") or ledger_id, "home_id": opened.home_id}
    if marker != facts:
        home.mark(facts, durable=durable)
    return opened


def _file(path: Path, home: Home, *, existed: bool, durable: bool) -> None:
    if existed and (not os.path.lexists(path) or path.lstat().st_size == 0):
        raise _vanished(str(path), home)
    if path.parent != home.folder:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    prepare_file(path, fresh=not existed, durable=durable, template=b"" if durable else _template())


def _vanished(what: str, home: Home) -> SetupProblem:
    return SetupProblem(
        f"the ledger at {what} is gone, and {home.file('.json')} says that there was one",
        "Restore it from a backup: an empty one would buy everything again. If it is really to be given up, move the "
        "files beside that marker away first.",
    )


def _schema(database: Database, connection: Connection, rng: Rng, *, existed: bool) -> str:
    """Bring the schema up to date and return the ledger's id."""
    if database.dialect == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATING})")
    now = database.now(connection)
    try:
        ran = migrate(connection, now)
    except NewerSchema as error:
        newer = ", ".join(error.names)
        raise SetupProblem(f"the ledger was written by a newer Rushes ({newer})", "Upgrade Rushes.") from None
    except NotALedger:
        raise SetupProblem("the database of RUSHES_LEDGER holds something else", "Name one of its own.") from None
    found = next((ledger_id for (ledger_id,) in rows_of(connection, _LEDGER_ID, {})), None)
    if found is None:
        if existed:
            raise SetupProblem(
                f"the ledger in {database.identity} is empty, and it was not", "Restore it from a backup."
            )
        found = rng.new_id()
        facts = {"one": 1, "ledger_id": found, "schema_no": len(STEPS), "recovery": "", "created_at": now}
        connection.exec_driver_sql(_NEW_LEDGER.on(database.dialect), facts)
    elif ran:
        connection.execute(sa.update(schema.ledger).values(schema_no=len(STEPS)))
    return str(found)


def _compare(opened: Opened, rng: Rng, ledger_id: str, marker: dict[str, str] | None, *, had_journal: bool) -> None:
    """Hold the ledger against marker and journal; what does not fit puts it in RECOVERY."""
    with opened.database.writing() as connection:
        tx = Transaction(connection, opened.database.now(connection), rng)
        bought = bool(tx.rows(_FIRST_INTENT))
        start = _start(tx, opened.home_id)
        if bought and (doubt := _unproved(opened, tx, ledger_id, marker, start, had_journal=had_journal)):
            recovery.set_recovery(tx, doubt)
        done = read_journal(tx, opened, start, recreate=False)
        if done.missing:
            lost = f"{recovery.BEHIND}: {len(done.missing)} purchases are missing"
            recovery.set_recovery(tx, recovery.recovery_of(tx) or lost)


def _unproved(
    opened: Opened,
    tx: Transaction,
    ledger_id: str,
    marker: dict[str, str] | None,
    start: int,
    *,
    had_journal: bool,
) -> str:
    if marker and marker.get("ledger_id") != ledger_id:
        return f"another ledger stands where {marker.get('ledger_id')} was"
    if marker and (not had_journal or opened.journal.size < start):
        return "its journal has lost lines"
    elsewhere = any(home_id != opened.home_id for home_id, _ in tx.rows(_HOMES))
    if marker is None and elsewhere and opened.database.path is not None:
        return "it was written from another folder, whose journal is not here"
    return ""


def _start(tx: Transaction, home_id: str) -> int:
    """Up to which byte the ledger is known to hold what this home's journal says."""
    found = dict(tuple(row) for row in tx.rows(_HOMES)).get(home_id)
    if found is None:
        tx.run(_NEW_HOME, {"home_id": home_id})
    return int(found or 0)


def read_journal(tx: Transaction, opened: Opened, start: int | None = None, *, recreate: bool) -> Replay:
    """Replay the journal from where it was last read, and remember how far the ledger now holds it."""
    first = _start(tx, opened.home_id) if start is None else start
    end = opened.journal.size
    done = recovery.replay(tx, opened.journal.read(first), end, opened.senders.dead, recreate=recreate)
    if done.resume_at != first:
        tx.run(_READ_TO, {"place": done.resume_at, "home_id": opened.home_id})
    return done


def forgive(tx: Transaction, opened: Opened, who: str, why: str) -> dict[str, str]:
    """A person vouches for the ledger as it is: it leaves RECOVERY. Returns the marker's new facts."""
    ledger_id = str(tx.rows(_LEDGER_ID)[0][0])
    tx.run(_READ_TO, {"place": opened.journal.size, "home_id": opened.home_id})
    recovery.set_recovery(tx, "", actor=who)
    tx.event("", "reconciled", {"why": why}, actor=who)
    return {"ledger_id": ledger_id, "home_id": opened.home_id}


@functools.cache
def _template() -> bytes:
    """An empty ledger's file, migrated once a process: what makes thousands of rehearsals cheap."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "template.db"
        database = Database(parse_url(f"sqlite:///{path}"), clock=SystemClock(), durable=False)
        prepare_file(path, fresh=True, durable=False)
        with database.writing() as connection:
            migrate(connection, 0)
        database.keep_write_ahead()
        database.close()
        return path.read_bytes()
