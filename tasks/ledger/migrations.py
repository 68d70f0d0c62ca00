"""Numbered steps from an empty database to the present schema, each recorded by its name in the transaction that ran it.

A step that was released is never edited: a change of the schema is a new step at the end of `STEPS`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, inspect

__all__ = ["STEPS", "NewerSchema", "NotALedger", "Step", "applied", "migrate"]


class NewerSchema(Exception):
    """The database holds steps that this version does not know; `names` lists them."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(tuple(names))
        self.names = tuple(names)


class NotALedger(Exception):
    """The database holds tables, but not a ledger's."""


@dataclass(frozen=True, slots=True)
class Step:
    """One change of the schema; `{serial}` in a statement becomes the dialect's counting primary key."""

    name: str
    statements: tuple[str, ...]
    sqlite: tuple[str, ...] = ()
    postgresql: tuple[str, ...] = ()


_LIVE = """state IN ('SUBMITTING', 'IN_DOUBT', 'SUBMITTED', 'STALLED', 'SUCCEEDED', 'STORED', 'RESULT_HELD',
  'FAILED_UNSETTLED') AND extra = 0"""


def _kept(table: str, verb: str) -> str:
    """A trigger of SQLite that keeps rows from being changed or deleted."""
    return f"""CREATE TRIGGER {table}_{verb.lower()} BEFORE {verb} ON {table}
BEGIN SELECT RAISE(ABORT, 'a fact of the ledger is never changed or deleted'); END"""


_INTENT = """CREATE TABLE intent (
  seq {serial}, intent_id TEXT NOT NULL UNIQUE, run_id TEXT NOT NULL REFERENCES run (run_id),
  board TEXT NOT NULL, shot TEXT NOT NULL, take INTEGER NOT NULL, shot_key TEXT NOT NULL, family TEXT NOT NULL,
  attempt_no INTEGER NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL, base_url TEXT NOT NULL,
  account TEXT NOT NULL, request_sha256 TEXT NOT NULL, request_json TEXT NOT NULL,
  quote_micros BIGINT NOT NULL CHECK (quote_micros >= 0), unit TEXT NOT NULL, price_version TEXT NOT NULL, rate TEXT,
  mode TEXT NOT NULL, audio SMALLINT NOT NULL, seconds INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('SUBMITTING', 'REJECTED', 'CANCELLED', 'IN_DOUBT', 'SUBMITTED', 'STALLED',
    'SUCCEEDED', 'STORED', 'RESULT_HELD', 'FAILED_UNSETTLED', 'FAILED_FINAL', 'ABANDONED', 'SUPERSEDED')),
  epoch INTEGER NOT NULL, lease_owner TEXT NOT NULL, lease_until BIGINT NOT NULL, not_after BIGINT NOT NULL,
  token_hash TEXT NOT NULL, job_id TEXT CHECK (job_id <> ''), amount_micros BIGINT CHECK (amount_micros >= 0),
  reserved_micros BIGINT NOT NULL CHECK (reserved_micros >= 0),
  settled_micros BIGINT NOT NULL CHECK (settled_micros >= 0), settled_at BIGINT, round INTEGER NOT NULL,
  doubt_reason TEXT NOT NULL, reason TEXT NOT NULL, urls TEXT NOT NULL,
  extra SMALLINT NOT NULL CHECK (extra IN (0, 1)), moderated SMALLINT NOT NULL CHECK (moderated IN (0, 1)),
  day TEXT NOT NULL, month TEXT NOT NULL, created_at BIGINT NOT NULL, submitted_at BIGINT, finished_at BIGINT,
  updated_at BIGINT NOT NULL,
  UNIQUE (shot_key, attempt_no),{jobs}
  CHECK (state NOT IN ('REJECTED', 'CANCELLED') OR (reserved_micros = 0 AND settled_micros = 0)),
  CHECK (state NOT IN ('STORED', 'RESULT_HELD', 'FAILED_FINAL', 'ABANDONED', 'SUPERSEDED') OR reserved_micros = 0),
  CHECK (state NOT IN ('SUBMITTED', 'STALLED', 'SUCCEEDED', 'STORED', 'RESULT_HELD', 'FAILED_UNSETTLED',
    'FAILED_FINAL') OR job_id IS NOT NULL),
  CHECK (state <> 'IN_DOUBT' OR doubt_reason <> ''))"""
_INTENT_INDEXES = (
    f"CREATE UNIQUE INDEX one_live_key ON intent (shot_key) WHERE {_LIVE}",
    f"CREATE UNIQUE INDEX one_live_shot ON intent (board, shot, family) WHERE {_LIVE}",
    "CREATE INDEX intent_shot ON intent (board, shot)",
    "CREATE INDEX intent_run ON intent (run_id)",
    "CREATE INDEX intent_account ON intent (provider, account, state)",
)

