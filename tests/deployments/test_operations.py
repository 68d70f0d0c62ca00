"""Operations on a real Prefect server: dead machines, signals, cancellation, racing watchers, settings, and messages for people.

One installation, whose key lies in Prefect alone. Its jobs take an hour, until a test lets an hour pass.
"""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from deployments.sandbox import Sandbox
from tasks.storage import Store
from tests.deployments.conftest import S3Server
from tests.fixtures.boards import board, stills
from tests.fixtures.command import Installation
from tests.fixtures.pool import slay
from tests.fixtures.prefect_rest import Rest
from tests.fixtures.serving import Served, eventually, serving

pytestmark = [pytest.mark.prefect, pytest.mark.slow, pytest.mark.xdist_group("prefect")]
CANARY = "sk-canary-0ps77"
PATIENCE = 240
HOUR = 3600.0


class Mail:
    """A receiver of messages on loopback."""

    def __init__(self) -> None:
        self.received: list[str] = []
        received = self.received

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                received.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/alerts"

    @contextmanager
    def listening(self) -> Iterator["Mail"]:
        """Take messages until the end."""
        thread = threading.Thread(target=self._server.serve_forever)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


@dataclass
class Works:
    """The installation; its `rushes serve` may be ended, killed and started again."""

    house: Installation
    rest: Rest
    sandbox: Sandbox
    mail: Mail
    stack: ExitStack
    served: Served | None = None

    @property
    def inbox(self) -> Path:
        """Where `rushes serve` watches."""
        return self.house.folder / "inbox"

    def up(self) -> Served:
        """`rushes serve`, running."""
        if self.served is None or self.served.process.poll() is not None:
            self.served = self.stack.enter_context(serving(self.house, seconds=PATIENCE))
        return self.served

    def spec(self, code: str, **facts: Any) -> str:
        """A board of two paid shots beside its stills; their prompts begin with its code."""
        path = self.house.folder / f"{code.lower()}.yaml"
        text = board(code=code, provider="shortapi", **{"shots": 2, **facts})
        path.write_text(text.replace("prompt: Push", f"prompt: {code} push"))
        return str(path)

    def start(self, spec: str, **more: Any) -> str:
        """The id of a new run of `render`."""
        return accepted(self.rest.start("render/render", spec=spec, **{"yes": True, **more}))

    def bought(self, code: str) -> int:
        """How many jobs of this board the provider has accepted."""
        return sum(job.prompt.startswith(f"{code} ") for job in self.sandbox.account().jobs)

    def until_bought(self, code: str, count: int = 2) -> None:
        """Wait until the provider has accepted that many, and has been asked after each: their ids are in the ledger."""

        def waited_for() -> bool:
            jobs = [job for job in self.sandbox.account().jobs if job.prompt.startswith(f"{code} ")]
            return len(jobs) == count and all(job.queries for job in jobs)

        eventually(waited_for, PATIENCE)

    def clips(self, code: str) -> list[str]:
        """The takes of this board in the store."""
        return sorted(one.name for one in (self.house.store / code / "shots").rglob("*.mp4"))


def accepted(reply: httpx.Response) -> str:
    """The id of what the server created."""
    assert reply.status_code in {200, 201}, reply.text
    return str(reply.json()["id"])


def hold(rest: Rest, slug: str, name: str, data: dict[str, Any]) -> str:
    """Save a block as the UI does; its id."""
    kind = rest.get(f"/block_types/slug/{slug}")["id"]
    wanted = {"block_schemas": {"block_type_id": {"any_": [kind]}}}
    schema = rest.post("/block_schemas/filter", wanted).raise_for_status().json()[0]["id"]
    document = {"name": name, "data": data, "block_type_id": kind, "block_schema_id": schema}
    return accepted(rest.post("/block_documents/", document))


def vary(rest: Rest, stack: ExitStack, name: str, value: str) -> None:
    """Keep a Variable in Prefect, for as long as the stack is open."""
    accepted(rest.post("/variables/", {"name": name, "value": value}))
    stack.callback(rest.delete, f"/variables/name/{name}")


