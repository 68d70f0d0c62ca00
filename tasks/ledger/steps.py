"""The machine's steps after a reservation. Decisions are fenced by epoch; facts (job ids, results, bills) never are.

A step that comes too late or out of order changes nothing and is told as an event; the caller reads the row it gets back.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from specs.money import Money
from tasks.ledger import books, breakers, schema
from tasks.ledger.database import Prepared
from tasks.ledger.record import Record, artifact_values
from tasks.ledger.reserving import LEASE, NOT_AFTER, OF_KEY
from tasks.ledger.rows import Artifact, IntentState
from tasks.ledger.transaction import Transaction, binds, load_query

__all__ = [
    "ORPHANED",
    "accepted",
    "cancelled",
    "doubt",
    "failed",
    "heartbeat",
    "held",
    "rejected",
    "renew",
    "resumed",
    "settle_failed",
    "stalled",
    "stored",
    "succeeded",
]

S = IntentState
ORPHANED = "its sender ended before an answer was recorded"
SETTLED_AFTER = 24 * 3600 * 1_000_000

_intent = schema.intent
_BY_JOB = load_query(
    _intent.c.provider == sa.bindparam("provider"),
    _intent.c.base_url == sa.bindparam("base_url"),
    _intent.c.job_id == sa.bindparam("job_id"),
)
_RIVAL = Prepared(
    sa.text(
        "SELECT count(*) FROM intent WHERE intent_id <> :intent_id AND extra = 0 AND (shot_key = :shot_key"
        " OR (board = :board AND shot = :shot AND family = :family)) AND state IN ('SUBMITTING', 'IN_DOUBT',"
        " 'SUBMITTED', 'STALLED', 'SUCCEEDED', 'STORED', 'RESULT_HELD', 'FAILED_UNSETTLED')"
    )
)
_LAST_TAKE = Prepared(
    sa.select(sa.func.max(_intent.c.take)).where(
        _intent.c.board == sa.bindparam("board"), _intent.c.shot == sa.bindparam("shot")
    )
)
_BEAT = Prepared(
    sa.text(
        "UPDATE intent SET lease_until = :until WHERE lease_owner = :owner AND state = 'SUBMITTING' AND lease_until >= :now"
    )
)
_UNSETTLED = load_query(
    _intent.c.state == sa.literal_column("'FAILED_UNSETTLED'"), _intent.c.finished_at <= sa.bindparam("before")
)
_ARTIFACT = Prepared(
    sa.select(schema.artifact.c.sha256).where(schema.artifact.c.intent_id == sa.bindparam("intent_id"))
)
_PUT_ARTIFACT = Prepared(sa.insert(schema.artifact).values(binds(schema.artifact)).inline())


def _late(tx: Transaction, record: Record, step: str, facts: Mapping[str, Any], *, alert: bool = False) -> None:
    tx.event(record.intent_id, f"late-{step}", {**facts, "state": record.state}, alert=alert)


def renew(tx: Transaction, intent_id: str, epoch: int) -> None:
    """Before a resend: a new lease and a new `not_after`, while the intent is still this sender's."""
    record = tx.load(intent_id)
    if record.state != S.SUBMITTING or record.epoch != epoch:
        return _late(tx, record, "renewal", {"epoch": epoch})
    record.lease_until, record.not_after = tx.now + LEASE, tx.now + NOT_AFTER
    tx.save(record)
    return tx.event(intent_id, "renewed", {"not_after": record.not_after})


def heartbeat(tx: Transaction, owner: str) -> None:
    """Extend the leases of every create that `owner` has under way."""
    tx.run(_BEAT, {"until": tx.now + LEASE, "owner": owner, "now": tx.now})