_FIRST = Step(
    "0001-ledger",
    (
        """CREATE TABLE ledger (
  one SMALLINT PRIMARY KEY CHECK (one = 1), ledger_id TEXT NOT NULL, schema_no INTEGER NOT NULL,
  recovery TEXT NOT NULL, created_at BIGINT NOT NULL)""",
        "CREATE TABLE home (home_id TEXT PRIMARY KEY, journal_bytes BIGINT NOT NULL)",
        """CREATE TABLE run (
  seq {serial}, run_id TEXT NOT NULL UNIQUE, board TEXT NOT NULL, spec_sha256 TEXT NOT NULL, digest TEXT NOT NULL,
  caps TEXT NOT NULL, approved_by TEXT NOT NULL CHECK (approved_by IN ('auto', 'person')), approval TEXT NOT NULL,
  begun_at BIGINT NOT NULL, ended_at BIGINT, exit_code INTEGER)""",
        """CREATE TABLE cap (
  scope TEXT NOT NULL CHECK (scope IN ('run', 'board', 'shot', 'day', 'month', 'provider')), scope_key TEXT NOT NULL,
  unit TEXT NOT NULL, limit_micros BIGINT, committed_micros BIGINT NOT NULL CHECK (committed_micros >= 0),
  PRIMARY KEY (scope, scope_key, unit))""",
        """CREATE TABLE breaker (
  provider TEXT NOT NULL, account TEXT NOT NULL, kind TEXT NOT NULL CHECK (kind IN ('create', 'money')),
  is_open SMALLINT NOT NULL CHECK (is_open IN (0, 1)), run_seq BIGINT NOT NULL, reason TEXT NOT NULL,
  probe TEXT NOT NULL, opened_at BIGINT NOT NULL, PRIMARY KEY (provider, account, kind))""",
        _INTENT.replace("{jobs}", " UNIQUE (provider, base_url, job_id),"),
        *_INTENT_INDEXES,
        """CREATE TABLE event (
  seq {serial}, intent_id TEXT NOT NULL, at BIGINT NOT NULL, actor TEXT NOT NULL, kind TEXT NOT NULL,
  state TEXT NOT NULL, alert SMALLINT NOT NULL CHECK (alert IN (0, 1)), payload TEXT NOT NULL)""",
        "CREATE INDEX event_intent ON event (intent_id)",
        """CREATE TABLE money (
  seq {serial}, intent_id TEXT NOT NULL REFERENCES intent (intent_id),
  kind TEXT NOT NULL CHECK (kind IN ('RESERVE', 'SETTLE', 'RELEASE', 'ADJUST', 'REFUND')), micros BIGINT NOT NULL,
  round INTEGER NOT NULL, evidence TEXT NOT NULL, at BIGINT NOT NULL,
  CHECK (kind = 'ADJUST' OR micros >= 0))""",
        """CREATE UNIQUE INDEX once_a_round ON money (intent_id, kind, round)
  WHERE kind IN ('RESERVE', 'SETTLE', 'RELEASE')""",
        """CREATE UNIQUE INDEX once_by_evidence ON money (intent_id, kind, evidence)
  WHERE kind IN ('ADJUST', 'REFUND')""",
        """CREATE TABLE artifact (
  intent_id TEXT PRIMARY KEY REFERENCES intent (intent_id), path TEXT NOT NULL, uri TEXT NOT NULL,
  sha256 TEXT NOT NULL, size BIGINT NOT NULL, seconds DOUBLE PRECISION NOT NULL, probe TEXT NOT NULL,
  suspect TEXT NOT NULL, verified_at BIGINT NOT NULL)""",
    ),
    sqlite=tuple(
        _kept(table, verb)
        for table, verb in (
            ("event", "UPDATE"),
            ("event", "DELETE"),
            ("money", "UPDATE"),
            ("money", "DELETE"),
            ("artifact", "UPDATE"),
            ("artifact", "DELETE"),
            ("intent", "DELETE"),
            ("run", "DELETE"),
        )
    ),
    postgresql=(
        """CREATE FUNCTION ledger_keeps_facts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'a fact of the ledger is never changed or deleted'; END $$""",
        *(
            f"""CREATE TRIGGER {table}_kept BEFORE {verbs} ON {table}
FOR EACH ROW EXECUTE FUNCTION ledger_keeps_facts()"""
            for table, verbs in (
                ("event", "UPDATE OR DELETE"),
                ("money", "UPDATE OR DELETE"),
                ("artifact", "UPDATE OR DELETE"),
                ("intent", "DELETE"),
                ("run", "DELETE"),
            )
        ),
    ),
)

