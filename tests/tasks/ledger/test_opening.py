"""Opening: created once, private, and refused with a cure rather than made anew over old purchases."""

import os
import resource
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tasks.errors import SetupProblem
from tasks.ledger import IntentState, LedgerUnavailable, Reserved
from tasks.seams import SystemClock, SystemRng
from tests.tasks.ledger.desk import Desk, in_state, order, reserved, usd

S = IntentState


@contextmanager
def full_disk(path: Path) -> Iterator[None]:
    """No file of this process may grow past the present size of `path`: writes fail with a real error."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _database(desk: Desk) -> Path:
    return desk.home / "ledger.db"


def test_a_fresh_folder_becomes_a_ledger_and_stays_one(desk: Desk) -> None:
    """What was written is there for the next process."""
    one = in_state(desk.begun(), S.STORED)
    desk.close()
    assert desk.open().get(one.intent_id) == one


@pytest.mark.parametrize("durable", [True, False])
def test_S22_every_file_is_private_whatever_the_umask(tmp_path: Path, durable: bool) -> None:
    """0600 in 0700 folders, the database's companions and the locks included."""
    home = tmp_path / "home"
    desk = Desk(f"sqlite:///{home}/ledger.db", home)
    before = os.umask(0)
    try:
        ledger = desk.begun(ledger=desk.open(durable=durable))
        reserved(ledger)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [home, *home.rglob("*")]}
    finally:
        os.umask(before)
        desk.close()
    folders = {name for name, mode in modes.items() if mode == 0o700}
    assert folders == {"home", "sending"}
    assert {mode for name, mode in modes.items() if name not in folders} == {0o600}
    assert {"ledger.db", "ledger.db-wal", "ledger.journal", "ledger.json"} <= modes.keys()


def test_S22_a_folder_that_others_may_read_is_closed_to_them(sqlite_desk: Desk) -> None:
    """The folder may have been made by hand."""
    sqlite_desk.home.mkdir(mode=0o755)
    sqlite_desk.open()
    assert stat.S_IMODE(sqlite_desk.home.stat().st_mode) == 0o700


def test_S22_a_folder_that_everybody_may_write_is_refused(sqlite_desk: Desk) -> None:
    """A home in /tmp itself is nobody's."""
    sqlite_desk.home.mkdir()
    sqlite_desk.home.chmod(0o1777)
    with pytest.raises(SetupProblem, match="writable for everybody"):
        sqlite_desk.open()


@pytest.mark.parametrize("name", ["ledger.db", "ledger.db-wal", "ledger.journal", "ledger.json", "ledger.lock"])
def test_S22_a_symbolic_link_is_never_followed(sqlite_desk: Desk, name: str) -> None:
    """A planted link would have us write into somebody's file."""
    target = sqlite_desk.home.parent / "target"
    sqlite_desk.home.mkdir(mode=0o700)
    (sqlite_desk.home / name).symlink_to(target)
    with pytest.raises(SetupProblem, match="symbolic link"):
        sqlite_desk.open()
    assert not target.exists()


def test_S22_a_home_that_is_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    """The real folder is to be named."""
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "home").symlink_to(tmp_path / "real")
    desk = Desk(f"sqlite:///{tmp_path}/real/ledger.db", tmp_path / "home")
    with pytest.raises(SetupProblem, match="symbolic link"):
        desk.open()


@pytest.mark.parametrize("loss", ["removed", "emptied", "recreated"])
def test_F65_a_vanished_ledger_is_never_made_anew(sqlite_desk: Desk, loss: str) -> None:
    """The marker in the home says that one existed: an empty one would buy everything again."""
    sqlite_desk.begun()
    sqlite_desk.close()
    path = _database(sqlite_desk)
    path.unlink()
    if loss == "emptied":
        path.touch()
    if loss == "recreated":
        sqlite3.connect(path).execute("VACUUM").connection.close()
        path.write_bytes(path.read_bytes() or _empty_database(path))
    with pytest.raises(SetupProblem) as refused:
        sqlite_desk.open()
    assert "backup" in refused.value.hint
    assert not path.exists() or path.stat().st_size < 9000


def _empty_database(path: Path) -> bytes:
    connection = sqlite3.connect(path)
    connection.executescript("CREATE TABLE x (y); DROP TABLE x;")
    connection.close()
    return path.read_bytes()


@pytest.mark.postgres
def test_F65_an_emptied_database_is_never_made_a_ledger_again(postgres_desk: Desk) -> None:
    """The same for a database that somebody dropped and created."""
    copy = postgres_desk.backup()
    postgres_desk.begun()
    postgres_desk.restore(copy)
    with pytest.raises(SetupProblem, match="is empty, and it was not"):
        postgres_desk.open()
    postgres_desk.opened.clear()


