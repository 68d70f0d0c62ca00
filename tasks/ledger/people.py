"""What only a person decides. Each step says who, when, why; refuses the wrong intent; and done twice is done once (F81)."""

import sqlalchemy as sa

from specs.money import Money
from tasks.errors import Refused
from tasks.ledger import answers, books, breakers, schema
from tasks.ledger.acceptance import BY_JOB, accepted
from tasks.ledger.database import Prepared
from tasks.ledger.record import Record
from tasks.ledger.reserving import LEASE, supersede
from tasks.ledger.rows import IntentState
from tasks.ledger.transaction import Transaction

__all__ = ["absent", "attach", "give_up", "refund", "settle", "take_back_vouch", "vouch", "write_off"]

S = IntentState
_EVIDENCE = Prepared(
    sa.text(
        "SELECT count(*) FROM money WHERE intent_id = :intent_id AND kind = 'REFUND' AND evidence = :evidence"
        " AND micros = :micros"
    )
)
_CONFIRMED = Prepared(
    sa.select(schema.intent.c.seq).where(schema.intent.c.intent_id == sa.bindparam("intent_id"), breakers.CONFIRMED)
)
_ATTACHABLE = {S.IN_DOUBT, S.REJECTED, S.ABANDONED, S.SUPERSEDED, S.CANCELLED}
_WRITE_OFF = {S.IN_DOUBT, S.STALLED, S.RESULT_HELD, S.FAILED_UNSETTLED}
_GIVE_UP = {*_WRITE_OFF, S.STORED, S.FAILED_FINAL}
_SETTLED = {S.STORED, S.RESULT_HELD, S.FAILED_FINAL, S.ABANDONED, S.SUPERSEDED}


def _named(who: str, why: str) -> None:
    if not who.strip() or not why.strip():
        raise Refused("a decision about money needs who and why")


def _wrong(record: Record, wanted: str) -> Refused:
    return Refused(f"intent {record.intent_id} is {record.state}: it cannot be {wanted}", "See `rushes doubts`.")


def attach(tx: Transaction, intent_id: str, job_id: str, who: str, why: str, *, confirmed: bool) -> str:
    """Bind a job id that a query confirmed.

    Raises:
        Refused: not confirmed, the intent has a job or cannot have one, or the job is another intent's.
    """
    _named(who, why)
    record = tx.load(intent_id)
    if record.job_id == job_id:
        return intent_id
    if not confirmed:
        raise Refused(f"{record.provider} does not confirm job {job_id}", "Check the id in the provider's dashboard.")
    if record.job_id is not None or record.state not in _ATTACHABLE:
        raise _wrong(record, "given another job")
    if owner := tx.records(BY_JOB, provider=record.provider, account=record.account, job_id=job_id):
        raise Refused(f"job {job_id} belongs to intent {owner[0].intent_id}", "One job cannot stand for two shots.")
    tx.event(intent_id, "attached", {"job_id": job_id, "why": why}, actor=who)
    return accepted(tx, intent_id, job_id, None, f"attached by {who}")


def absent(
    tx: Transaction, intent_id: str, who: str, why: str, evidence: str, *, horizon: int, sender_dead: bool | None
) -> None:
    """Transition 5: the provider proves not to have it, so the money comes back and the shot may be bought again.

    `horizon` in microseconds after `not_after`; `sender_dead` False when the sender's lock is held on this host.

    Raises:
        Refused: not in doubt, too early, the sender may still be alive, or no evidence.
    """
    _named(who, why)
    record = tx.load(intent_id)
    if record.state == S.REJECTED and record.reason.startswith(_ABSENT):
        return
    if record.state != S.IN_DOUBT:
        raise _wrong(record, "declared absent")
    if not evidence.strip():
        raise Refused("absence needs evidence", "Say what was looked at: the dashboard, or the balance.")
    if sender_dead is False:
        raise Refused(f"the sender of {intent_id} is still alive", "End that process first: it may yet send.")
    wait = max(record.not_after + horizon, record.lease_until + LEASE) - tx.now
    if wait >= 0:
        raise Refused(
            f"too early: {intent_id} may still appear at {record.provider} for {wait // 60_000_000 + 1} minutes",
            "Wait that long, look again, then declare it absent.",
        )
    books.release(tx, record, f"proved absent: {evidence}")
    record.epoch += 1
    record.amount_micros = None  # what an odd reply named was never charged
    record.reason, record.finished_at = f"{_ABSENT} by {who}: {evidence}", tx.now
    tx.move(record, S.REJECTED, "declared-absent", {"why": why, "evidence": evidence}, actor=who)


