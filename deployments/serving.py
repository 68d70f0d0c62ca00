"""Serving the deployments in this process with Prefect's runner, through a server's absence, and giving unfinished runs back at the end."""

import asyncio
import datetime as dt
from collections import Counter
from collections.abc import Collection
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.logging import get_logger
from prefect.runner import Runner
from prefect.states import Crashed, Scheduled

from deployments.catalogue import deployments
from flows.calling_off import AWAY, EVERY, OVER, CallingOff, runs_by_id
from tasks.errors import SetupProblem
from tasks.seams import SystemClock
from tasks.settings import Settings

__all__ = ["Serving"]

POLL = 3.0
"""Seconds between questions for runs that are due."""
LAST_WORDS = 10.0
"""Seconds in which the process of a run that has told its last state ends by itself."""
ATTEMPTS = 3
"""How often a run is given back that the server's absence has cost its process."""
_UNDER_WAY = (StateType.RUNNING, StateType.PENDING)
_LOG = get_logger("rushes.serving")


class Serving:
    """The runner, from its first poll to the last run's end."""

    def __init__(self, settings: Settings, limit: int, *, poll: float = POLL) -> None:
        self._calling_off = CallingOff(settings)
        self._ending: dict[UUID, asyncio.Task[None]] = {}
        self._runner = Runner(name="rushes", limit=limit, pause_on_shutdown=False, query_seconds=poll)
        self._ids: list[UUID] = []
        self._seen: dict[UUID, dt.datetime] = {}
        self._given_back: Counter[UUID] = Counter()
        self._away: dt.datetime | None = None
        self._polling: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Register the deployments and poll for their runs. The runner takes SIGTERM for itself: take it back after this."""
        for deployment in await deployments():
            self._ids.append(await self._runner.aadd_deployment(deployment))
        self._polling = asyncio.create_task(self._runner.start())
        while not self._runner.started and not self._polling.done():  # noqa: ASYNC110 - the runner tells nobody when it has started
            await asyncio.sleep(0.05)
        if self._runner.started:
            self._bear_absence()

    def _bear_absence(self) -> None:
        """Prefect's poller gives up for good after three failures, and every run under way dies with it; ours asks on."""
        poller = self._runner._scheduled_run_poller  # noqa: SLF001 - nothing public lets it go on
        ask = poller._get_scheduled_flow_runs  # noqa: SLF001

        async def patiently() -> list[FlowRun]:
            try:
                return await ask()
            except AWAY as error:
                _LOG.warning("Prefect cannot be asked for runs (%s); it is asked again", type(error).__name__)
                self._away = SystemClock().now()
                return []

        poller._get_scheduled_flow_runs = patiently  # type: ignore[method-assign]  # noqa: SLF001

    async def keep(self) -> None:
        """Do what Prefect leaves undone where its server was away, for runs that were cancelled or ended meanwhile.

        Raises:
            SetupProblem: the runner ended by itself, so that nothing would be run any more.
        """
        while self._polling is not None and not self._polling.done():
            await asyncio.sleep(EVERY)
            try:
                await self._tend()
            except AWAY as error:
                _LOG.debug("runs cannot be tended: %r", error)
                self._away = SystemClock().now()
        raise SetupProblem("Prefect's runner ended by itself", "Start `rushes serve` again.")

    async def _tend(self) -> None:
        """End the runs that are over in Prefect, and schedule again those that the server's absence has cost their process.

        They are closed in the ledger first, which also reaches processes that are not ours. Prefect's own observer of
        cancellations is deaf for good once its server was away for some seconds. And a run ends itself where the server has
        forgotten the lease of its deployment's limit.
        """
        runner = self._runner
        alive = runner._process_manager.flow_run_ids()  # noqa: SLF001 - as `_cancel_run` below, there is no other way in
        busy = {*alive, *runner._scheduled_run_poller._submitting_flow_run_ids}  # noqa: SLF001
        self._seen |= dict.fromkeys(alive, SystemClock().now())
        await self._calling_off.look()
        await self._end(alive)
        gone = self._seen.keys() - busy
        for run in await self._read(*_UNDER_WAY, StateType.CRASHED, ids=gone) if gone else ():
            if self._cost_its_process(run):
                _LOG.warning("%s ended because Prefect was away; it is scheduled again", run.name)
                await self._again(run)
        # What was given back is looked after further: the restarted server may miss its heartbeats of before.
        self._seen = {run: seen for run, seen in self._seen.items() if run in busy or self._given_back[run]}

    async def _end(self, alive: Collection[UUID]) -> None:
        """Tell those of our processes to end, in order, whose flow run is over in Prefect or gone from it."""
        async with get_client() as client:
            runs = await runs_by_id(client, alive)
        self._ending = {run: ending for run, ending in self._ending.items() if run in alive}
        for run in alive:
            seen = runs.get(run)
            if seen is not None and seen.state_type not in OVER:
                continue
            self._seen.pop(run, None)
            if run not in self._ending or self._ending[run].done():
                self._ending[run] = asyncio.create_task(self._end_one(run, seen))

    async def _end_one(self, run: UUID, seen: FlowRun | None) -> None:
        """A run that was cancelled ends as that; any other only loses its process, unless that is just ending by itself."""
        runner = self._runner
        try:
            if seen is not None and seen.state_type in {StateType.CANCELLING, StateType.CANCELLED}:
                await runner._cancel_run(seen)  # noqa: SLF001
                return
            await asyncio.sleep(LAST_WORDS)
            async with get_client() as client:
                now = (await runs_by_id(client, [run])).get(run)
            started_again = now is not None and now.state_type not in OVER
            if run in runner._process_manager.flow_run_ids() and not started_again:  # noqa: SLF001
                await runner._process_manager.kill(run)  # noqa: SLF001
        except AWAY as error:
            _LOG.warning("a run could not be told to end: %r", error)

    def _cost_its_process(self, run: FlowRun) -> bool:
        """Whether a run that has no process of ours any more lost it to an absence of the server that it has lived through."""
        seen, state = self._seen.get(run.id), run.state
        if seen is None or state is None or self._away is None:
            return False
        if self._given_back[run.id] >= ATTEMPTS:
            return False
        if state.is_crashed():
            return run.start_time is not None and run.start_time <= self._away
        return state.timestamp <= seen

    async def stop(self) -> None:
        """End the runs under way, politely, and schedule them again: a run goes on from what the ledger holds.

        Runs that ask for new takes are left ended: started again they would ask once more. With the server away
        nothing can be scheduled: the runs' processes end all the same, and what they paid for is in the ledger.
        """
        if self._runner.started:
            self._runner._scheduled_run_poller.stopping = True  # noqa: SLF001 - nothing new begins while the rest ends
        try:
            under_way = await self._read(*_UNDER_WAY)
        except AWAY as error:
            _LOG.warning("Prefect cannot be asked (%s): unfinished runs are not scheduled again", type(error).__name__)
            await self._ended(at_once=True)
            return
        await self._ended()
        try:
            await self._give_back(under_way)
        except AWAY as error:
            _LOG.warning("unfinished runs could not be scheduled again: %r", error)

    async def _ended(self, *, at_once: bool = False) -> None:
        """The runner's end; `at_once` leaves out what it would have told its server of each run."""
        if self._polling is None:
            return
        if self._runner.started:
            await self._told_to_end(by_signal=at_once)
        if at_once:
            self._polling.cancel()
        elif self._runner.started:
            await self._runner.astop()
        await asyncio.gather(self._polling, return_exceptions=True)

    async def _told_to_end(self, *, by_signal: bool) -> None:
        """End every run's process at the same time: Prefect's runner grants each half a minute, one after the other.

        Where the runner itself is ended instead, it kills them without a word.
        """
        runner = self._runner
        alive = runner._process_manager.flow_run_ids()  # noqa: SLF001
        if by_signal:
            ending = [runner._process_manager.kill(run) for run in alive]  # noqa: SLF001
        else:
            ending = [runner._cancellation_manager.cancel_by_id(run) for run in alive]  # noqa: SLF001
        for error in await asyncio.gather(*ending, return_exceptions=True):
            if error is not None:
                _LOG.warning("a run could not be told to end: %r", error)

    async def _read(self, *states: StateType, ids: Collection[UUID] | None = None) -> list[FlowRun]:
        """The runs of our deployments, or those of them with these ids, that are in one of the states."""
        wanted = FlowRunFilter(
            id=FlowRunFilterId(any_=list(ids)) if ids is not None else None,
            deployment_id=FlowRunFilterDeploymentId(any_=self._ids),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(states))),
        )
        async with get_client() as client:
            return await client.read_flow_runs(flow_run_filter=wanted)

    async def _give_back(self, runs: list[FlowRun]) -> None:
        async with get_client() as client:
            ended = [run for run in [await client.read_flow_run(run.id) for run in runs] if _was_ended(run)]
        for run in ended:
            await self._again(run)

    async def _again(self, run: FlowRun) -> None:
        self._given_back[run.id] += 1
        if run.parameters.get("retakes"):
            crashed: State[Any] = Crashed(
                message="its process was ended; it asks for new takes, so it is not started again"
            )
            await self._set(run, crashed)
        else:
            await self._set(run, Scheduled(message="its process was ended; it goes on from what the ledger holds"))

    async def _set(self, run: FlowRun, state: "State[Any]") -> None:
        async with get_client() as client:
            await client.set_flow_run_state(run.id, state, force=True)


def _was_ended(run: FlowRun) -> bool:
    return run.state is not None and (run.state.is_cancelled() or run.state.is_crashed())