@pytest.mark.parametrize("place", [0, 4096, 20000])
def test_F65_a_damaged_ledger_refuses_to_open(sqlite_desk: Desk, place: int) -> None:
    """Wherever the damage is, nothing is bought on it and nothing is written over it."""
    ledger = sqlite_desk.begun(ledger=sqlite_desk.open(durable=True))
    for number in range(20):
        in_state(ledger, S.STORED, order(f"SH{number}"), job=f"job-{number}")
    sqlite_desk.close()
    path = _database(sqlite_desk)
    with path.open("r+b") as file:
        file.seek(place)
        file.write(b"\xde\xad\xbe\xef" * 400)
    damaged = path.read_bytes()
    with pytest.raises(SetupProblem) as refused:
        sqlite_desk.open(durable=True)
    assert "backup" in refused.value.hint
    assert path.read_bytes() == damaged


def test_F65_a_locked_database_stops_the_buying_and_nothing_else(sqlite_desk: Desk) -> None:
    """Before K5 nothing is reserved and no lock is left; after it the journal takes the answer."""
    ledger = sqlite_desk.begun(ledger=sqlite_desk.open(patience=0.05))
    one = reserved(ledger)
    other = sqlite3.connect(_database(sqlite_desk), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerUnavailable, match="locked"):
        ledger.reserve(order("SH020"))
    ledger.journal_answer(one.intent_id, "0" * 64, "job-1")
    with pytest.raises(LedgerUnavailable, match="locked"):
        ledger.accepted(one.intent_id, "job-1", None)
    other.execute("ROLLBACK")
    other.close()
    assert [path.name for path in (sqlite_desk.home / "sending").iterdir()] == [one.intent_id]
    assert ledger.accepted(one.intent_id, "job-1", None).state is S.SUBMITTED
    assert list((sqlite_desk.home / "sending").iterdir()) == []


@pytest.mark.postgres
def test_F65_a_writer_that_hangs_on_postgres_is_waited_for_only_so_long(postgres_desk: Desk) -> None:
    """The same patience as with a file."""
    import psycopg  # only where PostgreSQL is installed

    ledger = postgres_desk.begun(ledger=postgres_desk.open(patience=0.05))
    with psycopg.connect(postgres_desk.url) as other:
        other.execute("SELECT * FROM ledger FOR UPDATE")
        with pytest.raises(LedgerUnavailable, match="lock timeout"):
            ledger.reserve(order())
    assert isinstance(ledger.reserve(order()), Reserved)


def test_F65_a_read_only_database_stops_the_buying(sqlite_desk: Desk) -> None:
    """As a file that somebody else has opened for good, or a disk that was mounted read-only."""
    ledger = sqlite_desk.begun()
    with sqlite_desk.opened[-1]._database._engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA query_only=ON")
    with pytest.raises(LedgerUnavailable, match="readonly"):
        ledger.reserve(order())


def test_F62_a_full_disk_before_the_intent_buys_nothing(sqlite_desk: Desk) -> None:
    """The reservation fails, and when there is room again nothing of it is there."""
    ledger = sqlite_desk.begun(ledger=sqlite_desk.open(durable=True))
    with full_disk(sqlite_desk.home / "ledger.json"), pytest.raises(LedgerUnavailable):
        ledger.reserve(order())
    assert (ledger.intents(), ledger.caps()) == ([], [])
    assert isinstance(ledger.reserve(order()), Reserved)


def test_F62_a_purchase_that_the_journal_cannot_take_is_never_sent(sqlite_desk: Desk) -> None:
    """It is cancelled and its money is back: the journal must know of every purchase before it can be sent."""
    ledger = sqlite_desk.begun()
    journal = sqlite_desk.home / "ledger.journal"
    journal.write_bytes(b"\n" * (1 << 20))
    with full_disk(journal), pytest.raises(LedgerUnavailable, match="journal"):
        ledger.reserve(order())
    (one,) = ledger.intents()
    assert (one.state, usd(one.reserved)) == (S.CANCELLED, "0.00")
    assert not ledger.still_ours(one.intent_id, 1)


def test_a_full_disk_at_the_first_start_says_so(sqlite_desk: Desk) -> None:
    """Not a traceback."""
    sqlite_desk.home.mkdir(mode=0o700)
    (sqlite_desk.home / "empty").touch()
    with full_disk(sqlite_desk.home / "empty"), pytest.raises(SetupProblem):
        sqlite_desk.open(durable=True)
    sqlite_desk.begun()


