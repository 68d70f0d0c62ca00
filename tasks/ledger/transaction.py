"""What a transaction of the ledger can do: load a row, move it by compare-and-set, tell an event, book money."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tasks.errors import Refused
from tasks.ledger import schema
from tasks.ledger.database import Prepared
from tasks.ledger.record import COLUMNS, MUTABLE, Record
from tasks.ledger.rows import Intent, IntentState
from tasks.seams import Rng

__all__ = ["WITH_ARTIFACT", "Transaction", "load_query"]

_intent, _artifact = schema.intent, schema.artifact
_ARTIFACT_COLUMNS = ("path", "uri", "sha256", "size", "seconds", "probe", "suspect", "verified_at")
WITH_ARTIFACT = sa.select(
    *(_intent.c[name] for name in COLUMNS), *(_artifact.c[name].label(f"artifact_{name}") for name in _ARTIFACT_COLUMNS)
).select_from(_intent.outerjoin(_artifact, _artifact.c.intent_id == _intent.c.intent_id))


def load_query(*conditions: sa.ColumnElement[bool]) -> Prepared:
    """Whole rows of `intent`, oldest first."""
    columns = (_intent.c[name] for name in COLUMNS)
    return Prepared(sa.select(*columns).where(*conditions).order_by(_intent.c.seq))


def binds(table: sa.Table, *leave_out: str) -> dict[str, sa.BindParameter[Any]]:
    """Each column with a parameter of its own name and type."""
    return {c.name: sa.bindparam(c.name, type_=c.type) for c in table.c if c.name not in leave_out}


_BY_ID = load_query(_intent.c.intent_id == sa.bindparam("intent_id"))
_WITH_ARTIFACT = Prepared(WITH_ARTIFACT.where(_intent.c.intent_id == sa.bindparam("intent_id")))
_INSERT = Prepared(sa.insert(_intent).values(binds(_intent, "seq")).inline())
_SAVE = Prepared(
    sa.update(_intent)
    .values({name: sa.bindparam(name, type_=_intent.c[name].type) for name in MUTABLE})
    .where(
        _intent.c.intent_id == sa.bindparam("this_intent"),
        _intent.c.state == sa.bindparam("old_state"),
        _intent.c.epoch == sa.bindparam("old_epoch"),
    )
)
_EVENT = Prepared(sa.insert(schema.event).values(binds(schema.event, "seq")).inline())


class Transaction:
    """One transaction at one moment: `now` in microseconds since 1970. Nothing here commits."""

    def __init__(self, connection: Connection, now: int, rng: Rng) -> None:
        self.connection = connection
        self.now = now
        self.rng = rng
        self._dialect = connection.dialect.name
        self._loaded: dict[str, tuple[str, int]] = {}

    def run(self, statement: Prepared, parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> int:
        """Execute once, or once for each parameter set; the number of rows matched."""
        many: Any = _storable(parameters) if isinstance(parameters, Mapping) else [_storable(one) for one in parameters]
        return int(self.connection.exec_driver_sql(statement.on(self._dialect), many).rowcount) if many else 0

    def rows(self, statement: Prepared, **parameters: object) -> Sequence[Any]:
        """Every row of a query."""
        return self.connection.exec_driver_sql(statement.on(self._dialect), _storable(parameters)).all()

    def records(self, statement: Prepared, **parameters: object) -> list[Record]:
        """Rows of `intent` to work on."""
        found = [Record(*row) for row in self.rows(statement, **parameters)]
        self._loaded.update((record.intent_id, (record.state, record.epoch)) for record in found)
        return found

    def load(self, intent_id: str) -> Record:
        """The row of an intent.

        Raises:
            Refused: there is none.
        """
        found = self.records(_BY_ID, intent_id=intent_id)
        if not found:
            raise Refused(f"no intent {intent_id} in this ledger", "`rushes doubts` and `rushes costs` list the ids.")
        return found[0]

    def insert(self, record: Record) -> None:
        """Add a new row."""
        self.run(_INSERT, record.values())
        self._loaded[record.intent_id] = (record.state, record.epoch)

    def save(self, record: Record) -> None:
        """Write the row back if nobody moved it since it was loaded.

        Raises:
            RuntimeError: somebody did, which one writer at a time rules out; the transaction must not go on.
        """
        state, epoch = self._loaded[record.intent_id]
        record.updated_at = self.now
        values = {name: getattr(record, name) for name in MUTABLE}
        keys = {"this_intent": record.intent_id, "old_state": state, "old_epoch": epoch}
        if self.run(_SAVE, {**values, **keys}) != 1:
            raise RuntimeError(f"intent {record.intent_id} is no longer {state} of epoch {epoch}")
        self._loaded[record.intent_id] = (record.state, record.epoch)

    def move(
        self,
        record: Record,
        state: IntentState,
        kind: str,
        payload: Mapping[str, Any] | None = None,
        *,
        actor: str = "machine",
        alert: bool = False,
    ) -> None:
        """Save the row in its new state and tell the event that says why."""
        record.state = state.value
        self.save(record)
        facts = {"job_id": record.job_id} if record.job_id else {}
        self.event(record.intent_id, kind, {**facts, **(payload or {})}, state=state.value, actor=actor, alert=alert)

    def event(
        self,
        intent_id: str,
        kind: str,
        payload: Mapping[str, Any],
        *,
        state: str = "",
        actor: str = "machine",
        alert: bool = False,
    ) -> None:
        """Append a fact; "" as the intent for one about a run, a cap or the ledger itself."""
        self.run(_EVENT, event_values(self.now, intent_id, kind, payload, state=state, actor=actor, alert=alert))

    def events(self, many: Sequence[Mapping[str, Any]]) -> None:
        """Append many facts made by `event_values`."""
        self.run(_EVENT, many)

    def intent(self, intent_id: str) -> Intent:
        """The row as callers see it, after the changes of this transaction."""
        row = self.rows(_WITH_ARTIFACT, intent_id=intent_id)[0]
        return Record(*row[: len(COLUMNS)]).public(row[len(COLUMNS) :])


def _storable(values: Mapping[str, Any]) -> dict[str, Any]:
    """What strangers wrote, with what no database takes as text (NUL, lone surrogates) escaped: a fact is never refused."""
    return {
        name: value.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
        if isinstance(value, str) and not value.isprintable()
        else value
        for name, value in values.items()
    }


def event_values(
    now: int, intent_id: str, kind: str, payload: Mapping[str, Any], *, state: str, actor: str, alert: bool
) -> dict[str, Any]:
    """A row of `event`."""
    return {
        "intent_id": intent_id,
        "at": now,
        "actor": actor,
        "kind": kind,
        "state": state,
        "alert": int(alert),
        "payload": json.dumps(payload, sort_keys=True, separators=(",", ":"), default=str),
    }
