"""Questions to the ledger: which row decides a shot, what is owed, what is committed, what happened."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from specs.money import USD, Money
from tasks.errors import Refused
from tasks.ledger import books, schema
from tasks.ledger.breakers import UNCONFIRMED
from tasks.ledger.database import Prepared, moment, rows_of
from tasks.ledger.record import COLUMNS, Record
from tasks.ledger.reserving import IS_LIVE, caps_from, holder
from tasks.ledger.rows import Breaker, CapState, Event, Intent, Run, Totals
from tasks.ledger.transaction import WITH_ARTIFACT

__all__ = [
    "HINT",
    "breakers",
    "by_job",
    "cap_states",
    "events",
    "find",
    "get",
    "intents",
    "live_for_shot",
    "money_entries",
    "newest_event",
    "run_of",
    "takes",
    "totals",
    "unconfirmed_bills",
]

_intent, _event, _cap = schema.intent, schema.event, schema.cap
_BY_ID = Prepared(WITH_ARTIFACT.where(_intent.c.intent_id == sa.bindparam("intent_id")))
_BY_KEY = Prepared(WITH_ARTIFACT.where(_intent.c.shot_key == sa.bindparam("shot_key")).order_by(_intent.c.seq))
_LIVE_SHOT = Prepared(
    WITH_ARTIFACT.where(
        _intent.c.board == sa.bindparam("board"),
        _intent.c.shot == sa.bindparam("shot"),
        _intent.c.family == sa.bindparam("family"),
        _intent.c.extra == sa.literal_column("0"),
        IS_LIVE,
    )
)
_BY_JOB = Prepared(
    WITH_ARTIFACT.where(
        _intent.c.provider == sa.bindparam("provider"), _intent.c.job_id == sa.bindparam("job_id")
    ).order_by(_intent.c.seq.desc())
)
_TAKES = Prepared(
    sa.select(_intent.c.take)
    .distinct()
    .select_from(_intent.outerjoin(schema.artifact, schema.artifact.c.intent_id == _intent.c.intent_id))
    .where(
        _intent.c.board == sa.bindparam("board"),
        _intent.c.shot == sa.bindparam("shot"),
        sa.or_(IS_LIVE, schema.artifact.c.intent_id.is_not(None)),
    )
    .order_by(_intent.c.take)
)
_RUN = Prepared(sa.select(schema.run).where(schema.run.c.run_id == sa.bindparam("run_id")))
_UNCONFIRMED = Prepared(WITH_ARTIFACT.where(UNCONFIRMED).order_by(_intent.c.seq))
_BREAKERS = Prepared(
    sa.select(schema.breaker)
    .where(schema.breaker.c.provider == sa.bindparam("provider"), schema.breaker.c.account == sa.bindparam("account"))
    .order_by(schema.breaker.c.kind)
)


def _public(row: Sequence[Any]) -> Intent:
    return Record(*row[: len(COLUMNS)]).public(row[len(COLUMNS) :])


def get(connection: Connection, intent_id: str) -> Intent:
    """One row.

    Raises:
        Refused: no such intent.
    """
    found = rows_of(connection, _BY_ID, {"intent_id": intent_id})
    if not found:
        raise Refused(f"no intent {intent_id} in this ledger", "`rushes doubts` and `rushes costs` list the ids.")
    return _public(found[0])


def find(connection: Connection, shot_key: str) -> Intent | None:
    """The row that decides reuse of a shot key: see `reserving.holder`, else the newest."""
    rows = {row[1]: row for row in rows_of(connection, _BY_KEY, {"shot_key": shot_key})}
    records = [Record(*row[: len(COLUMNS)]) for row in rows.values()]
    decides = holder(records, {key for key, row in rows.items() if row[len(COLUMNS)] is not None})
    decides = decides or (records[-1] if records else None)
    return None if decides is None else _public(rows[decides.intent_id])


def live_for_shot(connection: Connection, board: str, shot: str, family: str) -> Intent | None:
    """The row that holds the shot, whatever its content."""
    found = rows_of(connection, _LIVE_SHOT, {"board": board, "shot": shot, "family": family})
    return _public(found[0]) if found else None


def by_job(connection: Connection, provider: str, job_id: str) -> Intent | None:
    """The newest row with the provider's job id."""
    found = rows_of(connection, _BY_JOB, {"provider": provider, "job_id": job_id})
    return _public(found[0]) if found else None


def takes(connection: Connection, board: str, shot: str) -> list[int]:
    """Take numbers whose file is there or may come."""
    return [take for (take,) in rows_of(connection, _TAKES, {"board": board, "shot": shot})]


def _where(filters: dict[str, Any]) -> list[sa.ColumnElement[bool]]:
    conditions = []
    for name, value in filters.items():
        if value is None:
            continue
        if name == "since":
            conditions.append(_intent.c.created_at >= value)
        elif name == "states":
            conditions.append(_intent.c.state.in_(sorted(value)))
        else:
            conditions.append(_intent.c[name] == value)
    return conditions


def intents(connection: Connection, **filters: object) -> list[Intent]:
    """Rows by equal columns, `states` and `since` (microseconds), oldest first."""
    statement = WITH_ARTIFACT.where(*_where(filters)).order_by(_intent.c.seq)
    return [_public(row) for row in connection.execute(statement)]


