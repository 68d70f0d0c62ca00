"""Wait: poll a job with patience; a callback only wakes the poll. A poll that fails never fails the job.

The rule of the intervals: nothing can be done before half of the provider's shortest usual time; from there a poll every
twelfth of that time until the longest usual time; after that a tenth of what was waited so far, at most a minute. A job
longer than `STALLED_AFTER` is left to `rushes collect`, its money still reserved.
"""

import asyncio
from dataclasses import dataclass, field

from tasks.errors import Transient
from tasks.ledger import Intent, IntentState, LedgerUnavailable
from tasks.ledger.asking import next_pause
from tasks.production import Production
from tasks.providers.interface import Failure, Handle, Kind, Provider, Snapshot, State

__all__ = [
    "STALLED_AFTER",
    "Wakeups",
    "apply",
    "ask_for_slot",
    "book_bill",
    "claimed",
    "handle_of",
    "is_due",
    "listen",
    "next_poll",
    "poll_once",
    "wait_for",
]

STALLED_AFTER = 45 * 60.0
NOT_FOUND_GRACE = 10 * 60.0
NOT_FOUND_TRIES = 5
SHORTEST, LONGEST = 0.2, 60.0
SHORTEST_CLAIM = 1.0


@dataclass(slots=True)
class Wakeups:
    """Jobs to be polled at once, by intent id: what a callback sets."""

    events: dict[str, asyncio.Event] = field(default_factory=dict)

    def wake(self, intent_id: str) -> None:
        """Poll this intent's job now."""
        self.of(intent_id).set()

    def of(self, intent_id: str) -> asyncio.Event:
        """The event that `intent_id` waits on."""
        return self.events.setdefault(intent_id, asyncio.Event())


LISTEN = 0.4
"""Seconds between looks at the ledger for callbacks, which another process receives: a waiting shot wakes within a second."""


async def listen(production: Production, wakeups: Wakeups) -> None:
    """Wake the jobs that callbacks named, for ever; one cheap query a look, however many shots wait."""
    mark, _ = await production.patiently(production.ledger.hints_after, None)
    while True:
        await production.clock.sleep(LISTEN)
        try:
            mark, named = await production.patiently(production.ledger.hints_after, mark)
        except LedgerUnavailable:
            continue
        for intent_id in named:
            if intent_id in wakeups.events:
                wakeups.wake(intent_id)


def handle_of(intent: Intent) -> Handle:
    """Where the job is polled: at the provider, address and account kept with the intent, whatever the settings say now."""
    return Handle(intent.provider, intent.model, intent.base_url, intent.account, intent.job_id or "")


def next_poll(waited: float, typical: tuple[int, int]) -> float:
    """Seconds until the next poll after `waited` seconds, for a provider whose jobs usually take `typical` seconds."""
    low, high = typical
    if waited < low / 2:
        return max(SHORTEST, low / 2 - waited)
    every = low / 12 if waited < high else waited / 10
    return min(max(SHORTEST, every), LONGEST)


async def wait_for(production: Production, intent: Intent, wakeups: Wakeups | None = None) -> Intent:
    """Poll until the job ends or is stalled: SUCCEEDED, FAILED_UNSETTLED, FAILED_FINAL, STALLED, or what it already was."""
    misses = 0
    while intent.state is IntentState.SUBMITTED:
        waited = _waited(production, intent)
        await _pause(production, intent, waited, wakeups)
        answer = await poll_once(production, intent)
        misses = misses + 1 if _not_found(answer) else 0
        intent = await apply(production, intent, answer)
        if intent.state is IntentState.SUBMITTED and _overdue(waited, misses):
            reason = _why_stalled(waited, misses)
            return await production.patiently(production.ledger.stalled, intent.intent_id, reason)
    return intent


