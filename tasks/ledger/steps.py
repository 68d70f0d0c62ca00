"""The machine's steps after a reservation. Decisions are fenced by epoch; facts (job ids, results, bills) never are.

A step that comes too late or out of order changes nothing and is told as an event; the caller reads the row it gets back.
"""

import json
from collections.abc import Sequence

import sqlalchemy as sa

from specs.money import Money
from tasks.ledger import asking, books, breakers, schema
from tasks.ledger.acceptance import name_bill, revive, tell_late
from tasks.ledger.answers import Answer, keep
from tasks.ledger.breakers import LAST_NAMED
from tasks.ledger.database import Prepared, moment
from tasks.ledger.record import Record, artifact_values
from tasks.ledger.reserving import LEASE, NOT_AFTER
from tasks.ledger.rows import Artifact, IntentState
from tasks.ledger.transaction import Transaction, binds, load_query

__all__ = [
    "announced",
    "cancelled",
    "doubt",
    "failed",
    "heartbeat",
    "held",
    "named",
    "rejected",
    "renew",
    "resumed",
    "settle_failed",
    "slip_told",
    "stalled",
    "stored",
    "succeeded",
]

S = IntentState
SETTLED_AFTER = 24 * 3600 * 1_000_000

_intent = schema.intent
_BEAT = Prepared(
    sa.text(
        "UPDATE intent SET lease_until = :until WHERE lease_owner = :owner AND state = 'SUBMITTING' AND lease_until >= :now"
    )
)
_KEEP_OPEN = Prepared(
    sa.text("UPDATE run SET open_until = :until WHERE owner = :owner AND open_until IS NOT NULL AND ended_at IS NULL")
)
_UNSETTLED = load_query(
    _intent.c.state == sa.literal_column("'FAILED_UNSETTLED'"), _intent.c.finished_at <= sa.bindparam("before")
)
_ARTIFACT = Prepared(
    sa.select(schema.artifact.c.sha256).where(schema.artifact.c.intent_id == sa.bindparam("intent_id"))
)
_WRITTEN_OFF = Prepared(
    sa.select(schema.event.c.seq).where(
        schema.event.c.intent_id == sa.bindparam("intent_id"), schema.event.c.kind == sa.literal_column("'written-off'")
    )
)
_SLIP = Prepared(sa.text("UPDATE intent SET slip = :slip, slip_state = :state WHERE intent_id = :intent_id"))
_PUT_ARTIFACT = Prepared(sa.insert(schema.artifact).values(binds(schema.artifact)).inline())


def renew(tx: Transaction, intent_id: str, epoch: int) -> None:
    """Before a resend: a new lease and a new `not_after`, while the intent is still this sender's."""
    record = tx.load(intent_id)
    if record.state != S.SUBMITTING or record.epoch != epoch:
        return tell_late(tx, record, "renewal", {"epoch": epoch})
    record.lease_until, record.not_after = tx.now + LEASE, tx.now + NOT_AFTER
    tx.save(record)
    return tx.event(intent_id, "renewed", {"not_after": record.not_after})


def announced(tx: Transaction, intent_id: str, epoch: int, slip: str) -> None:
    """The store holds the order's slip. A slow store costs no order: lease and `not_after` begin anew, as before a resend."""
    slip_told(tx, intent_id, slip, S.SUBMITTING)
    record = tx.load(intent_id)
    if record.state == S.SUBMITTING and record.epoch == epoch:
        record.lease_until, record.not_after = tx.now + LEASE, tx.now + NOT_AFTER
        tx.save(record)


def slip_told(tx: Transaction, intent_id: str, slip: str, state: str) -> None:
    """What the slip in the store last said of the order; "" where nobody knows whether it is there."""
    tx.run(_SLIP, {"intent_id": intent_id, "slip": slip, "state": state})


def heartbeat(tx: Transaction, owner: str) -> None:
    """Extend the leases of every create that `owner` has under way, and of the run that it holds."""
    tx.run(_BEAT, {"until": tx.now + LEASE, "owner": owner, "now": tx.now})
    tx.run(_KEEP_OPEN, {"until": tx.now + LEASE, "owner": owner})


