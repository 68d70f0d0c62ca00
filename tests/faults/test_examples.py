"""Every example board is bought whole from each provider that can make it, by the sandbox's account at its quoted price."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployments.sandbox import Sandbox
from flows.plan import Ask, make_plan
from flows.shooting import PlainSteps, shoot
from tasks.gate import Approval, Wish, gate
from tests.faults.rehearsal import Rehearsal
from tests.fixtures.command import ROOT

BOARDS = ["liftoff.yaml", "multishot.yaml", "vertical.yaml", "shotlist.csv", "thirty.yaml"]


def _for_sjinn(board: dict[str, Any]) -> dict[str, Any]:
    """The board without what SJinn has no switch for: sound, negative prompts, elements, lists of cuts."""
    for part in (board.get("defaults", {}), *board["shots"]):
        for name in ("audio", "negative_prompt", "elements"):
            part.pop(name, None)
    for shot in board["shots"]:
        if isinstance(shot.get("cuts"), list):
            cuts = shot.pop("cuts")
            shot |= {"prompt": cuts[0]["prompt"], "duration": sum(cut["duration"] for cut in cuts)}
    return board


async def _buy(rehearsal: Rehearsal, board: Path, provider: str) -> tuple[Decimal, int]:
    async with rehearsal.open() as production:
        plan = await make_plan(production, Ask(str(board), (provider,)))
        approval = gate(plan, production.ledger, Wish(yes=True))
        assert isinstance(approval, Approval)
        report = await shoot(production, plan, approval, PlainSteps())
    assert [row.state for row in report.rows] == ["stored"] * len(plan.shots)
    assert [row.suspect for row in report.rows] == [""] * len(plan.shots)
    assert report.exit_code == 0
    (total,) = plan.by_unit.values()
    return total.amount, len(plan.shots)


@pytest.mark.parametrize("name", BOARDS)
async def test_every_example_is_bought_from_shortapi(name: str, tmp_path: Path) -> None:
    """As it stands: stills, cuts, elements, end stills, sound; each clip as ordered."""
    with Sandbox(job_seconds=0.1, callback=False) as sandbox:
        spent, shots = await _buy(Rehearsal(tmp_path, sandbox, "shortapi"), ROOT / "specs/examples" / name, "shortapi")
        account = sandbox.account()
    assert account.total("USD").billed == spent
    assert (len(account.jobs), len(account.creates)) == (shots, shots)
    assert [create.ignored for create in account.creates] == [()] * shots, "a field that the page does not know"


@pytest.mark.parametrize("name", [name for name in BOARDS if name.endswith(".yaml")])
async def test_every_example_is_bought_from_sjinn_without_what_it_cannot_do(name: str, tmp_path: Path) -> None:
    """`check` says what SJinn cannot do; with that taken out, each clip comes as ordered."""
    board = tmp_path / name
    text = (ROOT / "specs/examples" / name).read_text(encoding="utf-8")
    board.write_text(json.dumps(_for_sjinn(yaml.safe_load(text))), encoding="utf-8")
    (tmp_path / "stills").symlink_to(ROOT / "specs/examples/stills")
    with Sandbox(job_seconds=0.1, callback=False) as sandbox:
        spent, shots = await _buy(Rehearsal(tmp_path, sandbox, "sjinn"), board, "sjinn")
        account = sandbox.account()
    assert account.total("credits").billed == spent
    assert (len(account.jobs), len(account.creates)) == (shots, shots)
    assert [create.ignored for create in account.creates] == [()] * shots
