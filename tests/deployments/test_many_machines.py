"""Many machines: a Prefect server on PostgreSQL with Redis messaging, two workers in a pool, one ledger in PostgreSQL.

What `compose.yaml` starts, started by hand: the server, `deployments.pool`, the workers, `deployments.callbacks`.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from decimal import Decimal
from pathlib import Path

import pytest

from deployments.prefect_server import healthy
from deployments.sandbox import Sandbox
from tasks.settings import prefect_server_environment
from tests.fixtures.boards import board, stills
from tests.fixtures.command import Installation
from tests.fixtures.postgres import Cluster, postgres_cluster
from tests.fixtures.prefect_rest import Rest
from tests.fixtures.prefect_server import free_port
from tests.fixtures.serving import eventually

__all__ = ["postgres_cluster"]
pytestmark = [pytest.mark.prefect, pytest.mark.postgres, pytest.mark.redis, pytest.mark.slow]
SHOTS = 6


@contextmanager
def running(words: list[str], folder: Path, environment: dict[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    """A process in a session of its own; it is ended with all that it started."""
    with (folder / f"{words[2].rpartition('.')[2]}-{time.monotonic_ns()}.log").open("wb") as log:
        process = subprocess.Popen(words, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        yield process
    finally:
        slay(process)


def slay(process: "subprocess.Popen[bytes]") -> None:
    """SIGKILL to a process and everything that it started, in whatever session."""
    for pid in _family(process.pid):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def _family(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(one for child in children for one in _family(int(child)))]


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def api(tmp_path: Path, postgres_cluster: Cluster) -> Iterator[str]:
    """Prefect's server on PostgreSQL and Redis."""
    redis_port, port = free_port(), free_port()
    url = f"http://127.0.0.1:{port}/api"
    database = postgres_cluster.fresh().replace("postgresql://", "postgresql+asyncpg://")
    environment = prefect_server_environment(url) | {
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_API_DATABASE_CONNECTION_URL": database,
        "PREFECT_MESSAGING_BROKER": "prefect_redis.messaging",
        "PREFECT_MESSAGING_CACHE": "prefect_redis.messaging",
        "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "prefect_redis.ordering",
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect_redis.lease_storage",
        "PREFECT_REDIS_MESSAGING_HOST": "127.0.0.1",
        "PREFECT_REDIS_MESSAGING_PORT": str(redis_port),
    }
    redis = [str(shutil.which("redis-server")), "--bind", "127.0.0.1", "--port", str(redis_port), "--save", ""]
    server = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with running(redis, tmp_path, environment), running(server, tmp_path, environment) as process:
        eventually(lambda: _answers(redis_port))
        eventually(lambda: healthy(url) or process.poll() is not None)
        assert process.poll() is None, "".join(one.read_text()[-3000:] for one in tmp_path.glob("prefect-*.log"))
        yield url


def test_F74_F75_two_workers_on_one_board_are_killed_and_it_costs_its_plan(
    tmp_path: Path, api: str, postgres_cluster: Cluster
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
                "PREFECT_API_URL": api,
                "PREFECT_HOME": str(tmp_path / "prefect-client"),
                "RUSHES_LEDGER": postgres_cluster.fresh(),
                "RUSHES_CALLBACK_URL": f"http://127.0.0.1:{callbacks}",
                "SHORTAPI_BASE_URL": sandbox.shortapi_url,
                "SHORTAPI_KEY": "sandbox",
                "SHORTAPI_MAX_IN_FLIGHT": "2",
                "RUSHES_ALLOW_PRIVATE_URLS": "1",
                "RUSHES_POLL_SECONDS": "0.5",
            },
        )
        environment = house.environment()
        receiver = [sys.executable, "-m", "deployments.callbacks", "127.0.0.1", str(callbacks)]
        stack.enter_context(running(receiver, tmp_path, environment))
        pool = [sys.executable, "-m", "deployments.pool"]
        subprocess.run(pool, cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=180)
        rest = Rest(api)
        stack.callback(rest.close)
        worker = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "rushes", "--limit", "1"]
        doomed = [stack.enter_context(running(worker, tmp_path, environment)) for _ in range(2)]
        for _ in doomed:
            assert rest.start("render/render", spec=str(spec), yes=True).status_code == 201
        eventually(lambda: len(sandbox.account().jobs) >= 2)
        for process in doomed:
            slay(process)
        for _ in range(2):
            stack.enter_context(running(worker, tmp_path, environment))
        last = rest.start("render/render", spec=str(spec), yes=True).json()["id"]
        ended = rest.until(last, "Completed", "Needs a person", "Failed", seconds=180)
        assert ended["state"]["name"] == "Completed", ended["state"]
        account = sandbox.account()
        assert len(account.jobs) == SHOTS
        printed = house.run("costs", "--json", "--by", "board")
        assert printed.code == 0, printed.err
        paid = sum((job.billed for job in account.jobs), Decimal(0))
        assert Decimal(printed.document["totals"]["settled_usd"]) == paid
