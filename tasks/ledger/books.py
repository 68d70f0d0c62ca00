"""The money of an intent: five kinds of entry, and the buckets (caps) that each of them moves.

| entry   | reserved | settled | committed |
|---------|----------|---------|-----------|
| RESERVE | + m      |         | + m       |
| ADJUST  | + m      |         | + m       |
| SETTLE  | - m      | + m     |           |
| RELEASE | - m      |         | - m       |
| REFUND  |          | - m     | - m       |

Until it is settled a reservation only grows, past a cap if need be: what the provider names is a fact, but an amount below
the quote is no bill yet, and money that it freed would be spent twice. Settling brings it to what was named last. ADJUST was
negative in ledgers of the first schema. Buckets are kept for every scope, limited or not, in the quote's unit and, where the
order had a rate, in USD, so that a cap set later counts what was spent. What was ordered without a rate is in no bucket in
USD: a cap in USD that is asked about it counts it at the rate of whoever asks (`unrated`).
"""

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Literal

import sqlalchemy as sa

from specs.money import USD, Money
from tasks.ledger import schema
from tasks.ledger.database import Prepared
from tasks.ledger.record import Record
from tasks.ledger.rows import usd_micros
from tasks.ledger.transaction import Transaction, binds, load_query

__all__ = [
    "RATE_IT",
    "SCOPES",
    "UNRATED",
    "Kind",
    "book",
    "bucket_keys",
    "buckets",
    "close",
    "grow_to",
    "make_buckets",
    "release",
    "settle",
    "unrated",
]

Kind = Literal["RESERVE", "SETTLE", "RELEASE", "ADJUST", "REFUND"]
SCOPES = ("run", "approval", "board", "shot", "day", "month", "auto", "provider")
_RESERVED = {"RESERVE": 1, "ADJUST": 1, "SETTLE": -1, "RELEASE": -1, "REFUND": 0}
_SETTLED = {"SETTLE": 1, "REFUND": -1}

_ENTRY = Prepared(sa.insert(schema.money).values(binds(schema.money, "seq")).inline())
_MAKE = Prepared(
    sa.text(
        "INSERT INTO cap (scope, scope_key, unit, committed_micros) VALUES (:scope, :scope_key, :unit, 0)"
        " ON CONFLICT (scope, scope_key, unit) DO NOTHING"
    )
)
_MOVE = Prepared(
    sa.text(
        "UPDATE cap SET committed_micros = committed_micros + :micros"
        " WHERE scope = :scope AND scope_key = :scope_key AND unit = :unit"
    )
)

_intent = schema.intent
UNRATED = load_query(
    _intent.c.rate.is_(None),
    _intent.c.unit != sa.literal_column(f"'{USD}'"),
    _intent.c.reserved_micros + _intent.c.settled_micros > sa.literal_column("0"),
)
"""Rows with money that no bucket in USD holds."""
RATE_IT = "Set SJINN_USD_PER_CREDIT and buy there, or write the cap in the unit of those orders."
"""What a person does about a cap in USD and orders without a rate."""


def bucket_keys(record: Record) -> dict[str, str]:
    """The bucket of each scope that an intent books to, the same for its whole life.

    `auto` counts, a day, what no person has approved.
    """
    return {
        "run": record.run_id,
        **({"approval": record.approval_id} if record.approval_id else {}),
        "board": record.board,
        "shot": f"{record.board}/{record.shot}_TK{record.take:02d}",
        "day": record.day,
        "month": record.month,
        **({"auto": record.day} if record.approved_by == "auto" else {}),
        "provider": record.provider,
    }


def buckets(record: Record) -> Iterator[dict[str, Any]]:
    """Every bucket that the intent books to, in the order in which they are always locked."""
    units = [record.unit] if record.unit == USD or record.rate is None else [record.unit, USD]
    for scope, key in bucket_keys(record).items():
        yield from ({"scope": scope, "scope_key": key, "unit": unit} for unit in units)


def unrated(records: Iterable[Record], scope: str, key: str, rates: Mapping[str, Decimal]) -> tuple[int, str]:
    """What `records` without a rate add, in micros, to a bucket in USD at `rates` by unit; else which of them have none."""
    mine = [record for record in records if bucket_keys(record).get(scope) == key]
    unknown = [record for record in mine if record.unit not in rates]
    if unknown:
        money = Money(sum(one.booked for one in unknown if one.unit == unknown[0].unit), unknown[0].unit)
        shots = ", ".join(dict.fromkeys(f"{one.board} {one.shot} TK{one.take:02d}" for one in unknown[:5]))
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        return 0, f"{money} were ordered without a rate in USD ({shots}{more}) and count against it"
    return sum(usd_micros(record.booked, rates[record.unit]) or 0 for record in mine), ""


def make_buckets(tx: Transaction, record: Record) -> None:
    """See to it that the intent's buckets exist."""
    tx.run(_MAKE, list(buckets(record)))


def moved(record: Record, before: int, after: int, unit: str) -> int:
    """How far a bucket in `unit` moves when what the intent has booked goes from `before` to `after`."""
    if unit == record.unit:
        return after - before
    rate = None if record.rate is None else Decimal(record.rate)
    return (usd_micros(after, rate) or 0) - (usd_micros(before, rate) or 0)


def book(
    tx: Transaction, record: Record, kind: Kind, micros: int, evidence: str = "", *, buckets_too: bool = True
) -> None:
    """Make one entry and move the record and its buckets; the caller saves the record."""
    before = record.booked
    record.reserved_micros += _RESERVED[kind] * micros
    record.settled_micros += _SETTLED.get(kind, 0) * micros
    entry = {"intent_id": record.intent_id, "kind": kind, "micros": micros, "round": record.round, "at": tx.now}
    tx.run(_ENTRY, {**entry, "evidence": evidence})
    if buckets_too and record.booked != before:
        if record.booked > before:
            make_buckets(tx, record)
        steps = [{**one, "micros": moved(record, before, record.booked, one["unit"])} for one in buckets(record)]
        tx.run(_MOVE, steps)


def grow_to(tx: Transaction, record: Record, micros: int, evidence: str) -> None:
    """Reserve so much more that `micros` are booked; what is booked already is never lessened here."""
    if micros > record.booked:
        book(tx, record, "ADJUST", micros - record.booked, evidence)


def close(tx: Transaction, record: Record, evidence: str) -> None:
    """Settle what is still open at what the provider named last, else at the quote; what is settled stays as it is."""
    if record.reserved_micros or record.settled_at is None:
        settle(tx, record, record.expected, evidence)


def settle(tx: Transaction, record: Record, billed: int, evidence: str) -> None:
    """Close the reservation: `billed` micro-units are spent in all, the remainder is released."""
    grow_to(tx, record, billed, f"billed, {evidence}")
    if billed > record.settled_micros:
        book(tx, record, "SETTLE", billed - record.settled_micros, evidence)
    elif billed < record.settled_micros:
        book(tx, record, "REFUND", record.settled_micros - billed, evidence)
    release(tx, record, evidence)
    record.settled_at = tx.now
    record.round += 1


def release(tx: Transaction, record: Record, evidence: str) -> None:
    """Give back what is still reserved."""
    if record.reserved_micros:
        book(tx, record, "RELEASE", record.reserved_micros, evidence)
