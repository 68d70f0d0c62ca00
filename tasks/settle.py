"""Settle: what the provider's own account shows that it charged for our jobs, where it tells only there."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from specs.money import Money
from tasks.errors import SetupProblem, Transient
from tasks.ledger import Intent, IntentState
from tasks.production import Production
from tasks.providers import sjinn_account
from tasks.providers.amounts import unusable
from tasks.providers.interface import Failure
from tasks.providers.sjinn_account import Charge

__all__ = ["ACCOUNT", "book_charges", "charged"]

ACCOUNT = "the provider's account"
LISTED = "sjinn"
"""The provider that keeps a list of charges and names no amount elsewhere."""
PAGES, PAGES_OF_ALL = 5, 100
MARGIN = timedelta(minutes=10)
"""Their clock and ours may differ by this much."""
WATCHED = timedelta(hours=24)
"""How long after its end a job's charges are looked at again: a second one may be listed late."""


async def charged(production: Production, intent: Intent) -> Money | None:
    """The sum of the charges that the provider's account lists for this job; None where it keeps no list or names none.

    A list that cannot be read is no reason to hold a paid clip back: the quote is settled then, and `book_charges` looks
    again.
    """
    if intent.provider != LISTED:
        return None
    start = intent.submitted_at or intent.created_at
    listed = await _listed(production, intent.base_url, start, PAGES)
    rows = listed.get(intent.job_id or "", ())
    return await production.patiently(_total, production, intent, rows) if listed else None


async def book_charges(production: Production) -> None:
    """Look at the account's list once for all jobs that are unsettled or have ended lately; what it shows is booked."""
    now = production.clock.now()
    watched: dict[str, list[Intent]] = {}
    for intent in await production.patiently(production.ledger.intents, provider=LISTED):
        waits = intent.state in {IntentState.FAILED_UNSETTLED, IntentState.RESULT_HELD}
        if intent.job_id and (waits or (intent.finished_at is not None and now - intent.finished_at < WATCHED)):
            watched.setdefault(intent.base_url, []).append(intent)
    for base_url, intents in watched.items():
        start = min(intent.submitted_at or intent.created_at for intent in intents)
        listed = await _listed(production, base_url, start, PAGES_OF_ALL)
        for intent in intents if listed else ():
            total = await production.patiently(_total, production, intent, listed.get(intent.job_id or "", ()))
            if total is None or total == intent.amount or await production.patiently(_vouched, production, intent):
                continue
            await production.patiently(production.ledger.named, intent.intent_id, total, ACCOUNT)


def _vouched(production: Production, intent: Intent) -> bool:
    """Whether a person has settled a job of which the account had named nothing: that person has looked at the account."""
    events = production.ledger.events(intent.intent_id) if intent.amount is None else []
    return any(event.kind == "settled" and event.actor != "machine" for event in events)


async def _listed(production: Production, base_url: str, start: datetime, pages: int) -> Mapping[str, Sequence[Charge]]:
    """Every charge since `start` by its task; empty where the list cannot be read to its end: a part of it is no sum."""
    entries: dict[object, Charge] = {}
    window, cursor = (start - MARGIN, production.clock.now() + MARGIN), None
    for _ in range(pages):
        request = sjinn_account.usage_request(base_url, start=window[0], end=window[1], cursor=cursor)
        try:
            auth = production.auth(LISTED, base_url)
            reply = await production.wire.call(request, auth=auth, deadline=production.deadlines.poll)
        except (Transient, SetupProblem):
            return {}
        usage = sjinn_account.decode_usage(reply)
        if isinstance(usage, Failure):
            return {}
        # A page that moved while it was read shows an entry again; without a number of its own each row counts.
        rows = enumerate(usage.charges, len(entries))
        entries |= {(one.task_id, one.entry) if one.entry else at: one for at, one in rows}
        cursor = usage.cursor
        if cursor is None:
            return _by_task(entries.values())
    return {}


def _by_task(charges: Iterable[Charge]) -> dict[str, list[Charge]]:
    found: dict[str, list[Charge]] = {}
    for charge in charges:
        found.setdefault(charge.task_id, []).append(charge)
    return found


def _total(production: Production, intent: Intent, charges: Sequence[Charge]) -> Money | None:
    """The sum of a job's charges; a person is told of more than one, and of one that cannot be read."""
    costs = [charge.cost for charge in charges if charge.cost is not None]
    if len(charges) > 1 or len(costs) < len(charges):
        listed = " + ".join(str(charge.cost or "an amount that cannot be read") for charge in charges)
        told = {"message": f"{intent.provider} lists {len(charges)} charges for job {intent.job_id}: {listed}"}
        if not any(event.payload == told for event in production.ledger.events(intent.intent_id)):
            production.ledger.note(intent.intent_id, "alert", told)
    if unread := "; ".join(dict.fromkeys(charge.note for charge in charges if unusable(charge.note))):
        production.ledger.named(intent.intent_id, None, ACCOUNT, unread)
    return sum(costs[1:], costs[0]) if costs and len(costs) == len(charges) else None
