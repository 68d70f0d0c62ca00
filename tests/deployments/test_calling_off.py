"""A run that is over in Prefect buys nothing more, on whatever machine its process still lives, and keeps its last state."""

import asyncio
import datetime as dt
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.sandbox import Sandbox
from flows.calling_off import AWAY, DIED, CallingOff, close_ended
from tasks.ledger import Ledger
from tasks.production import Production, open_ledger
from tasks.settings import Settings
from tests.fixtures.boards import board, stills
from tests.fixtures.command import Installation
from tests.fixtures.prefect_rest import Rest
from tests.fixtures.serving import Served, eventually, serving
from tests.tasks.ledger.desk import Desk, TurnedClock

pytestmark = [pytest.mark.prefect, pytest.mark.xdist_group("prefect")]
PATIENCE = 240
HOUR = 3600.0
HEARTBEAT = "prefect.flow-run.heartbeat"


@dataclass
class One:
    """An installation that has one job at a time at the provider, of an hour each."""

    house: Installation
    sandbox: Sandbox
    rest: Rest
    stack: ExitStack = field(default_factory=ExitStack)

    def up(self) -> Served:
        """Another `rushes serve`."""
        return self.stack.enter_context(serving(self.house, seconds=PATIENCE))

    def bought(self, code: str) -> int:
        """How many jobs of a board the provider has accepted."""
        return sum(job.prompt.startswith(f"{code} ") for job in self.sandbox.account().jobs)

    def first_bought(self, code: str) -> str:
        """A render of four shots whose first job the provider has, and was asked after."""
        path = self.house.folder / f"{code.lower()}.yaml"
        text = board(code=code, provider="shortapi", shots=4).replace("prompt: Push", f"prompt: {code} push")
        path.write_text(text)
        reply = self.rest.start("render/render", spec=str(path), yes=True).raise_for_status()

        def asked_after() -> bool:
            return any(job.prompt.startswith(f"{code} ") and job.queries for job in self.sandbox.account().jobs)

        eventually(asked_after, PATIENCE)
        return str(reply.json()["id"])

    def closed(self, run: str) -> bool:
        """Whether the ledger has no open run of this flow run."""
        production = Production.open(Settings.load().model_copy(update={"home": self.house.home}))
        try:
            return run not in {one.flow_run for one in production.ledger.open_runs()}
        finally:
            production.ledger.close()

    def set_state(self, run: str, kind: str) -> None:
        """What the API takes from anybody."""
        body = {"state": {"type": kind}, "force": False}
        self.rest.post(f"/flow_runs/{run}/set_state", body).raise_for_status()


def lives(run: str) -> bool:
    """Whether some process of this machine makes the flow run, whoever started it."""
    wanted = f"PREFECT__FLOW_RUN_ID={run}".encode()
    for place in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if wanted in place.read_bytes().split(b"\0"):
                return True
    return False


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory, prefect_api: str) -> Iterator[One]:
    """One job at a time; nothing serves yet."""
    folder = tmp_path_factory.mktemp("one")
    stills(folder / "stills")
    with Sandbox(job_seconds=HOUR, key="sandbox") as sandbox, ExitStack() as stack:
        settings = {
            "PREFECT_API_URL": prefect_api,
            "PREFECT_HOME": str(folder / "prefect"),
            "SHORTAPI_BASE_URL": sandbox.shortapi_url,
            "SHORTAPI_KEY": "sandbox",
            "SHORTAPI_MAX_IN_FLIGHT": "1",
            "RUSHES_AUTO_CAP": "40",
            "RUSHES_ALLOW_PRIVATE_URLS": "1",
            "RUSHES_POLL_SECONDS": "0.3",
        }
        rest = Rest(prefect_api)
        stack.callback(rest.close)
        yield One(Installation(folder, settings), sandbox, rest, stack)


@pytest.mark.slow
@pytest.mark.parametrize("end", ["cancelled", "deleted"])
def test_F104_a_run_set_to_cancelled_or_deleted_buys_nothing_more(one: One, end: str) -> None:
    """Straight to its last state, or gone: it is closed in the ledger, its process ends, and Cancelled it stays."""
    code = end.upper()
    with serving(one.house, seconds=PATIENCE):
        run = one.first_bought(code)
        if end == "cancelled":
            one.set_state(run, "CANCELLED")
        else:
            one.rest.delete(f"/flow_runs/{run}")
        eventually(partial(one.closed, run), PATIENCE)
        one.sandbox.advance(HOUR)
        eventually(lambda: not lives(run), PATIENCE)
        if end == "cancelled":
            assert one.rest.run(run)["state"]["type"] == "CANCELLED"
    assert one.bought(code) == 1


@pytest.mark.slow
def test_F104_a_run_whose_serve_was_killed_is_cancelled_and_its_process_buys_nothing_more(one: One) -> None:
    """A kill -9 of `rushes serve` alone: its run lives on, another `serve` starts, and a person cancels the run."""
    dead = one.up()
    run = one.first_bought("ORPHAN")
    os.kill(dead.process.pid, signal.SIGKILL)
    dead.process.wait(PATIENCE)
    assert lives(run)
    with serving(one.house, seconds=PATIENCE):
        one.set_state(run, "CANCELLING")
        eventually(partial(one.closed, run), PATIENCE)
        one.sandbox.advance(HOUR)
        eventually(lambda: not lives(run), PATIENCE)
        # Where the process could not say its last word, the watch over dead runs does, after its silence.
        assert one.rest.run(run)["state"]["type"] in {"CANCELLING", "CANCELLED"}
    assert one.bought("ORPHAN") == 1