def accepted(tx: Transaction, intent_id: str, job_id: str, amount: Money | None, note: str = "") -> str:
    """K13. The provider has a job for this intent: a fact in every state. Returns the id of the intent that holds it."""
    record = tx.load(intent_id)
    if record.job_id == job_id:
        _confirm(tx, record, amount)
        return intent_id
    owner = tx.records(_BY_JOB, provider=record.provider, base_url=record.base_url, job_id=job_id)
    if owner:
        _duplicate(tx, record, job_id, owner[0])
        return intent_id
    if record.job_id is not None:
        record = _second_job(tx, record, job_id)
    elif record.state not in {S.SUBMITTING, S.IN_DOUBT}:
        _revive(tx, record, "late-acceptance")
    _bind(tx, record, job_id, amount, note)
    return record.intent_id


def _confirm(tx: Transaction, record: Record, amount: Money | None) -> None:
    if amount is not None and record.amount_micros is None and record.settled_at is None:
        _name_amount(tx, record, amount)
        tx.save(record)
    tx.event(record.intent_id, "confirmed", {"job_id": record.job_id})


def _duplicate(tx: Transaction, record: Record, job_id: str, owner: Record) -> None:
    """One job cannot serve two intents (F20): both stay reserved and a person looks."""
    facts = {"duplicate_job_id": job_id, "held_by": owner.intent_id}
    if record.state in {S.SUBMITTING, S.IN_DOUBT}:
        record.doubt_reason = f"duplicate job id: {job_id} belongs to intent {owner.intent_id}"
        record.epoch += record.state == S.SUBMITTING
        tx.move(record, S.IN_DOUBT, "duplicate-job", facts, alert=True)
    else:
        _late(tx, record, "duplicate-job", facts, alert=True)


def _second_job(tx: Transaction, first: Record, job_id: str) -> Record:
    """A second job for one intent was accepted and is owed (F53): an intent of its own collects it."""
    same = tx.records(OF_KEY, shot_key=first.shot_key)
    last_take = tx.rows(_LAST_TAKE, board=first.board, shot=first.shot)[0][0]
    values = {**first.values(), "intent_id": tx.rng.new_id(), "take": last_take + 1}
    values |= {"attempt_no": 1 + max(one.attempt_no for one in same), "state": S.IN_DOUBT.value, "job_id": None}
    values |= {"amount_micros": None, "reserved_micros": 0, "settled_micros": 0, "settled_at": None, "round": 0}
    values |= {"doubt_reason": f"second job of intent {first.intent_id}", "reason": "", "urls": "[]", "moderated": 0}
    values |= {"submitted_at": None, "finished_at": None, "created_at": tx.now, "updated_at": tx.now, "extra": 1}
    second = Record(seq=0, **values)
    tx.insert(second)
    books.book(tx, second, "RESERVE", second.quote_micros, f"second job {job_id}")
    second.extra = beside_another(tx, second)
    facts = {"first": first.intent_id, "job_id": job_id}
    tx.event(second.intent_id, "double-accept", facts, state=S.IN_DOUBT.value, alert=True)
    tx.event(first.intent_id, "double-accept", {"second": second.intent_id, "second_job_id": job_id}, alert=True)
    return second


def beside_another(tx: Transaction, record: Record) -> int:
    """1 where another row holds the shot by now."""
    keys = ("intent_id", "shot_key", "board", "shot", "family")
    return int(tx.rows(_RIVAL, **{name: getattr(record, name) for name in keys})[0][0] > 0)


def _revive(tx: Transaction, record: Record, why: str) -> None:
    """A closed row turns out to be owed: book its price again, past any cap, and hold the shot unless another does."""
    record.round += 1
    record.extra = beside_another(tx, record)
    books.adjust_to(tx, record, max(record.expected, record.booked), why)
    tx.event(record.intent_id, why, {"was": record.state, "extra": bool(record.extra)}, alert=True)


def _bind(tx: Transaction, record: Record, job_id: str, amount: Money | None, note: str) -> None:
    record.job_id = job_id
    record.submitted_at = tx.now
    record.finished_at = None
    breakers.close_by(tx, record)
    if amount is not None:
        _name_amount(tx, record, amount)
    facts = {"amount": str(amount) if amount is not None else None, "note": note}
    tx.move(record, S.SUBMITTED, "accepted", facts, alert=bool(note and "amount" in note))


