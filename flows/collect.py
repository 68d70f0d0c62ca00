"""Collect: pick up paid results that are late, held or in doubt. Buys nothing; runs safely at any time, beside any run."""

import asyncio
import contextlib
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tasks.errors import RushesError, as_foreseen
from tasks.exits import ExitCode, worst
from tasks.gate import CONFIRM
from tasks.hints import follow, unconfirmed
from tasks.ledger import Intent, IntentState, Ledger, LedgerUnavailable
from tasks.ledger.asking import OPEN, WEEK
from tasks.outcome import owed, words_of
from tasks.production import Production, standing_caps
from tasks.providers.interface import Failure, Kind, Snapshot, State
from tasks.settings import Settings
from tasks.settle import book_charges
from tasks.shoot import owner
from tasks.slips import tend_slips
from tasks.store import store_take
from tasks.wait import apply, claimed, is_due, poll_once

__all__ = ["Collected", "collect", "collect_now", "exit_code"]

AT_ONCE = 8
LAST_WORD = (5, dt.timedelta(days=1))
"""Tries and age after which "not found", or "failed and refunded", is the provider's last word about a job."""


@dataclass(frozen=True, slots=True)
class Collected:
    """One intent after collecting, with what stands in the way where it is not stored; `defect`: of ours.

    `early`: its next try was not due yet, and a person asked all the same. `asked`: jobs that its reply named
    and that no query has confirmed yet.
    """

    before: IntentState
    intent: Intent
    note: str = ""
    defect: bool = False
    early: bool = False
    asked: tuple[str, ...] = ()

    @property
    def open(self) -> bool:
        """Whether it is paid, or may be, and neither stored nor settled; or its reply named jobs that nobody has confirmed."""
        return self.intent.state in OPEN or bool(self.asked)

    def line(self) -> str:
        """As people read it."""
        intent = self.intent
        note = self.note or intent.doubt_reason or intent.reason
        where = intent.artifact.uri if intent.artifact else note
        where += f"; its reply also named {', '.join(self.asked)}: not confirmed yet" if self.asked else ""
        if self.open and intent.next_try is not None:
            where += f" (try {intent.tries}; the next one {intent.next_try:%Y-%m-%d %H:%M} UTC)"
        early = "asked before its time: " if self.early else ""
        return f"{intent.board} {intent.shot} TK{intent.take:02d}  {self.before} -> {intent.state}  {early}{where}"

    def document(self) -> dict[str, Any]:
        """As `collect --json` prints it."""
        intent = self.intent
        return {
            "intent": intent.intent_id,
            "board": intent.board,
            "shot": intent.shot,
            "take": intent.take,
            "provider": intent.provider,
            "job_id": intent.job_id,
            "was": self.before,
            "is": intent.state,
            "uri": intent.artifact.uri if intent.artifact else None,
            "tries": intent.tries,
            "next_try": intent.next_try.isoformat() if self.open and intent.next_try else None,
            "note": self.note or intent.doubt_reason or intent.reason,
        }


async def collect(production: Production, owner: str, *, due_only: bool = False) -> list[Collected]:
    """Ask after every purchase whose clip may still come, fetch what is ready, settle failures that have waited a day.

    With `due_only`, as by a schedule, only those whose next try has come; the others are told as they are. Nothing is
    waited for: what is not ready has its next try in the ledger.
    """
    await production.patiently(production.ledger.recover, owner)
    await book_charges(production)
    await production.patiently(production.ledger.settle_failed, production.clock.now())
    ledger, slots = production.ledger, asyncio.Semaphore(AT_ONCE)
    named = await production.patiently(_unconfirmed, ledger)
    asked_after = await production.patiently(ledger.asked_after)
    asked_after += [await production.patiently(ledger.get, one) for one in named]
    known = {intent.intent_id: intent for intent in asked_after}
    async with asyncio.TaskGroup() as group:
        running = [
            group.create_task(_collect_one(production, intent, slots, due_only=due_only, named=key in named))
            for key, intent in known.items()
        ]
    await tend_slips(production)
    asked = await production.patiently(_unconfirmed, ledger) if named else {}
    found = [replace(one.result(), asked=asked.get(one.result().intent.intent_id, ())) for one in running]
    # A second job that a query has just confirmed is an intent of its own; the next time it is fetched.
    later = await production.patiently(ledger.asked_after)
    found += [Collected(one.state, one) for one in later if one.intent_id not in known]
    # What was decided and brought nothing new is no news.
    return [one for one in found if one.open or one.defect or one.intent.state is not one.before or one.intent.artifact]


