"""Showing: what the Prefect UI shows of a run: a progress bar while it shoots, then summary, costs, reel and pictures.

A run is worth more than its showing: where the server cannot be reached, that is logged, and the run goes on.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

import httpx
from prefect.artifacts import (
    acreate_image_artifact,
    acreate_link_artifact,
    acreate_markdown_artifact,
    acreate_progress_artifact,
    acreate_table_artifact,
    aupdate_progress_artifact,
)
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectException
from prefect.logging import get_logger
from prefect.runtime import flow_run

from tasks.assemble.posters import jpeg, poster
from tasks.errors import RushesError
from tasks.production import Production, Watcher
from tasks.report import Row, RunReport, as_words, summary_markdown

__all__ = ["named", "progress_bar", "show_run", "show_table"]

EVERY = 2.0
LINK_LIFE = 7 * 24 * 3600
MOST_PICTURES = 24
"""Takes of a run that get a picture of their own; of a longer board the contact sheet is enough."""
_PICTURE_SIDE = 480
_ENDS = {"stored", "failed", "in_doubt", "held", "stalled", "refused", "cancelled"}

_PLAIN = re.compile(r"(?:[^\W_]+(?:[ _/-]|(?<=\d)[.:](?=\d)|$))*")
"""What Markdown shows as it stands: ids, states, amounts and dates. One of Prefect's two pages shows backslashes, so these get none."""

_LOG = get_logger("rushes.showing")


@contextmanager
def _unless_away() -> Iterator[None]:
    try:
        yield
    except (httpx.HTTPError, PrefectException, OSError, RuntimeError, RushesError) as error:
        # RuntimeError is what Prefect raises where its server does not answer a new client at all.
        _LOG.warning("not everything of this run can be shown: %r", error)


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
    bar = await _bar(board)
    moving = asyncio.create_task(_move(bar, counting))
    try:
        yield replace(production, watcher=counting)
    finally:
        moving.cancel()
        await asyncio.gather(moving, return_exceptions=True)
    await _moved(bar, counting.percent)


async def _bar(board: str) -> UUID | None:
    with _unless_away():
        return await acreate_progress_artifact(
            0.0, key=f"{_key(board)}-progress", description=f"{board}: film that is done"
        )
    return None


async def _move(bar: UUID | None, counting: _Counting) -> None:
    shown = 0.0
    while True:
        await asyncio.sleep(EVERY)
        if counting.percent != shown:
            shown = counting.percent
            await _moved(bar, shown)


async def _moved(bar: UUID | None, percent: float) -> None:
    if bar is not None:
        with _unless_away():
            await aupdate_progress_artifact(bar, percent)


async def named(name: str) -> None:
    """Call this flow run by the board and the run, as files and ledger do."""
    with _unless_away():
        async with get_client() as client:
            await client.update_flow_run(UUID(str(flow_run.id)), name=name)


async def show_run(production: Production, report: RunReport) -> None:
    """Summary, costs, and, where the store gives links to browsers, the reel, the contact sheet and a picture of each take."""
    key, folder = _key(report.board), f"{report.board}/runs/{report.run_id}"
    with _unless_away():
        await acreate_markdown_artifact(
            summary_markdown(report), key=f"{key}-summary", description=as_words(report.title)
        )
        await show_table(_cost_table(report.rows), key=f"{key}-costs", description="Costs, a row a shot")
        reel = await asyncio.to_thread(production.store.link, f"{folder}/reel.mp4", seconds=LINK_LIFE)
        sheet = await asyncio.to_thread(production.store.link, f"{folder}/contact.jpg", seconds=LINK_LIFE)
        if reel and sheet:
            await acreate_link_artifact(reel, "The reel", key=f"{key}-reel", description="Open for a week")
            await acreate_image_artifact(sheet, key=f"{key}-contact", description="The contact sheet")
            await _show_takes(production, report, folder)


async def show_table(rows: Sequence[Mapping[str, Any]], *, key: str, description: str) -> None:
    """A table artifact. Prefect's page reads each cell of text as Markdown, so whatever is more than plain is quoted (S14)."""
    shown = [{name: _cell(value) for name, value in row.items()} for row in rows]
    await acreate_table_artifact(shown, key=key, description=description)


def _cell(value: object) -> object:
    return as_words(value) if isinstance(value, str) and not _PLAIN.fullmatch(value) else value


async def _show_takes(production: Production, report: RunReport, folder: str) -> None:
    rows = [row for row in report.rows if row.state == "stored" and row.clip]
    for row in rows if len(rows) <= MOST_PICTURES else ():
        link = await asyncio.to_thread(_picture, production, row, f"{folder}/takes/{row.filename[:-4]}.jpg")
        if link:
            key = f"{_key(report.board)}-take-{row.shot.lower().replace('_', '-')}"
            words = f"{row.shot} TK{row.take:02d}, {row.seconds} s" + (
                f", suspect: {as_words(row.suspect)}" if row.suspect else ""
            )
            await acreate_image_artifact(link, key=key, description=words)


def _picture(production: Production, row: Row, path: str) -> str | None:
    """A link to a small picture from the middle of the take; None where the clip shows none."""
    picture = poster(row)
    if picture is None:
        return None
    production.store.put(jpeg(picture, _PICTURE_SIDE), path, content_type="image/jpeg")
    return production.store.link(path, seconds=LINK_LIFE)


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
