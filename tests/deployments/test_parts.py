"""A large board shared among the workers of a pool: one plan, one approval, one report, whoever dies on the way."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from PIL import Image

from deployments.sandbox import Sandbox
from tests.fixtures.boards import board, stills
from tests.fixtures.command import Installation
from tests.fixtures.pool import pool_settings, process_of, slay, worker
from tests.fixtures.postgres import Cluster
from tests.fixtures.prefect_rest import Rest
from tests.fixtures.serving import eventually

pytestmark = [
    pytest.mark.prefect,
    pytest.mark.postgres,
    pytest.mark.redis,
    pytest.mark.slow,
    pytest.mark.xdist_group("pool"),
]
SHOTS = 12
LONG = 7.0
"""Seconds that a job takes where a test needs the first part to be under way while others begin."""


@dataclass(frozen=True)
class House:
    """An installation whose boards are cut into parts of four shots, with its provider and the server that it works with."""

    installation: Installation
    sandbox: Sandbox
    rest: Rest
    spec: Path

    def parts(self, run: str) -> dict[str, dict[str, Any]]:
        """The runs that a render has started, by the number of their part."""
        wanted = {"flow_runs": {"parent_flow_run_id": {"any_": [run]}}}
        found = self.rest.post("/flow_runs/filter", wanted).raise_for_status().json()
        return {one["name"].rpartition(" part ")[2]: one for one in found}

    def report(self) -> dict[str, Any]:
        """costs.json of the only run that was delivered."""
        (made,) = (self.installation.store / "LARGE" / "runs").glob("*/costs.json")
        return dict(json.loads(made.read_bytes()))

    def two_parts_wait(self) -> bool:
        """Whether eight jobs are under way and recorded, and none is being sent: a kill then leaves no doubt."""
        if len(self.sandbox.account().jobs) < 8:
            return False
        with psycopg.connect(self.installation.settings["RUSHES_LEDGER"]) as connection:
            states = [state for (state,) in connection.execute("SELECT state FROM intent")]
        return len(states) >= 8 and "SUBMITTING" not in states

    def bought(self, shots: int = SHOTS) -> bool:
        """Whether so many shots were bought, none of them twice, and the ledger agrees with the provider about the money."""
        account = self.sandbox.account()
        prompts = {json.dumps(one.body["args"]["prompt"]) for one in account.creates if one.outcome == "accepted"}
        paid = sum((job.billed for job in account.jobs), Decimal(0))
        settled = Decimal(self.installation.run("costs", "--json").document["totals"]["settled_usd"])
        return len(account.jobs) == len(prompts) == shots and settled == paid


@pytest.fixture
def house(tmp_path: Path, pool: Rest, postgres_cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[House]:
    """Twelve shots; their jobs take as many seconds as the test's parameter says."""
    stills(tmp_path / "board" / "stills")
    spec = tmp_path / "board" / "board.yaml"
    spec.write_text(board(code="LARGE", shots=SHOTS, provider="shortapi"))
    with Sandbox(job_seconds=request.param, key="sandbox") as sandbox:
        settings = {
            **pool_settings(pool.url),
            "PREFECT_HOME": str(tmp_path / "prefect-client"),
            "RUSHES_LEDGER": postgres_cluster.fresh(),
            "RUSHES_PART_SHOTS": "4",
            "RUSHES_AUTO_CAP": "20",
            "SHORTAPI_BASE_URL": sandbox.shortapi_url,
            "SHORTAPI_KEY": "sandbox",
            "SHORTAPI_MAX_IN_FLIGHT": str(SHOTS),
            "RUSHES_ALLOW_PRIVATE_URLS": "1",
            "RUSHES_POLL_SECONDS": "0.5",
        }
        yield House(Installation(tmp_path, settings), sandbox, pool, spec)


@pytest.mark.parametrize("house", [2 * LONG], indirect=True)
def test_F80_a_large_board_is_approved_once_and_its_parts_share_the_lower_cap(house: House) -> None:
    """One decision for six of twelve shots; both workers buy; what the cap refused in a part is in the one report with its reason."""
    rest, here = house.rest, house.installation
    with worker(here, limit=2), worker(here, limit=2):
        run = rest.start("render/render", spec=str(house.spec)).json()["id"]
        asked = rest.asks(run)["properties"]["digest"]["default"]
        rest.resume(run, decision="approve up to a lower cap", lower_cap="2.60", digest=asked)
        ended = rest.until(run, "Failed", seconds=300)
        parts, report = house.parts(run), house.report()
        invented = [
            {"run": report["run_id"], "digest": "0" * 64},
            {"run": "20260101-000000-abcdef", "digest": "1" * 64},
            parts["2 of 3"]["parameters"],
        ]
        by_hand = [rest.start("part/part", **one).json()["id"] for one in invented]
        refused = [rest.until(one, "Refused")["state"]["message"] for one in by_hand]
    assert all("no render under way has ordered" in one for one in refused)
    assert ended["state"]["message"].startswith("exit code 4")
    assert [one for one in rest.inputs(run) if one.endswith("-schema")] == ["suspended-approval-1-schema"]
    assert "Failed" in {one["state"]["name"] for one in parts.values()}
    shown = {one["key"].rpartition("-")[2] for part in parts.values() for one in rest.artifacts(part["id"])}
    assert shown <= {"progress"}
    assert house.bought(6)
    rows = report["shots"]
    assert [one["shot"] for one in rows] == [f"SH{number:02d}0" for number in range(1, SHOTS + 1)]
    assert Counter((one["action"], one["state"]) for one in rows) == {("create", "stored"): 6, ("skip", "refused"): 6}
    assert all("the cap of this approval" in one["note"] for one in rows if one["state"] == "refused")


