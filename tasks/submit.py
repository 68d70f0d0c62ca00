"""Submit: reserve the money, record the intent, POST once, record the job.

Points K1 to K14 of the protocol are named where they happen; a crash at any of them leaves the ledger able to say what is owed.
"""

import asyncio
import contextlib
import datetime as dt
import hashlib
import itertools
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, assert_never

from specs.request import ShotRequest
from tasks.errors import OutcomeUnknown, Refused
from tasks.hints import follow
from tasks.http import NotSent
from tasks.ledger import (
    Answer,
    BudgetRefused,
    Closed,
    Edited,
    Full,
    Halted,
    Intent,
    IntentState,
    LedgerAway,
    LedgerUnavailable,
    Named,
    Order,
    Reservation,
    Reserved,
    Taken,
)
from tasks.production import Production
from tasks.providers.interface import Accepted, Failure, Kind, Media, Provider, Reply, Request
from tasks.redaction import redact
from tasks.slips import announce, keep_slip
from tasks.wait import ask_for_slot

__all__ = ["Submission", "as_answer", "heard_out", "settled_elsewhere", "submit_shot"]

RESENDS = 3
RETRY_AFTER = (1.0, 7 * 86400.0)
QUEUE_WAIT = (
    600.0  # seconds that a run waits in all for a full queue: the longest usual job; a later time is only named
)
SLOT_WAIT = 1.0
ASK_EVERY = 10  # tries for a slot between two questions after the jobs that hold them
LONGEST_HOLD = 20.0  # seconds that a reservation is held for a resend; a longer wait gives the money back first
CONCURRENCY_PAUSE = (30.0, 90.0)  # slots free in minutes
QUEUE_TRIES = 20
BODY_READ, BODY_KEPT = (
    1 << 14,
    1 << 12,
)  # bytes of a reply that are searched for secrets, characters that are kept of it
_STOPS_BUYING = {Kind.AUTH, Kind.BALANCE, Kind.CONFIG}
_PASSES = {Kind.RATE, Kind.TRANSIENT, Kind.CONCURRENCY}
_QUEUED = {Kind.RATE, Kind.CONCURRENCY}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Submission:
    """One shot to buy: the order for the ledger (without its identifiers), the request and the addresses of its stills."""

    order: Order
    request: ShotRequest
    media: Media


async def submit_shot(production: Production, submission: Submission) -> Intent:
    """Buy the shot once, or find that it already is: SUBMITTED, IN_DOUBT, REJECTED, or an earlier live intent.

    Safe to call again after any crash: its first act is to read the ledger.

    Raises:
        Refused: a cap, an open breaker, or an earlier purchase with other content stands in the way; nothing was spent.
        SetupProblem: the provider's key is missing; nothing was spent.
    """
    production.hooks("K1")
    auth = production.auth(submission.order.provider, submission.order.base_url)
    token = production.rng.token()
    order = replace(
        submission.order, intent_id=production.rng.new_id(), token_hash=hashlib.sha256(token.encode()).hexdigest()
    )
    request = _encode(production, submission, order, token)
    order = replace(order, request_sha256=_sha256(request.body or {}), request_json=_redacted(order, request))
    give_up = production.clock.monotonic() + QUEUE_WAIT
    for attempt in range(QUEUE_TRIES):
        intent, pause = await _attempt(production, order, request, auth)
        if pause is None or attempt == QUEUE_TRIES - 1 or production.clock.monotonic() + pause > give_up:
            return intent
        production.watcher.shot(order.shot, f"waiting {pause:.0f} s: {intent.reason or 'its queue is full'}")
        await production.clock.sleep(pause)
        order = replace(order, intent_id=production.rng.new_id())
        request = _encode(production, submission, order, token)
    raise AssertionError("the last attempt returns")


async def _attempt(
    production: Production, order: Order, request: Request, auth: str | None
) -> tuple[Intent, float | None]:
    """Reserve and send once; with seconds to wait where the provider's queue is full and nothing was accepted."""
    for tries in itertools.count():
        production.hooks("K2")
        outcome = await _reserved(production, order)
        match outcome:
            case Reserved(intent):
                production.hooks("K5")
                intent, pause = await _uninterrupted(production, intent, request, auth)
                await asyncio.to_thread(keep_slip, production, intent)
                return intent, pause
            case Intent() as withdrawn:
                return withdrawn, 0.0
            case Taken(intent):
                return await settled_elsewhere(production, intent), None
            case Full():
                await production.patiently(_may_free, production, order)
                if tries % ASK_EVERY == 0:
                    await _ask_holders(production, order)
                await production.clock.sleep(production.rng.uniform(SLOT_WAIT, 2 * SLOT_WAIT))
            case Edited() | BudgetRefused() | Halted() | Closed():
                raise _refusal(order, outcome)
            case _:
                assert_never(outcome)
    raise AssertionError("counting never ends")


