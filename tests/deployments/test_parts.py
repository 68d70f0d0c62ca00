"""A large board shared among the workers of a pool: one plan, one approval, one report, whoever dies on the way."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from deployments.sandbox import Sandbox
from tests.fixtures.boards import board, stills
from tests.fixtures.command import Installation
from tests.fixtures.pool import pool, process_of, slay, worker
from tests.fixtures.postgres import Cluster, postgres_cluster
from tests.fixtures.prefect_rest import Rest
from tests.fixtures.serving import eventually

__all__ = ["pool", "postgres_cluster"]
pytestmark = [
    pytest.mark.prefect,
    pytest.mark.postgres,
    pytest.mark.redis,
    pytest.mark.slow,
    pytest.mark.xdist_group("pool"),
]
SHOTS = 12
LONG = 12.0
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
        return {one["name"].split()[-3]: one for one in found}

    def report(self) -> dict[str, Any]:
        """costs.json of the only run that was delivered."""
        (made,) = (self.installation.store / "LARGE" / "runs").glob("*/costs.json")
        return dict(json.loads(made.read_bytes()))

    def bought(self) -> Counter[str]:
        """How often each prompt was bought, by the provider's account."""
        creates = [one.body for one in self.sandbox.account().creates if one.outcome == "accepted"]
        return Counter(json.dumps(one["args"]["prompt"] if "args" in one else one["prompt"]) for one in creates)

    def each_shot_once(self) -> bool:
        """Every shot was bought, none twice, and the ledger agrees with the provider about the money."""
        account = self.sandbox.account()
        paid = sum((job.billed for job in account.jobs), Decimal(0))
        settled = Decimal(self.installation.run("costs", "--json").document["totals"]["settled_usd"])
        return len(account.jobs) == SHOTS and set(self.bought().values()) == {1} and settled == paid


@pytest.fixture
def house(tmp_path: Path, pool: Rest, postgres_cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[House]:
    """Twelve shots, each job as long as the test's parameter says."""
    stills(tmp_path / "board" / "stills")
    spec = tmp_path / "board" / "board.yaml"
    spec.write_text(board(code="LARGE", shots=SHOTS, provider="shortapi"))
    with Sandbox(job_seconds=request.param, key="sandbox") as sandbox:
        settings = {
            "PREFECT_API_URL": pool.url,
            "PREFECT_HOME": str(tmp_path / "prefect-client"),
            "RUSHES_LEDGER": postgres_cluster.fresh(),
            "RUSHES_PART_SHOTS": "4",
            "SHORTAPI_BASE_URL": sandbox.shortapi_url,
            "SHORTAPI_KEY": "sandbox",
            "SHORTAPI_MAX_IN_FLIGHT": str(SHOTS),
            "RUSHES_ALLOW_PRIVATE_URLS": "1",
            "RUSHES_POLL_SECONDS": "0.5",
        }
        yield House(Installation(tmp_path, settings), sandbox, pool, spec)


def _approved(rest: Rest, run: str) -> None:
    rest.until(run, "Suspended")
    asked = json.loads(rest.inputs(run)["suspended-approval-1-schema"])
    rest.resume(run, decision="approve", digest=asked["properties"]["digest"]["default"])


@pytest.mark.parametrize("house", [LONG], indirect=True)
def test_a_large_board_is_approved_once_made_by_two_workers_and_reported_once(house: House) -> None:
    """Twelve shots in three parts: one decision, each shot bought once, children under their render; the order buys nothing again."""
    rest, here = house.rest, house.installation
    with worker(here), worker(here):
        run = rest.start("render/render", spec=str(house.spec)).json()["id"]
        _approved(rest, run)
        ended = rest.until(run, "Completed", seconds=300)
        assert ended["state"]["message"] == "12 shots stored"
        parts = house.parts(run)
        assert sorted(parts) == ["2", "3"]
        assert "Completed" in {one["state"]["name"] for one in parts.values()}
        assert [one for one in rest.inputs(run) if one.endswith("-schema")] == ["suspended-approval-1-schema"]
        assert house.each_shot_once()
        report = house.report()
        assert [(one["shot"], one["action"], one["state"]) for one in report["shots"]] == [
            (f"SH{number:02d}0", "create", "stored") for number in range(1, SHOTS + 1)
        ]
        assert (report["totals"]["created"], report["exit_code"]) == (SHOTS, 0)
        shown = {one["key"] for part in parts.values() for one in rest.artifacts(part["id"])}
        assert {key.rpartition("-")[2] for key in shown} == {"progress"}
        invented = {"run": report["run_id"], "digest": "0" * 64}
        again = [
            invented,
            next(iter(parts.values()))["parameters"],
            {"run": "20260101-000000-abcdef", "digest": "1" * 64},
        ]
        for parameters in again:
            refused = rest.until(rest.start("part/part", **parameters).json()["id"], "Refused")
            assert "no render under way has ordered" in refused["state"]["message"]
        assert len(house.sandbox.account().jobs) == SHOTS


@pytest.mark.parametrize("house", [0.5], indirect=True)
def test_a_pool_with_one_slot_makes_a_large_board_in_one_run(house: House) -> None:
    """The render holds the only slot: it takes back part after part that nobody has begun."""
    with worker(house.installation):
        run = house.rest.start("render/render", spec=str(house.spec), yes=True).json()["id"]
        house.rest.until(run, "Completed", seconds=300)
    assert [one["state"]["type"] for one in house.parts(run).values()] == ["CANCELLED", "CANCELLED"]
    assert house.each_shot_once()
    assert [one["state"] for one in house.report()["shots"]] == ["stored"] * SHOTS


@pytest.mark.parametrize("house", [LONG], indirect=True)
def test_F75_what_a_killed_worker_has_bought_is_fetched_and_the_rest_bought_once(house: House) -> None:
    """SIGKILL to a worker and its part while the jobs are under way; told that it is dead, the render makes the part to its end."""
    rest, here = house.rest, house.installation
    with worker(here) as first, worker(here) as second:
        run = rest.start("render/render", spec=str(house.spec), yes=True).json()["id"]
        eventually(lambda: len(house.sandbox.account().jobs) >= 5)
        doomed = second if process_of(first, run) else first
        begun = [one["id"] for one in house.parts(run).values() if process_of(doomed, one["id"])]
        slay(doomed)
        for one in begun:
            crashed = {"state": {"type": "CRASHED", "message": "no heartbeat"}, "force": True}
            rest.post(f"/flow_runs/{one}/set_state", crashed).raise_for_status()
        rest.until(run, "Completed", seconds=300)
    assert len(begun) == 1
    assert house.each_shot_once()
    assert [one["action"] for one in house.report()["shots"]] == ["create"] * SHOTS


@pytest.mark.parametrize("house", [LONG], indirect=True)
def test_a_part_whose_pictures_changed_buys_nothing_and_its_shots_are_made_as_approved(house: House) -> None:
    """A still is exchanged after the approval: whoever plans the part anew refuses, and the render buys what was approved."""
    rest, here = house.rest, house.installation
    with worker(here):
        run = rest.start("render/render", spec=str(house.spec), yes=True).json()["id"]
        eventually(lambda: len(house.sandbox.account().jobs) >= 4)
        for still in (house.spec.parent / "stills").iterdir():
            Image.new("RGB", (480, 320), "white").save(still)
        with worker(here):
            rest.until(run, "Completed", seconds=300)
    states = {one["state"]["name"]: one["state"]["message"] for one in house.parts(run).values()}
    assert "the part has changed" in states["Refused"]
    assert house.each_shot_once()
