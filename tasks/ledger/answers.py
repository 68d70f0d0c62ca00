"""What a reply to a create said, kept as a fact: in the journal before it is acted on, and with the intent where it is odd.

A refusal that no provider's map lists is a doubt. A person may vouch once for its code and whole text at that provider: it
settles every doubt with exactly this refusal, then and later, until it is taken back.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import sqlalchemy as sa

from specs.money import MAX_BILL, Money
from tasks.errors import Refused
from tasks.ledger import books, schema
from tasks.ledger.acceptance import CREATE, name_bill
from tasks.ledger.database import Prepared
from tasks.ledger.record import Record
from tasks.ledger.rows import IntentState
from tasks.ledger.transaction import Transaction, binds, load_query

__all__ = ["REFUTED", "REPLY", "Answer", "Named", "keep", "last_answer", "vouch", "vouched"]

S = IntentState
REPLY = "reply"
"""The kind of the fact that an odd reply leaves."""
REFUTED = "candidate-refuted"
"""The kind of the fact that a job which a reply or a callback named is none of ours."""
_REPLIES = Prepared(
    sa.select(schema.event.c.payload)
    .where(
        schema.event.c.intent_id == sa.bindparam("intent_id"), schema.event.c.kind == sa.literal_column(f"'{REPLY}'")
    )
    .order_by(schema.event.c.seq.desc())
)
_HINTED = Prepared(
    sa.select(sa.func.count()).where(
        schema.event.c.intent_id == sa.bindparam("intent_id"), schema.event.c.kind == sa.literal_column("'callback'")
    )
)
_DOUBTS = load_query(
    schema.intent.c.provider == sa.bindparam("provider"), schema.intent.c.state == sa.literal_column("'IN_DOUBT'")
)
_VOUCH = Prepared(
    sa.select(schema.vouched.c.kind, schema.vouched.c.who, schema.vouched.c.holds)
    .where(*(schema.vouched.c[name] == sa.bindparam(name) for name in ("provider", "code", "text")))
    .order_by(schema.vouched.c.seq.desc())
)
_PUT = Prepared(sa.insert(schema.vouched).values(binds(schema.vouched, "seq")).inline())


@dataclass(frozen=True, slots=True)
class Named:
    """A job that a reply names: `amount` is its price there, None where it names none that can be used, and `note` why."""

    job_id: str
    amount: Money | None = None
    note: str = ""

    def facts(self) -> dict[str, Any]:
        """As the journal and the events have it."""
        return {"job_id": self.job_id, "amount": str(self.amount) if self.amount else None, "note": self.note}

    @classmethod
    def read(cls, facts: Mapping[str, Any] | str) -> Self:
        """Back from the facts; callbacks leave bare ids."""
        if isinstance(facts, str):
            return cls(facts)
        return cls(str(facts["job_id"]), _money(facts["amount"]), str(facts["note"]))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a reply to a create said.

    `job`: what it gives plainly. `candidates`: ids that a query must confirm. `amount`: the largest price in an odd reply.
    `odd`: why it is in doubt, "" where it is not. `text`: the whole text of a refusal that a person may vouch for, with its
    `code`; None where nobody may. `body` is without secrets and cut to a few kilobytes.
    """

    status: int
    body: str
    job: Named | None = None
    candidates: tuple[Named, ...] = ()
    amount: Money | None = None
    odd: str = ""
    code: str = ""
    text: str | None = None

    def facts(self) -> dict[str, Any]:
        """As the journal and the events have it."""
        return {
            "status": self.status,
            "body": self.body,
            "job": self.job.facts() if self.job else None,
            "candidates": [one.facts() for one in self.candidates],
            "amount": str(self.amount) if self.amount else None,
            "odd": self.odd,
            "code": self.code,
            "text": self.text,
        }

    @classmethod
    def read(cls, facts: Mapping[str, Any]) -> Self:
        """Back from the facts."""
        known = {name: facts[name] for name in ("status", "body", "odd", "code", "text")}
        candidates = tuple(map(Named.read, facts["candidates"]))
        job = Named.read(facts["job"]) if facts["job"] else None
        return cls(**known, job=job, candidates=candidates, amount=_money(facts["amount"]))