def _name_amount(tx: Transaction, record: Record, amount: Money) -> None:
    """The provider's price replaces the quote in the reservation, past the cap if need be (F22)."""
    if amount.unit != record.unit:
        tx.event(record.intent_id, "amount-unusable", {"amount": str(amount), "quoted_in": record.unit}, alert=True)
        return
    record.amount_micros = amount.micros
    books.adjust_to(tx, record, amount.micros, f"amount of job {record.job_id}")
    breakers.check_bill(tx, record, amount.micros)


def rejected(tx: Transaction, intent_id: str, epoch: int, *, kind: str, reason: str, opens_breaker: bool) -> None:
    """Definitely not accepted: give the money back."""
    record = tx.load(intent_id)
    if opens_breaker:
        breakers.open_breaker(tx, record, "create", reason or kind)
    facts = {"kind": kind, "reason": reason}
    if record.state != S.SUBMITTING or record.epoch != epoch:
        return _late(tx, record, "refusal", facts)
    books.release(tx, record, f"refused: {kind}")
    record.reason, record.finished_at = reason, tx.now
    return tx.move(record, S.REJECTED, "rejected", facts)


def cancelled(tx: Transaction, intent_id: str, epoch: int) -> None:
    """Never sent: give the money back."""
    record = tx.load(intent_id)
    if record.state != S.SUBMITTING or record.epoch != epoch:
        return _late(tx, record, "cancel", {"epoch": epoch})
    books.release(tx, record, "never sent")
    record.finished_at = tx.now
    return tx.move(record, S.CANCELLED, "cancelled")


def doubt(tx: Transaction, intent_id: str, epoch: int | None, reason: str) -> None:
    """It may have been accepted: the money stays reserved until somebody knows."""
    record = tx.load(intent_id)
    if record.state != S.SUBMITTING or epoch not in {None, record.epoch}:
        if record.state == S.IN_DOUBT:
            record.doubt_reason = reason or record.doubt_reason
            tx.save(record)
        return _late(tx, record, "doubt", {"reason": reason})
    to_doubt(record, reason)
    return tx.move(record, S.IN_DOUBT, "doubted", {"reason": reason})


def to_doubt(record: Record, reason: str) -> None:
    """Set the columns of a doubt; the next epoch shuts the old sender out of every decision."""
    record.epoch += 1
    record.doubt_reason = reason or "the outcome is unknown"


_POLLED = {S.SUBMITTED, S.STALLED}
_CLOSED = {S.FAILED_FINAL, S.ABANDONED, S.SUPERSEDED}


def succeeded(tx: Transaction, intent_id: str, urls: Sequence[str], cost: Money | None) -> None:
    """The provider is done: a fact even after a failure (F34) or a person's write-off. Also takes fresh addresses."""
    record = tx.load(intent_id)
    has_clip = bool(tx.rows(_ARTIFACT, intent_id=intent_id))
    if record.state in _CLOSED and record.job_id and not has_clip:
        _revive(tx, record, "late-success")
    elif record.state not in {*_POLLED, S.SUCCEEDED, S.RESULT_HELD, S.FAILED_UNSETTLED}:
        return _late(tx, record, "success", {"urls": len(urls)})
    if cost is not None and (record.amount_micros is None or cost.micros != record.amount_micros):
        _name_amount(tx, record, cost)
    record.urls = json.dumps(list(urls)) if urls else record.urls
    record.reason = ""
    return tx.move(record, S.SUCCEEDED, "succeeded", {"urls": len(urls), "cost": str(cost) if cost else None})


