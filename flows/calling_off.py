"""Calling off: a run that is over in Prefect is closed in the ledger, on whatever machine its process still lives.

Prefect ends the processes that its own runners know. One that outlived its runner, or whose run was set to its last state or
deleted, hears of nothing; but it asks the ledger before every purchase whether its run is open.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import PrefectException
from prefect.logging import get_logger
from prefect.runtime import flow_run
from prefect.states import Cancelled, Crashed

from flows.prefect_settings import in_deployment
from tasks.errors import RushesError
from tasks.ledger import Ledger, OpenRun
from tasks.production import open_ledger
from tasks.seams import Clock, SystemClock
from tasks.settings import HEARTBEAT, Settings

__all__ = ["AWAY", "EVERY", "OVER", "CallingOff", "as_called_off", "close_ended", "every_run", "runs_by_id"]

OVER = frozenset({StateType.CANCELLING, StateType.CANCELLED, StateType.CRASHED, StateType.FAILED, StateType.COMPLETED})
"""States in which nobody may buy for a run: it ends, or has ended."""
AWAY = (httpx.HTTPError, PrefectException, OSError, RuntimeError)
"""What a question to Prefect raises that it does not answer; RuntimeError comes from a client that is new."""
EVERY = 5.0
"""Seconds between looks."""
DEAD_EVERY = 15.0
SILENT = 3 * float(HEARTBEAT) + 10
"""Seconds without a sign of life after which a run's process has died."""
DIED = "its process died: no heartbeat"
_HEARTBEAT = "prefect.flow-run.heartbeat"
PAGE = 200
_LOG = get_logger("rushes.calling-off")


class CallingOff:
    """Looks again and again, with a ledger that is opened once; what stands in the way is told and tried again."""

    def __init__(self, settings: Settings, *, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._ledger: Ledger | None = None
        self._signs: dict[UUID, tuple[str, float]] = {}
        self._looked_for_dead = float("-inf")

    async def look(self) -> None:
        """Close what is over in Prefect, and end there what has no process any more.

        Raises:
            one of AWAY: Prefect does not answer.
        """
        try:
            await self._look()
        except AWAY:
            self._signs = {}  # what was silent meanwhile may only have had nobody to speak to
            raise

    async def _look(self) -> None:
        try:
            if self._ledger is None:
                self._ledger = await asyncio.to_thread(open_ledger, self._settings)
            await close_ended(self._ledger)
            if self._clock.monotonic() - self._looked_for_dead >= DEAD_EVERY:
                self._looked_for_dead = self._clock.monotonic()
                await self._end_dead(self._ledger)
        except RushesError as error:
            _LOG.warning("runs cannot be closed in the ledger: %s", error)

    async def _end_dead(self, ledger: Ledger) -> None:
        """Crash the runs of ours that are under way by their state, and give no sign of life to the ledger or to Prefect.

        Prefect's own means, an automation, decides by events. Where one was lost it would crash a run that waits for a person.
        """
        beating = {UUID(one.flow_run) for one in await asyncio.to_thread(ledger.open_runs) if one.alive}
        async with get_client() as client:
            signs = {one.id: await _sign_of_life(client, one) for one in await _under_way(client)}
            silent = self._silent({run: sign for run, sign in signs.items() if sign})
            dead = [run for run in silent if run not in beating]
            for run in (await runs_by_id(client, dead)).values():
                if run.state_type is StateType.RUNNING:
                    await client.set_flow_run_state(run.id, Crashed(message=DIED))
                elif run.state_type is StateType.CANCELLING:
                    await client.set_flow_run_state(run.id, Cancelled(message=DIED))

    def _silent(self, signs: Mapping[UUID, str]) -> list[UUID]:
        """The runs whose last sign of life has been the same for all of SILENT, by this machine's clock alone."""
        now, before = self._clock.monotonic(), self._signs
        self._signs = {
            run: before[run] if run in before and before[run][0] == sign else (sign, now) for run, sign in signs.items()
        }
        return [run for run, (_, since) in self._signs.items() if now - since >= SILENT]

    async def keep(self) -> None:
        """Look for ever, through every absence of Prefect."""
        while True:
            await asyncio.sleep(EVERY)
            try:
                await self.look()
            except AWAY as error:
                _LOG.debug("Prefect cannot be asked which runs are over: %r", error)


async def _under_way(client: PrefectClient) -> list[FlowRun]:
    """The runs of our deployments that have a process, or should have one."""
    wanted = FlowRunFilter(
        tags=FlowRunFilterTags(all_=["rushes"]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.CANCELLING])),
    )
    return await every_run(client, wanted)


