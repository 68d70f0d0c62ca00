"""Many machines: two workers in a pool, one ledger in PostgreSQL, callbacks received by a process of their own."""

import sys
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path

import pytest

from deployments.sandbox import Sandbox
from tests.fixtures.boards import board, stills
from tests.fixtures.command import Installation
from tests.fixtures.pool import pool_settings, running, slay, worker
from tests.fixtures.postgres import Cluster
from tests.fixtures.prefect_rest import Rest
from tests.fixtures.prefect_server import free_port
from tests.fixtures.serving import eventually

pytestmark = [
    pytest.mark.prefect,
    pytest.mark.postgres,
    pytest.mark.redis,
    pytest.mark.slow,
    pytest.mark.xdist_group("pool"),
]
SHOTS = 6


def test_F74_F75_two_workers_on_one_board_are_killed_and_it_costs_its_plan(
    tmp_path: Path, pool: Rest, postgres_cluster: Cluster
) -> None:
    """Both render the same board; both are killed with -9 while jobs are under way; two more finish it, and nothing is bought twice."""
    stills(tmp_path / "board" / "stills")
    spec = tmp_path / "board" / "board.yaml"
    spec.write_text(board(code="MANY", shots=SHOTS, provider="shortapi"))
    callbacks = free_port()
    with ExitStack() as stack:
        sandbox = stack.enter_context(Sandbox(job_seconds=2, key="sandbox"))
        house = Installation(
            tmp_path,
            {
                **pool_settings(pool.url),
                "PREFECT_HOME": str(tmp_path / "prefect-client"),
                "RUSHES_LEDGER": postgres_cluster.fresh(),
                "RUSHES_CALLBACK_URL": f"http://127.0.0.1:{callbacks}",
                "SHORTAPI_BASE_URL": sandbox.shortapi_url,
                "RUSHES_AUTO_CAP": "40",
                "SHORTAPI_KEY": "sandbox",
                "SHORTAPI_MAX_IN_FLIGHT": "2",
                "RUSHES_ALLOW_PRIVATE_URLS": "1",
                "RUSHES_POLL_SECONDS": "0.5",
            },
        )
        receiver = [sys.executable, "-m", "deployments.callbacks", "127.0.0.1", str(callbacks)]
        stack.enter_context(running(receiver, tmp_path, house.environment()))
        doomed = [stack.enter_context(worker(house)) for _ in range(2)]
        for _ in doomed:
            assert pool.start("render/render", spec=str(spec), yes=True).status_code == 201
        eventually(lambda: len(sandbox.account().jobs) >= 2)
        for process in doomed:
            slay(process)
        for _ in range(2):
            stack.enter_context(worker(house))
        last = pool.start("render/render", spec=str(spec), yes=True).json()["id"]
        ended = pool.until(last, "Completed", "Needs a person", "Failed", seconds=180)
        assert ended["state"]["name"] == "Completed", ended["state"]
        account = sandbox.account()
        assert len(account.jobs) == SHOTS
        printed = house.run("costs", "--json", "--by", "board")
        assert printed.code == 0, printed.err
        paid = sum((job.billed for job in account.jobs), Decimal(0))
        assert Decimal(printed.document["totals"]["settled_usd"]) == paid