@pytest.fixture(scope="module")
def works(tmp_path_factory: pytest.TempPathFactory, prefect_api: str) -> Iterator[Works]:
    """The key in a Secret block, the receiver of messages in a notification block; nothing serves yet.

    A Variable names a provider where nobody listens: what is bought here proves that the environment wins.
    """
    folder = tmp_path_factory.mktemp("works")
    stills(folder / "stills")
    stills(folder / "inbox" / "stills")
    with ExitStack() as stack:
        sandbox = stack.enter_context(Sandbox(job_seconds=HOUR, key=CANARY))
        mail = stack.enter_context(Mail().listening())
        rest = Rest(prefect_api)
        stack.callback(rest.close)
        letter = {"text": "{{subject}} // {{body}}"}
        for slug, name, data in (
            ("secret", "shortapi-key", {"value": CANARY}),
            ("custom-webhook", "alerts", {"name": "alerts", "url": mail.url, "json_data": letter}),
        ):
            stack.callback(rest.delete, f"/block_documents/{hold(rest, slug, name, data)}")
        vary(rest, stack, "shortapi-base-url", "http://127.0.0.1:9")
        settings = {
            "PREFECT_API_URL": prefect_api,
            "PREFECT_HOME": str(folder / "prefect"),
            "RUSHES_INBOX": str(folder / "inbox"),
            "RUSHES_NOTIFY": "custom-webhook/alerts",
            "RUSHES_AUTO_CAP": "40",
            "SHORTAPI_BASE_URL": sandbox.shortapi_url,
            "RUSHES_ALLOW_PRIVATE_URLS": "1",
            "RUSHES_POLL_SECONDS": "0.3",
        }
        yield Works(Installation(folder, settings), rest, sandbox, mail, stack)


@pytest.fixture(scope="module")
def dead_run(works: Works) -> str:
    """A run whose machine went away in the middle: `rushes serve` and the run's own process, killed with -9."""
    served = works.up()
    run = works.start(works.spec("DEAD"))
    works.until_bought("DEAD")
    slay(served.process)
    return run


