"""Shooting: every shot of an approved plan from its reservation to its stored take, side by side, whoever orchestrates.

The flow gives Prefect's tasks as the steps; a proof gives the plain functions.
"""

import asyncio
import contextlib
import datetime as dt
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from specs.money import Money
from tasks.errors import Refused
from tasks.estimate import Action, Plan, PlannedShot
from tasks.exits import ExitCode
from tasks.failover import PASSES_ON, next_choice, refusal_kind
from tasks.gate import Approval
from tasks.ledger import Intent, IntentState, LedgerUnavailable
from tasks.outcome import Outcome, outcome_of, report_of, stopped
from tasks.production import Production
from tasks.report import RunReport
from tasks.shoot import Run, owner, submission_of, unresolved
from tasks.store import clip_cache, keep_take, store_take
from tasks.submit import heard_out, settled_elsewhere, submit_shot
from tasks.wait import Wakeups, listen, wait_for

__all__ = ["PlainSteps", "Steps", "begin", "heartbeat", "made_and_closed", "make_shots", "shoot"]

HEARTBEAT = 15.0


class Steps(Protocol):
    """The steps of a shot. Each raises `RushesError` for what was foreseen."""

    async def reuse(self, shot: PlannedShot, intent: Intent) -> Intent: ...
    async def submit(self, production: Production, run: Run, shot: PlannedShot) -> Intent: ...
    async def wait(self, production: Production, intent: Intent, wakeups: Wakeups) -> Intent: ...
    async def store(self, production: Production, intent: Intent) -> Intent: ...


class PlainSteps:
    """The steps as plain calls."""

    async def reuse(self, _shot: PlannedShot, intent: Intent) -> Intent:
        """Nothing is to be done."""
        return intent

    async def submit(self, production: Production, run: Run, shot: PlannedShot) -> Intent:
        """Buy the shot once, or find that it already is."""
        return await submit_shot(production, await submission_of(production, run, shot))

    async def wait(self, production: Production, intent: Intent, wakeups: Wakeups) -> Intent:
        """Poll until the job ends or is stalled."""
        return await wait_for(production, intent, wakeups)

    async def store(self, production: Production, intent: Intent) -> Intent:
        """Fetch, verify, publish the take, settle."""
        return await store_take(production, intent)


@dataclass(slots=True)
class _Shooting:
    """A run under way: one slot a live job of each provider, and one result a shot key."""

    production: Production
    run: Run
    wakeups: Wakeups
    steps: Steps
    slots: dict[str, asyncio.Semaphore] = field(default_factory=dict)
    results: dict[str, "asyncio.Future[Outcome]"] = field(default_factory=dict)

    def slot(self, shot: PlannedShot) -> asyncio.Semaphore:
        """At most as many shots are in submit and wait as the provider takes jobs at once."""
        most = self.production.account(shot.provider).max_in_flight or shot.caps.max_in_flight
        return self.slots.setdefault(shot.provider, asyncio.Semaphore(most))


async def shoot(
    production: Production, plan: Plan, approval: Approval, steps: Steps, flow_run: Mapping[str, str] | None = None
) -> RunReport:
    """Shoot every shot of an approved plan; a shot that fails stops no other. The report is not delivered yet."""
    started = production.clock.now()
    run = await production.patiently(begin, production, plan, approval, started, flow_run)
    return await made_and_closed(production, plan, run, started, make_shots(production, run, plan.shots, steps))


def begin(
    production: Production,
    plan: Plan,
    approval: Approval,
    started: dt.datetime,
    flow_run: Mapping[str, str] | None = None,
) -> Run:
    """Record the approval and the run in the ledger, which every process that buys for the run is held to.

    `flow_run` is the run of a deployment that this is an attempt of: whoever sees it end in Prefect closes this one.
    """
    ledger, number = production.ledger, production.rng.new_id()
    caps = (*plan.caps, *(plan.auto_caps if approval.by == "auto" else ()))
    # The end of the number tells this holder of the run from a part of it that comes to have the same process number.
    run = Run(f"{started:%Y%m%d-%H%M%S}-{number[-6:]}", f"{owner()}:{number[-6:]}", plan.board, caps)
    ledger.raise_limits(plan.caps)
    recorded = ledger.approve(approval)
    ledger.begin_run(
        run.run_id,
        board=plan.board,
        spec_sha256=plan.spec_sha256,
        digest=plan.digest,
        caps=caps,
        approved_by=recorded.by,
        approval=recorded.reason,
        approval_id=recorded.approval_id,
        attempt_of=recorded.attempt_of,
        owner=run.owner,
        flow_run=flow_run,
    )
    production.watcher.begins({shot.request.shot: shot.request.duration for shot in plan.shots})
    return run


