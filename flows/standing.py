"""The flows that run by the clock: collecting what is paid and late, and the report of what was spent."""

import asyncio
import contextlib
import datetime as dt
from typing import Annotated, Any

from prefect import flow
from prefect.states import Completed, Failed
from pydantic import Field

from flows.calling_off import AWAY, close_ended
from flows.collect import collect as collect_open
from flows.costs import spend_report
from flows.prefect_settings import load_settings
from flows.render import said
from flows.showing import show_table
from tasks.ledger import IntentState
from tasks.production import Production, standing_caps
from tasks.seams import SystemClock
from tasks.shoot import owner
from tasks.spend import By
from tasks.storage import Store

__all__ = ["collect", "costs"]

_STUCK = {IntentState.IN_DOUBT, IntentState.STALLED, IntentState.RESULT_HELD}
"""A job that is merely under way needs nobody, so a collect beside a render does not fail."""


@flow(name="collect", persist_result=False)
async def collect() -> Any:
    """Pick up paid results that are late, held or in doubt. Buys nothing."""
    return await said(_collected())


async def _collected() -> Any:
    settings = await load_settings()
    async with Production.open(settings) as production:
        with contextlib.suppress(*AWAY):  # the next collect asks again
            await close_ended(production.ledger)
        found = await collect_open(production, owner(), due_only=True)
        passed = await production.patiently(production.ledger.passed_caps, standing_caps(settings))
    rows = [{name: value or "" for name, value in one.document().items()} for one in found]
    if rows:
        await show_table(rows, key="rushes-collect", description="Open purchases after collecting")
    if any(one.defect for one in found):
        return Failed(message="a defect of Rushes: see the notes of the purchases, and report the run's log", data=None)
    stuck = [one for one in found if one.intent.state in _STUCK]
    if stuck or passed:
        what = [f"{len(stuck)} purchases"] if stuck else []
        what += [f"{len(passed)} caps that bills have passed"] if passed else []
        return Failed(
            name="Needs a person", message=f"{' and '.join(what)} need a person: see `rushes doubts`", data=None
        )
    return Completed(message=f"{len(found)} open purchases looked at")


Days = Annotated[
    int, Field(title="Days", description="How far the report looks back.", examples=[7, 30], ge=1, le=3660)
]
Grouping = Annotated[By, Field(title="Grouped by", description="A line for each of these.")]


@flow(name="costs", persist_result=False)
async def costs(days: Days = 7, by: Grouping = "day") -> Any:
    """Report what was spent: a table artifact here, a page and a table in the store's `costs/`."""
    return await said(_reported(days, by))


async def _reported(days: int, by: By) -> Any:
    settings = await load_settings()
    today = SystemClock().now().date()
    report = await asyncio.to_thread(spend_report, settings, today - dt.timedelta(days=days - 1), by)
    document = report.document()
    if document["lines"]:
        await show_table(_shown(document["lines"]), key="rushes-costs", description=report.summary())
    store, name = Store.open(settings.store), f"costs/{today:%Y%m%d}-{days}d-{by}"
    for suffix, content in ((".csv", report.csv()), (".html", report.html())):
        await asyncio.to_thread(store.put, content, name + suffix)
    return Completed(message=report.summary(), data=document)


def _shown(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: "" if value is None else value for name, value in line.items()} for line in lines]