async def _pause(production: Production, intent: Intent, waited: float, wakeups: Wakeups | None) -> None:
    seconds = _interval(production, intent, waited)
    if wakeups is None:
        await production.clock.sleep(seconds)
        return
    event = wakeups.of(intent.intent_id)
    woken = asyncio.ensure_future(event.wait())
    slept = asyncio.ensure_future(production.clock.sleep(seconds))
    try:
        await asyncio.wait({woken, slept}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        woken.cancel()
        slept.cancel()
    event.clear()


def _interval(production: Production, intent: Intent, waited: float) -> float:
    typical = production.providers[intent.provider].caps.typical_wait_seconds
    return production.settings.poll_seconds or next_poll(waited, typical)


def _waited(production: Production, intent: Intent) -> float:
    since = intent.submitted_at or intent.created_at
    return max(0.0, (production.clock.now() - since).total_seconds())


def _not_found(answer: Snapshot | Failure) -> bool:
    return isinstance(answer, Failure) and answer.kind is Kind.NOT_FOUND


def _overdue(waited: float, misses: int) -> bool:
    return waited > STALLED_AFTER or (misses >= NOT_FOUND_TRIES and waited > NOT_FOUND_GRACE)


def _why_stalled(waited: float, misses: int) -> str:
    if misses >= NOT_FOUND_TRIES:
        return f"the provider does not know the job ({misses} queries)"
    return f"no result after {waited / 60:.0f} minutes"


async def poll_once(production: Production, intent: Intent) -> Snapshot | Failure:
    """One query, whose bill is booked before anybody acts on its answer; every failure is a value.

    Raises:
        SetupProblem: when the key for the intent's provider is missing.
    """
    provider: Provider = production.providers[intent.provider]
    handle = handle_of(intent)
    auth = production.auth(intent.provider, intent.base_url)
    try:
        reply = await production.wire.call(provider.poll_request(handle), auth=auth, deadline=production.deadlines.poll)
    except Transient as error:
        return Failure(Kind.TRANSIENT, str(error))
    production.hooks("K15")
    answer = provider.decode_poll(handle, reply)
    if isinstance(answer, Snapshot):
        await book_bill(production, intent, answer)
    return answer


def is_due(production: Production, intent: Intent) -> bool:
    """Whether its job is to be asked after now."""
    return intent.next_try is None or intent.next_try <= production.clock.now()


def claimed(production: Production, intent: Intent) -> Intent | None:
    """The intent, to be asked after now, by nobody else and not again before its next try; None where another asks."""
    if intent.state is IntentState.SUBMITTED:
        pause = max(SHORTEST_CLAIM, _interval(production, intent, _waited(production, intent)))
    else:
        pause = next_pause(intent.tries)
    return production.ledger.claim(intent.intent_id, intent.tries, pause)


async def ask_for_slot(production: Production, intent: Intent) -> None:
    """Ask after a job that holds a slot, whoever may be waiting for it; one that is overdue is left to `collect`."""
    mine = await production.patiently(claimed, production, intent) if is_due(production, intent) else None
    if mine is None:
        return
    mine = await apply(production, mine, await poll_once(production, mine))
    waited = _waited(production, mine)
    if mine.state is IntentState.SUBMITTED and _overdue(waited, 0):
        await production.patiently(production.ledger.stalled, mine.intent_id, _why_stalled(waited, 0))


async def apply(production: Production, intent: Intent, answer: Snapshot | Failure) -> Intent:
    """Record what a query showed; an unreadable or failed query changes nothing."""
    ledger, patiently = production.ledger, production.patiently
    if isinstance(answer, Failure):
        facts = {"kind": answer.kind, "message": answer.message}
        await patiently(ledger.note, intent.intent_id, "poll-failed", facts)
        return intent
    match answer.state:
        case State.SUCCEEDED:
            production.hooks("K16")
            intent = await patiently(ledger.succeeded, intent.intent_id, answer.urls, None)
            production.hooks("K17")
            return intent
        case State.FAILED | State.CANCELED:
            moderated = answer.kind is Kind.MODERATION
            reason, refunded = answer.reason, answer.refunded
            return await patiently(ledger.failed, intent.intent_id, reason, refunded=refunded, moderated=moderated)
        case State.QUEUED | State.RUNNING | State.UNKNOWN:
            if intent.state is IntentState.STALLED:
                intent = await patiently(ledger.resumed, intent.intent_id)
            return intent


async def book_bill(production: Production, intent: Intent, snapshot: Snapshot) -> None:
    """A price that a query names is a fact, whatever else it shows; 0 is one only once the job has ended."""
    ended = snapshot.state in {State.SUCCEEDED, State.FAILED, State.CANCELED}
    cost = snapshot.cost if snapshot.cost is not None and (snapshot.cost.micros or ended) else None
    if snapshot.refunded or (cost is None and not snapshot.cost_note):
        return
    known = cost == intent.amount and not snapshot.cost_note
    if known and not await production.patiently(production.ledger.unread_bill, intent.intent_id):
        return
    facts = (intent.intent_id, cost, "the query", snapshot.cost_note)
    await production.patiently(production.ledger.named, *facts)