def rejected(tx: Transaction, intent_id: str, epoch: int, *, kind: str, reason: str, opens_breaker: bool) -> None:
    """Definitely not accepted: give the money back."""
    record = tx.load(intent_id)
    if opens_breaker:
        breakers.open_breaker(tx, record, "create", reason or kind)
    facts = {"kind": kind, "reason": reason}
    if record.state != S.SUBMITTING or record.epoch != epoch:
        return tell_late(tx, record, "refusal", facts)
    books.release(tx, record, f"refused: {kind}")
    record.reason, record.finished_at = reason, tx.now
    return tx.move(record, S.REJECTED, "rejected", facts)


def cancelled(tx: Transaction, intent_id: str, epoch: int, reason: str = "") -> None:
    """Never sent: give the money back."""
    record = tx.load(intent_id)
    if record.state != S.SUBMITTING or record.epoch != epoch:
        return tell_late(tx, record, "cancel", {"epoch": epoch})
    books.release(tx, record, "never sent")
    record.reason, record.finished_at = reason, tx.now
    return tx.move(record, S.CANCELLED, "cancelled", {"reason": reason} if reason else None)


def doubt(tx: Transaction, intent_id: str, epoch: int | None, reason: str, answer: Answer | None = None) -> None:
    """It may have been accepted: the money stays reserved until somebody knows, and what the reply said is kept."""
    record = tx.load(intent_id)
    if record.state != S.SUBMITTING or epoch not in {None, record.epoch}:
        if record.state == S.IN_DOUBT:
            record.doubt_reason = reason or record.doubt_reason
            tx.save(record)
        return tell_late(tx, record, "doubt", {"reason": reason})
    to_doubt(record, reason)
    tx.move(record, S.IN_DOUBT, "doubted", {"reason": reason})
    return keep(tx, record, answer) if answer is not None else None


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
        revive(tx, record, "late-success")
    elif record.state not in {*_POLLED, S.SUCCEEDED, S.RESULT_HELD, S.FAILED_UNSETTLED}:
        return tell_late(tx, record, "success", {"urls": len(urls)})
    if record.state == S.SUBMITTED:
        asking.ask_anew(record)
    record.state = S.SUCCEEDED.value
    if cost is not None:
        name_bill(tx, record, cost, "the query")
    record.urls = json.dumps(list(urls)) if urls else record.urls
    record.reason = ""
    return tx.move(record, S.SUCCEEDED, "succeeded", {"urls": len(urls), "cost": str(cost) if cost else None})


def named(tx: Transaction, intent_id: str, amount: Money | None, source: str, note: str = "") -> None:
    """The provider names what the job costs, beside or after its result; `note` tells what is wrong with it."""
    record = tx.load(intent_id)
    if record.job_id is None:
        return tell_late(tx, record, "amount", {"amount": str(amount), "source": source, "note": note})
    return name_bill(tx, record, amount, source, note)


def failed(tx: Transaction, intent_id: str, reason: str, *, refunded: bool | None, moderated: bool) -> None:
    """The provider says failed: counted as spent until a refund is known (F36 to F40).

    A refund frees the money, also where a person has closed the row or a clip was promised before. It is a word that may
    be taken back: the job is asked after further, and a clip that comes all the same is booked and fetched.
    """
    record = tx.load(intent_id)
    if refunded and record.settled_at is not None and not record.booked:
        return None
    if (
        refunded
        and record.job_id
        and record.state in {S.ABANDONED, S.SUPERSEDED, S.RESULT_HELD}
        and not tx.rows(_ARTIFACT, intent_id=intent_id)
    ):
        record.reason = reason or "refunded by the provider"
        asking.ask_anew(record)
        books.settle(tx, record, 0, "refunded by the provider")
        state = S.FAILED_FINAL if record.state == S.RESULT_HELD else S(record.state)
        return tx.move(record, state, "failed", {"reason": reason, "refunded": True, "moderated": moderated})
    if record.state in {S.FAILED_UNSETTLED, S.FAILED_FINAL} and not refunded:
        return None
    if record.state not in {*_POLLED, S.FAILED_UNSETTLED, S.FAILED_FINAL}:
        return tell_late(tx, record, "failure", {"reason": reason})
    record.reason, record.moderated = reason or record.reason, int(moderated or record.moderated)
    record.finished_at = record.finished_at or tx.now
    facts = {"reason": reason, "refunded": refunded, "moderated": moderated}
    asking.ask_anew(record)
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
        return tell_late(tx, record, "stall", {"reason": reason})
    record.reason = reason
    asking.ask_anew(record)
    return tx.move(record, S.STALLED, "stalled", {"reason": reason})