_HERE = " OR ".join(
    f"substr(base_url, 1, {len(start)}) = '{start}'"
    for scheme in ("http", "https")
    for start in (f"{scheme}://127.", f"{scheme}://localhost:", f"{scheme}://localhost/", f"{scheme}://[::1]")
)
_ONE_JOB = (
    f"UPDATE intent SET account = 'stand-in' WHERE account = 'default' AND ({_HERE})",  # noqa: S608 - constants
    "CREATE INDEX intent_job ON intent (job_id)",
    """UPDATE intent SET twin = 1 WHERE EXISTS (SELECT 1 FROM intent AS older WHERE older.job_id = intent.job_id
  AND older.provider = intent.provider AND older.account = intent.account AND older.seq < intent.seq)""",
    """INSERT INTO event (intent_id, at, actor, kind, state, alert, payload)
  SELECT intent_id, updated_at, 'machine', 'duplicate-job', '', 1, '{"found": "by a migration"}' FROM intent
  WHERE twin = 1 ORDER BY seq""",
    "CREATE UNIQUE INDEX one_job ON intent (provider, account, job_id) WHERE twin = 0",
)
_FACTS = Step(
    # Amounts may come again and again, and a job is its account's. SQLite drops no constraint, so the table is made anew;
    # its children's references are looked at when the transaction ends, and find their rows again.
    "0002-facts",
    ("DROP INDEX once_by_evidence", "CREATE INDEX money_intent ON money (intent_id)"),
    sqlite=(
        "PRAGMA defer_foreign_keys = ON",
        "CREATE TABLE intent_before AS SELECT * FROM intent",
        "DROP TABLE intent",
        _INTENT.replace("{jobs}", "").replace(
            "updated_at BIGINT NOT NULL,",
            "updated_at BIGINT NOT NULL, twin SMALLINT NOT NULL DEFAULT 0 CHECK (twin IN (0, 1)),",
        ),
        "INSERT INTO intent SELECT *, 0 FROM intent_before ORDER BY seq",
        "DROP TABLE intent_before",
        *_INTENT_INDEXES,
        _kept("intent", "DELETE"),
        *_ONE_JOB,
    ),
    postgresql=(
        "ALTER TABLE intent DROP CONSTRAINT intent_provider_base_url_job_id_key",
        "ALTER TABLE intent ADD COLUMN twin SMALLINT NOT NULL DEFAULT 0 CHECK (twin IN (0, 1))",
        *_ONE_JOB,
    ),
)

_VOUCHED = Step(
    # Refusals outside a provider's map that a person has vouched for. The last row of a (provider, code, text) decides;
    # taking it back is a row of its own, with `holds` 0.
    "0003-vouched",
    (
        """CREATE TABLE vouched (
  seq {serial}, provider TEXT NOT NULL, code TEXT NOT NULL, text TEXT NOT NULL CHECK (text <> ''), kind TEXT NOT NULL,
  holds SMALLINT NOT NULL CHECK (holds IN (0, 1)), who TEXT NOT NULL CHECK (who <> ''),
  why TEXT NOT NULL CHECK (why <> ''), intent_id TEXT NOT NULL REFERENCES intent (intent_id), at BIGINT NOT NULL)""",
        "CREATE INDEX vouched_text ON vouched (provider, code, text)",
        "CREATE INDEX event_kind ON event (kind)",
    ),
    sqlite=(_kept("vouched", "UPDATE"), _kept("vouched", "DELETE")),
    postgresql=(
        """CREATE TRIGGER vouched_kept BEFORE UPDATE OR DELETE ON vouched
FOR EACH ROW EXECUTE FUNCTION ledger_keeps_facts()""",
    ),
)

