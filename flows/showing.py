"""Showing: what the Prefect UI shows of a run: a progress bar while it shoots, then summary, costs, reel and contact sheet."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

from prefect.artifacts import (
    acreate_image_artifact,
    acreate_link_artifact,
    acreate_markdown_artifact,
    acreate_progress_artifact,
    acreate_table_artifact,
    aupdate_progress_artifact,
)
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

from tasks.production import Production, Watcher
from tasks.report import Row, RunReport, summary_markdown

__all__ = ["named", "progress_bar", "show_run"]

EVERY = 2.0
LINK_LIFE = 7 * 24 * 3600
_ENDS = {"stored", "failed", "in_doubt", "held", "stalled", "refused", "cancelled"}


class _Counting(Watcher):
    """Passes everything on to who watches in this process, and counts the seconds of film that are done."""

    def __init__(self, inner: Watcher) -> None:
        self._inner = inner
        self._seconds: Mapping[str, int] = {}
        self._done: set[str] = set()

    @property
    def percent(self) -> float:
        """Of the film's seconds, those whose shots have ended."""
        total = sum(self._seconds.values()) or 1
        return round(100 * sum(self._seconds[shot] for shot in self._done) / total, 1)

    def begins(self, shots: Mapping[str, int]) -> None:
        self._seconds = shots
        self._inner.begins(shots)

    def shot(self, shot: str, phase: str) -> None:
        if phase in _ENDS:
            self._done.add(shot)
        self._inner.shot(shot, phase)

    def job(self, intent_id: str, shot: str) -> None:
        self._inner.job(intent_id, shot)

    def rendered(self, intent_id: str, fraction: float) -> None:
        self._inner.rendered(intent_id, fraction)

    def money(self, *, reserved: str, settled: str, in_doubt: str) -> None:
        self._inner.money(reserved=reserved, settled=settled, in_doubt=in_doubt)

    def report(self) -> None:
        self._inner.report()


@asynccontextmanager
async def progress_bar(production: Production, board: str) -> AsyncIterator[Production]:
    """The production with a watcher that moves a bar in the UI as shots end."""
    counting = _Counting(production.watcher)
    bar = await acreate_progress_artifact(0.0, key=f"{_key(board)}-progress", description=f"{board}: film that is done")
    moving = asyncio.create_task(_move(bar, counting))
    try:
        yield replace(production, watcher=counting)
    finally:
        moving.cancel()
        await asyncio.gather(moving, return_exceptions=True)
    await aupdate_progress_artifact(bar, counting.percent)


async def _move(bar: UUID, counting: _Counting) -> None:
    shown = 0.0
    while True:
        await asyncio.sleep(EVERY)
        if counting.percent != shown:
            shown = counting.percent
            await aupdate_progress_artifact(bar, shown)


async def named(name: str) -> None:
    """Call this flow run by the board and the run, as files and ledger do."""
    async with get_client() as client:
        await client.update_flow_run(UUID(str(flow_run.id)), name=name)


async def show_run(production: Production, report: RunReport) -> None:
    """Summary, costs, and, where the store gives links to browsers, the reel and the contact sheet."""
    key = _key(report.board)
    await acreate_markdown_artifact(summary_markdown(report), key=f"{key}-summary", description=report.title)
    await acreate_table_artifact(_cost_table(report.rows), key=f"{key}-costs", description="Costs, a row a shot")
    folder = f"{report.board}/runs/{report.run_id}"
    reel = await asyncio.to_thread(production.store.link, f"{folder}/reel.mp4", seconds=LINK_LIFE)
    sheet = await asyncio.to_thread(production.store.link, f"{folder}/contact.jpg", seconds=LINK_LIFE)
    if reel and sheet:
        await acreate_link_artifact(reel, "The reel", key=f"{key}-reel", description="Open for a week")
        await acreate_image_artifact(sheet, key=f"{key}-contact", description="The contact sheet")


def _key(board: str) -> str:
    return f"rushes-{board.lower().replace('_', '-')}"


def _cost_table(rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [
        {
            "shot": row.shot,
            "take": row.take,
            "state": row.state,
            "provider": row.provider,
            "quoted": str(row.quoted or ""),
            "billed": str(row.billed or ""),
            "note": row.note,
        }
        for row in rows
    ]
