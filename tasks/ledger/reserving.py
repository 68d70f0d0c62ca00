"""K2 to K5: one transaction that takes a shot, its money and its slot, or says what stands in the way."""

import datetime as dt
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple

import sqlalchemy as sa

from specs.money import USD, Money
from tasks.errors import Refused
from tasks.ledger import books, breakers, schema
from tasks.ledger.database import Prepared, moment
from tasks.ledger.record import Record
from tasks.ledger.rows import (
    LIVE,
    BudgetRefused,
    Cap,
    Closed,
    Edited,
    Full,
    Halted,
    IntentState,
    Order,
    Taken,
    to_usd,
)
from tasks.ledger.transaction import Transaction, load_query

__all__ = [
    "IS_LIVE",
    "LEASE",
    "NOT_AFTER",
    "NotReserved",
    "amounts_from",
    "amounts_text",
    "caps_from",
    "caps_text",
    "closed",
    "holder",
    "raise_limits",
    "reserve",
]

LEASE = 60_000_000
NOT_AFTER = 30_000_000
DOUBT_HALT = 2
_NO_LIMIT = 1 << 62

_intent = schema.intent
IS_LIVE = _intent.c.state.in_([sa.literal_column(f"'{state}'") for state in sorted(LIVE)])
OF_KEY = load_query(_intent.c.shot_key == sa.bindparam("shot_key"))
OF_SHOT = load_query(
    _intent.c.board == sa.bindparam("board"),
    _intent.c.shot == sa.bindparam("shot"),
    _intent.c.family == sa.bindparam("family"),
    _intent.c.extra == sa.literal_column("0"),
)
WITH_CLIP = Prepared(
    sa.select(_intent.c.intent_id)
    .select_from(_intent.join(schema.artifact, schema.artifact.c.intent_id == _intent.c.intent_id))
    .where(_intent.c.shot_key == sa.bindparam("shot_key"))
)
_RUN = Prepared(
    sa.text(
        "SELECT run.caps, approval.caps, run.approval_id, run.approved_by, run.owner, run.open_until, run.ended_at"
        " FROM run LEFT JOIN approval ON approval.approval_id = run.approval_id WHERE run.run_id = :run_id"
    )
)
_IN_FLIGHT = Prepared(
    sa.text(
        "SELECT count(*), count(CASE WHEN state = 'IN_DOUBT' AND quote_micros > 0 THEN 1 END) FROM intent"
        " WHERE provider = :provider AND account = :account"
        " AND state IN ('SUBMITTING', 'IN_DOUBT', 'SUBMITTED', 'STALLED')"
    )
)
_RECOVERY = Prepared(sa.select(schema.ledger.c.recovery))
_CAP = Prepared(
    sa.text(
        "SELECT limit_micros, committed_micros FROM cap WHERE scope = :scope AND scope_key = :scope_key AND unit = :unit"
    )
)
_IN_CREDITS = Prepared(
    sa.text(
        "SELECT 1 FROM cap WHERE scope = :scope AND scope_key = :scope_key AND unit <> 'USD' AND committed_micros > 0"
    )
)
_LIMIT = Prepared(
    sa.text("UPDATE cap SET limit_micros = :limit WHERE scope = :scope AND scope_key = :scope_key AND unit = :unit")
)
_OVER = Prepared(sa.text("SELECT scope, scope_key, unit, limit_micros FROM cap WHERE committed_micros > limit_micros"))
_COMMIT = Prepared(
    sa.text(
        "UPDATE cap SET committed_micros = committed_micros + :micros"
        " WHERE scope = :scope AND scope_key = :scope_key AND unit = :unit AND committed_micros + :micros <= :limit"
    )
)


class NotReserved(Exception):
    """Rolls the reservation back and carries the outcome to the caller."""

    def __init__(self, outcome: BudgetRefused | Taken | Edited | Full | Halted | Closed) -> None:
        super().__init__(outcome)
        self.outcome = outcome


def holder(records: Sequence[Record], with_clip: set[str]) -> Record | None:
    """The row of a shot key that decides reuse.

    The live one that holds the shot, else the newest with a clip, else the newest live one beside a holder.
    """
    newest_first = sorted(records, key=lambda record: -record.seq)
    choices = (
        (record for record in newest_first if record.live and not record.extra),
        (record for record in newest_first if record.intent_id in with_clip),
        (record for record in newest_first if record.live),
    )
    return next((record for choice in choices for record in choice), None)