_APPROVALS = Step(
    "0004-approvals",
    (
        """CREATE TABLE approval (
  seq {serial}, approval_id TEXT NOT NULL UNIQUE, board TEXT NOT NULL, digest TEXT NOT NULL,
  approved_by TEXT NOT NULL CHECK (approved_by IN ('auto', 'person')), reason TEXT NOT NULL, caps TEXT NOT NULL,
  shown TEXT NOT NULL, made_at BIGINT NOT NULL)""",
        # Every older run had an approval of its own. It is over, so nothing more is allowed under it.
        """INSERT INTO approval (approval_id, board, digest, approved_by, reason, caps, shown, made_at)
  SELECT run_id, board, digest, approved_by, approval, '[]', '', begun_at FROM run ORDER BY seq""",
        "ALTER TABLE run ADD COLUMN approval_id TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE run ADD COLUMN attempt_of TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE run ADD COLUMN owner TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE run ADD COLUMN open_until BIGINT",
        "UPDATE run SET approval_id = run_id, open_until = begun_at",
        "CREATE INDEX run_attempt ON run (attempt_of)",
        "ALTER TABLE intent ADD COLUMN approval_id TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE intent ADD COLUMN approved_by TEXT NOT NULL DEFAULT ''",
        "UPDATE intent SET approval_id = run_id",
        """CREATE TABLE cap_of_more (
  scope TEXT NOT NULL CHECK (scope IN ('run', 'approval', 'board', 'shot', 'day', 'month', 'auto', 'provider')),
  scope_key TEXT NOT NULL, unit TEXT NOT NULL, limit_micros BIGINT,
  committed_micros BIGINT NOT NULL CHECK (committed_micros >= 0), PRIMARY KEY (scope, scope_key, unit))""",
        """INSERT INTO cap_of_more (scope, scope_key, unit, limit_micros, committed_micros)
  SELECT scope, scope_key, unit, limit_micros, committed_micros FROM cap""",
        """INSERT INTO cap_of_more (scope, scope_key, unit, limit_micros, committed_micros)
  SELECT 'approval', scope_key, unit, NULL, committed_micros FROM cap WHERE scope = 'run'""",
        "DROP TABLE cap",
        "ALTER TABLE cap_of_more RENAME TO cap",
    ),
    sqlite=tuple(
        f"""CREATE TRIGGER approval_{verb.lower()} BEFORE {verb} ON approval
BEGIN SELECT RAISE(ABORT, 'a fact of the ledger is never changed or deleted'); END"""
        for verb in ("UPDATE", "DELETE")
    ),
    postgresql=(
        """CREATE TRIGGER approval_kept BEFORE UPDATE OR DELETE ON approval
FOR EACH ROW EXECUTE FUNCTION ledger_keeps_facts()""",
    ),
)

_NEXT_TRY = Step(
    "0005-next-try",
    (
        "ALTER TABLE intent ADD COLUMN tries INTEGER NOT NULL DEFAULT 0 CHECK (tries >= 0)",
        "ALTER TABLE intent ADD COLUMN next_try_at BIGINT",
        "ALTER TABLE intent ADD COLUMN gone SMALLINT NOT NULL DEFAULT 0 CHECK (gone IN (0, 1))",
    ),
)

_SLIPS = Step(
    "0006-slips",
    (
        "ALTER TABLE intent ADD COLUMN slip TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE intent ADD COLUMN slip_state TEXT NOT NULL DEFAULT ''",
    ),
)

STEPS: tuple[Step, ...] = (_FIRST, _FACTS, _VOUCHED, _APPROVALS, _NEXT_TRY, _SLIPS)
_SERIAL = {"sqlite": "INTEGER PRIMARY KEY", "postgresql": "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"}


def applied(connection: Connection) -> list[str] | None:
    """The names of the steps in the database, in order; None for an empty database.

    Raises:
        NotALedger: there are tables, but no record of steps.
    """
    tables = inspect(connection).get_table_names()
    if "migration" not in tables:
        if tables:
            raise NotALedger
        return None
    return [name for (name,) in connection.exec_driver_sql("SELECT name FROM migration ORDER BY name")]


def migrate(connection: Connection, at: int, steps: Sequence[Step] = STEPS) -> list[str]:
    """Run the missing steps inside the caller's transaction and return their names; `at` in microseconds.

    Raises:
        NewerSchema: a step in the database is unknown here; nothing was changed.
        NotALedger: the database belongs to something else; nothing was changed.
    """
    done = applied(connection)
    if unknown := sorted(set(done or ()) - {step.name for step in steps}):
        raise NewerSchema(unknown)
    if done is None:
        connection.exec_driver_sql("CREATE TABLE migration (name TEXT PRIMARY KEY, at BIGINT NOT NULL)")
    missing = [step for step in steps if step.name not in (done or ())]
    for step in missing:
        _run(connection, step, at)
    return [step.name for step in missing]


def _run(connection: Connection, step: Step, at: int) -> None:
    dialect = connection.dialect.name
    for statement in (*step.statements, *(step.sqlite if dialect == "sqlite" else step.postgresql)):
        connection.exec_driver_sql(statement.replace("{serial}", _SERIAL[dialect]))
    connection.exec_driver_sql(f"INSERT INTO migration (name, at) VALUES ('{step.name}', {int(at)})")  # noqa: S608