STATES = {
    "CANCELLING": True,
    "CANCELLED": True,
    "CRASHED": True,
    "FAILED": True,
    "COMPLETED": True,
    "RUNNING": False,
    "PENDING": False,
    "SCHEDULED": False,
    "PAUSED": False,
}


@pytest.mark.parametrize("reachable", [True, False])
def test_F104_the_ledger_closes_what_is_over_in_prefect_and_nothing_else(
    prefect_api: str, tmp_path: Path, reachable: bool
) -> None:
    """By the state of the flow run; a deleted one too, but none of another server, and none while Prefect is away."""
    rest, desk = Rest(prefect_api), Desk(f"sqlite:///{tmp_path / 'home' / 'ledger.db'}", tmp_path / "home")
    deployment, flow = deployed(rest)
    ledger = desk.open()
    for kind in STATES:
        begun(desk, ledger, kind, flow_run(rest, flow, deployment, kind), deployment)
    begun(desk, ledger, "GONE", str(uuid4()), deployment)
    begun(desk, ledger, "ELSEWHERE", str(uuid4()), str(uuid4()))
    desk.begun("BY HAND", ledger=ledger, owner="me")
    with temporary_settings({PREFECT_API_URL: prefect_api if reachable else "http://127.0.0.1:9/api"}):
        try:
            closed = asyncio.run(close_ended(ledger))
        except AWAY:
            closed = []
    rest.close()
    over = {kind for kind, is_over in STATES.items() if is_over} | {"GONE"} if reachable else set()
    assert set(closed) == over
    for name in (*STATES, "GONE", "ELSEWHERE", "BY HAND"):
        assert bool(ledger.closed(name, "me")) == (name in over), name
    assert ledger.verify() == []
    desk.close()


def begun(desk: Desk, ledger: Ledger, run_id: str, flow_run: str, deployment: str) -> None:
    """A run that a flow run began, and whose process lives."""
    desk.begun(run_id, ledger=ledger, owner="me", flow_run={"flow_run": flow_run, "deployment": deployment})


@pytest.mark.parametrize("kind", ["RUNNING", "CANCELLING"])
def test_F74_only_a_run_under_way_without_any_sign_of_life_is_ended(
    prefect_api: str, tmp_path: Path, kind: str
) -> None:
    """By its state: what waits for a person is left, also where every event of that was lost. So is what beats in the ledger."""
    rest, clock = Rest(prefect_api), TurnedClock()
    settings = Settings.load().model_copy(update={"home": tmp_path})
    deployment, flow = deployed(rest)
    runs = {
        name: flow_run(rest, flow, deployment, state)
        for name, state in {
            "dead": kind,
            "suspended": "PAUSED",
            "late": "SCHEDULED",
            "beats": kind,
            "ledger": kind,
            "mute": kind,
        }.items()
    }
    for name in runs.keys() - {"mute"}:
        beat(rest, runs[name], 1)
    ledger = open_ledger(settings)
    facts = {"flow_run": runs["ledger"], "deployment": deployment}
    Desk("", tmp_path).begun("run-1", ledger=ledger, owner="me", flow_run=facts)
    watch = CallingOff(settings, clock=clock)
    with temporary_settings({PREFECT_API_URL: prefect_api}):
        asyncio.run(watch.look())
        clock.turn(99)
        asyncio.run(watch.look())
        assert rest.run(runs["dead"])["state"]["type"] == kind
        beat(rest, runs["beats"], 2)
        if kind == "CANCELLING":  # which has closed its run
            beat(rest, runs["ledger"], 2)
        clock.turn(15)
        asyncio.run(watch.look())
    after = {name: rest.run(run)["state"] for name, run in runs.items()}
    rest.close()
    ledger.close()
    assert after["dead"]["type"] == ("CRASHED" if kind == "RUNNING" else "CANCELLED")
    assert after["dead"]["message"] == DIED
    left = {"suspended": "PAUSED", "late": "SCHEDULED", "beats": kind, "ledger": kind, "mute": kind}
    assert {name: after[name]["type"] for name in left} == left


def deployed(rest: Rest) -> tuple[str, str]:
    """A deployment that nobody serves, and its flow."""
    flow = rest.post("/flows/", {"name": "calling-off"}).raise_for_status().json()["id"]
    wanted = {"name": "calling-off", "flow_id": flow}
    return str(rest.post("/deployments/", wanted).raise_for_status().json()["id"]), str(flow)


def flow_run(rest: Rest, flow: str, deployment: str, kind: str) -> str:
    """A run of it in some state, tagged like ours."""
    made = {"flow_id": flow, "deployment_id": deployment, "state": {"type": "SCHEDULED"}, "tags": ["rushes"]}
    run = rest.post("/flow_runs/", made).raise_for_status().json()["id"]
    for state in ("RUNNING", kind):  # one that nobody has begun would be Cancelled at once
        rest.post(f"/flow_runs/{run}/set_state", {"state": {"type": state}, "force": True}).raise_for_status()
    return str(run)


def beat(rest: Rest, run: str, times: int) -> None:
    """A heartbeat as Prefect's engine sends it; return when the server has as many of them."""
    resource = {"prefect.resource.id": f"prefect.flow-run.{run}"}
    now = dt.datetime.now(dt.UTC).isoformat()
    event = {"event": HEARTBEAT, "occurred": now, "resource": resource, "payload": {}, "id": str(uuid4())}
    rest.post("/events", [event]).raise_for_status()
    wanted = {"filter": {"event": {"name": [HEARTBEAT]}, "resource": {"id": [resource["prefect.resource.id"]]}}}

    def kept() -> bool:
        return len(rest.post("/events/filter", wanted).raise_for_status().json()["events"]) >= times

    eventually(kept, PATIENCE)
