"""Questions to the ledger: which row decides a shot, what is owed, what is committed, what happened."""

import functools
import json
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from specs.money import USD, Money
from tasks.errors import Refused
from tasks.ledger import asking, books, schema
from tasks.ledger.breakers import CONFIRMED, UNCONFIRMED
from tasks.ledger.database import Prepared, moment, rows_of
from tasks.ledger.record import COLUMNS, Record
from tasks.ledger.reserving import IS_LIVE, amounts_from, caps_from, holder
from tasks.ledger.rows import (
    Approval,
    Breaker,
    Cap,
    CapState,
    Event,
    Intent,
    OpenRun,
    PassedCap,
    Run,
    Totals,
    Vouch,
    usd_micros,
)
from tasks.ledger.transaction import WITH_ARTIFACT

__all__ = [
    "FLOW_RUN",
    "HINT",
    "approval",
    "approval_of",
    "asked_after",
    "breakers",
    "by_job",
    "cap_states",
    "events",
    "find",
    "get",
    "intents",
    "known",
    "live_for_shot",
    "money_entries",
    "newest_event",
    "open_runs",
    "passed_caps",
    "run_of",
    "slips",
    "slips_behind",
    "takes",
    "totals",
    "unconfirmed_bills",
    "unrated",
    "vouches",
]

_intent, _event, _cap, _vouched = schema.intent, schema.event, schema.cap, schema.vouched
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
    ).order_by(_intent.c.twin, _intent.c.seq.desc())
)
_TAKES = Prepared(
    sa.select(_intent.c.take)
    .distinct()
    .select_from(_intent.outerjoin(schema.artifact, schema.artifact.c.intent_id == _intent.c.intent_id))
    .where(
        _intent.c.board == sa.bindparam("board"),
        _intent.c.shot == sa.bindparam("shot"),
        sa.or_(
            IS_LIVE,
            schema.artifact.c.intent_id.is_not(None),
            # A paid job that failed or gave way may still deliver: nobody else gets its number meanwhile.
            sa.and_(
                _intent.c.job_id.is_not(None),
                _intent.c.quote_micros > sa.literal_column("0"),
                _intent.c.gone == sa.literal_column("0"),
            ),
        ),
    )
    .order_by(_intent.c.take)
)
_ENDED = _intent.c.state.in_(
    [
        sa.literal_column(f"'{state}'")
        for state in ("REJECTED", "CANCELLED", "STORED", "FAILED_FINAL", "ABANDONED", "SUPERSEDED")
    ]
)
_NO_SLIP: sa.ColumnElement[str] = sa.literal_column("''")
_SLIPS = sa.select(_intent.c.slip).where(_intent.c.slip != _NO_SLIP)
_SLIPS_BEHIND = Prepared(
    WITH_ARTIFACT.where(
        _intent.c.slip != _NO_SLIP,
        _intent.c.slip_state != _intent.c.state,
        sa.or_(
            _ENDED,
            _intent.c.state == sa.literal_column("'RESULT_HELD'"),
            sa.and_(
                _intent.c.job_id.is_not(None),
                _intent.c.slip_state.in_([sa.literal_column(f"'{told}'") for told in ("", "SUBMITTING", "IN_DOUBT")]),
            ),
        ),
    ).order_by(_intent.c.seq)
)
_RUN = Prepared(sa.select(schema.run).where(schema.run.c.run_id == sa.bindparam("run_id")))
FLOW_RUN = "flow-run"
"""The fact that a flow run of a deployment has begun a run; told of the run."""
_OPEN_RUNS = Prepared(
    sa.select(schema.run.c.run_id, schema.run.c.open_until, schema.event.c.payload)
    .join(schema.event, schema.event.c.intent_id == schema.run.c.run_id)
    .where(schema.run.c.ended_at.is_(None), schema.event.c.kind == sa.literal_column(f"'{FLOW_RUN}'"))
    .order_by(schema.run.c.seq)
)
_OF_DIGEST = Prepared(
    sa.select(schema.approval)
    .where(
        # Hexadecimal digits end with f.
        schema.approval.c.approval_id.between(sa.bindparam("low"), sa.bindparam("high")),
        schema.approval.c.approval_id == schema.approval.c.digest,
    )
    .order_by(schema.approval.c.seq)
)
_OF_ATTEMPT = Prepared(
    sa.select(schema.approval)
    .join(schema.run, schema.run.c.approval_id == schema.approval.c.approval_id)
    .where(schema.run.c.attempt_of == sa.bindparam("attempt_of"))
    .order_by(schema.run.c.seq)
)
_UNCONFIRMED = Prepared(
    WITH_ARTIFACT.where(sa.or_(UNCONFIRMED, sa.and_(_intent.c.twin == sa.literal_column("1"), ~CONFIRMED))).order_by(
        _intent.c.seq
    )
)
FORCED = sa.or_(
    sa.and_(schema.money.c.kind == sa.literal_column("'ADJUST'"), schema.money.c.micros > sa.literal_column("0")),
    sa.and_(schema.money.c.kind == sa.literal_column("'RESERVE'"), schema.money.c.evidence != sa.literal_column("''")),
)
"""Entries that no cap was asked about: bills above the quote, jobs that came to light late."""
_FORCED_BILLS = Prepared(
    WITH_ARTIFACT.where(
        _intent.c.intent_id.in_(sa.select(schema.money.c.intent_id).where(FORCED)), ~CONFIRMED
    ).order_by(_intent.c.seq)
)
_OVER = Prepared(
    sa.select(_cap)
    .where(_cap.c.committed_micros > _cap.c.limit_micros)
    .order_by(_cap.c.scope, _cap.c.scope_key, _cap.c.unit)
)
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
    found = known(connection, intent_id)
    if found is None:
        raise Refused(f"no intent {intent_id} in this ledger", "`rushes doubts` and `rushes costs` list the ids.")
    return found