@pytest.mark.s3
def test_two_watchers_on_one_bucket_start_one_run_for_each_board(
    works: Works, dead_run: str, s3_server: S3Server, s3_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Both see every board; each is claimed by one of them, once. Nobody serves, so that the runs stay as they were started."""
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    inbox, before = Store.open(s3_url), {one["id"] for one in works.rest.runs("drop/drop")}
    names = [f"race-{number}.yaml" for number in range(4)]
    for name in names:
        inbox.put_once(board(code=name[:6].replace("-", "").upper()).encode(), name)
        inbox.put_once(b"", f"{name}.done")
    with watching(works.house, tmp_path, RUSHES_INBOX=s3_url, **s3_server.environment()) as watchers:
        eventually(lambda: len([one for one in inbox.list() if one.endswith("/run.json")]) == len(names), PATIENCE)
        assert [one.poll() for one in watchers] == [None, None]
    started = [
        one for one in works.rest.runs("drop/drop") if one["id"] not in before and one["parameters"].get("board")
    ]
    assert sorted(one["parameters"]["board"] for one in started) == names
    for one in started:
        works.rest.post(f"/flow_runs/{one['id']}/set_state", {"state": {"type": "CANCELLED"}, "force": True})
    assert dead_run


@contextmanager
def watching(house: Installation, folder: Path, **more: str) -> Iterator[list["subprocess.Popen[bytes]"]]:
    """Two watchers in processes of their own."""
    with ExitStack() as stack:
        processes = []
        for number in range(2):
            log = stack.enter_context((folder / f"watcher-{number}.log").open("wb"))
            words = [sys.executable, "-m", "deployments.watcher"]
            process = subprocess.Popen(words, cwd=folder, env=house.environment(**more), stdout=log, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.terminate)
            processes.append(process)
        yield processes


def test_sigterm_ends_serve_and_its_runs_and_the_next_serve_goes_on_with_them(works: Works) -> None:
    """The command ends by itself with 0; the run is scheduled again, and each shot was bought once."""
    served = works.up()
    run = works.start(works.spec("TERM"))
    works.until_bought("TERM")
    assert served.end(120) == 0
    assert works.rest.run(run)["state"]["type"] == "SCHEDULED"
    works.sandbox.advance(HOUR)
    works.up()
    ended = works.rest.until(run, "Completed", seconds=PATIENCE)
    assert ended["state"]["message"] == "2 shots stored"
    assert works.bought("TERM") == 2
    assert works.clips("TERM") == ["SH010_TK01.mp4", "SH020_TK01.mp4"]


def test_F102_a_lower_cap_holds_when_serve_is_told_to_end_and_started_again(works: Works) -> None:
    """Approved up to 1.30 of 2.574: the next attempt of the run spends no more, by the provider's account, and says why."""
    served = works.up()
    run = works.start(works.spec("LOWER", shots=6), yes=False)
    asked = works.rest.asks(run)["properties"]["digest"]["default"]
    works.rest.resume(run, decision="approve up to a lower cap", lower_cap="1.30", digest=asked)
    works.until_bought("LOWER", 3)
    assert served.end(120) == 0
    assert works.rest.run(run)["state"]["type"] == "SCHEDULED"
    works.sandbox.advance(HOUR)
    works.up()
    ended = works.rest.until(run, "Failed", seconds=PATIENCE)
    assert ended["state"]["message"].startswith("exit code 4")
    assert [one for one in works.rest.inputs(run) if one.endswith("-schema")] == ["suspended-approval-1-schema"]
    assert works.bought("LOWER") == 3
    assert len(works.clips("LOWER")) == 3


def test_a_run_that_is_cancelled_in_the_ui_ends_and_its_paid_jobs_are_collected(works: Works) -> None:
    """Cancelled, with its jobs under way at the provider; `collect` stores them, and another run buys nothing."""
    works.up()
    spec = works.spec("CANCEL")
    run = works.start(spec)
    works.until_bought("CANCEL")
    works.rest.post(f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}}).raise_for_status()
    works.rest.until(run, "Cancelled", seconds=PATIENCE)
    assert works.clips("CANCEL") == []
    works.sandbox.advance(HOUR)
    collect = accepted(works.rest.start("collect/collect"))
    works.rest.until(collect, "Completed", "Needs a person", seconds=PATIENCE)
    assert works.clips("CANCEL") == ["SH010_TK01.mp4", "SH020_TK01.mp4"]
    assert works.house.run("render", spec, "--yes", SHORTAPI_KEY=CANARY).code == 0
    assert works.bought("CANCEL") == 2


def test_three_watchers_on_one_folder_render_each_board_once(works: Works, tmp_path: Path) -> None:
    """Two more beside the one of `rushes serve`: one run, one receipt and one delivery for each board."""
    works.up()
    codes = [f"RACE{number}" for number in range(2)]
    with watching(works.house, tmp_path):
        for code in codes:
            (works.inbox / f"{code.lower()}.yaml").write_text(board(code=code))
        filed = works.inbox / "processed"
        eventually(lambda: all((filed / f"{code.lower()}.yaml.receipt.json").exists() for code in codes), PATIENCE)
    boards = [str(one["parameters"].get("board", "")) for one in works.rest.runs("drop/drop")]
    raced = sorted(one for one in boards if one.startswith("race") and "-" not in one)
    assert raced == [f"{code.lower()}.yaml" for code in codes]
    assert [len(list((works.house.store / code / "runs").iterdir())) for code in codes] == [1] * len(codes)
    assert not list(filed.glob("*.duplicate.txt"))