def reserve(tx: Transaction, order: Order) -> Record:
    """Insert the intent with its money.

    Raises:
        NotReserved: with the outcome; the transaction is to be rolled back.
        Refused: the run was never begun.
    """
    same = tx.records(OF_KEY, shot_key=order.shot_key)
    _not_taken(tx, order, same)
    run = _run(tx, order.run_id)
    if why := _closed(tx, run, order.owner):
        raise NotReserved(Closed(f"{order.shot}: run {order.run_id} {why}"))
    older = tx.records(OF_SHOT, board=order.board, shot=order.shot, family=order.family)
    _give_way(tx, order, older)
    _may_create(tx, order)
    record = _new(tx, order, run, 1 + max((one.attempt_no for one in same), default=0))
    _commit_caps(tx, order, run, record)
    tx.insert(record)
    books.book(tx, record, "RESERVE", record.quote_micros, buckets_too=False)
    tx.save(record)
    breakers.send_probe(tx, record)
    facts = {"quote": str(order.quote), "take": order.take, "run": order.run_id, "reason": order.reason}
    tx.event(record.intent_id, "reserved", facts, state=record.state)
    return record


class _Run(NamedTuple):
    """What a reservation must know of its run, and of the approval that it rests on."""

    caps: str
    approved_caps: str | None
    approval_id: str
    approved_by: str
    owner: str
    open_until: int | None
    ended_at: int | None


def _run(tx: Transaction, run_id: str) -> _Run:
    found = tx.rows(_RUN, run_id=run_id)
    if not found:
        raise Refused(f"run {run_id} was never begun", "Begin the run before its first reservation.")
    return _Run(*found[0])


def closed(tx: Transaction, run_id: str, owner: str) -> str:
    """Why `owner` may buy nothing for the run; "" while it may."""
    return _closed(tx, _run(tx, run_id), owner)


def _closed(tx: Transaction, run: _Run, owner: str) -> str:
    """A run is open until it is ended, and as long as the process that holds it is alive.

    That process itself may have slept past its lease: unless somebody has ended its run meanwhile, it just goes on.
    """
    if run.ended_at is not None:
        return "has ended, nothing more is bought for it"
    if run.open_until is not None and run.open_until < tx.now and owner != run.owner:
        return "has lost the process that held it, nothing more is bought for it"
    return ""


def _not_taken(tx: Transaction, order: Order, same: Sequence[Record]) -> None:
    with_clip = {intent_id for (intent_id,) in tx.rows(WITH_CLIP, shot_key=order.shot_key)} if same else set()
    taken = holder(same, with_clip)
    if taken is None and not order.supersede:
        failed = [record for record in same if record.state == IntentState.FAILED_FINAL]
        if len(failed) >= order.max_attempts or any(record.moderated for record in failed):
            taken = failed[-1]
    if taken is not None:
        raise NotReserved(Taken(tx.intent(taken.intent_id)))


_FINISHED = {
    IntentState.STORED,
    IntentState.RESULT_HELD,
    IntentState.FAILED_UNSETTLED,
    IntentState.FAILED_FINAL,
}


def _give_way(tx: Transaction, order: Order, older: Sequence[Record]) -> None:
    """Supersede what the shot was before, where that was asked for and nothing of it is still running (F79)."""
    live = next((record for record in older if record.live), None)
    free = order.quote.micros == 0 and live is not None and live.booked == 0
    if live is not None and not (order.supersede and (free or live.state in _FINISHED)):
        raise NotReserved(Edited(tx.intent(live.intent_id)))
    if order.supersede:
        for record in older:
            if record is live or record.state == IntentState.FAILED_FINAL:
                supersede(tx, record, order.reason or "a new take", actor=order.owner)


def supersede(tx: Transaction, record: Record, why: str, *, actor: str) -> None:
    """A newer take was asked for: settle in full what is still open, and let the shot go."""
    books.close(tx, record, "superseded")
    tx.move(record, IntentState.SUPERSEDED, "superseded", {"why": why, "was": record.state}, actor=actor)