async def every_run(client: PrefectClient, wanted: FlowRunFilter) -> list[FlowRun]:
    """Every run that matches, page by page."""
    found: list[FlowRun] = []
    while len(found) % PAGE == 0:
        page = await client.read_flow_runs(flow_run_filter=wanted, limit=PAGE, offset=len(found))
        if not page:
            break
        found += page
    return found


async def _sign_of_life(client: PrefectClient, run: FlowRun) -> str:
    """Changes with every heartbeat and every new state; "" for a run that was started without heartbeats."""
    wanted = {"event": {"name": [_HEARTBEAT]}, "resource": {"id": [f"prefect.flow-run.{run.id}"]}}
    reply = await client.request("POST", "/events/filter", json={"filter": wanted, "limit": 1})
    found = reply.json()["events"]
    return f"{found[0]['id']} {run.state_id}" if found else ""


async def close_ended(ledger: Ledger) -> list[str]:
    """Close the open runs whose flow run is over in Prefect, or gone from it. Where Prefect does not answer, none is.

    The ledger is read before Prefect is asked: an attempt that begins later is not among these, so the state that is seen
    then is never older than the attempts that it closes.
    """
    found = await asyncio.to_thread(ledger.open_runs)
    if not found:
        return []
    async with get_client() as client:
        runs = await runs_by_id(client, {UUID(one.flow_run) for one in found})
        here = await _known_deployments(client, [one for one in found if UUID(one.flow_run) not in runs])
    closed = []
    for one in found:
        why = _over(one, runs.get(UUID(one.flow_run)), here)
        if not why:
            continue
        if await asyncio.to_thread(ledger.close_run, one.run_id, why):
            _LOG.warning("run %s is closed: %s", one.run_id, why)
            closed.append(one.run_id)
    return closed


def _over(one: OpenRun, run: FlowRun | None, here: set[str]) -> str:
    """Why the run may buy nothing more; "" where it may, or where another Prefect server would have to be asked."""
    if run is None:
        return f"its flow run {one.flow_run} is gone from Prefect" if one.deployment in here else ""
    return f"its flow run {one.flow_run} is {run.state_type.value} in Prefect" if run.state_type in OVER else ""


async def runs_by_id(client: PrefectClient, ids: Iterable[UUID]) -> dict[UUID, FlowRun]:
    """The flow runs that Prefect has of these."""
    left, found = list(ids), dict[UUID, FlowRun]()
    while left:
        page, left = left[:PAGE], left[PAGE:]
        wanted = FlowRunFilter(id=FlowRunFilterId(any_=page))
        found |= {one.id: one for one in await client.read_flow_runs(flow_run_filter=wanted, limit=PAGE)}
    return found


async def _known_deployments(client: PrefectClient, gone: Sequence[OpenRun]) -> set[str]:
    """Which deployments of these runs this server has. Servers that share a ledger know nothing of each other's runs."""
    ids = {UUID(one.deployment) for one in gone}
    if not ids:
        return set()
    wanted = DeploymentFilter(id=DeploymentFilterId(any_=list(ids)))
    return {str(one.id) for one in await client.read_deployments(deployment_filter=wanted)}


async def as_called_off(state: "State[object]") -> "State[object]":
    """The last state of this flow run: Cancelled, with the same document, where somebody cancelled it meanwhile."""
    if not in_deployment():
        return state
    try:
        async with get_client() as client:
            seen = await client.read_flow_run(UUID(str(flow_run.id)))
    except AWAY:
        return state
    if seen.state_type not in {StateType.CANCELLING, StateType.CANCELLED}:
        return state
    words = f"cancelled; what was bought before is kept ({state.message})"
    return Cancelled(message=words, data=state.data)
