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
        """CREATE TABLE intent (
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
  UNIQUE (shot_key, attempt_no), UNIQUE (provider, base_url, job_id),
  CHECK (state NOT IN ('REJECTED', 'CANCELLED') OR (reserved_micros = 0 AND settled_micros = 0)),
  CHECK (state NOT IN ('STORED', 'RESULT_HELD', 'FAILED_FINAL', 'ABANDONED', 'SUPERSEDED') OR reserved_micros = 0),
  CHECK (state NOT IN ('SUBMITTED', 'STALLED', 'SUCCEEDED', 'STORED', 'RESULT_HELD', 'FAILED_UNSETTLED',
    'FAILED_FINAL') OR job_id IS NOT NULL),
  CHECK (state <> 'IN_DOUBT' OR doubt_reason <> ''))""",
        f"CREATE UNIQUE INDEX one_live_key ON intent (shot_key) WHERE {_LIVE}",
        f"CREATE UNIQUE INDEX one_live_shot ON intent (board, shot, family) WHERE {_LIVE}",
        "CREATE INDEX intent_shot ON intent (board, shot)",
        "CREATE INDEX intent_run ON intent (run_id)",
        "CREATE INDEX intent_account ON intent (provider, account, state)",
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
        f"""CREATE TRIGGER {table}_{verb.lower()} BEFORE {verb} ON {table}
BEGIN SELECT RAISE(ABORT, 'a fact of the ledger is never changed or deleted'); END"""
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

STEPS: tuple[Step, ...] = (_FIRST,)
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
