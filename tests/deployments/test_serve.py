"""`rushes serve` with nothing but itself, an S3 inbox, a server that was away, SIGTERM, and a schedule."""

from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from deployments.prefect_server import healthy
from tasks.settings import LOGIN_FILE
from tasks.storage import Store
from tests.deployments.conftest import S3Server
from tests.fixtures.boards import board, stills
from tests.fixtures.command import ROOT, Installation
from tests.fixtures.prefect_rest import Rest
from tests.fixtures.prefect_server import free_port
from tests.fixtures.serving import eventually, serving

pytestmark = [pytest.mark.prefect, pytest.mark.xdist_group("prefect")]


@pytest.mark.s3
@pytest.mark.slow
def test_a_server_of_our_own_renders_what_was_dropped_in_s3_while_it_was_down(
    tmp_path: Path, s3_server: S3Server, s3_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No server, no setting but the inbox: the board is found at the start, rendered once, filed; a schedule fires; SIGTERM ends all."""
    port = free_port()
    settings = {"RUSHES_INBOX": s3_url, "PREFECT_HOME": str(tmp_path / "prefect"), **s3_server.environment()}
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    inbox = Store.open(s3_url)
    stills(tmp_path / "stills")
    inbox.put_once(tmp_path / "stills" / "red.jpg", "monday/stills/red.jpg")
    inbox.put_once(board(code="FROMS3").encode(), "monday/board.yaml")
    inbox.put_once(b"rushes: 1\n", "monday/bad.yaml")
    house = Installation(tmp_path, settings)
    with ExitStack() as stack, serving(house, "--port", str(port)) as served:
        rest = Rest(served.document["api_url"], (house.home / LOGIN_FILE).read_text().strip())
        stack.callback(rest.close)
        deployment = rest.deployment("costs/costs")["id"]
        soon = {"schedule": {"interval": 2, "anchor_date": "2020-01-01T00:00:00Z"}, "active": True}
        rest.post(f"/deployments/{deployment}/schedules", [soon]).raise_for_status()
        eventually(lambda: inbox.exists("processed/board.yaml.receipt.json"), 180)
        eventually(lambda: inbox.exists("rejected/bad.yaml.problems.txt"))
        assert b"monday/bad.yaml:1:1" in inbox.read("rejected/bad.yaml.problems.txt", limit=9999)
        eventually(lambda: not inbox.exists("monday/board.yaml"))
        assert len(list((house.store / "FROMS3" / "runs").iterdir())) == 1
        eventually(lambda: [one for one in rest.runs("costs/costs") if one["state"]["name"] == "Completed"])
        assert served.end() == 0
    assert "ending" in (tmp_path / "serve.log").read_text()
    assert not healthy(served.document["api_url"])


def test_prefect_yaml_says_what_serve_says(tmp_path: Path) -> None:
    """The same deployments with the same schedules, tags and limits, whichever way they are made."""
    import asyncio

    from deployments.catalogue import deployments

    served = {one.name: one for one in asyncio.run(deployments())}
    written = {
        one["name"]: one for one in yaml.safe_load((ROOT / "deployments/prefect.yaml").read_text())["deployments"]
    }
    assert served.keys() == written.keys()
    for name, one in written.items():
        assert one["entrypoint"] == served[name].entrypoint
        assert one["tags"] == served[name].tags
        assert one["description"] == served[name].description
        assert one["concurrency_limit"]["limit"] == served[name].concurrency_limit
        assert len(one.get("schedules", [])) == len(served[name].schedules or [])


def test_a_port_that_is_taken_is_said_in_words(tmp_path: Path) -> None:
    """Exit code 7 and a hint; no traceback."""
    house = Installation(tmp_path, {"PREFECT_API_URL": f"http://127.0.0.1:{free_port()}/api"})
    printed = house.run("serve", "--json")
    assert printed.code == 7
    assert printed.document["exit_code"] == 7
    assert "no Prefect server answers" in printed.err
    assert "Traceback" not in printed.err