def test_somebody_is_told_of_a_run_that_waits_for_approval(works: Works) -> None:
    """The automation that RUSHES_NOTIFY asks for reaches the block's address with the run, its state and what to do."""
    works.up()
    run = works.start(works.spec("ASK", budget="{cap: 12.00 USD, auto_approve: 0.10 USD}"), yes=False)
    works.rest.until(run, "Suspended", seconds=PATIENCE)
    letter = eventually(lambda: next((one for one in works.mail.received if "ask.yaml" in one), None), PATIENCE)
    assert "Suspended" in letter
    assert run in letter
    assert "approve" in letter
    works.rest.post(f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLED"}, "force": True}).raise_for_status()


def test_a_notification_block_that_is_not_there_is_said_at_the_start(works: Works) -> None:
    """Exit code 7, its name and what to do; a block of another kind is refused too."""
    absent = works.house.run("serve", "--json", RUSHES_NOTIFY="slack-webhook/nobody")
    assert absent.code == 7
    assert "slack-webhook/nobody" in absent.document["error"]
    assert "RUSHES_NOTIFY" in absent.document["hint"]
    other = works.house.run("serve", "--json", RUSHES_NOTIFY="secret/shortapi-key")
    assert other.code == 7
    assert "cannot notify" in other.document["error"]


def test_prefect_variables_and_secrets_fill_what_the_environment_leaves_unset(works: Works) -> None:
    """A cap in a Variable stops a run before it buys; the key that pays for all the others here is in no artifact, log or state."""
    works.up()
    with ExitStack() as stack:
        vary(works.rest, stack, "rushes-day-cap", "0.10 USD")
        refused = works.rest.until(works.start(works.spec("CAPPED")), "Refused", seconds=PATIENCE)
    assert "day" in refused["state"]["message"]
    assert works.bought("CAPPED") == 0
    assert CANARY not in works.rest.everything()
    assert CANARY not in (works.house.folder / "serve.log").read_text()


def test_a_render_by_hand_ends_on_a_signal_and_the_same_command_goes_on(works: Works) -> None:
    """SIGTERM, then Ctrl-C: 130, the jobs that go on, and the command; the third time it completes, and two shots were bought."""
    spec = works.spec("HAND")
    for number in (signal.SIGTERM, signal.SIGINT):
        running = works.house.start("render", spec, "--yes", SHORTAPI_KEY=CANARY)
        works.until_bought("HAND")
        said = ""
        assert running.stdout is not None
        while "SH020 wait" not in said or "SH010 wait" not in said:
            said += running.stdout.readline()
            assert running.poll() is None, said
        running.send_signal(number)
        said += running.communicate(timeout=PATIENCE)[0]
        assert running.returncode == 130, said
        assert "2 bought jobs are not stored yet: HAND SH010 TK01, HAND SH020 TK01" in said
        assert f"`rushes render {spec} --yes` goes on from here" in said
        assert "Traceback" not in said
    works.sandbox.advance(HOUR)
    again = works.house.run("render", spec, "--yes", SHORTAPI_KEY=CANARY)
    assert again.code == 0, again.err
    assert works.bought("HAND") == 2
    assert works.clips("HAND") == ["SH010_TK01.mp4", "SH020_TK01.mp4"]


def test_F74_the_run_of_a_dead_machine_is_crashed_and_what_it_paid_is_collected(works: Works, dead_run: str) -> None:
    """Nobody was left to report its end; another `rushes serve` misses its heartbeats.

    Somebody is told of it, and of no run that ended on a signal or by a person's hand.
    """
    works.up()
    eventually(lambda: works.rest.run(dead_run)["state"]["type"] == "CRASHED", PATIENCE)
    assert works.rest.run(dead_run)["state"]["message"] == "its process died: no heartbeat"
    eventually(lambda: next((one for one in works.mail.received if "dead.yaml: Crashed" in one), None), PATIENCE)
    works.sandbox.advance(HOUR)
    eventually(lambda: works.house.run("collect", SHORTAPI_KEY=CANARY).code == 0, PATIENCE)
    assert works.clips("DEAD") == ["SH010_TK01.mp4", "SH020_TK01.mp4"]
    assert works.bought("DEAD") == 2
    expected = (": Suspended", "ask.yaml", "dead.yaml")
    others = [one for one in works.mail.received if not any(part in one for part in expected)]
    assert others == [], "a run that waits for a person is told of too; no other is"