def test_F83_a_ledger_of_a_newer_version_is_refused_untouched(desk: Desk) -> None:
    """The start is refused before any POST, and the cure is to upgrade."""
    desk.begun()
    desk.execute("INSERT INTO migration (name, at) VALUES ('9999-teleport', 0)")
    desk.close()
    before = _database(desk).read_bytes() if desk.url.startswith("sqlite") else b""
    with pytest.raises(SetupProblem, match=r"newer Rushes .9999-teleport") as refused:
        desk.open()
    assert refused.value.hint == "Upgrade Rushes."
    assert not before or _database(desk).read_bytes() == before


def test_F83_an_upgrade_in_the_middle_of_a_run_stops_the_old_process(desk: Desk) -> None:
    """It buys nothing more; the answer to what it has sent goes to the journal, where the new process finds it."""
    ledger = desk.begun()
    one = reserved(ledger)
    desk.execute("UPDATE ledger SET schema_no = schema_no + 1")
    with pytest.raises(LedgerUnavailable, match="newer Rushes"):
        ledger.reserve(order("SH020"))
    ledger.journal_answer(one.intent_id, "0" * 64, "job-1")
    with pytest.raises(LedgerUnavailable, match="newer Rushes"):
        ledger.accepted(one.intent_id, "job-1", None)
    desk.close()
    desk.execute("UPDATE ledger SET schema_no = schema_no - 1")
    assert desk.open().get(one.intent_id).job_id == "job-1"


def test_a_database_of_something_else_is_left_alone(desk: Desk) -> None:
    """A wrong URL must not turn somebody's tables into a ledger."""
    desk.home.mkdir(mode=0o700)
    desk.execute("CREATE TABLE holidays (day TEXT)")
    with pytest.raises(SetupProblem, match="holds something else"):
        desk.open()
    desk.execute("INSERT INTO holidays VALUES ('today')")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://root@localhost/ledger", "a ledger cannot live in mysql"),
        ("sqlite://", "a ledger in SQLite needs a plain file"),
        ("sqlite:///:memory:", "a ledger in SQLite needs a plain file"),
        ("sqlite:///file:ledger.db?uri=true", "a ledger in SQLite needs a plain file"),
        ("ledger.db", "RUSHES_LEDGER is not a database URL"),
    ],
)
def test_a_url_that_cannot_keep_a_ledger_is_refused(tmp_path: Path, url: str, message: str) -> None:
    """With the sentence that names the setting."""
    with pytest.raises(SetupProblem, match=message) as refused:
        Desk(url, tmp_path / "home").open()
    assert "RUSHES_LEDGER" in refused.value.hint


def test_an_unreachable_postgres_is_a_set_up_problem_that_names_no_password(tmp_path: Path) -> None:
    """S08: the driver's words, never the URL."""
    with pytest.raises(SetupProblem) as refused:
        Desk(f"postgresql://user:hunter2@/ledger?host={tmp_path}", tmp_path / "home").open()
    assert "hunter2" not in f"{refused.value!r} {refused.value.hint}"


def test_a_folder_that_was_moved_as_a_whole_is_the_same_ledger(sqlite_desk: Desk) -> None:
    """Database, journal and marker belong together, not to a path."""
    one = in_state(sqlite_desk.begun(), S.STORED)
    sqlite_desk.close()
    moved = sqlite_desk.home.rename(sqlite_desk.home.parent / "moved")
    ledger = Desk(f"sqlite:///{moved}/ledger.db", moved).open()
    assert (ledger.halted(), ledger.get(one.intent_id)) == ("", one)
    ledger.close()


def test_two_ledgers_in_one_home_do_not_mix(tmp_path: Path) -> None:
    """Each database has a marker and a journal of its own."""
    first = Desk(f"sqlite:///{tmp_path}/home/ledger.db", tmp_path / "home")
    second = Desk(f"sqlite:///{tmp_path}/home/rehearsal.db", tmp_path / "home")
    one = reserved(first.begun())
    assert second.begun().intents() == []
    second.close()
    first.close()
    assert first.open().get(one.intent_id) == one
    first.close()


@pytest.mark.postgres
def test_F76_time_on_postgres_is_the_databases(postgres_desk: Desk) -> None:
    """Hosts whose clocks differ share one time; the turned clock of a proof is believed."""

    class Wrong(SystemClock):
        """A host in 1970."""

        def now(self):  # type: ignore[no-untyped-def]  # noqa: ANN202
            return postgres_desk.clock.now().replace(year=1970)

    ledger = postgres_desk.begun(ledger=postgres_desk.open(clock=Wrong(), rng=SystemRng()))
    one = reserved(ledger)
    assert one.created_at.year > 2020
    assert ledger.still_ours(one.intent_id, 1)
