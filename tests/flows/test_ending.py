"""A run that is cancelled while shots are being bought: what was sent is heard out."""

import asyncio
from pathlib import Path

import pytest

from tasks.ledger import IntentState
from tests.fixtures.till import till


@pytest.mark.parametrize("provider", ["shortapi", "sjinn"])
async def test_F96_a_create_is_heard_out_however_often_its_run_is_cancelled(provider: str, tmp_path: Path) -> None:
    """The answer comes a second and a half late; meanwhile the run is cancelled again and again, by whoever."""
    with till(tmp_path, "late-reply@1", "late-reply@2") as here:
        running = asyncio.create_task(here.render(here.board(shots=2, provider=provider)))
        while len(here.truth.jobs) < 2:  # noqa: ASYNC110 - another thread's account
            await asyncio.sleep(0.02)
        while not running.done():
            running.cancel()
            await asyncio.sleep(0.05)
        assert running.cancelled()
        orders = here.intents()
        assert {one.state for one in orders} == {IntentState.SUBMITTED}
        assert {one.job_id for one in orders} == {job.job_id for job in here.truth.jobs}
