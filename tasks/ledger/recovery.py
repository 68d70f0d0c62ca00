"""Start-up: is this the ledger that the journal belongs to, what did it lose, and which creates were left behind?

Nothing here ever sends. A ledger that is older than its journal is in RECOVERY, with no creates, until `recover` has made
the missing rows again as doubts; one that nothing can vouch for stays there until a person has reconciled it (F73).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from tasks.ledger import books, schema, steps
from tasks.ledger.acceptance import accepted, beside_another
from tasks.ledger.answers import Answer, Named, keep
from tasks.ledger.database import Prepared
from tasks.ledger.record import Record
from tasks.ledger.reserving import OF_KEY, OF_SHOT, supersede
from tasks.ledger.rows import Found, IntentState
from tasks.ledger.transaction import Transaction, event_values, load_query

__all__ = ["BEHIND", "ORPHANED", "Replay", "adopt", "orphans_to_doubt", "recovery_of", "replay", "set_recovery"]

S = IntentState
ORPHANED = "its sender ended before an answer was recorded"
FOUND = "found in the journal"
BEHIND = "the ledger is older than its journal"
AGAIN = "made again from the journal"
ADOPTED = "adopted from its order slip"
_SUBMITTING = load_query(schema.intent.c.state == sa.literal_column("'SUBMITTING'"))
_UNANSWERED = load_query(
    schema.intent.c.state.in_([sa.literal_column("'SUBMITTING'"), sa.literal_column("'IN_DOUBT'")]),
    schema.intent.c.job_id.is_(None),
)
_IDS = Prepared(sa.select(schema.intent.c.intent_id))
_HAS = Prepared(sa.text("SELECT 1 FROM intent WHERE intent_id = :intent_id"))
_CLIP = Prepared(sa.text("SELECT 1 FROM artifact WHERE intent_id = :intent_id"))
_RECOVERY = Prepared(sa.select(schema.ledger.c.recovery))
_SET_RECOVERY = Prepared(sa.text("UPDATE ledger SET recovery = :reason"))
_DOUBT = Prepared(
    sa.text(
        "UPDATE intent SET state = 'IN_DOUBT', epoch = epoch + 1, doubt_reason = :reason, updated_at = :now"
        " WHERE intent_id = :intent_id AND state = 'SUBMITTING' AND epoch = :epoch"
    )
)
_RUN_STUB = Prepared(
    sa.text(
        "INSERT INTO run (run_id, board, spec_sha256, digest, caps, approved_by, approval, begun_at)"
        " VALUES (:run_id, :board, '', '', '[]', 'auto', :approval, :now)"
        " ON CONFLICT (run_id) DO NOTHING"
    )
)

Dead = Callable[[str], bool | None]
"""Whether the sender of an intent is gone from this host; None where that cannot be told."""


@dataclass(slots=True)
class Replay:
    """What reading the journal did: `missing` are intents that the ledger lost; read on from byte `resume_at` next time."""

    resume_at: int
    replayed: list[str] = field(default_factory=list)
    recreated: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def recovery_of(tx: Transaction) -> str:
    """Why the ledger is in RECOVERY; "" when it is not."""
    return str(tx.rows(_RECOVERY)[0][0])


def set_recovery(tx: Transaction, reason: str, *, actor: str = "machine") -> None:
    """Enter RECOVERY, or leave it with an empty reason."""
    if recovery_of(tx) != reason:
        tx.run(_SET_RECOVERY, {"reason": reason})
        tx.event(
            "", "recovery-entered" if reason else "recovery-left", {"reason": reason}, actor=actor, alert=bool(reason)
        )


def replay(
    tx: Transaction, lines: Iterable[tuple[int, dict[str, Any]]], end: int, dead: Dead, *, recreate: bool
) -> Replay:
    """Apply what the journal knows and the ledger does not; with `recreate`, make lost intents again as doubts."""
    done, reserved, answers = Replay(end), {}, {}
    for place, line in lines:
        if "row" in line:
            reserved[line["row"]["intent_id"]] = (place, line["row"])
        elif line.get("job_id") or line.get("answer"):
            answers[line["intent_id"]] = (place, _said(line))
    if not reserved and not answers:
        return done
    known = {intent_id for (intent_id,) in tx.rows(_IDS)}
    for intent_id in reserved.keys() - known:
        place, row = reserved[intent_id]
        if recreate:
            _recreate(tx, row, f"{ORPHANED}; {AGAIN}", AGAIN)
            done.recreated.append(intent_id)
        else:
            done.missing.append(intent_id)
            done.resume_at = min(done.resume_at, place)
    _answer(tx, answers, dead, done)
    return done


def _said(line: Mapping[str, Any]) -> Answer:
    """A line's answer; older versions wrote down the job's id only."""
    if "answer" in line:
        return Answer.read(line["answer"])
    return Answer(status=0, body="", job=Named(str(line["job_id"])))


def _answer(tx: Transaction, answers: dict[str, tuple[int, Answer]], dead: Dead, done: Replay) -> None:
    waiting = {record.intent_id: record for record in tx.records(_UNANSWERED)} if answers else {}
    for intent_id in answers.keys() & waiting.keys():
        place, answer = answers[intent_id]
        record = waiting[intent_id]
        if record.state == IntentState.IN_DOUBT and not record.doubt_reason.startswith(ORPHANED):
            continue  # its sender read the answer and did not believe it
        if record.state == IntentState.SUBMITTING and not _orphan(tx, record, dead):
            done.resume_at = min(done.resume_at, place)
            continue
        if _book(tx, record, answer):
            done.replayed.append(intent_id)


def _book(tx: Transaction, record: Record, answer: Answer) -> bool:
    """What the sender would have booked, had it lived; False for a refusal, after which it may have sent once more."""
    if answer.job is not None:
        accepted(tx, record.intent_id, answer.job.job_id, answer.job.amount, answer.job.note or FOUND)
        if answer.candidates:
            keep(tx, tx.load(record.intent_id), answer)
        return True
    if answer.odd:
        if record.state == IntentState.SUBMITTING:
            record.epoch += 1
        record.doubt_reason = answer.odd
        tx.move(record, IntentState.IN_DOUBT, "doubted", {"reason": answer.odd, "found": FOUND})
        keep(tx, record, answer)
    return bool(answer.odd)


def _orphan(tx: Transaction, record: Record, dead: Dead) -> bool:
    return record.lease_until < tx.now or dead(record.intent_id) is True


def _recreate(tx: Transaction, row: Mapping[str, Any], doubt: str, source: str, *, beside: bool = True) -> None:
    """A purchase that the ledger lost: its money is reserved again, its outcome unknown."""
    tx.run(_RUN_STUB, {"run_id": row["run_id"], "board": row["board"], "approval": source, "now": tx.now})
    record = Record(seq=0, **row)
    same = tx.records(OF_KEY, shot_key=record.shot_key)
    if record.attempt_no in {one.attempt_no for one in same}:
        record.attempt_no = 1 + max(one.attempt_no for one in same)
    record.state, record.epoch = IntentState.IN_DOUBT.value, record.epoch + 1
    record.doubt_reason = doubt
    record.reserved_micros, record.updated_at = 0, tx.now
    if not beside:
        _supersede_older(tx, record)
    record.extra = beside_another(tx, record)
    tx.insert(record)
    books.book(tx, record, "RESERVE", record.quote_micros, source)
    tx.save(record)
    tx.event(record.intent_id, "recreated", {}, state=record.state, alert=True)


_FINISHED = {S.STORED, S.RESULT_HELD, S.FAILED_UNSETTLED}


def _supersede_older(tx: Transaction, record: Record) -> None:
    """Of one shot the newest order holds it: a ledger never orders a take before the one that it replaces gives way."""
    of_shot = tx.records(OF_SHOT, board=record.board, shot=record.shot, family=record.family)
    rivals = [one for one in of_shot if one.live and one.intent_id != record.intent_id]
    for rival in rivals:
        if rival.created_at < record.created_at and rival.state in _FINISHED:
            supersede(tx, rival, "a later take was bought", actor="machine")
        elif rival.created_at > record.created_at and record.seq and record.state in _FINISHED:
            supersede(tx, record, "a later take was bought", actor="machine")


def adopt(tx: Transaction, found: Found, who: str, why: str) -> bool:
    """Bring the ledger up to what an order's slip tells; facts that it has already change nothing. Whether anything did."""
    intent_id = found.row["intent_id"]
    lost = not tx.rows(_HAS, intent_id=intent_id)
    if lost:
        _recreate(tx, found.row, f"{ADOPTED}, which names no job", ADOPTED, beside=not found.own)
    before = tx.load(intent_id)
    told = before.state, before.job_id
    if found.job_id and not before.job_id:
        accepted(tx, intent_id, found.job_id, found.amount, ADOPTED)
    elif found.state in {S.REJECTED, S.CANCELLED} and before.state == S.IN_DOUBT:
        books.release(tx, before, ADOPTED)
        before.finished_at = tx.now
        tx.move(before, S.REJECTED, "rejected", {"reason": ADOPTED})
    if found.artifact is not None and not tx.rows(_CLIP, intent_id=intent_id):
        steps.succeeded(tx, intent_id, [], None)
        steps.stored(tx, intent_id, found.artifact, found.billed)
    elif found.state == S.FAILED_FINAL and tx.load(intent_id).state in {S.SUBMITTED, S.STALLED, S.FAILED_UNSETTLED}:
        _fail(tx, intent_id, found)
    after = tx.load(intent_id)
    if lost and found.own:
        _supersede_older(tx, after)
    if not lost and told == (after.state, after.job_id):
        return False
    tx.event(intent_id, "adopted", {"why": why, "job_id": after.job_id, "state": found.state}, actor=who)
    return True


def _fail(tx: Transaction, intent_id: str, found: Found) -> None:
    steps.failed(tx, intent_id, ADOPTED, refunded=None, moderated=False)
    record = tx.load(intent_id)
    books.settle(tx, record, record.expected if found.billed is None else found.billed.micros, ADOPTED)
    tx.move(record, S.FAILED_FINAL, "settled", {"billed": str(record.money(record.settled_micros))})


def orphans_to_doubt(tx: Transaction, dead: Dead) -> list[str]:
    """Transition 3: creates whose sender is gone, or whose lease is over, are in doubt. One pass, whatever their number."""
    orphans = [record for record in tx.records(_SUBMITTING) if _orphan(tx, record, dead)]
    reason = {"reason": ORPHANED, "now": tx.now}
    tx.run(_DOUBT, [{**reason, "intent_id": record.intent_id, "epoch": record.epoch} for record in orphans])
    facts = {"reason": ORPHANED}
    tx.events(
        [
            event_values(tx.now, one.intent_id, "recovered", facts, state="IN_DOUBT", actor="machine", alert=False)
            for one in orphans
        ]
    )
    return [record.intent_id for record in orphans]
