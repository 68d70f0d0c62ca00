"""A Prefect server that is killed while everything runs, and comes back with the same port and database."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from deployments.sandbox import Sandbox
from tests.fixtures.boards import board, stills
from tests.fixtures.command import Installation
from tests.fixtures.prefect_rest import Rest
from tests.fixtures.prefect_server import PrefectServer
from tests.fixtures.serving import eventually, serving

pytestmark = [pytest.mark.prefect, pytest.mark.slow]  # beside the tests of the shared server: this one has its own
PATIENCE = 240
HOUR = 3600.0


@dataclass
class Site:
    """A server of its own, `rushes serve` beside it, and a provider whose jobs take an hour."""

    folder: Path
    server: PrefectServer
    rest: Rest
    sandbox: Sandbox
    serve_pid: int

    @property
    def inbox(self) -> Path:
        """Where it watches."""
        return self.folder / "inbox"

    def start(self, *codes: str) -> list[str]:
        """Paid runs under way: their ids, once all of their jobs are bought."""
        runs = []
        for code in codes:
            spec = self.folder / f"{code.lower()}.yaml"
            spec.write_text(board(code=code, shots=2, provider="shortapi").replace("Push", f"{code} push"))
            reply = self.rest.start("render/render", spec=str(spec), yes=True)
            assert reply.status_code == 201, reply.text
            runs.append(str(reply.json()["id"]))
        eventually(lambda: all(self.waited_for(code) for code in codes), PATIENCE)
        return runs

    def waited_for(self, code: str) -> bool:
        """Whether both jobs of the board are bought, and asked after: their ids are in the ledger."""
        jobs = [job for job in self.sandbox.account().jobs if job.prompt.startswith(f"{code} ")]
        return [bool(job.queries) for job in jobs] == [True, True]

    def processes(self) -> set[int]:
        """What `rushes serve` has started: the processes of its runs."""
        children = Path(f"/proc/{self.serve_pid}/task/{self.serve_pid}/children")
        return {int(pid) for pid in children.read_text().split()}

    def outage(self) -> None:
        """Kill the server; Prefect's own observer of cancellations gives up meanwhile."""
        self.server.kill()
        log = self.folder / "serve.log"
        eventually(lambda: "Cancellation polling task failed" in log.read_text(), PATIENCE)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """All of it, running."""
    stills(tmp_path / "stills")
    stills(tmp_path / "inbox" / "stills")
    with ExitStack() as stack:
        sandbox = stack.enter_context(Sandbox(job_seconds=HOUR, key="sandbox"))
        server = PrefectServer(tmp_path)
        stack.callback(server.stop)
        server.start()
        settings = {
            "PREFECT_API_URL": server.url,
            "PREFECT_HOME": str(tmp_path / "prefect"),
            "RUSHES_INBOX": str(tmp_path / "inbox"),
            "SHORTAPI_BASE_URL": sandbox.shortapi_url,
            "RUSHES_AUTO_CAP": "40",
            "SHORTAPI_KEY": "sandbox",
            "RUSHES_ALLOW_PRIVATE_URLS": "1",
            "RUSHES_POLL_SECONDS": "0.3",
            "SHORTAPI_MAX_IN_FLIGHT": "8",
        }
        served = stack.enter_context(serving(Installation(tmp_path, settings), seconds=PATIENCE))
        rest = Rest(server.url)
        stack.callback(rest.close)
        yield Site(tmp_path, server, rest, sandbox, served.process.pid)


def test_nothing_is_lost_while_the_prefect_server_is_away(site: Site) -> None:
    """A run under way goes on, one whose process dies meanwhile is started again, and each shot is bought once.

    A board dropped meanwhile is rendered once; what is cancelled afterwards ends, though Prefect's own observer is deaf by then.
    """
    (lost,) = site.start("LOST")
    dying = site.processes()
    flight, doomed = site.start("FLIGHT", "DOOMED")
    site.outage()
    for pid in dying:
        os.kill(pid, signal.SIGKILL)
    (site.inbox / "meanwhile.yaml").write_text(board(code="MEANWHILE"))
    site.server.start()
    site.rest.post(f"/flow_runs/{doomed}/set_state", {"state": {"type": "CANCELLING"}}).raise_for_status()
    site.rest.until(doomed, "Cancelled", seconds=PATIENCE)
    site.sandbox.advance(HOUR)
    for run in (flight, lost):
        eventually(lambda run=run: site.rest.run(run)["state"]["type"] == "COMPLETED", PATIENCE)
    eventually((site.inbox / "processed" / "meanwhile.yaml.receipt.json").exists, PATIENCE)
    dropped = [one for one in site.rest.runs("drop/drop") if one["parameters"].get("board")]
    assert len(dropped) == 1
    assert len(list((site.folder / "store" / "MEANWHILE" / "runs").iterdir())) == 1
    assert len(site.sandbox.account().jobs) == 6