def _may_create(tx: Transaction, order: Order) -> None:
    recovery = tx.rows(_RECOVERY)[0][0]
    if recovery:
        raise NotReserved(Halted(f"the ledger is in recovery: {recovery}"))
    if stop := breakers.obstacle(tx, order.run_id, order.provider, order.account):
        raise NotReserved(stop)
    in_flight, doubts = tx.rows(_IN_FLIGHT, provider=order.provider, account=order.account)[0]
    if doubts >= DOUBT_HALT and order.quote.micros:
        raise NotReserved(Halted(f"{doubts} creates at {order.provider} are in doubt; resolve them first"))
    if in_flight >= order.max_in_flight:
        raise NotReserved(Full(int(in_flight), order.max_in_flight))


def _new(tx: Transaction, order: Order, run: _Run, attempt_no: int) -> Record:
    today = moment(tx.now).astimezone(dt.UTC).date().isoformat()
    return Record(
        seq=0,
        intent_id=order.intent_id or tx.rng.new_id(),
        run_id=order.run_id,
        board=order.board,
        shot=order.shot,
        take=order.take,
        shot_key=order.shot_key,
        family=order.family,
        attempt_no=attempt_no,
        provider=order.provider,
        model=order.model,
        base_url=order.base_url,
        account=order.account,
        request_sha256=order.request_sha256,
        request_json=order.request_json,
        quote_micros=order.quote.micros,
        unit=order.quote.unit,
        price_version=order.price_version,
        rate=_rate(order),
        mode=order.mode,
        audio=int(order.audio),
        seconds=order.seconds,
        state=IntentState.SUBMITTING.value,
        epoch=1,
        lease_owner=order.owner,
        lease_until=tx.now + LEASE,
        not_after=tx.now + NOT_AFTER,
        token_hash=order.token_hash,
        job_id=None,
        amount_micros=None,
        reserved_micros=0,
        settled_micros=0,
        settled_at=None,
        round=0,
        doubt_reason="",
        reason="",
        urls="[]",
        extra=0,
        moderated=0,
        day=today,
        month=today[:7],
        created_at=tx.now,
        submitted_at=None,
        finished_at=None,
        updated_at=tx.now,
        approval_id=run.approval_id,
        approved_by=run.approved_by,
    )


def _rate(order: Order) -> str | None:
    if order.quote.unit == USD:
        return "1"
    return None if order.rate is None else str(order.rate)


def caps_text(caps: Sequence[Cap]) -> str:
    """Caps as kept with their run."""
    return json.dumps([[cap.scope, cap.key, cap.limit.micros, cap.limit.unit] for cap in caps])


def caps_from(text: str) -> tuple[Cap, ...]:
    """The caps kept with a run."""
    return tuple(Cap(scope, key, Money(micros, unit)) for scope, key, micros, unit in json.loads(text))


def amounts_text(amounts: Sequence[Money]) -> str:
    """The caps of an approval as kept with it."""
    return json.dumps([[amount.micros, amount.unit] for amount in amounts])


def amounts_from(text: str) -> tuple[Money, ...]:
    """The caps kept with an approval."""
    return tuple(Money(micros, unit) for micros, unit in json.loads(text))


def _commit_caps(tx: Transaction, order: Order, run: _Run, record: Record) -> None:
    """Add the quote to every bucket, all or none, in one fixed order."""
    if record.quote_micros == 0:
        return
    approved = [Cap("approval", "", amount) for amount in amounts_from(run.approved_caps or "[]")]
    limits = _limits(order, record, (*approved, *caps_from(run.caps), *order.caps))
    books.make_buckets(tx, record)
    for bucket in books.buckets(record):
        limit = limits.get((bucket["scope"], bucket["unit"]))
        if limit is not None:
            _note_limit(tx, bucket, limit)
        micros = books.moved(record, 0, record.quote_micros, bucket["unit"])
        beside = 0 if limit is None else _unrated(tx, record, bucket)
        if not tx.run(_COMMIT, {**bucket, "micros": micros, "limit": _NO_LIMIT if limit is None else limit - beside}):
            unit = bucket["unit"]
            raise NotReserved(_refused(tx, bucket, Money(limit or 0, unit), Money(micros, unit), beside))