def known(connection: Connection, intent_id: str) -> Intent | None:
    """One row, or None."""
    found = rows_of(connection, _BY_ID, {"intent_id": intent_id})
    return _public(found[0]) if found else None


def slips(connection: Connection, board: str | None, *, ended: bool) -> set[str]:
    """Where the store announces the orders of a board, or of all; with `ended` only of those that nothing is open about."""
    statement = _SLIPS if board is None else _SLIPS.where(_intent.c.board == board)
    return {slip for (slip,) in connection.execute(statement.where(_ENDED) if ended else statement)}


def slips_behind(connection: Connection) -> list[Intent]:
    """Rows whose slip tells neither their job nor their end, oldest first."""
    return [_public(row) for row in rows_of(connection, _SLIPS_BEHIND, {})]


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


def by_job(connection: Connection, provider: str, job_id: str, account: str | None) -> Intent | None:
    """The newest row with the provider's job id, of the account where one is named."""
    rows = map(_public, rows_of(connection, _BY_JOB, {"provider": provider, "job_id": job_id}))
    return next((one for one in rows if account in {None, one.account}), None)


def takes(connection: Connection, board: str, shot: str) -> list[int]:
    """Take numbers whose file is there or may come."""
    return [take for (take,) in rows_of(connection, _TAKES, {"board": board, "shot": shot})]


class _Shape(NamedTuple):
    """Which filters a query has: their names, and the states among them; each shape is compiled once."""

    names: tuple[str, ...]
    states: tuple[str, ...]

    @classmethod
    def of(cls, filters: dict[str, Any]) -> tuple["_Shape", dict[str, Any]]:
        """The shape of `filters` without those that are None, and the values to bind."""
        given = {name: value for name, value in filters.items() if value is not None}
        states: tuple[str, ...] = tuple(sorted(given.pop("states", ())))
        names = (*given, *(["states"] if filters.get("states") is not None else []))
        return cls(names, states), given

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        return [self._condition(name) for name in self.names]

    def _condition(self, name: str) -> sa.ColumnElement[bool]:
        if name == "since":
            return _intent.c.created_at >= sa.bindparam("since")
        if name == "states":
            states: list[sa.ColumnElement[Any]] = [sa.literal_column(f"'{state}'") for state in self.states]
            return _intent.c.state.in_(states) if states else sa.false()
        return _intent.c[name] == sa.bindparam(name)