@pytest.mark.parametrize("house", [0.5], indirect=True)
def test_a_pool_with_one_slot_makes_a_large_board_in_one_run(house: House) -> None:
    """The render holds the only slot: it takes back part after part that nobody has begun."""
    with worker(house.installation):
        run = house.rest.start("render/render", spec=str(house.spec), yes=True).json()["id"]
        house.rest.until(run, "Completed", seconds=300)
    assert [one["state"]["type"] for one in house.parts(run).values()] == ["CANCELLED", "CANCELLED"]
    assert house.bought()
    assert [one["state"] for one in house.report()["shots"]] == ["stored"] * SHOTS


def _crash(rest: Rest, run: str, **then: str) -> None:
    """What is done to a silent run whose process is gone, and what `Retry` does after it."""
    for kind in ("CRASHED", *then.values()):
        state = {"state": {"type": kind, "message": "no heartbeat"}, "force": True}
        rest.post(f"/flow_runs/{run}/set_state", state).raise_for_status()


@pytest.mark.parametrize("house", [LONG], indirect=True)
def test_F75_what_a_killed_part_has_bought_is_fetched_and_the_rest_bought_once(house: House) -> None:
    """SIGKILL to a worker and its part while the jobs are under way: the render makes the part to its end."""
    rest, here = house.rest, house.installation
    with worker(here) as first, worker(here) as second:
        run = rest.start("render/render", spec=str(house.spec), yes=True).json()["id"]
        eventually(house.two_parts_wait)
        doomed = second if process_of(first, run) else first
        begun = [one["id"] for one in house.parts(run).values() if process_of(doomed, one["id"])]
        slay(doomed)
        for one in begun:
            _crash(rest, one)
        rest.until(run, "Completed", seconds=300)
    assert len(begun) == 1
    assert house.bought()
    assert [one["action"] for one in house.report()["shots"]] == ["create"] * SHOTS


@pytest.mark.parametrize("house", [LONG], indirect=True)
def test_F75_a_killed_render_that_is_retried_ends_its_old_parts_and_buys_nothing_again(house: House) -> None:
    """SIGKILL to the render's worker while a part is under way elsewhere; the next attempt makes the one report."""
    rest, here = house.rest, house.installation
    with worker(here) as first, worker(here) as second:
        run = rest.start("render/render", spec=str(house.spec), yes=True).json()["id"]
        eventually(house.two_parts_wait)
        slay(first if process_of(first, run) else second)
        old = [one["id"] for one in house.parts(run).values()]
        _crash(rest, run, then="SCHEDULED")
        with worker(here):
            rest.until(run, "Completed", seconds=300)
            for one in old:
                rest.until(one, "Cancelled", "Completed")
    assert house.bought()
    assert [one["state"] for one in house.report()["shots"]] == ["stored"] * SHOTS


@pytest.mark.parametrize("house", [LONG], indirect=True)
def test_a_part_whose_pictures_changed_buys_nothing_and_its_shots_are_made_as_approved(house: House) -> None:
    """Stills are exchanged once the render has begun: a part that plans anew refuses, and the render buys what was approved."""
    rest, here = house.rest, house.installation
    with worker(here), worker(here):
        run = rest.start("render/render", spec=str(house.spec), yes=True).json()["id"]
        eventually(lambda: house.sandbox.account().jobs)
        for still in (house.spec.parent / "stills").iterdir():
            Image.new("RGB", (480, 320), "white").save(still)
        rest.until(run, "Completed", seconds=300)
    states = {one["state"]["name"]: one["state"]["message"] for one in house.parts(run).values()}
    assert "the part has changed" in states["Refused"]
    assert house.bought()


@pytest.mark.parametrize("house", [2.0], indirect=True)
def test_F104_a_cancelled_render_closes_its_order_and_no_part_buys_on(house: House) -> None:
    """Two jobs at a time, so that much is yet to be bought at the cancel: the part under way and one started by hand buy nothing."""
    rest, slow = house.rest, {**house.installation.settings, "SHORTAPI_MAX_IN_FLIGHT": "2"}
    here = Installation(house.installation.folder, slow)
    with worker(here, limit=2), worker(here, limit=2):
        run = rest.start("render/render", spec=str(house.spec), yes=True).json()["id"]
        eventually(lambda: house.sandbox.account().jobs and "2 of 3" in house.parts(run))
        rest.until(house.parts(run)["2 of 3"]["id"], "Running", seconds=240)
        rest.post(f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}}).raise_for_status()
        rest.until(run, "Cancelled", seconds=240)
        bought = len(house.sandbox.account().jobs)
        parts = house.parts(run)
        by_hand = rest.start("part/part", **parts["2 of 3"]["parameters"]).json()["id"]
        refused = rest.until(by_hand, "Refused", seconds=240)["state"]["message"]
        rest.until(parts["2 of 3"]["id"], "Failed", "Refused", "Cancelled", "Completed", seconds=240)
    assert "no render under way has ordered" in refused
    assert len(house.sandbox.account().jobs) == bought < SHOTS
