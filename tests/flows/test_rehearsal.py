"""A rehearsal: the whole way of a paid board against the stand-ins, with a ledger and a store of its own, for nothing."""

import json
from pathlib import Path

import pytest

from tests.fixtures.boards import board, stills
from tests.fixtures.command import Installation

pytestmark = [pytest.mark.prefect, pytest.mark.xdist_group("prefect")]


def test_a_rehearsal_buys_from_the_stand_ins_and_says_so_on_its_page(tmp_path: Path, prefect_api: str) -> None:
    """A lost reply becomes a doubt of the rehearsal alone: the installation's own ledger and store know nothing of it."""
    stills(tmp_path / "stills")
    spec = tmp_path / "board.yaml"
    spec.write_text(board(code="PLAY", shots=3, provider="shortapi"))
    house = Installation(tmp_path, {"PREFECT_API_URL": prefect_api})
    printed = house.run(
        "render", str(spec), "--rehearse", "--speed", "600", "--fault", "http-502-after@2", "--yes", "--json"
    )
    assert printed.code == 6, printed.err
    assert sorted(shot["state"] for shot in printed.document["shots"]) == ["in_doubt", "stored", "stored"]
    assert "rehearsal: nothing is bought" in printed.err
    account = [json.loads(line) for line in (house.home / "rehearsal" / "sandbox.jsonl").read_text().splitlines()]
    assert sum(line.get("outcome") == "accepted" for line in account) == 3
    (page,) = (house.store / "rehearsal").glob("PLAY/runs/*/report.html")
    assert "A rehearsal: the providers were stand-ins" in page.read_text()
    assert house.run("doubts").code == 0
    assert not (house.store / "PLAY").exists()
