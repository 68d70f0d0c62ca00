"""The flows that run by the clock: collecting what is paid and late."""

from typing import Any

from prefect import flow
from prefect.artifacts import acreate_table_artifact
from prefect.states import Completed, Failed

from flows.collect import collect as collect_open
from flows.prefect_settings import load_settings
from flows.render import said
from tasks.ledger import IntentState
from tasks.production import Production
from tasks.shoot import owner

__all__ = ["collect"]

_STUCK = {IntentState.IN_DOUBT, IntentState.STALLED, IntentState.RESULT_HELD}
"""A job that is merely under way needs nobody, so a collect beside a render does not fail."""


@flow(name="collect", persist_result=False)
async def collect() -> Any:
    """Pick up paid results that are late, held or in doubt. Buys nothing."""
    return await said(_collected())


async def _collected() -> Any:
    async with Production.open(await load_settings()) as production:
        found = await collect_open(production, owner())
    rows = [{name: value or "" for name, value in one.document().items()} for one in found]
    if rows:
        await acreate_table_artifact(rows, key="rushes-collect", description="Open purchases after collecting")
    stuck = [one for one in found if one.intent.state in _STUCK]
    if stuck:
        return Failed(
            name="Needs a person", message=f"{len(stuck)} purchases need a person: see `rushes doubts`", data=None
        )
    return Completed(message=f"{len(found)} open purchases looked at")