def _unconfirmed(ledger: Ledger) -> dict[str, tuple[str, ...]]:
    """By intent, jobs that a reply named beside its own, or instead, and that no query has answered for yet."""
    replied = dict.fromkeys(event.intent_id for event in ledger.replies() if event.payload["candidates"])
    found = unconfirmed([event for intent_id in replied for event in ledger.events(intent_id)])
    return {intent_id: tuple(one.job_id for one in jobs) for intent_id, jobs in found.items()}


async def _collect_one(
    production: Production, intent: Intent, slots: asyncio.Semaphore, *, due_only: bool, named: bool
) -> Collected:
    before, due = intent.state, _is_due(production, intent)
    if due_only and not due and not named:
        return Collected(before, intent)
    async with slots:
        try:
            if named or intent.state in {IntentState.SUBMITTING, IntentState.IN_DOUBT}:
                intent = await follow(production, intent.intent_id)
            if intent.state is IntentState.STORED:
                return Collected(before, intent)
            return Collected(before, await _advance(production, intent), early=not due)
        # Whatever is raised for one purchase is told of that one; the others are collected all the same.
        except Exception as error:  # noqa: BLE001
            return await _stopped(production, intent, error)


def _is_due(production: Production, intent: Intent) -> bool:
    """Whether its next try has come; after a week, and where nothing can be found any more, only a person asks."""
    since = intent.submitted_at or intent.created_at
    over = intent.gone or production.clock.now() - since > WEEK
    return is_due(production, intent) and (intent.job_id is None or not over)


async def _stopped(production: Production, intent: Intent, error: Exception) -> Collected:
    """The purchase as the ledger has it, with the error's words; a clip that could not be stored is held under them."""
    error = as_foreseen(error)
    words, defect = words_of(error, f"intent {intent.intent_id}"), not isinstance(error, RushesError)
    now = intent
    with contextlib.suppress(LedgerUnavailable):
        now = await production.patiently(production.ledger.get, intent.intent_id)
        if now.state is IntentState.SUCCEEDED:
            now = await production.patiently(production.ledger.held, intent.intent_id, words)
    return Collected(intent.state, now, f"{words}; {owed(now)}" if defect else words, defect)


async def _advance(production: Production, intent: Intent) -> Intent:
    """One query, and the fetch where the job is done."""
    if intent.job_id is None or intent.state in {IntentState.SUBMITTING, IntentState.IN_DOUBT}:
        return intent
    mine = await production.patiently(claimed, production, intent)
    if mine is None:  # another `collect` asks after it just now
        return await production.patiently(production.ledger.get, intent.intent_id)
    if mine.state is not IntentState.SUCCEEDED:
        mine = await _answered(production, mine, await poll_once(production, mine))
    return await store_take(production, mine, relinks=(0.0,))


async def _answered(production: Production, intent: Intent, answer: Snapshot | Failure) -> Intent:
    """Record what the query showed; a held result goes on only with a link, and a job without a clip ends some day."""
    patiently, ledger = production.patiently, production.ledger
    if isinstance(answer, Snapshot) and intent.state is IntentState.RESULT_HELD and answer.state is State.SUCCEEDED:
        return await patiently(ledger.succeeded, intent.intent_id, answer.urls, None) if answer.urls else intent
    intent = await apply(production, intent, answer)
    (tries, age), since = LAST_WORD, intent.submitted_at or intent.created_at
    if isinstance(answer, Failure):
        why = "the provider does not know the job any more" if answer.kind is Kind.NOT_FOUND else ""
    else:
        why, since = (intent.reason or "refunded") if answer.refunded else "", intent.finished_at or since
    if why and intent.tries >= tries and production.clock.now() - since > age:
        return await patiently(ledger.gone, intent.intent_id, f"{why} ({tries} tries)")
    return intent


def exit_code(collected: Sequence[Collected]) -> ExitCode:
    """6 while anything paid is neither stored nor settled or a named job is not confirmed, 1 after a defect of ours."""
    if any(one.defect for one in collected):
        return ExitCode.DEFECT
    return ExitCode.MONEY_NEEDS_A_PERSON if any(one.open for one in collected) else ExitCode.OK


async def collect_now() -> tuple[list[Collected], list[str], ExitCode]:
    """Collect with the settings of this installation; with sentences about caps that bills have passed."""
    settings = Settings.load()
    async with Production.open(settings) as production:
        collected = await collect(production, owner())
        caps = await production.patiently(production.ledger.passed_caps, standing_caps(settings))
        passed = [f"{cap}; {CONFIRM}" for cap in caps]
    return collected, passed, worst([exit_code(collected), *([ExitCode.MONEY_NEEDS_A_PERSON] if passed else [])])