def failed(tx: Transaction, intent_id: str, reason: str, *, refunded: bool | None, moderated: bool) -> None:
    """The provider says failed: counted as spent until a refund is known (F36 to F40)."""
    record = tx.load(intent_id)
    if record.state in {S.FAILED_UNSETTLED, S.FAILED_FINAL} and not refunded:
        return None
    if record.state not in {*_POLLED, S.FAILED_UNSETTLED, S.FAILED_FINAL}:
        return _late(tx, record, "failure", {"reason": reason})
    if record.state == S.FAILED_FINAL and record.settled_micros == 0:
        return None
    record.reason, record.moderated = reason or record.reason, int(moderated or record.moderated)
    record.finished_at = record.finished_at or tx.now
    facts = {"reason": reason, "refunded": refunded, "moderated": moderated}
    if not refunded:
        return tx.move(record, S.FAILED_UNSETTLED, "failed", facts)
    books.settle(tx, record, 0, "refunded by the provider")
    return tx.move(record, S.FAILED_FINAL, "failed", facts)


def stalled(tx: Transaction, intent_id: str, reason: str) -> None:
    """Not ended in its time: left to slow polls, its money still reserved (F35)."""
    record = tx.load(intent_id)
    if record.state == S.STALLED:
        return None
    if record.state != S.SUBMITTED:
        return _late(tx, record, "stall", {"reason": reason})
    record.reason = reason
    return tx.move(record, S.STALLED, "stalled", {"reason": reason})


def resumed(tx: Transaction, intent_id: str) -> None:
    """A stalled job moves again."""
    record = tx.load(intent_id)
    if record.state != S.STALLED:
        return _late(tx, record, "resumption", {})
    record.reason = ""
    return tx.move(record, S.SUBMITTED, "resumed")


def held(tx: Transaction, intent_id: str, reason: str) -> None:
    """Paid, but it cannot be fetched or read: settled, and named until somebody gets it (F54, F57)."""
    record = tx.load(intent_id)
    if record.state not in {S.SUCCEEDED, S.RESULT_HELD}:
        return _late(tx, record, "hold", {"reason": reason})
    if record.state == S.SUCCEEDED:
        books.settle(tx, record, None, "paid")
    record.reason = reason
    return tx.move(record, S.RESULT_HELD, "held", {"reason": reason})


def stored(tx: Transaction, intent_id: str, artifact: Artifact, billed: Money | None) -> None:
    """K20. The verified clip is published: record it and settle. The same bytes again change nothing (F61)."""
    record = tx.load(intent_id)
    known = tx.rows(_ARTIFACT, intent_id=intent_id)
    if known:
        if known[0][0] != artifact.sha256:
            _late(tx, record, "artifact", {"kept": known[0][0], "other": artifact.sha256}, alert=True)
        return None
    if record.state not in {S.SUCCEEDED, S.RESULT_HELD, S.SUPERSEDED, S.ABANDONED} or record.job_id is None:
        return _late(tx, record, "artifact", {"sha256": artifact.sha256, "path": artifact.path}, alert=True)
    tx.run(_PUT_ARTIFACT, artifact_values(intent_id, artifact))
    usable = billed if billed is not None and billed.unit == record.unit else None
    if usable is not None:
        breakers.check_bill(tx, record, usable.micros)
    if usable is not None or record.reserved_micros or record.settled_at is None:
        books.settle(tx, record, usable.micros if usable is not None else None, "stored")
    record.finished_at = tx.now
    record.reason = ""
    state = S.STORED if record.state in {S.SUCCEEDED, S.RESULT_HELD} else S(record.state)
    facts = {"sha256": artifact.sha256, "path": artifact.path, "billed": str(record.money(record.settled_micros))}
    return tx.move(record, state, "stored", facts)


def settle_failed(tx: Transaction, before: int) -> list[str]:
    """Settle failures older than `before` (microseconds) in full: nobody said that they were refunded."""
    old = tx.records(_UNSETTLED, before=before)
    for record in old:
        books.settle(tx, record, None, "no refund was seen")
        tx.move(record, S.FAILED_FINAL, "settled", {"billed": str(record.money(record.settled_micros))})
    return [record.intent_id for record in old]