def _unrated(tx: Transaction, record: Record, bucket: dict[str, str]) -> int:
    """What was ordered without a rate and counts against a cap in USD: at this order's rate, where that is of its unit."""
    scope, key = bucket["scope"], bucket["scope_key"]
    if bucket["unit"] != USD or not tx.rows(_IN_CREDITS, scope=scope, scope_key=key):
        return 0
    rates = {record.unit: Decimal(record.rate)} if record.rate is not None else {}
    micros, unknown = books.unrated(tx.records(books.UNRATED), scope, key, rates)
    if unknown:
        nothing = Money(0, USD)
        message = f"{_NAMED.get(scope, f'the {scope} cap of {key}')} is in USD, and {unknown}"
        raise NotReserved(BudgetRefused(scope, key, None, nothing, record.money(record.quote_micros), message))
    return micros


def _limits(order: Order, record: Record, caps: Sequence[Cap]) -> dict[tuple[str, str], int]:
    """The lowest limit of each scope in each unit that the quote can be expressed in."""
    limits: dict[tuple[str, str], int] = {}
    for cap in _applicable(order, record, caps):
        place = (cap.scope, cap.limit.unit)
        limits[place] = min(cap.limit.micros, limits.get(place, cap.limit.micros))
    units = {order.quote.unit, *([USD] if record.rate is not None else [])}
    for scope in books.SCOPES:
        named = {unit for one, unit in limits if one == scope}
        if named and not named & units:
            raise NotReserved(_incomparable(order, scope, min(named)))
    if not any(scope in {"run", "approval"} for scope, _ in limits):
        raise NotReserved(_uncapped(order))
    return limits


def _applicable(order: Order, record: Record, caps: Sequence[Cap]) -> Iterator[Cap]:
    """Every cap but those that name another provider or another shot: what cannot be told apart applies."""
    for cap in caps:
        if cap.scope == "auto" and record.approved_by != "auto":
            continue
        if cap.scope == "provider" and cap.key not in {"", order.provider}:
            continue
        if cap.scope == "shot" and cap.key and order.shot not in cap.key:
            continue
        yield replace(cap, key="")


def _incomparable(order: Order, scope: str, unit: str) -> BudgetRefused:
    nothing = Money(0, unit)
    message = f"{order.shot}: the {scope} cap is in {unit} and {order.quote.unit} has no rate in {unit}"
    return BudgetRefused(scope, "", None, nothing, to_usd(order.quote, order.rate) or order.quote, message)


def _uncapped(order: Order) -> BudgetRefused:
    message = f"{order.shot}: run {order.run_id} has no cap, and nothing is bought without one"
    return BudgetRefused("run", order.run_id, None, Money(0, order.quote.unit), order.quote, message)


_NAMED = {
    "approval": "the cap of this approval",
    "auto": "what a day's runs may spend without a person's approval (RUSHES_AUTO_DAY_CAP)",
}


def _note_limit(tx: Transaction, bucket: dict[str, str], limit: int) -> None:
    """Keep the latest limit of a bucket; a change is a fact."""
    before = tx.rows(_CAP, **bucket)[0][0]
    if before != limit:
        tx.run(_LIMIT, {**bucket, "limit": limit})
        if before is not None:
            kind = "cap-raised" if limit > before else "cap-lowered"
            tx.event("", kind, {**bucket, "from": before, "to": limit})


def raise_limits(tx: Transaction, caps: Sequence[Cap]) -> None:
    """Note the caps in force now where they are above the limit of a bucket that is full to more than its brim."""
    for row in tx.rows(_OVER):
        bucket = {"scope": row[0], "scope_key": row[1], "unit": row[2]}
        here = [
            cap.limit.micros
            for cap in caps
            if (cap.scope, cap.limit.unit) == (row[0], row[2]) and cap.key in {"", row[1]}
        ]
        if here and max(here) > row[3]:
            _note_limit(tx, bucket, max(here))


def _refused(tx: Transaction, bucket: dict[str, str], limit: Money, wanted: Money, beside: int) -> BudgetRefused:
    committed = Money(tx.rows(_CAP, **bucket)[0][1] + beside, wanted.unit)
    scope, key = bucket["scope"], bucket["scope_key"]
    named = _NAMED.get(scope, f"the {scope} cap of {key}")
    message = f"{named} is {limit}: {committed} committed, {wanted} more wanted"
    return BudgetRefused(scope, key, limit, committed, wanted, message)
