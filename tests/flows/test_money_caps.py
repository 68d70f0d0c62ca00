"""F92: a cap that a bill passes is named wherever a person looks, and stays exit 6 until it is settled."""

import json
from dataclasses import replace
from pathlib import Path

from tasks.deliver import costs_json
from tests.fixtures.till import Till, till

BUDGET = "{cap: 0.43 USD}"


def _said(here: Till, board: Path) -> dict[str, tuple[int, str]]:
    """What the commands say now, with their exit codes."""
    commands = (["plan", str(board)], ["doubts"], ["doctor"], ["collect"])
    return {words[0]: ((said := here.run(*words)).code, said.out + said.err) for words in commands}


async def test_F92_a_bill_of_one_percent_past_a_cap_is_named_everywhere_until_a_person_confirms_it(
    tmp_path: Path,
) -> None:
    """Plan, doubts, doctor, collect, report and costs.json; exit 6 from each that has one to give, and from a reuse."""
    with till(tmp_path, "overbill-1pct") as here:
        board = here.board(budget=BUDGET)
        first, again = await here.render(board), await here.render(board)
        (intent,) = here.intents()
        said = _said(here, board)
        confirmed = here.run("resolve", intent.intent_id, "--billed", "0.43329")
        settled, quiet = _said(here, board), await here.render(board)
    for report in (first, again):
        assert report.exit_code == 6
        assert "billed 0.43329 USD, quoted 0.429 USD" in report.rows[0].note
        assert any("the board cap of TILL is 0.43 USD" in one for one in json.loads(costs_json(report))["warnings"])
    assert {name: code for name, (code, _) in said.items()} == {"plan": 0, "doubts": 6, "doctor": 6, "collect": 6}
    for _, text in said.values():
        assert "0.00329 USD over" in " ".join(text.split()), text
        assert intent.intent_id in text
    assert confirmed.code == 0
    assert {code for code, _ in settled.values()} == {0}, settled
    assert quiet.exit_code == 0


async def test_F92_a_cap_that_is_raised_ends_it(tmp_path: Path) -> None:
    """The board's cap and the day's: the next plan says nothing, the next render is 0 and records it."""
    with till(tmp_path, "overbill-1pct", more={"RUSHES_DAY_CAP": "0.43"}) as here:
        assert (await here.render(here.board(budget=BUDGET))).exit_code == 6
        (run,) = (one for one in json.loads(here.run("doubts", "--json").out))
        raised = replace(here, more={"RUSHES_DAY_CAP": "5"})
        higher = here.board(budget="{cap: 5.00 USD}")
        with raised.ledger() as ledger:
            scopes = {cap.scope for cap in ledger.passed_caps()}
        await raised.render(higher)
        with raised.ledger() as ledger:
            left = [cap.scope for cap in ledger.passed_caps()]
    assert (run["billed"], scopes) == ("0.43329", {"board", "day", "approval"})
    assert left == ["approval"], "a bill above what was approved can only be confirmed"
