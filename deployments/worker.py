"""A worker of the pool whose runs end in order: `python -m deployments.worker --limit 4`. It needs PREFECT_API_URL.

Prefect's own worker, told to end, ends itself and kills the processes of its runs without a word, whatever they have sent.
"""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import anyio
from prefect.client.schemas.objects import FlowRun
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker, ProcessWorkerResult

from deployments.ending import in_words, stop_on_signals
from deployments.pool import POOL
from flows.calling_off import CallingOff
from tasks.errors import SetupProblem
from tasks.settings import Settings, prefect_api, serving_prefect

__all__ = ["main"]

GRACE = 40.0
"""Seconds that runs may take to end: the deadline of a create, and time to write down what came of it."""


class _Worker(ProcessWorker):
    """Prefect's process worker, which can tell its runs to end before it ends itself."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._pids: set[int] = set()

    async def run(
        self,
        flow_run: FlowRun,
        configuration: ProcessJobConfiguration,
        task_status: "anyio.abc.TaskStatus[int] | None" = None,
    ) -> ProcessWorkerResult:
        """Run it, and know its process meanwhile."""
        starting = _Starting(task_status or anyio.TASK_STATUS_IGNORED, self._pids)
        try:
            return await super().run(flow_run, configuration, starting)
        finally:
            self._pids.discard(starting.pid)

    async def end_runs(self) -> None:
        """SIGTERM to every run's process, also to one that begins meanwhile; return when all have ended."""
        told: set[int] = set()
        while self._pids:
            for pid in self._pids - told:
                told.add(pid)
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
            await asyncio.sleep(0.2)


class _Starting(anyio.abc.TaskStatus[int]):
    """Passes on that a process has started, and remembers it."""

    def __init__(self, told: "anyio.abc.TaskStatus[int]", pids: set[int]) -> None:
        self._told = told
        self._pids = pids
        self.pid = 0

    def started(self, value: Any = None) -> None:
        """It has."""
        self.pid = value
        self._pids.add(value)
        self._told.started(value)


async def _work(limit: int | None, name: str | None) -> None:
    """Until a signal.

    Raises:
        SetupProblem: the worker ended by itself.
    """
    worker = _Worker(work_pool_name=POOL, limit=limit, name=name)
    working, stop = asyncio.create_task(worker.start()), asyncio.Event()
    stop_on_signals(stop)
    told = asyncio.create_task(stop.wait())
    calling_off = asyncio.create_task(CallingOff(Settings.load()).keep())
    await asyncio.wait({working, told}, return_when=asyncio.FIRST_COMPLETED)
    if working.done():
        told.cancel()
        working.result()
        raise SetupProblem("the worker ended by itself", "Start it again.")
    print("ending: runs under way finish what they have sent", file=sys.stderr, flush=True)  # noqa: T201
    with suppress(TimeoutError):
        await asyncio.wait_for(worker.end_runs(), GRACE)
    for task in (working, calling_off):
        task.cancel()
    await asyncio.gather(working, calling_off, return_exceptions=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Work until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m deployments.worker", description="Make the runs of the work pool.")
    parser.add_argument("--limit", type=int, help="runs at once (default: any number)")
    parser.add_argument("--name", help="of this worker (default: a random one)")
    options = parser.parse_args(argv)
    api_url = prefect_api()
    if api_url is None:
        raise SetupProblem("a worker needs a Prefect server", "Set PREFECT_API_URL.")
    serving_prefect(api_url)
    asyncio.run(_work(options.limit, options.name))
    return 0


if __name__ == "__main__":
    sys.exit(in_words(main))