def unconfirmed_bills(connection: Connection) -> list[Intent]:
    """Rows that were billed far above their quote and that no person has settled, oldest first."""
    return [_public(row) for row in rows_of(connection, _UNCONFIRMED, {})]


def run_of(connection: Connection, run_id: str) -> Run | None:
    """A run, or None."""
    found = rows_of(connection, _RUN, {"run_id": run_id})
    if not found:
        return None
    _, run_id, board, spec, digest, caps, by, approval, begun, ended, exit_code = found[0]
    return Run(
        run_id,
        board,
        spec,
        digest,
        caps_from(caps),
        by,
        approval,
        moment(begun),
        None if ended is None else moment(ended),
        exit_code,
    )


def breakers(connection: Connection, provider: str, account: str) -> list[Breaker]:
    """Every breaker that the account ever had, `create` before `money`."""
    return [
        Breaker(provider, account, kind, bool(is_open), reason, probe, moment(opened))
        for _, _, kind, is_open, _, reason, probe, opened in rows_of(
            connection, _BREAKERS, {"provider": provider, "account": account}
        )
    ]


def cap_states(connection: Connection, scope: str | None = None, key: str | None = None) -> list[CapState]:
    """Buckets with what is committed in them."""
    statement = sa.select(_cap).order_by(_cap.c.scope, _cap.c.scope_key, _cap.c.unit)
    statement = statement if scope is None else statement.where(_cap.c.scope == scope)
    statement = statement if key is None else statement.where(_cap.c.scope_key == key)
    return [
        CapState(one, name, None if limit is None else Money(limit, unit), Money(committed, unit))
        for one, name, unit, limit, committed in connection.execute(statement)
    ]


HINT = "callback"
"""The kind of the fact that a callback leaves."""


def newest_event(connection: Connection) -> int:
    """The number of the last fact, 0 where there is none."""
    return int(connection.execute(sa.select(sa.func.coalesce(sa.func.max(_event.c.seq), 0))).scalar_one())


def events(
    connection: Connection,
    *,
    intent_id: str | None = None,
    alerts_of_run: str | None = None,
    kind: str | None = None,
    after: int = 0,
) -> list[Event]:
    """Facts in their order: of one intent, or the alerts of a run, or all; of one kind, or after one's number."""
    statement = sa.select(_event).where(_event.c.seq > after).order_by(_event.c.seq)
    if kind is not None:
        statement = statement.where(_event.c.kind == kind)
    if intent_id is not None:
        statement = statement.where(_event.c.intent_id == intent_id)
    if alerts_of_run is not None:
        of_run = sa.select(_intent.c.intent_id).where(_intent.c.run_id == alerts_of_run)
        statement = statement.where(_event.c.alert == 1, _event.c.intent_id.in_(of_run))
    return [
        Event(seq, about, moment(at), actor, kind, state, bool(alert), json.loads(payload))
        for seq, about, at, actor, kind, state, alert, payload in connection.execute(statement)
    ]


def money_entries(connection: Connection, run_id: str | None = None) -> list[dict[str, Any]]:
    """Money entries as plain values, oldest first; `amount` is a decimal string."""
    entry = schema.money
    statement = sa.select(
        entry.c.intent_id, _intent.c.run_id, entry.c.kind, entry.c.micros, _intent.c.unit, entry.c.evidence, entry.c.at
    ).join_from(entry, _intent, _intent.c.intent_id == entry.c.intent_id)
    statement = statement if run_id is None else statement.where(_intent.c.run_id == run_id)
    return [
        {
            "intent_id": intent_id,
            "run_id": run,
            "kind": kind,
            "amount": Money(micros, unit).text,
            "unit": unit,
            "evidence": evidence,
            "at": moment(at),
        }
        for intent_id, run, kind, micros, unit, evidence, at in connection.execute(statement.order_by(entry.c.seq))
    ]


def totals(connection: Connection, **filters: object) -> Totals:
    """Sums over the intents that match."""
    columns = ("state", "unit", "rate", "quote_micros", "reserved_micros", "settled_micros")
    rows = connection.execute(sa.select(*(_intent.c[name] for name in columns)).where(*_where(filters))).all()
    picks: dict[str, Callable[[Any], int]] = {
        "quoted": lambda row: row.quote_micros,
        "reserved": lambda row: 0 if row.state == "IN_DOUBT" else row.reserved_micros,
        "in_doubt": lambda row: row.reserved_micros if row.state == "IN_DOUBT" else 0,
        "settled": lambda row: row.settled_micros,
    }
    sums: dict[str, Any] = {}
    for name, pick in picks.items():
        sums[name] = _by_unit((row.unit, pick(row)) for row in rows)
        sums[f"{name}_usd"] = Money(sum(books.to_usd_micros(pick(row), row.rate) or 0 for row in rows), USD)
    return Totals(**sums)


def _by_unit(amounts: Iterable[tuple[str, int]]) -> dict[str, Money]:
    sums: dict[str, int] = {}
    for unit, micros in amounts:
        sums[unit] = sums.get(unit, 0) + micros
    return {unit: Money(micros, unit) for unit, micros in sums.items()}
