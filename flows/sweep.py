"""Sweep: every whole storyboard of the inbox is claimed and handed to a `drop` run; what lies unfinished is tended."""

import asyncio
import hashlib
from collections.abc import Awaitable
from dataclasses import dataclass
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.deployments.flow_runs import arun_deployment
from prefect.events import emit_event
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.logging import get_logger

from specs.loader import MAX_BYTES
from tasks.errors import RushesError
from tasks.inbox import Claim, Drop, Inbox, Submitted
from tasks.seams import Clock, Rng
from tasks.storage import Missing

__all__ = ["ATTEMPTS", "DEPLOYMENT", "EVENT", "STEADY", "Sweeper"]

DEPLOYMENT = "drop/drop"
EVENT = "rushes.drop.submitted"
STEADY = 2.0
"""Seconds for which a file without a `.done` mark must keep its size and hash."""
ORPHANED = 30.0
"""Seconds after which a claim of another process that started no run is taken over."""
ATTEMPTS = 3

_LOG = get_logger("rushes.sweep")


@dataclass(frozen=True, slots=True)
class _Sight:
    """What a file was when it was first seen like this, and when that was."""

    size: int
    sha256: str
    since: float


class Sweeper:
    """Looks at the inbox again and again; every look may fail and loses nothing by it."""

    def __init__(
        self, inbox: Inbox, *, clock: Clock, rng: Rng, steady: float = STEADY, only: str | None = None
    ) -> None:
        self._inbox = inbox
        self._clock = clock
        self._rng = rng
        self._steady = steady
        self._only = only
        self._sights: dict[str, _Sight] = {}
        self._orphans: dict[Claim, float] = {}

    async def once(self) -> int:
        """Two looks, a steady time apart: everything that lies whole in the inbox now. How many runs were started."""
        first = await self.look()
        await self._clock.sleep(self._steady)
        return first + await self.look()

    @property
    def unsteady(self) -> bool:
        """Whether a file was seen that did not yet keep still for long enough."""
        return any(sight.since != float("inf") for sight in self._sights.values())

    async def look(self) -> int:
        """Claim and hand over what is whole, tend what is open. How many runs were started.

        Raises:
            RushesError: the inbox itself cannot be listed.
        """
        scene = await asyncio.to_thread(self._inbox.look)
        paths = [one for one in scene.drops if self._only in {None, one}]
        self._sights = {path: sight for path, sight in self._sights.items() if path in paths}
        started = 0
        for path in paths:
            started += await self._guarded(path, self._take(path, marked=path in scene.marked))
        for claim in scene.open:
            started += await self._guarded(claim.name[:12], self._tend(claim))
        return started

    async def _guarded(self, what: str, doing: Awaitable[bool]) -> int:
        """One file's trouble stops no other; a server that is away is asked again at the next look."""
        try:
            return int(await doing)
        except RushesError as error:
            _LOG.warning("%s: %s", what, error)
        except (httpx.HTTPError, PrefectException, OSError) as error:
            _LOG.warning("%s: Prefect cannot be asked now (%s); the next look tries again", what, type(error).__name__)
        return 0

    async def _take(self, path: str, *, marked: bool) -> bool:
        """Whether a run was started for the file."""
        size = await asyncio.to_thread(self._inbox.size, path)
        if not size:
            return False  # gone, or opened and not written yet
        if size > MAX_BYTES:
            return await self._too_large(path, size)
        try:
            dropped = await asyncio.to_thread(self._inbox.read, path, marked=marked)
        except Missing:
            return False
        if not marked and not self._steady_now(path, size, dropped.sha256):
            return False
        return await self._claim(dropped)

    def _steady_now(self, path: str, size: int, sha256: str) -> bool:
        seen, now = self._sights.get(path), self._clock.monotonic()
        if seen is None or (seen.size, seen.sha256) != (size, sha256):
            self._sights[path] = _Sight(size, sha256, now)
            return self._steady <= 0
        return now - seen.since >= self._steady

    async def _too_large(self, path: str, size: int) -> bool:
        """Said once it keeps its size; such a file is never read."""
        mark = hashlib.sha256(str(size).encode()).hexdigest()
        if self._steady_now(path, size, mark):
            words = f"{path}: {size} bytes; a storyboard has at most {MAX_BYTES}. The file was left where it is.\n"
            await asyncio.to_thread(self._inbox.refuse, path, words)
            self._sights[path] = _Sight(size, mark, float("inf"))
        return False

    async def _claim(self, dropped: Drop) -> bool:
        claim, mine = await asyncio.to_thread(self._inbox.claim, dropped, self._rng.token())
        if mine:
            return await self._submit(claim, dropped.path, 1)
        if await asyncio.to_thread(self._inbox.end, claim) is not None:
            await asyncio.to_thread(self._inbox.duplicate, claim, dropped)
            _LOG.info("%s was rendered before; it is filed as a duplicate", dropped.path)
        self._sights.pop(dropped.path, None)
        return False

    async def _submit(self, claim: Claim, path: str, attempt: int) -> bool:
        """Start the run; the idempotency key makes a second start of the same attempt the same run."""
        self._orphans[claim] = float("-inf")
        nonce = await asyncio.to_thread(self._inbox.nonce, claim)
        run = await arun_deployment(
            DEPLOYMENT,
            parameters={"board": path, "claim": claim.name},
            idempotency_key=f"{claim.name}-{nonce}-{attempt}",
            timeout=0,
            as_subflow=False,
        )
        await asyncio.to_thread(self._inbox.submit, claim, Submitted(str(run.id), attempt))
        emit_event(
            EVENT,
            resource={
                "prefect.resource.id": f"rushes.drop.{claim.name}",
                "prefect.resource.name": path,
                "rushes.inbox": self._inbox.store.uri(""),
            },
            related=[{"prefect.resource.id": f"prefect.flow-run.{run.id}", "prefect.resource.role": "flow-run"}],
            payload={"board": path, "attempt": attempt},
        )
        _LOG.info("%s: run %s", path, run.name)
        self._orphans.pop(claim, None)
        self._sights.pop(path, None)
        return True

    async def _tend(self, claim: Claim) -> bool:
        """Start the run that a claim lacks, or another one where its run ended without filing the board."""
        submitted = await asyncio.to_thread(self._inbox.submitted, claim)
        dropped = await asyncio.to_thread(self._inbox.claimed, claim)
        if submitted is None:
            since = self._orphans.setdefault(claim, self._clock.monotonic())
            return self._clock.monotonic() - since >= ORPHANED and await self._submit(claim, dropped.path, 1)
        run = await _flow_run(submitted.flow_run_id)
        if run is not None and (run.state is None or not run.state.is_final()):
            return False
        if await asyncio.to_thread(self._inbox.end, claim) is not None:
            return False
        if run is not None and run.state is not None and run.state.is_cancelled():
            await self._give_up(claim, dropped, "cancelled in Prefect; what was paid is picked up by `rushes collect`")
            return False
        if submitted.attempt >= ATTEMPTS:
            said = run.state.message if run is not None and run.state is not None else "its run is gone"
            await self._give_up(claim, dropped, f"given up after {ATTEMPTS} runs: {said}")
            return False
        return await self._submit(claim, dropped.path, submitted.attempt + 1)

    async def _give_up(self, claim: Claim, dropped: Drop, words: str) -> None:
        note = f"{dropped.path}: {words}\nDrop it again to try once more.\n".encode()
        await asyncio.to_thread(self._inbox.finish, claim, dropped, "rejected", note, "problems.txt", again=True)


async def _flow_run(flow_run_id: str) -> FlowRun | None:
    try:
        wanted = UUID(flow_run_id)
    except ValueError:
        return None
    async with get_client() as client:
        try:
            return await client.read_flow_run(wanted)
        except ObjectNotFound:
            return None