def _refusal(order: Order, stop: Edited | BudgetRefused | Halted | Closed) -> Refused:
    """What stands in the way of the order, with its cure."""
    match stop:
        case Edited(intent):
            return Refused(
                f"{order.shot} was already bought with other content ({intent.intent_id}, take {intent.take})",
                f"Raise `take:` of {order.shot}, or run `rushes retake`, to buy a new take.",
            )
        case BudgetRefused(message=message):
            return Refused(message, "Raise the cap, or take shots out of the board.")
        case Halted(reason):
            return Refused(f"{order.provider}: {reason}", "See `rushes doubts` and `rushes doctor`.")
        case Closed(reason):
            return Refused(reason, "What was sent for it is still waited for, and `rushes collect` fetches the rest.")
    assert_never(stop)


async def _reserved(production: Production, order: Order) -> Reservation | Intent:
    """What the ledger says to the order; the intent itself where it went away meanwhile, and had committed it all the same.

    Nothing was sent for such a reservation: it is taken back, and another one is asked for.
    """
    for _ in range(QUEUE_TRIES):
        try:
            return production.ledger.reserve(order)
        except LedgerAway:
            withdrawn = await production.patiently(production.ledger.withdraw, order.intent_id)
            if withdrawn is not None:
                return withdrawn
    return production.ledger.reserve(order)


async def _ask_holders(production: Production, order: Order) -> None:
    """Ask after the jobs that hold the slots, those of this very run among them: their waiter may be gone.

    A job that has ended gives its slot back; its result is fetched by its own run, or by `rushes collect`.
    """
    production.watcher.shot(order.shot, "waiting for a slot")
    listed = production.ledger.intents
    for intent in await production.patiently(listed, provider=order.provider, states={IntentState.SUBMITTED}):
        if intent.account == order.account:
            await ask_for_slot(production, intent)


async def settled_elsewhere(production: Production, intent: Intent) -> Intent:
    """Wait for the process that is sending this very shot; its lease is over within a minute if it is no more."""
    while intent.state is IntentState.SUBMITTING:
        await production.clock.sleep(SLOT_WAIT)
        if intent.lease_until < production.clock.now():
            await production.patiently(production.ledger.recover, intent.lease_owner)
        intent = await production.patiently(production.ledger.get, intent.intent_id)
    return intent


def _may_free(production: Production, order: Order) -> None:
    """Whether waiting for a slot has a point: stalled jobs and doubts keep theirs for longer than a run lasts.

    Raises:
        Refused: they hold every slot of the account.
    """
    stuck = production.ledger.intents(provider=order.provider, states={IntentState.STALLED, IntentState.IN_DOUBT})
    held = sum(intent.account == order.account for intent in stuck)
    if held >= order.max_in_flight:
        raise Refused(
            f"all {order.max_in_flight} jobs that {order.provider} may run at once are stalled or in doubt",
            "`rushes collect` asks after them, `rushes doubts` lists what a person must settle.",
        )


def _encode(production: Production, submission: Submission, order: Order, token: str) -> Request:
    base = production.settings.callback_url
    provider = production.providers[order.provider]
    callback = f"{base.rstrip('/')}/cb/{order.intent_id}/{token}" if base and provider.caps.callback else None
    return provider.encode(
        submission.request,
        submission.media,
        base_url=order.base_url,
        intent_id=order.intent_id,
        callback_url=callback,
        board=order.board,
        take=order.take,
    )