@functools.cache
def _matching(shape: _Shape) -> Prepared:
    return Prepared(WITH_ARTIFACT.where(*shape.conditions()).order_by(_intent.c.seq))


def intents(connection: Connection, **filters: object) -> list[Intent]:
    """Rows by equal columns, `states` and `since` (microseconds), oldest first."""
    shape, values = _Shape.of(filters)
    return [_public(row) for row in rows_of(connection, _matching(shape), values)]


def asked_after(connection: Connection, since: int) -> list[Intent]:
    """Rows that are open, or closed without the clip of a paid job that is younger than `since` (microseconds)."""
    return [_public(row) for row in rows_of(connection, asking.ASKED_AFTER, {"since": since})]


def unconfirmed_bills(connection: Connection) -> list[Intent]:
    """Rows that were billed far above their quote, or for another row's job, and that no person has settled, oldest first."""
    return [_public(row) for row in rows_of(connection, _UNCONFIRMED, {})]


def passed_caps(connection: Connection, caps: Sequence[Cap] = ()) -> list[PassedCap]:
    """Caps of any scope that bills have passed, while one of these bills is unconfirmed.

    `caps` are those in force now: one that was raised above what is committed ends it. A limit that was only lowered
    under what is committed is passed by no bill (F80).
    """
    over: dict[tuple[str, str, str], tuple[int, int]] = {}
    for scope, key, unit, limit, committed in rows_of(connection, _OVER, {}):
        now = [
            cap.limit.micros for cap in caps if (cap.scope, cap.limit.unit) == (scope, unit) and cap.key in {"", key}
        ]
        if committed > max([limit, *now]):
            over[scope, key, unit] = limit, committed
    if not over:
        return []
    bills: dict[tuple[str, str, str], list[Intent]] = {place: [] for place in over}
    for row in rows_of(connection, _FORCED_BILLS, {}):
        record = Record(*row[: len(COLUMNS)])
        for one in books.buckets(record) if record.booked else ():
            bills.get((one["scope"], one["scope_key"], one["unit"]), []).append(_public(row))
    return [
        PassedCap(scope, key, Money(limit, unit), Money(committed, unit), tuple(bills[scope, key, unit]))
        for (scope, key, unit), (limit, committed) in over.items()
        if bills[scope, key, unit]
    ]


def run_of(connection: Connection, run_id: str) -> Run | None:
    """A run, or None."""
    found = rows_of(connection, _RUN, {"run_id": run_id})
    if not found:
        return None
    _, run_id, board, spec, digest, caps, by, approval, begun, ended, exit_code, approval_id, attempt_of, *_ = found[0]
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
        approval_id,
        attempt_of,
    )


def open_runs(connection: Connection, now: int) -> list[OpenRun]:
    """The runs that nobody has ended and that a deployment's flow run began."""
    found = []
    for run_id, open_until, payload in rows_of(connection, _OPEN_RUNS, {}):
        facts = json.loads(payload)
        alive = open_until is not None and open_until >= now
        found.append(OpenRun(run_id, facts["flow_run"], facts["deployment"], alive))
    return found


def approval(connection: Connection, *, digest: str = "", attempt_of: str = "") -> Approval | None:
    """The approval of a digest (its first digits do), or the one under which the newest attempt of a flow run acted."""
    if attempt_of:
        found = rows_of(connection, _OF_ATTEMPT, {"attempt_of": attempt_of})
    else:
        found = rows_of(connection, _OF_DIGEST, {"low": digest, "high": f"{digest}g"})
    return approval_of(found[-1]) if found else None


def approval_of(row: Sequence[Any]) -> Approval:
    """A row of `approval`."""
    _, approval_id, board, digest, by, reason, caps, shown, _ = row
    return Approval(by, reason, amounts_from(caps), approval_id, board, digest, shown)


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


