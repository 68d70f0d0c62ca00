"""Collect: pick up paid results that are late, held or in doubt. Buys nothing; runs safely at any time, beside any run."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tasks.errors import RushesError
from tasks.exits import ExitCode, worst
from tasks.gate import CONFIRM
from tasks.hints import follow
from tasks.ledger import Intent, IntentState, LedgerUnavailable
from tasks.outcome import owed, words_of
from tasks.production import Production, standing_caps
from tasks.providers.interface import Snapshot, State
from tasks.settings import Settings
from tasks.shoot import owner
from tasks.store import store_take
from tasks.wait import apply, poll_once

__all__ = ["Collected", "collect", "collect_now", "exit_code"]

OPEN = (
    IntentState.SUBMITTING,
    IntentState.IN_DOUBT,
    IntentState.SUBMITTED,
    IntentState.STALLED,
    IntentState.SUCCEEDED,
    IntentState.RESULT_HELD,
    IntentState.FAILED_UNSETTLED,
)
AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Collected:
    """One intent after collecting, with what stands in the way where it is not stored; `defect`: of ours."""

    before: IntentState
    intent: Intent
    note: str = ""
    defect: bool = False

    def line(self) -> str:
        """As people read it."""
        intent = self.intent
        note = self.note or intent.doubt_reason or intent.reason
        where = intent.artifact.uri if intent.artifact else note
        return f"{intent.board} {intent.shot} TK{intent.take:02d}  {self.before} -> {intent.state}  {where}"

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
            "note": self.note or intent.doubt_reason or intent.reason,
        }


async def collect(production: Production, owner: str) -> list[Collected]:
    """Ask after every open intent once, fetch what is ready, settle failures that have waited a day."""
    production.ledger.recover(owner)
    production.ledger.settle_failed(production.clock.now())
    slots = asyncio.Semaphore(AT_ONCE)
    async with asyncio.TaskGroup() as group:
        running = [
            group.create_task(_collect_one(production, intent, slots))
            for intent in production.ledger.intents(states=OPEN)
        ]
    return [one.result() for one in running]


async def _collect_one(production: Production, intent: Intent, slots: asyncio.Semaphore) -> Collected:
    async with slots:
        try:
            return Collected(intent.state, await _advance(production, intent))
        # Whatever is raised for one purchase is told of that one; the others are collected all the same.
        except Exception as error:  # noqa: BLE001
            return _stopped(production, intent, error)


def _stopped(production: Production, intent: Intent, error: Exception) -> Collected:
    """The purchase as the ledger has it, with the error's words; a clip that could not be stored is held under them."""
    words, defect = words_of(error, f"intent {intent.intent_id}"), not isinstance(error, RushesError)
    now = intent
    with contextlib.suppress(LedgerUnavailable):
        now = production.ledger.get(intent.intent_id)
        if now.state is IntentState.SUCCEEDED:
            now = production.ledger.held(intent.intent_id, words)
    return Collected(intent.state, now, f"{words}; {owed(now)}" if defect else words, defect)


async def _advance(production: Production, intent: Intent) -> Intent:
    """One query, and the fetch where the job is done."""
    if intent.state in {IntentState.SUBMITTING, IntentState.IN_DOUBT}:
        intent = await follow(production, intent.intent_id)
    if intent.job_id is None or intent.state in {IntentState.SUBMITTING, IntentState.IN_DOUBT}:
        return intent
    if intent.state is not IntentState.SUCCEEDED:
        answer = await poll_once(production, intent)
        intent = _rehoused(production, intent, answer) or apply(production, intent, answer)
    return await store_take(production, intent)


def _rehoused(production: Production, intent: Intent, answer: object) -> Intent | None:
    """A held result for which the provider names a link again."""
    if intent.state is not IntentState.RESULT_HELD:
        return None
    if isinstance(answer, Snapshot) and answer.state is State.SUCCEEDED and answer.urls:
        return production.ledger.requeried(intent.intent_id, answer.urls)
    return intent


def exit_code(collected: Sequence[Collected]) -> ExitCode:
    """6 while anything paid is neither stored nor settled, 1 after a defect of ours."""
    if any(one.defect for one in collected):
        return ExitCode.DEFECT
    open_still = [one for one in collected if one.intent.state in OPEN]
    return ExitCode.MONEY_NEEDS_A_PERSON if open_still else ExitCode.OK


async def collect_now() -> tuple[list[Collected], list[str], ExitCode]:
    """Collect with the settings of this installation; with sentences about caps that bills have passed."""
    settings = Settings.load()
    async with Production.open(settings) as production:
        collected = await collect(production, owner())
        passed = [f"{cap}; {CONFIRM}" for cap in production.ledger.passed_caps(standing_caps(settings))]
    return collected, passed, worst([exit_code(collected), *([ExitCode.MONEY_NEEDS_A_PERSON] if passed else [])])
