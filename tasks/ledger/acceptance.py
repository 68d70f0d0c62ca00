"""K13: the provider has a job for an intent. A fact in every state, never fenced, whatever has become of the row."""

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from specs.money import Money
from tasks.ledger import asking, books, breakers, schema
from tasks.ledger.breakers import AMOUNT, LAST_NAMED, UNREAD
from tasks.ledger.database import Prepared
from tasks.ledger.record import Record
from tasks.ledger.reserving import OF_KEY
from tasks.ledger.rows import IntentState
from tasks.ledger.transaction import Transaction, load_query
from tasks.providers.amounts import differs, unusable

__all__ = ["BY_JOB", "CREATE", "accepted", "beside_another", "name_bill", "revive", "tell_late"]

S = IntentState
CREATE = "the reply to the create"
"""Who named an amount: before the job has run."""
_intent = schema.intent
BY_JOB = load_query(
    _intent.c.provider == sa.bindparam("provider"),
    _intent.c.account == sa.bindparam("account"),
    _intent.c.job_id == sa.bindparam("job_id"),
)
"""Whose job it is: the account's, however its address was spelled when the job was made."""
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


def tell_late(tx: Transaction, record: Record, step: str, facts: Mapping[str, Any], *, alert: bool = False) -> None:
    """Tell a step that came too late or out of order, and changed nothing."""
    tx.event(record.intent_id, f"late-{step}", {**facts, "state": record.state}, alert=alert)


def accepted(tx: Transaction, intent_id: str, job_id: str, amount: Money | None, note: str = "") -> str:
    """K13. The provider has a job for this intent: a fact in every state. Returns the id of the intent that holds it."""
    record = tx.load(intent_id)
    if record.job_id == job_id:
        _confirm(tx, record, amount, note)
        return intent_id
    owner = tx.records(BY_JOB, provider=record.provider, account=record.account, job_id=job_id)
    if owner:
        _duplicate(tx, record, job_id, owner[0])
        return intent_id
    if record.job_id is not None:
        record = _second_job(tx, record, job_id)
    elif record.state not in {S.SUBMITTING, S.IN_DOUBT}:
        revive(tx, record, "late-acceptance")
    _bind(tx, record, job_id, amount, note)
    return record.intent_id


def _confirm(tx: Transaction, record: Record, amount: Money | None, note: str) -> None:
    name_bill(tx, record, amount, CREATE, note)
    tx.event(record.intent_id, "confirmed", {"job_id": record.job_id})


def _duplicate(tx: Transaction, record: Record, job_id: str, owner: Record) -> None:
    """One job cannot serve two intents (F20): both stay reserved and a person looks."""
    facts = {"duplicate_job_id": job_id, "held_by": owner.intent_id}
    if record.state in {S.SUBMITTING, S.IN_DOUBT}:
        record.doubt_reason = f"duplicate job id: {job_id} belongs to intent {owner.intent_id}"
        record.epoch += record.state == S.SUBMITTING
        tx.move(record, S.IN_DOUBT, "duplicate-job", facts, alert=True)
    else:
        tell_late(tx, record, "duplicate-job", facts, alert=True)


def _second_job(tx: Transaction, first: Record, job_id: str) -> Record:
    """A second job for one intent was accepted and is owed (F53): an intent of its own collects it."""
    same = tx.records(OF_KEY, shot_key=first.shot_key)
    last_take = tx.rows(_LAST_TAKE, board=first.board, shot=first.shot)[0][0]
    values = {**first.values(), "intent_id": tx.rng.new_id(), "take": last_take + 1}
    values |= {"attempt_no": 1 + max(one.attempt_no for one in same), "state": S.IN_DOUBT.value, "job_id": None}
    values |= {"amount_micros": None, "reserved_micros": 0, "settled_micros": 0, "settled_at": None, "round": 0}
    values |= {"doubt_reason": f"second job of intent {first.intent_id}", "reason": "", "urls": "[]", "moderated": 0}
    values |= {"submitted_at": None, "finished_at": None, "created_at": tx.now, "updated_at": tx.now, "extra": 1}
    # Nobody has asked after it yet, and no slip announced it: that of the first one tells of the first one.
    values |= {"slip": "", "slip_state": "", "tries": 0, "next_try_at": None, "gone": 0, "twin": 0}
    values |= {"tries": 0, "next_try_at": None, "gone": 0}
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


