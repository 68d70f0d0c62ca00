"""Spreading: a board that is too large for one run, shared among runs of the deployment `part` and reported as one.

The run that was approved orders the parts, makes the first one itself, and takes back whatever nobody has begun when it is
free, so it never waits for a slot that it holds itself. Whoever makes a shot first has it: the ledger sees to that.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.deployments.flow_runs import arun_deployment
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Cancelled, Cancelling

from flows.calling_off import every_run
from flows.orders import made, order_part
from flows.plan import Ask, LoadedBoard
from flows.prefect_settings import this_flow_run
from flows.shooting import begin, heartbeat, made_and_closed, make_shots
from flows.steps import PrefectSteps
from tasks.estimate import Action, Decision, Plan, PlannedShot, decide
from tasks.exits import ExitCode
from tasks.gate import Approval
from tasks.outcome import Outcome
from tasks.production import Production
from tasks.report import RunReport
from tasks.shoot import Run

__all__ = ["DEPLOYMENT", "spread"]

DEPLOYMENT = "part/part"
POLL = 3.0
STARTUP = 120.0
"""Seconds that a run may take to begin once a worker has it; one that died in between is not waited for."""
_OPEN = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING]
_UNREACHABLE = (httpx.HTTPError, PrefectException, OSError)


async def spread(
    production: Production, plan: Plan, parts: Sequence[Plan], approval: Approval, ask: Ask, loaded: LoadedBoard
) -> RunReport:
    """Make every shot of an approved plan, the parts on as many workers as are free. The report is not delivered yet.

    An earlier attempt is over in the ledger before anything of it is ended in Prefect.
    """
    started = production.clock.now()
    run = await production.patiently(begin, production, plan, approval, started, this_flow_run())
    return await made_and_closed(production, plan, run, started, _shared(production, plan, parts, run, ask, loaded))


async def _shared(
    production: Production, plan: Plan, parts: Sequence[Plan], run: Run, ask: Ask, loaded: LoadedBoard
) -> list[Outcome]:
    """What became of each shot. Where Prefect does not answer nobody can be asked, and this run makes them all."""
    async with AsyncExitStack() as closing:
        try:
            client = await closing.enter_async_context(get_client())
            await _end_orphans(client)
        except (*_UNREACHABLE, RuntimeError) as error:  # RuntimeError: what a new client raises when nobody answers it
            get_run_logger().warning("The board is made here alone: %s", error)
            return await make_shots(production, run, plan.shots, PrefectSteps())
        for number, part in enumerate(parts, 1):
            place = (number, len(parts))
            await production.patiently(order_part, production.ledger, run.run_id, part, place, ask, loaded)
        return await _Spread(production, client, run, plan, parts).made()


async def _end_orphans(client: PrefectClient) -> None:
    """End what an earlier attempt of this run has started: the approval goes on with the plan of this one."""
    ours = FlowRunFilter(
        parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[UUID(str(flow_run.id))]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_OPEN)),
    )
    for one in await every_run(client, ours):
        state = Cancelled if one.state_type is StateType.SCHEDULED else Cancelling
        await client.set_flow_run_state(one.id, state(message="the run that started it begins anew"))


@dataclass(slots=True)
class _Child:
    """A part that a run of its own was started for; `pending_since` is when it was first seen about to begin."""

    part: Plan
    run_id: UUID
    pending_since: float | None = None


@dataclass
class _Spread:
    """A board under way in several runs."""

    production: Production
    client: PrefectClient
    run: Run
    plan: Plan
    parts: Sequence[Plan]
    children: list[_Child] = field(default_factory=list)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    away: bool = False

    async def made(self) -> list[Outcome]:
        """What became of each shot, in the order of the plan."""
        elsewhere = {shot.request.shot for part in self.parts[1:] for shot in part.shots}
        own = [shot for shot in self.plan.shots if shot.request.shot not in elsewhere]
        alive = asyncio.create_task(heartbeat(self.production, self.run))
        try:
            await self._make_all(own)
        finally:
            alive.cancel()
        return [self.outcomes[shot.request.shot] for shot in self.plan.shots]

    async def _make_all(self, own: Sequence[PlannedShot]) -> None:
        async with asyncio.TaskGroup() as group:
            making = group.create_task(self._make(own))
            for number, part in enumerate(self.parts[1:], 2):
                if not await self._start(part, number):
                    group.create_task(self._make_again(part))
            while self.children:
                await self._look(group)
                if making.done() and (child := await self._taken_back()):
                    making = group.create_task(self._make_again(child.part))
                elif self.children:
                    await asyncio.sleep(POLL)

    async def _start(self, part: Plan, number: int) -> bool:
        """Start a run for a part; False where there is no such deployment, or no answer."""
        try:
            started = await arun_deployment(
                DEPLOYMENT,
                client=self.client,
                parameters={"run": self.run.run_id, "digest": part.digest},
                flow_run_name=f"{self.plan.board} {self.run.run_id} part {number} of {len(self.parts)}",
                idempotency_key=f"{self.run.run_id}-{part.digest[:16]}",
                timeout=0,
            )
        except _UNREACHABLE as error:
            get_run_logger().warning("Part %s is made here: no run could be started for it (%s)", number, error)
            return False
        self.children.append(_Child(part, started.id))
        return True

    async def _look(self, group: asyncio.TaskGroup) -> None:
        """Take in the parts whose runs have ended; what one of them left undone is made here, at once."""
        try:
            runs = await self._runs()
        except _UNREACHABLE as error:
            if not self.away:
                get_run_logger().warning("Prefect does not say how the parts are doing, and is asked again: %s", error)
            self.away = True
            return
        self.away = False
        for child in list(self.children):
            run = runs.get(child.run_id)
            if run is not None and run.state_type in {*_OPEN, StateType.CANCELLING}:
                self._seen(child, run)
                continue
            self.children.remove(child)
            patiently, ledger = self.production.patiently, self.production.ledger
            told = await patiently(made, ledger, self.run.run_id, child.part)
            self._take_in(told or [])
            cancelled = run is not None and run.state_type is StateType.CANCELLED
            if any(shot.request.shot not in self.outcomes for shot in child.part.shots):
                group.create_task(self._make_again(child.part, cancelled=cancelled))

    async def _runs(self) -> Mapping[UUID, FlowRun]:
        ours = FlowRunFilter(id=FlowRunFilterId(any_=[child.run_id for child in self.children]))
        return {one.id: one for one in await every_run(self.client, ours)}

    def _seen(self, child: _Child, run: FlowRun) -> None:
        """Remember since when a run is about to begin; a scheduled one counts as if it had been for ever."""
        if run.state_type is StateType.SCHEDULED:
            child.pending_since = float("-inf")
        elif run.state_type is not StateType.PENDING:
            child.pending_since = None
        elif child.pending_since in {None, float("-inf")}:
            child.pending_since = self.production.clock.monotonic()

    async def _taken_back(self) -> _Child | None:
        """The last part that nobody has begun, with its run called off; None while every one is being made."""
        longest = self.production.clock.monotonic() - STARTUP
        idle = [one for one in self.children if one.pending_since is not None and one.pending_since < longest]
        if not idle:
            return None
        child = idle[-1]
        try:
            called_off: State[Any] = Cancelled(message="the run that started it makes its shots itself")
            await self.client.set_flow_run_state(child.run_id, called_off)
        except ObjectNotFound:
            pass
        except _UNREACHABLE:
            return None
        self.children.remove(child)
        return child

    async def _make_again(self, part: Plan, *, cancelled: bool = False) -> None:
        """Make what is not made of a part, from what the ledger knows by now.

        Where a person has called the part off, nothing more is bought; what is paid is still waited for.
        """
        left = [shot for shot in part.shots if shot.request.shot not in self.outcomes]
        wanted = [await self.production.patiently(self._as_it_stands, shot) for shot in left]
        if cancelled:
            dropped = [shot for shot in wanted if shot.decision.action is Action.CREATE]
            note = "its part of the run was cancelled before it was bought"
            self._take_in(Outcome(shot, "cancelled", None, note, ExitCode.SOME_FAILED) for shot in dropped)
            wanted = [shot for shot in wanted if shot.decision.action is not Action.CREATE]
        await self._make(wanted)

    def _as_it_stands(self, shot: PlannedShot) -> PlannedShot:
        """The shot with what is to be done about it by now; nothing is bought that the plan did not mean to buy."""
        ledger, planned = self.production.ledger, shot.decision
        now = decide(ledger, self.plan.board, shot.request, shot.caps, shot.key)
        if now.action is Action.CREATE or now.intent is None:
            if planned.action is Action.CREATE or planned.intent is None:
                return shot
            return replace(shot, decision=replace(planned, intent=ledger.get(planned.intent.intent_id)))
        ours = now.intent.run_id == self.run.run_id
        decision = Decision(now.action, now.intent, planned.note if ours else now.note)
        return replace(shot, take=now.intent.take, decision=decision)

    async def _make(self, shots: Sequence[PlannedShot]) -> None:
        self._take_in(await make_shots(self.production, self.run, shots, PrefectSteps()))

    def _take_in(self, outcomes: Iterable[Outcome]) -> None:
        """Keep what became of shots, each as an act of the plan that was approved."""
        planned = {shot.request.shot: shot.decision for shot in self.plan.shots}
        for one in outcomes:
            name = one.shot.request.shot
            self.outcomes[name] = replace(one, shot=replace(one.shot, decision=planned[name]))
            self.production.watcher.shot(name, one.state)