def resumed(tx: Transaction, intent_id: str) -> None:
    """A stalled job moves again."""
    record = tx.load(intent_id)
    if record.state != S.STALLED:
        return tell_late(tx, record, "resumption", {})
    record.reason = ""
    return tx.move(record, S.SUBMITTED, "resumed")


def held(tx: Transaction, intent_id: str, reason: str) -> None:
    """Paid, but it cannot be fetched or read: settled, and named until somebody gets it (F54, F57).

    What a person has written off stays so: the clip is asked for further, and nobody is told of it again.
    """
    record = tx.load(intent_id)
    if record.state not in {S.SUCCEEDED, S.RESULT_HELD}:
        return tell_late(tx, record, "hold", {"reason": reason})
    books.close(tx, record, "paid")
    if record.next_try_at is None or record.next_try_at <= tx.now:
        asking.schedule(tx, record, asking.next_pause(record.tries))
    record.reason = reason
    state = S.ABANDONED if tx.rows(_WRITTEN_OFF, intent_id=intent_id) else S.RESULT_HELD
    facts = {"reason": reason, "tries": record.tries, "next_try": moment(record.next_try_at or 0)}
    return tx.move(record, state, "held", facts)


def stored(tx: Transaction, intent_id: str, artifact: Artifact, billed: Money | None) -> None:
    """K20. The verified clip is published: record it and settle. The same bytes again change nothing (F61)."""
    record = tx.load(intent_id)
    known = tx.rows(_ARTIFACT, intent_id=intent_id)
    if known:
        if known[0][0] != artifact.sha256:
            tell_late(tx, record, "artifact", {"kept": known[0][0], "other": artifact.sha256}, alert=True)
        return None
    if record.state not in {S.SUCCEEDED, S.RESULT_HELD, S.SUPERSEDED, S.ABANDONED} or record.job_id is None:
        return tell_late(tx, record, "artifact", {"sha256": artifact.sha256, "path": artifact.path}, alert=True)
    tx.run(_PUT_ARTIFACT, artifact_values(intent_id, artifact))
    if billed is not None:
        name_bill(tx, record, billed, "the provider's account")
    elif record.amount_micros is None and not breakers.unread(tx.rows(LAST_NAMED, intent_id=intent_id)):
        breakers.check_bill(tx, record, record.expected)
    books.close(tx, record, "stored")
    record.finished_at = tx.now
    record.reason = ""
    asking.ask_anew(record)
    state = S.STORED if record.state in {S.SUCCEEDED, S.RESULT_HELD} else S(record.state)
    facts = {"sha256": artifact.sha256, "path": artifact.path, "billed": str(record.money(record.settled_micros))}
    return tx.move(record, state, "stored", facts)


def settle_failed(tx: Transaction, before: int) -> list[str]:
    """Settle failures older than `before` (microseconds) in full: nobody said that they were refunded."""
    old = tx.records(_UNSETTLED, before=before)
    for record in old:
        books.close(tx, record, "no refund was seen")
        tx.move(record, S.FAILED_FINAL, "settled", {"billed": str(record.money(record.settled_micros))})
    return [record.intent_id for record in old]