def revive(tx: Transaction, record: Record, why: str) -> None:
    """A closed row turns out to be owed: book its price again, past any cap, and hold the shot unless another does."""
    record.round += 1
    record.extra = beside_another(tx, record)
    record.settled_at = None
    books.grow_to(tx, record, record.expected, why)
    tx.event(record.intent_id, why, {"was": record.state, "extra": bool(record.extra)}, alert=True)


def _bind(tx: Transaction, record: Record, job_id: str, amount: Money | None, note: str) -> None:
    record.job_id = job_id
    record.state = S.SUBMITTED.value
    record.submitted_at = tx.now
    record.finished_at = None
    asking.ask_anew(record)
    breakers.close_by(tx, record, "create")
    if amount is not None:
        _name_amount(tx, record, amount, CREATE, tell=False)
    facts = {"amount": str(amount) if amount is not None else None, "note": note}
    tx.move(record, S.SUBMITTED, "accepted", facts, alert=differs(note))
    if unusable(note):
        _question(tx, record, note, CREATE)


_DIFFER = "amounts-differ"
_TOLD = Prepared(
    sa.select(schema.event.c.payload).where(
        schema.event.c.intent_id == sa.bindparam("intent_id"),
        schema.event.c.kind == sa.literal_column(f"'{_DIFFER}'"),
    )
)


def name_bill(tx: Transaction, record: Record, amount: Money | None, source: str, note: str = "") -> None:
    """Book what a reply names, and tell what is wrong with it: several amounts, or one that cannot be used."""
    if amount is not None:
        _name_amount(tx, record, amount, source, clear=not unusable(note))
    if unusable(note):
        _question(tx, record, note, source)
    elif differs(note) and note not in {
        json.loads(told)["note"] for (told,) in tx.rows(_TOLD, intent_id=record.intent_id)
    }:
        tx.event(record.intent_id, _DIFFER, {"note": note, "source": source}, alert=True)


def _question(tx: Transaction, record: Record, note: str, source: str) -> None:
    """An amount that cannot be used may be far above the quote: that stands, a person looks, and buying stops meanwhile."""
    if breakers.unread(tx.rows(LAST_NAMED, intent_id=record.intent_id)) == note:
        return
    tx.event(record.intent_id, UNREAD, {"note": note, "source": source}, alert=True)
    what = f"{record.provider} named a bill that cannot be read ({record.board} {record.shot}): {note}"
    breakers.open_breaker(tx, record, "money", what)


def _name_amount(
    tx: Transaction, record: Record, amount: Money, source: str, *, tell: bool = True, clear: bool = True
) -> None:
    """An amount that the provider names is a fact: any number of them may come, each is told, the last one counts.

    While the record is open its reservation grows to it, past the cap if need be (F22), and never shrinks; what is
    settled already is settled anew. The record is saved. One that is in force already changes nothing. Without `tell`
    the caller's own event names the amount; it is `clear` where nothing beside it was unusable.
    """
    facts = {"amount": str(amount), "source": source}
    if amount.unit != record.unit or amount.micros < 0:
        _question(tx, record, f"the provider's amount is {amount}, quoted in {record.unit}", source)
        return
    if source == CREATE and amount.micros == 0 < record.quote_micros:
        # Nobody has a price list and gives the work away: the quote stands until the job's own bill says 0 too.
        tx.event(record.intent_id, "amount-not-believed", facts, alert=True)
        return
    unread = clear and bool(breakers.unread(tx.rows(LAST_NAMED, intent_id=record.intent_id)))
    if amount.micros == record.amount_micros and not unread:
        return
    dearer = unread or breakers.overbilled(record, record.amount_micros or 0)
    record.amount_micros = amount.micros
    if record.settled_at is None:
        books.grow_to(tx, record, amount.micros, f"{source} names {amount}")
    else:
        books.settle(tx, record, amount.micros, f"{source} names {amount}")
    tx.save(record)
    if tell:
        tx.event(record.intent_id, AMOUNT, facts)
    breakers.check_bill(tx, record, amount.micros)
    if dearer and not breakers.overbilled(record, amount.micros):
        breakers.close_confirmed(tx, record, "machine")
