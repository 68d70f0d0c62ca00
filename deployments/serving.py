"""Serving the deployments in this process with Prefect's runner, and giving unfinished runs back at the end."""

import asyncio
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.runner import Runner
from prefect.states import Scheduled

from deployments.catalogue import deployments

__all__ = ["Serving"]

POLL = 3.0
"""Seconds between questions for runs that are due."""
_UNDER_WAY = [StateType.RUNNING, StateType.PENDING]


class Serving:
    """The runner, from its first poll to the last run's end."""

    def __init__(self, limit: int, *, poll: float = POLL) -> None:
        self._runner = Runner(name="rushes", limit=limit, pause_on_shutdown=False, query_seconds=poll)
        self._ids: list[UUID] = []
        self._polling: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Register the deployments and poll for their runs. The runner takes SIGTERM for itself: take it back after this."""
        for deployment in await deployments():
            self._ids.append(await self._runner.aadd_deployment(deployment))
        self._polling = asyncio.create_task(self._runner.start())
        while not self._runner.started and not self._polling.done():  # noqa: ASYNC110 - the runner tells nobody when it has started
            await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """End the runs under way, politely, and schedule them again: a run goes on from what the ledger holds.

        Runs that ask for new takes are left ended: started again they would ask once more.
        """
        under_way = await self._under_way()
        if self._runner.started:
            await self._runner.astop()
        if self._polling is not None:
            await asyncio.gather(self._polling, return_exceptions=True)
        await self._give_back(under_way)

    async def _under_way(self) -> list[FlowRun]:
        running = FlowRunFilter(
            deployment_id=FlowRunFilterDeploymentId(any_=self._ids),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_UNDER_WAY)),
        )
        async with get_client() as client:
            return await client.read_flow_runs(flow_run_filter=running)

    async def _give_back(self, runs: list[FlowRun]) -> None:
        async with get_client() as client:
            for run in runs:
                now = await client.read_flow_run(run.id)
                if now.state is None or not (now.state.is_cancelled() or now.state.is_crashed()):
                    continue
                if not run.parameters.get("retakes"):
                    again: State[Any] = Scheduled(
                        message="its process was ended; it goes on from what the ledger holds"
                    )
                    await client.set_flow_run_state(run.id, again, force=True)