def _money(text: str | None) -> Money | None:
    return None if text is None else Money.parse(text, most=MAX_BILL)


def keep(tx: Transaction, record: Record, answer: Answer) -> None:
    """Tell what an odd reply said, and reserve the largest price in it; a doubt that somebody vouched for is settled."""
    tx.event(record.intent_id, REPLY, answer.facts(), alert=bool(answer.candidates))
    if record.state != S.IN_DOUBT:
        return
    if answer.amount is not None and (answer.amount.unit != record.unit or answer.amount.micros > record.booked):
        name_bill(tx, record, answer.amount, CREATE)
    if answer.text is not None and (vouch := vouched(tx, record.provider, answer.code, answer.text)):
        _refuse(tx, record, *vouch)


def last_answer(tx: Transaction, intent_id: str) -> Answer | None:
    """What the intent's last odd reply said, None where none is kept."""
    found = tx.rows(_REPLIES, intent_id=intent_id)
    return Answer.read(json.loads(found[0][0])) if found else None


def vouched(tx: Transaction, provider: str, code: str, text: str) -> tuple[str, str] | None:
    """The kind of refusal that a person has vouched for, and who; None where nobody has, or it was taken back."""
    found = tx.rows(_VOUCH, provider=provider, code=code, text=text)
    return (found[0][0], found[0][1]) if found and found[0][2] else None


def vouch(tx: Transaction, intent_id: str, kind: str, who: str, why: str, *, holds: bool) -> None:
    """A person says that the refusal which left this intent in doubt is definite, or takes that back.

    Raises:
        Refused: no such refusal is kept, or a callback has named a job for the intent.
    """
    record, answer = tx.load(intent_id), last_answer(tx, intent_id)
    if answer is None or answer.text is None:
        raise Refused(
            f"the reply to {intent_id} is no plain refusal, so nobody can vouch for it",
            "It named an id, an amount or an acceptance, or never came: look at the provider's own list of jobs, then "
            "--job-id ID or --absent.",
        )
    before = vouched(tx, record.provider, answer.code, answer.text)
    if holds and record.state == S.IN_DOUBT and tx.rows(_HINTED, intent_id=intent_id)[0][0]:
        raise Refused(f"a callback came for {intent_id}: it was not refused", "`rushes collect` asks after its job.")
    if (before is not None) is holds and (before is None or before[0] == kind):
        return _settle(tx, record.provider, answer, kind, who) if holds else None
    kind = kind if holds else (before[0] if before else "")
    facts = {"provider": record.provider, "code": answer.code, "text": answer.text, "kind": kind}
    tx.run(_PUT, {**facts, "holds": int(holds), "who": who, "why": why, "intent_id": intent_id, "at": tx.now})
    tx.event(intent_id, "vouched" if holds else "vouch-taken-back", {**facts, "why": why}, actor=who)
    return _settle(tx, record.provider, answer, kind, who) if holds else None


def _settle(tx: Transaction, provider: str, answer: Answer, kind: str, who: str) -> None:
    """Every present doubt with exactly this refusal; one for which a callback came is left to a query."""
    for record in tx.records(_DOUBTS, provider=provider):
        last = last_answer(tx, record.intent_id)
        same = last is not None and (last.code, last.text) == (answer.code, answer.text)
        if same and not tx.rows(_HINTED, intent_id=record.intent_id)[0][0]:
            _refuse(tx, record, kind, who)


def _refuse(tx: Transaction, record: Record, kind: str, who: str) -> None:
    books.release(tx, record, f"refused: {kind}, vouched for by {who}")
    record.epoch += 1
    record.reason, record.finished_at = f"refused ({kind}), as {who} vouched for: {record.doubt_reason}", tx.now
    tx.move(record, S.REJECTED, "rejected", {"kind": kind, "vouched_by": who}, actor=who)