_ABSENT = "declared absent"


def vouch(tx: Transaction, intent_id: str, kind: str, who: str, why: str) -> None:
    """The refusal that left this intent in doubt is definite, wherever the provider sends it again: see `answers`."""
    _named(who, why)
    answers.vouch(tx, intent_id, kind, who, why, holds=True)


def take_back_vouch(tx: Transaction, intent_id: str, who: str, why: str) -> None:
    """It is a doubt again from now on."""
    _named(who, why)
    answers.vouch(tx, intent_id, "", who, why, holds=False)


def write_off(tx: Transaction, intent_id: str, who: str, why: str) -> None:
    """Give the purchase up and count it as spent in full; whatever comes of it later is still collected.

    Raises:
        Refused: its outcome is known, or still under way.
    """
    _named(who, why)
    record = tx.load(intent_id)
    if record.state == S.ABANDONED:
        return
    if record.state not in _WRITE_OFF:
        raise _wrong(record, "written off")
    books.close(tx, record, "written off")
    record.epoch += 1
    record.reason, record.finished_at = f"written off by {who}: {why}", tx.now
    tx.move(record, S.ABANDONED, "written-off", {"why": why}, actor=who)


def give_up(tx: Transaction, intent_id: str, who: str, why: str) -> None:
    """Let the shot go to a newer purchase; out of a doubt this risks paying twice (transition 6) and is told so.

    Raises:
        Refused: the job is under way, or never was.
    """
    _named(who, why)
    record = tx.load(intent_id)
    if record.state == S.SUPERSEDED:
        return
    if record.state not in _GIVE_UP:
        raise _wrong(record, "superseded")
    if record.state in {S.IN_DOUBT, S.STALLED}:
        tx.event(intent_id, "risked-resubmit", {"why": why, "at_stake": str(record.money(record.booked))}, actor=who)
    record.epoch += 1
    supersede(tx, record, why, actor=who)


def settle(tx: Transaction, intent_id: str, billed: Money, evidence: str, who: str) -> None:
    """Put the bill in place of what was assumed, or confirm it; a failure without a known refund becomes final.

    Buying goes on at the account once every bill far above its quote was settled so.

    Raises:
        Refused: still open, without a job, another unit, or no evidence.
    """
    _named(who, evidence)
    record = tx.load(intent_id)
    if record.job_id is None:
        raise Refused(
            f"no job of {intent_id} is known, so nobody can have looked up its bill",
            "Name the job with --job-id; without one, only --absent gives the money back.",
        )
    if billed.unit != record.unit:
        raise Refused(f"{intent_id} is billed in {record.unit}, not in {billed.unit}")
    if record.state not in {*_SETTLED, S.FAILED_UNSETTLED}:
        raise _wrong(record, "settled")
    same = record.state in _SETTLED and record.settled_micros == billed.micros
    if same and tx.rows(_CONFIRMED, intent_id=intent_id):
        return
    if not same:
        books.settle(tx, record, billed.micros, evidence)
    state = S.FAILED_FINAL if record.state == S.FAILED_UNSETTLED else S(record.state)
    tx.move(record, state, "settled", {"billed": str(billed), "evidence": evidence}, actor=who)
    breakers.close_confirmed(tx, record, who)


def refund(tx: Transaction, intent_id: str, amount: Money, evidence: str, who: str) -> None:
    """Money came back, known by `evidence`, which counts once for each amount.

    Raises:
        Refused: more than was spent, another unit, or still open.
    """
    _named(who, evidence)
    record = tx.load(intent_id)
    if tx.rows(_EVIDENCE, intent_id=intent_id, evidence=evidence, micros=amount.micros)[0][0]:
        return
    if record.state == S.FAILED_UNSETTLED:
        books.close(tx, record, "failed")
        record.state = S.FAILED_FINAL.value
    if record.state not in _SETTLED or amount.unit != record.unit or amount.micros > record.settled_micros:
        raise _wrong(record, f"refunded {amount}, {record.money(record.settled_micros)} is settled")
    books.book(tx, record, "REFUND", amount.micros, evidence)
    tx.move(record, S(record.state), "refunded", {"amount": str(amount), "evidence": evidence}, actor=who)
