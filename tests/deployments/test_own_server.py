"""The Prefect server beside `rushes serve`: its own, one that a killed serve has left behind, and one that somebody else started."""

import os
import signal
from pathlib import Path

import pytest

from deployments.prefect_server import healthy
from deployments.sandbox import Sandbox
from tasks.settings import LOGIN_FILE
from tests.fixtures.boards import board, stills
from tests.fixtures.command import Installation
from tests.fixtures.prefect_rest import Rest
from tests.fixtures.prefect_server import PrefectServer, free_port
from tests.fixtures.serving import eventually, serving

pytestmark = [pytest.mark.prefect, pytest.mark.slow, pytest.mark.xdist_group("own-server")]
PATIENCE = 240
HOUR = 3600.0


def test_F103_the_server_of_a_killed_serve_is_replaced_and_what_was_paid_is_collected(tmp_path: Path) -> None:
    """A `serve` and its run are killed with -9; the next one ends the server that was left, starts its own, and stays until told."""
    stills(tmp_path / "stills")
    spec = tmp_path / "left.yaml"
    spec.write_text(board(code="LEFT", provider="shortapi", shots=2))
    with Sandbox(job_seconds=HOUR, key="sandbox") as sandbox:
        house = Installation(
            tmp_path,
            {
                "PREFECT_HOME": str(tmp_path / "prefect"),
                "SHORTAPI_BASE_URL": sandbox.shortapi_url,
                "RUSHES_AUTO_CAP": "40",
                "SHORTAPI_KEY": "sandbox",
                "RUSHES_ALLOW_PRIVATE_URLS": "1",
                "RUSHES_POLL_SECONDS": "0.3",
            },
        )
        port = str(free_port())
        with serving(house, "--port", port, seconds=PATIENCE) as served:
            rest = Rest(served.document["api_url"], (house.home / LOGIN_FILE).read_text().strip())
            rest.start("render/render", spec=str(spec), yes=True).raise_for_status()
            eventually(lambda: [bool(job.queries) for job in sandbox.account().jobs] == [True, True], PATIENCE)
            children = children_of(served.process.pid)
            os.kill(served.process.pid, signal.SIGKILL)
            served.process.wait()
            (server,) = [pid for pid in children if b"uvicorn" in Path(f"/proc/{pid}/cmdline").read_bytes()]
            for pid in set(children) - {server}:
                os.kill(pid, signal.SIGKILL)
        assert healthy(rest.url)
        with serving(house, "--port", port, seconds=PATIENCE) as served:
            assert f"has left behind (process {server})" in (tmp_path / "serve.log").read_text()
            assert not Path(f"/proc/{server}").exists()
            sandbox.advance(HOUR)
            collect = str(rest.start("collect/collect").raise_for_status().json()["id"])
            rest.until(collect, "Completed", seconds=PATIENCE)
            assert len(list((house.store / "LEFT" / "shots").rglob("*.mp4"))) == 2
            assert served.process.poll() is None
            assert served.end(PATIENCE) == 0
        rest.close()
        assert not healthy(rest.url)
        assert len(sandbox.account().jobs) == 2


def children_of(pid: int) -> list[int]:
    """The processes that it has started."""
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_F103_a_server_that_somebody_else_started_is_used_and_waited_for(tmp_path: Path) -> None:
    """Used without being owned. It goes away and comes back; `serve` says so, goes on, and leaves it running."""
    server = PrefectServer(tmp_path)
    log = tmp_path / "serve.log"
    try:
        server.start()
        house = Installation(tmp_path, {"PREFECT_HOME": str(tmp_path / "prefect")})
        with serving(house, seconds=PATIENCE, PREFECT_API_URL=server.url) as served:
            server.kill()
            eventually(lambda: "does not answer; it is waited for" in log.read_text(), PATIENCE)
            server.start()
            eventually(lambda: "answers again" in log.read_text(), PATIENCE)
            rest = Rest(server.url)
            costs = str(rest.start("costs/costs").raise_for_status().json()["id"])
            rest.until(costs, "Completed", seconds=PATIENCE)
            rest.close()
            assert served.end(PATIENCE) == 0
        assert healthy(server.url)
    finally:
        server.stop()