async def made_and_closed(
    production: Production, plan: Plan, run: Run, started: dt.datetime, making: Coroutine[Any, Any, list[Outcome]]
) -> RunReport:
    """Make the shots of a run and report; whatever ends that closes the run in the ledger first.

    Then nobody reserves anything for it any more, on whatever machine, and only then is told to end what runs here.
    """
    task, code = asyncio.ensure_future(making), ExitCode.DEFECT
    try:
        outcomes = await asyncio.shield(task)
        make = partial(report_of, production, plan, outcomes, run_id=run.run_id, started_at=started)
        report = await production.outlast(make)
        code = ExitCode(report.exit_code)
    except asyncio.CancelledError:
        code = ExitCode.INTERRUPTED
        raise
    finally:
        closing = partial(production.ledger.end_run, run.run_id, code)
        with contextlib.suppress(LedgerUnavailable):  # then its lease runs out, which closes it as well
            await (production.aside(closing) if code is ExitCode.INTERRUPTED else production.outlast(closing))
        if not task.done():
            task.cancel()
            await heard_out(task)
    return report


async def make_shots(production: Production, run: Run, shots: Sequence[PlannedShot], steps: Steps) -> list[Outcome]:
    """Bring each shot of a run to its end, side by side."""
    shooting = _Shooting(production, run, Wakeups(), steps)
    beside = [asyncio.create_task(heartbeat(production, run))]
    if production.settings.callback_url:
        beside.append(asyncio.create_task(listen(production, shooting.wakeups)))
    try:
        async with asyncio.TaskGroup() as group:
            chains = [group.create_task(_chain(shooting, shot)) for shot in shots]
        return [chain.result() for chain in chains]
    finally:
        for task in beside:
            task.cancel()


async def heartbeat(production: Production, run: Run) -> None:
    """Tell the ledger that this process is alive, for ever: its creates stay its own, and the run that it holds stays open."""
    while True:
        await production.clock.sleep(HEARTBEAT)
        with contextlib.suppress(LedgerUnavailable):
            await production.aside(partial(production.ledger.heartbeat, run.owner))


async def _chain(shooting: _Shooting, shot: PlannedShot) -> Outcome:
    """One shot to its end; a second shot with the same request shares the first one's result."""
    first = shooting.results.get(shot.key)
    if first is not None:
        outcome = await asyncio.shield(first)
        return Outcome(shot, outcome.state, outcome.intent, shot.decision.note, outcome.exit_code)
    mine = shooting.results[shot.key] = asyncio.get_running_loop().create_future()
    try:
        outcome = await _shoot(shooting, shot)
        await _tell(shooting, shot, outcome.state)
    # Whatever is raised for one shot is that shot's outcome; only cancellation and signals end the others with it.
    except Exception as error:  # noqa: BLE001
        outcome = await stopped(shooting.production, shot, shooting.run.run_id, error)
    except BaseException:
        mine.cancel()
        raise
    mine.set_result(outcome)
    return outcome


async def _tell(shooting: _Shooting, shot: PlannedShot, phase: str) -> None:
    watcher = shooting.production.watcher
    watcher.shot(shot.request.shot, phase)
    try:
        production = shooting.production
        sums = await production.aside(partial(production.ledger.totals, run_id=shooting.run.run_id))
    except LedgerUnavailable:
        return  # what is shown may wait; nothing else may stop for it
    watcher.money(
        reserved=_sum(sums.reserved.values()),
        settled=_sum(sums.settled.values()),
        in_doubt=_sum(sums.in_doubt.values()),
    )