def unrated(connection: Connection) -> list[Record]:
    """Rows with money that no bucket in USD holds, oldest first."""
    return [Record(*row) for row in rows_of(connection, books.UNRATED, {})]


_NEWEST = Prepared(sa.select(sa.func.max(_event.c.seq)))
HINT = "callback"
"""The kind of the fact that a callback leaves."""


def newest_event(connection: Connection) -> int:
    """The number of the last fact, 0 where there is none."""
    return int(rows_of(connection, _NEWEST, {})[0][0] or 0)


def events(
    connection: Connection,
    *,
    intent_id: str | None = None,
    alerts_of_run: str | None = None,
    kind: str | None = None,
    after: int = 0,
) -> list[Event]:
    """Facts in their order: of one intent, or the alerts of a run, or all; of one kind, or after one's number."""
    filters = {"intent_id": intent_id, "alerts_of_run": alerts_of_run, "kind": kind, "after": after}
    values = {name: value for name, value in filters.items() if value is not None}
    return [
        Event(seq, about, moment(at), actor, kind, state, bool(alert), json.loads(payload))
        for seq, about, at, actor, kind, state, alert, payload in rows_of(connection, _events(tuple(values)), values)
    ]


@functools.cache
def _events(names: tuple[str, ...]) -> Prepared:
    of_run = sa.select(_intent.c.intent_id).where(_intent.c.run_id == sa.bindparam("alerts_of_run"))
    conditions = {
        "after": _event.c.seq > sa.bindparam("after"),
        "kind": _event.c.kind == sa.bindparam("kind"),
        "intent_id": _event.c.intent_id == sa.bindparam("intent_id"),
        "alerts_of_run": sa.and_(_event.c.alert == sa.literal_column("1"), _event.c.intent_id.in_(of_run)),
    }
    return Prepared(sa.select(_event).where(*(conditions[name] for name in names)).order_by(_event.c.seq))


def vouches(connection: Connection) -> list[Vouch]:
    """Refusals that somebody vouches for now: the last word on each (provider, code, text)."""
    last = {row[1:4]: row for row in map(tuple, connection.execute(sa.select(schema.vouched).order_by(_vouched.c.seq)))}
    return [
        Vouch(provider, code, text, kind, who, why, intent_id, moment(at))
        for _, provider, code, text, kind, holds, who, why, intent_id, at in last.values()
        if holds
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


class _Booked(NamedTuple):
    """The money of one intent."""

    state: str
    unit: str
    rate: str | None
    quote_micros: int
    reserved_micros: int
    settled_micros: int


@functools.cache
def _booked(shape: _Shape) -> Prepared:
    return Prepared(sa.select(*(_intent.c[name] for name in _Booked._fields)).where(*shape.conditions()))


def totals(connection: Connection, **filters: object) -> Totals:
    """Sums over the intents that match."""
    shape, values = _Shape.of(filters)
    rows = [_Booked(*row) for row in rows_of(connection, _booked(shape), values)]
    picks: dict[str, Callable[[_Booked], int]] = {
        "quoted": lambda row: row.quote_micros,
        "reserved": lambda row: 0 if row.state == "IN_DOUBT" else row.reserved_micros,
        "in_doubt": lambda row: row.reserved_micros if row.state == "IN_DOUBT" else 0,
        "settled": lambda row: row.settled_micros,
    }
    sums: dict[str, Any] = {}
    for name, pick in picks.items():
        sums[name] = _by_unit((row.unit, pick(row)) for row in rows)
        sums[f"{name}_usd"] = Money(
            sum(usd_micros(pick(row), Decimal(row.rate) if row.rate else None) or 0 for row in rows), USD
        )
    return Totals(**sums)


def _by_unit(amounts: Iterable[tuple[str, int]]) -> dict[str, Money]:
    sums: dict[str, int] = {}
    for unit, micros in amounts:
        sums[unit] = sums.get(unit, 0) + micros
    return {unit: Money(micros, unit) for unit, micros in sums.items()}
