"""Hints: the ids that a callback or an odd reply names are only ever a reason to ask; a query with our own key decides.

They are facts in the ledger before anybody acts on them, so that one that nobody followed yet, for whatever reason, is
followed later: by the receiver when it starts, or by `rushes collect`. Until then `rushes doubts` names them.
"""

import hashlib
from collections.abc import Sequence

from tasks.errors import Transient
from tasks.ledger import REFUTED, REPLY, Event, Intent, Named
from tasks.production import Production
from tasks.providers.candidates import candidates, named_ids, objects_of
from tasks.providers.interface import Failure, Handle, Kind, Snapshot, State
from tasks.redaction import scrub
from tasks.wait import NOT_FOUND_GRACE, book_bill

__all__ = ["MOST", "confirms", "follow", "note_hint", "unconfirmed"]

MOST = 60
"""Facts that callbacks may leave for one intent; whoever holds its address cannot fill the ledger."""
AT_ONCE = 6
"""Queries that one call of `follow` sends at most, whatever a reply or a callback names."""
_HINT, _HINT_REFUTED = "callback", "callback-refuted"
_ENDS = {REFUTED: "job_id", _HINT_REFUTED: "job_id", "double-accept": "second_job_id", "accepted": "job_id"}
"""Facts that settle an id, and where they name it."""


def note_hint(production: Production, intent_id: str, body: bytes) -> bool:
    """Record a callback durably; False where the same body was recorded before, or too many were. Blocks."""
    body = scrub(body)
    sha256 = hashlib.sha256(body).hexdigest()
    known = production.ledger.hints(intent_id)
    if len(known) >= MOST or any(hint.payload.get("sha256") == sha256 for hint in known):
        return False
    production.ledger.note(intent_id, _HINT, {"sha256": sha256, "candidates": list(_named(body))}, actor="callback")
    return True


def _named(body: bytes) -> tuple[str, ...]:
    """The ids that the body calls a job's; where it calls none so, any that it holds (its form is not documented)."""
    return (named_ids(objects_of(body)) or candidates(body))[:AT_ONCE]


def unconfirmed(events: Sequence[Event]) -> dict[str, list[Named]]:
    """By intent, the jobs that odd replies named and that no query has confirmed or refuted yet; the facts in their order."""
    told = {(event.intent_id, str(event.payload.get(_ENDS[event.kind]))) for event in events if event.kind in _ENDS}
    found: dict[str, list[Named]] = {}
    for event in events:
        for facts in event.payload["candidates"] if event.kind == REPLY else ():
            named = Named.read(facts)
            if (event.intent_id, named.job_id) not in told:
                found.setdefault(event.intent_id, []).append(named)
    return found


async def follow(production: Production, intent_id: str) -> Intent:
    """Ask after the jobs that callbacks and odd replies named for the intent, and record those that the provider confirms.

    A few at a time: what is left over is asked after next time. Nothing is asked where a callback names the very job that
    the intent has: whoever waits for it polls. A second job that is confirmed is a double accept, which the ledger records
    with money of its own and an alert.
    """
    ledger = production.ledger
    intent = await production.patiently(ledger.get, intent_id)
    events = await production.patiently(ledger.events, intent_id)
    settled = {str(event.payload.get(_ENDS[event.kind])) for event in events if event.kind in _ENDS}
    wanted: list[tuple[Event, Named]] = []
    for event in (one for one in events if one.kind in {_HINT, REPLY}):
        named = [Named.read(facts) for facts in event.payload.get("candidates", ())]
        if event.kind == _HINT and intent.job_id in {one.job_id for one in named}:
            continue
        for one in named:
            if one.job_id not in settled:
                settled.add(one.job_id)
                wanted.append((event, one))
    for event, one in wanted[:AT_ONCE]:
        await _ask(production, intent, event, one)
    return await production.patiently(ledger.get, intent_id)


async def _ask(production: Production, intent: Intent, event: Event, named: Named) -> None:
    holder = await production.patiently(production.ledger.by_job, intent.provider, named.job_id, intent.account)
    if holder is not None and holder.intent_id != intent.intent_id:
        await production.patiently(_refute, production, intent, event, named, f"it is the job of {holder.intent_id}")
        return
    answer = await _query(production, intent, named.job_id)
    if is_confirmed(answer, named.job_id):
        by = "a callback" if event.kind == _HINT else "the reply"
        note = "; ".join(filter(None, [f"named by {by}, confirmed by a query", named.note]))
        facts = (intent.intent_id, named.job_id, named.amount, note)
        holder = await production.patiently(production.ledger.accepted, *facts)
        if isinstance(answer, Snapshot):
            await book_bill(production, holder, answer)
    elif isinstance(answer, Failure) and answer.kind is Kind.NOT_FOUND and _may_be_refuted(production, event):
        await production.patiently(_refute, production, intent, event, named, "the provider does not know it")


def _may_be_refuted(production: Production, event: Event) -> bool:
    """A query right after a create may not find its job yet; a callback comes late enough."""
    return event.kind == _HINT or (production.clock.now() - event.at).total_seconds() > NOT_FOUND_GRACE


async def confirms(production: Production, intent: Intent, job_id: str) -> bool:
    """Whether the intent's provider, asked with our key, knows `job_id`."""
    return is_confirmed(await _query(production, intent, job_id), job_id)


def is_confirmed(answer: Snapshot | Failure | None, job_id: str) -> bool:
    """An empty state may be an answer to any id, unless it echoes ours."""
    return isinstance(answer, Snapshot) and (answer.job_id == job_id or answer.state is not State.UNKNOWN)


async def _query(production: Production, intent: Intent, job_id: str) -> Snapshot | Failure | None:
    """What the provider says of the job; None where it could not be asked."""
    provider = production.providers[intent.provider]
    handle = Handle(intent.provider, intent.model, intent.base_url, intent.account, job_id)
    auth = production.auth(intent.provider, intent.base_url)
    try:
        reply = await production.wire.call(provider.poll_request(handle), auth=auth, deadline=production.deadlines.poll)
    except Transient:
        return None
    return provider.decode_poll(handle, reply)


def _refute(production: Production, intent: Intent, event: Event, named: Named, why: str) -> None:
    kind, actor = (_HINT_REFUTED, "callback") if event.kind == _HINT else (REFUTED, "machine")
    production.ledger.note(intent.intent_id, kind, {"job_id": named.job_id, "why": why}, actor=actor)