def _sum(amounts: Iterable[Money]) -> str:
    return " + ".join(str(money) for money in amounts if money.micros) or "0.00 USD"


async def _shoot(shooting: _Shooting, shot: PlannedShot) -> Outcome:
    production, decision = shooting.production, shot.decision
    if decision.action is Action.HELD and decision.intent is not None:
        return _held(shot, decision.intent)
    if decision.action is Action.REUSE and decision.intent is not None:
        if not await asyncio.to_thread(keep_take, production, decision.intent):
            return _lost(production, shot, decision.intent)
        return outcome_of(shot, await shooting.steps.reuse(shot, decision.intent), decision.note)
    await _tell(shooting, shot, "queued")
    shot, intent, note = await _made_by_any(shooting, shot)
    if intent.state is IntentState.SUCCEEDED:
        await _tell(shooting, shot, "store")
        intent = await shooting.steps.store(production, intent)
    return outcome_of(shot, await production.patiently(production.ledger.get, intent.intent_id), note)


def _lost(production: Production, shot: PlannedShot, intent: Intent) -> Outcome:
    """A take that was delivered once and is not in the store as it was: nothing is bought for it unasked."""
    place = intent.artifact.path if intent.artifact else ""
    note = f"{place} is gone from the store, or no longer what was delivered: put it back, or raise `take:` for another"
    if intent.artifact and clip_cache(production, intent.artifact.sha256).exists():
        note = f"{place} is no longer what was delivered: delete it and render again, and it is put back from here"
    if shot.caps.paid:
        return Outcome(shot, "held", intent, note, ExitCode.MONEY_NEEDS_A_PERSON)
    return Outcome(shot, "failed", intent, note, ExitCode.SOME_FAILED)


def _held(shot: PlannedShot, intent: Intent) -> Outcome:
    """Nothing is done about a held shot; one that is held because it was edited counts as refused."""
    if intent.state in {IntentState.STORED, IntentState.SUPERSEDED}:
        return Outcome(shot, "refused", None, shot.decision.note, ExitCode.REFUSED)
    return outcome_of(shot, intent, shot.decision.note)


async def _made_by_any(shooting: _Shooting, shot: PlannedShot) -> tuple[PlannedShot, Intent, str]:
    """The job's end at the planned provider, or at the next of the list after a definite refusal; with the story."""
    intent, note = await _made_in_slot(shooting, shot), ""
    production = shooting.production
    while await production.patiently(_passes_on, production, shot, intent):
        choice = next_choice(shot, intent, production.settings)
        note = choice.note
        if choice.shot is None:
            break
        facts = {"to": choice.shot.provider, "why": note}
        await production.patiently(production.ledger.note, intent.intent_id, "failover", facts)
        try:
            intent = await _made_in_slot(shooting, choice.shot)
        except Refused as error:
            return shot, intent, f"{note}; {unresolved(error)}"
        shot = choice.shot
    return shot, intent, note


def _passes_on(production: Production, shot: PlannedShot, intent: Intent) -> bool:
    if intent.state is not IntentState.REJECTED or not shot.alternatives or shot.decision.action is not Action.CREATE:
        return False  # what was to be resumed was shown for nothing: no other provider is paid for it
    return refusal_kind(production.ledger.events(intent.intent_id)) in PASSES_ON


async def _made_in_slot(shooting: _Shooting, shot: PlannedShot) -> Intent:
    async with shooting.slot(shot):
        return await _made(shooting, shot)


async def _made(shooting: _Shooting, shot: PlannedShot) -> Intent:
    """The job's end, whether this run submitted it or an earlier one did."""
    production = shooting.production
    intent = shot.decision.intent
    if shot.decision.action is Action.CREATE or intent is None:
        await _tell(shooting, shot, "submit")
        intent = await shooting.steps.submit(production, shooting.run, shot)
    intent = await settled_elsewhere(production, intent)
    production.watcher.job(intent.intent_id, shot.request.shot)
    if intent.state is IntentState.SUBMITTED:
        await _tell(shooting, shot, "wait")
        intent = await shooting.steps.wait(production, intent, shooting.wakeups)
    return intent
