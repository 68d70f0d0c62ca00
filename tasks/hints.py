"""Hints: what a callback says is only ever a reason to ask; a query with our own key decides.

A callback leaves a fact in the ledger before it is answered, so that a hint that nobody followed yet, for whatever
reason, is followed later: by the receiver when it starts, or by `rushes collect`.
"""

import hashlib

from tasks.errors import Transient
from tasks.ledger import Intent
from tasks.production import Production
from tasks.providers.candidates import candidates, named_ids
from tasks.providers.interface import Failure, Handle, Kind, Snapshot
from tasks.providers.strictjson import Parsed, parse_json
from tasks.redaction import scrub

__all__ = ["MOST", "follow", "note_hint"]

MOST = 60
"""Facts that callbacks may leave for one intent; whoever holds its address cannot fill the ledger."""
_HINT, _REFUTED = "callback", "callback-refuted"


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
    parsed = parse_json(body)
    return (named_ids(parsed) if isinstance(parsed, Parsed) else ()) or candidates(body)


async def follow(production: Production, intent_id: str) -> Intent:
    """Ask after the jobs that callbacks named for the intent, and record those that the provider confirms.

    Nothing is asked where the intent has that very job: whoever waits for it polls. A second job that is confirmed is a
    double accept, which the ledger records with an alert.
    """
    ledger = production.ledger
    intent = ledger.get(intent_id)
    events = ledger.events(intent_id)
    settled = {str(event.payload.get("job_id")) for event in events if event.kind == _REFUTED}
    settled |= {str(event.payload.get("second_job_id")) for event in events if event.kind == "double-accept"}
    for hint in (event for event in events if event.kind == _HINT):
        named = [str(job) for job in hint.payload.get("candidates", ())]
        if intent.job_id in named:
            continue
        for job in named:
            if job not in settled:
                settled.add(job)
                intent = await _ask(production, intent, job)
    return intent


async def _ask(production: Production, intent: Intent, job_id: str) -> Intent:
    holder = production.ledger.by_job(intent.provider, job_id, intent.account)
    if holder is not None and holder.intent_id != intent.intent_id:
        return _refuted(production, intent, job_id, f"it is the job of {holder.intent_id}")
    answer = await _query(production, intent, job_id)
    if isinstance(answer, Snapshot):
        production.ledger.accepted(intent.intent_id, job_id, None, "named by a callback, confirmed by a query")
        return production.ledger.get(intent.intent_id)
    if answer is not None and answer.kind is Kind.NOT_FOUND:
        return _refuted(production, intent, job_id, "the provider does not know it")
    return intent


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


def _refuted(production: Production, intent: Intent, job_id: str, why: str) -> Intent:
    production.ledger.note(intent.intent_id, _REFUTED, {"job_id": job_id, "why": why}, actor="callback")
    return intent