def _sha256(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _redacted(order: Order, request: Request) -> str:
    """The semantic request beside the body as sent, without the callback address: its path is a credential."""
    body = {key: value for key, value in (request.body or {}).items() if key != "callback_url"}
    return json.dumps(json.loads(order.request_json) | {"body": body}, sort_keys=True)


async def _uninterrupted(
    production: Production, intent: Intent, request: Request, auth: str | None
) -> tuple[Intent, float | None]:
    """Let the section between reservation and record run to its end, however often we are cancelled meanwhile.

    It is bounded by the deadline of the create: once we are cancelled it neither sends again nor waits for a better time.
    """
    ending = asyncio.Event()
    section = asyncio.ensure_future(_section(production, intent, request, auth, ending))

    def told() -> None:
        ending.set()
        production.watcher.shot(intent.shot, "ending: the answer to what was sent is waited for")

    await heard_out(section, told)
    if not ending.is_set():
        return section.result()
    if not section.cancelled() and (error := section.exception()):
        _log.error("intent %s, while its run was ended: %r", intent.intent_id, error)
    raise asyncio.CancelledError


async def heard_out(task: "asyncio.Future[Any]", told: Callable[[], None] = lambda: None) -> None:
    """Wait until a task is done, however often we are cancelled meanwhile; `told` hears of each time."""
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            told()


async def _section(
    production: Production, intent: Intent, request: Request, auth: str | None, ending: asyncio.Event
) -> tuple[Intent, float | None]:
    """Send; an end without an outcome leaves the intent to recovery at once, not when this process is gone."""
    try:
        if production.providers[intent.provider].caps.paid:
            intent = await _announced(production, intent)
            if ending.is_set():
                why, cancel = "its run was ended before it was sent", production.ledger.cancelled
                return await production.patiently(cancel, intent.intent_id, intent.epoch, why), None
        return await _send(production, intent, request, auth, ending)
    except BaseException:
        production.ledger.forsake(intent.intent_id)
        raise


async def _send(
    production: Production, intent: Intent, request: Request, auth: str | None, ending: asyncio.Event
) -> tuple[Intent, float | None]:
    """K6 to K14, resending at most three times, each after a definite refusal that soon passes."""
    for resend in range(RESENDS + 1):
        production.hooks("K6")
        try:
            ours, again = production.ledger.still_ours(intent.intent_id, intent.epoch), None
        except LedgerAway:
            ours, again = False, 0.0  # nothing is sent unasked; once the ledger is back, the shot is ordered anew
        if not ours:
            return await production.patiently(production.ledger.cancelled, intent.intent_id, intent.epoch), again
        answer, said = await _post(production, intent, request, auth)
        if isinstance(answer, Accepted):
            return await _record(production, intent, answer, said), None
        answer = await production.patiently(_vouched, production, intent, answer)
        if answer.kind is Kind.AMBIGUOUS:
            return await _doubt(production, intent, answer, said), None
        pause = _pause(production, answer, resend) if answer.kind in _PASSES else None
        if pause is None or pause > LONGEST_HOLD or resend == RESENDS or ending.is_set():
            queued = pause if answer.kind in _QUEUED else None
            return await _reject(production, intent, _for_now(production, answer, queued)), queued
        facts = {"kind": answer.kind, "message": answer.message}
        await production.patiently(production.ledger.note, intent.intent_id, "definite-refusal", facts)
        if await _told_to_end(production, pause, ending):
            return await _reject(production, intent, answer), None
        try:
            intent = production.ledger.renew(intent.intent_id, intent.epoch)
        except LedgerAway:
            return await _reject(production, intent, answer), 0.0  # refused for certain: the shot may be ordered anew
    raise AssertionError("the last resend returns")


async def _told_to_end(production: Production, pause: float, ending: asyncio.Event) -> bool:
    """Wait so many seconds, or until the run is ended, whichever comes first."""
    waits = {asyncio.ensure_future(production.clock.sleep(pause)), asyncio.ensure_future(ending.wait())}
    try:
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for one in done:
            one.result()
    finally:
        for one in waits:
            one.cancel()
    return ending.is_set()


async def _announced(production: Production, intent: Intent) -> Intent:
    """The order's slip is in the store before the order can be at the provider; whoever cancels here has sent nothing."""
    try:
        return await production.outlast(partial(announce, production, intent), apart=True)
    except asyncio.CancelledError:
        with contextlib.suppress(LedgerUnavailable):
            production.ledger.cancelled(intent.intent_id, intent.epoch, "cancelled before it was sent")
        raise


def _pause(production: Production, failure: Failure, resend: int) -> float:
    """Retry-After clamped to 1 s..7 days with jitter, else full-jitter backoff (F11)."""
    low, high = RETRY_AFTER
    if failure.kind is Kind.CONCURRENCY and failure.retry_after is None:
        return production.rng.uniform(*CONCURRENCY_PAUSE)
    if failure.retry_after is not None:
        wait = min(max(failure.retry_after, low), high)
        return wait + production.rng.uniform(0.0, wait / 10)
    return production.rng.uniform(low, low * 2.0 ** (resend + 1))


def _for_now(production: Production, failure: Failure, pause: float | None) -> Failure:
    """The refusal with the time before which asking again is no use."""
    if pause is None:
        return failure
    when = production.clock.now() + dt.timedelta(seconds=pause)
    return replace(failure, message=f"refused for now ({failure.message}), not before {when:%Y-%m-%d %H:%M} UTC")


def _vouched(production: Production, intent: Intent, failure: Failure) -> Failure:
    """A refusal outside the provider's map is definite once a person has vouched for its code and whole text."""
    if failure.refusal is None:
        return failure
    kind = production.ledger.vouched(intent.provider, failure.refusal.code, failure.refusal.text)
    return replace(failure, kind=Kind(kind), may_be_charged=False) if kind else failure


async def _post(
    production: Production, intent: Intent, request: Request, auth: str | None
) -> tuple[Accepted | Failure, Answer | None]:
    """K7 to K11: what came of it, and the reply as the ledger keeps it, None where none came."""
    provider = production.providers[intent.provider]
    production.hooks("K7")
    try:
        deadline = production.deadlines.create
        reply = await production.wire.create(request, auth=auth, deadline=deadline)
    except NotSent as error:
        return Failure(Kind.TRANSIENT, str(error)), None
    except OutcomeUnknown as error:
        return Failure(Kind.AMBIGUOUS, str(error)), None
    except asyncio.CancelledError:
        with contextlib.suppress(LedgerUnavailable):  # recovery says the same of a sender that is gone
            production.ledger.doubt(intent.intent_id, None, "cancelled while the request was under way")
        raise
    production.hooks("K10")
    return _read(production, intent, provider, reply)


def _read(
    production: Production, intent: Intent, provider: Provider, reply: Reply
) -> tuple[Accepted | Failure, Answer]:
    """K10 to K11. A journal that cannot be written loses nothing yet: the ledger may still take what the reply says.

    Only an id that the provider gave plainly is journalled as the job's: recovery believes it without a query.
    """
    answer = provider.decode_submit(reply)
    said = as_answer(answer, reply)
    job = said.job.job_id if said.job else None
    try:
        production.ledger.journal_answer(intent.intent_id, hashlib.sha256(reply.body).hexdigest(), job, said)
    except LedgerUnavailable as error:
        _log.critical("intent %s, job %s: %s", intent.intent_id, job, error)
    production.hooks("K11")
    return answer, said


def as_answer(answer: Accepted | Failure, reply: Reply) -> Answer:
    """All that the reply names, so that a recovery from the journal books what the straight way books."""
    # JSON may write a slash as \\/, behind which no address is seen for one.
    body = redact(reply.body[:BODY_READ].decode("utf-8", "replace").replace("\\/", "/"))[:BODY_KEPT]
    if isinstance(answer, Accepted):
        job = Named(answer.job_id, answer.amount, answer.amount_note)
        return Answer(reply.status, body, job, _named(answer.others))
    candidates = _named(answer.candidates)
    shown = f"; its reply named {', '.join(one.job_id for one in candidates)}" if candidates else ""
    odd = answer.message + shown if answer.kind is Kind.AMBIGUOUS else ""
    refusal = answer.refusal
    return Answer(
        reply.status,
        body,
        candidates=candidates,
        amount=answer.amount,
        odd=odd,
        code=refusal.code if refusal else answer.code,
        text=refusal.text if refusal else None,
    )


def _named(jobs: Sequence[Accepted]) -> tuple[Named, ...]:
    return tuple(Named(one.job_id, one.amount, one.amount_note) for one in jobs)


async def _record(production: Production, intent: Intent, answer: Accepted, said: Answer | None) -> Intent:
    """K12 to K14, then queries for what else the reply named.

    Whatever keeps the ledger from it, it is asked again: what the provider has taken must not be forgotten (F63).
    """
    production.hooks("K12")

    def unrecorded(error: LedgerUnavailable) -> None:
        _log.critical("intent %s, job %s is accepted and not yet recorded: %s", intent.intent_id, answer.job_id, error)

    facts = (answer.job_id, answer.amount, answer.amount_note, said)
    recorded = await production.outlast(partial(production.ledger.accepted, intent.intent_id, *facts), said=unrecorded)
    production.hooks("K14")
    if not answer.others:
        return recorded
    await follow(production, intent.intent_id)
    return await production.patiently(production.ledger.get, recorded.intent_id)


async def _reject(production: Production, intent: Intent, failure: Failure) -> Intent:
    return await production.patiently(
        production.ledger.rejected,
        intent.intent_id,
        intent.epoch,
        kind=failure.kind,
        reason=failure.message,
        opens_breaker=failure.kind in _STOPS_BUYING,
    )


async def _doubt(production: Production, intent: Intent, failure: Failure, said: Answer | None) -> Intent:
    """In doubt, unless a query confirms a job id that an odd reply carried (F17)."""
    held = await production.patiently(
        production.ledger.doubt, intent.intent_id, intent.epoch, said.odd if said else failure.message, said
    )
    if held.state is IntentState.IN_DOUBT and failure.candidates:
        return await follow(production, intent.intent_id)
    return held
