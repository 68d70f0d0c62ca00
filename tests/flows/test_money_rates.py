"""F93: one conversion of credits to USD, at the rate of the order, wherever the money is shown."""

import csv
import io
from dataclasses import replace
from pathlib import Path

from specs.money import Money
from tasks.ledger import Cap
from tasks.report import costs_csv
from tests.fixtures.till import till

DEARER = {"SJINN_USD_PER_CREDIT": "0.0123456789"}


async def test_F93_a_rate_that_changes_after_the_order_changes_no_amount_of_it(tmp_path: Path) -> None:
    """costs.csv of the next run, `rushes costs`, the ledger's caps and the plan of the reused take agree to the micro."""
    with till(tmp_path, more={"SJINN_USD_PER_CREDIT": "0.0007777777"}) as here:
        board = here.board(provider="sjinn")
        first = await here.render(board)
        later = replace(here, more=DEARER)
        again = await later.render(board)
        spent = later.run("costs", "--json").document
        (planned,) = later.run("plan", str(board), "--json").document["shots"]
        with later.ledger() as ledger:
            committed = ledger.committed(Cap("board", "TILL", Money.of(1)))
    assert [report.rows[0].action for report in (first, again)] == ["create", "reuse"]
    shown = {next(csv.DictReader(io.StringIO(costs_csv(report).decode())))["usd"] for report in (first, again)}
    assert shown | {spent["totals"]["settled_usd"], planned["worth_usd"], committed.text} == {"0.466667"}
    assert spent["lines"][0]["settled"] == "600.00"


async def test_F93_a_report_of_what_was_ordered_under_another_rate_tells_the_orders(tmp_path: Path) -> None:
    """A doubt that is reported by a later run, whose setting has changed, keeps its worth; so does what is left of it."""
    with till(tmp_path, "http-502-after", more={"SJINN_USD_PER_CREDIT": "0.0007"}) as here:
        board = here.board(provider="sjinn")
        await here.render(board)
        later = replace(here, more=DEARER)
        report = await later.render(board)
        spent = later.run("costs", "--json").document
    assert (report.rows[0].state, str(report.rows[0].usd)) == ("in_doubt", "0.42")
    assert str(report.totals.in_doubt_usd) == "0.420000"
    assert spent["totals"]["in_doubt_usd"] == "0.42"
