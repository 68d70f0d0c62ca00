"""F93: one conversion of credits to USD, at the rate of the order, wherever the money is shown."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest

from specs.money import Money
from tasks.ledger import Cap
from tasks.report import costs_csv
from tests.fixtures.till import Till, till

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


UNRATED = {"SJINN_USD_PER_CREDIT": ""}
RATED = {"SJINN_USD_PER_CREDIT": "0.0005"}


@pytest.mark.parametrize("cap", ["board", "day"])
async def test_F93_orders_without_a_rate_count_against_a_cap_in_usd_that_comes_later(cap: str, tmp_path: Path) -> None:
    """Two shots of 600 credits, then a rate: 0.60 USD of a cap of 0.70 are used, and one more shot of 0.30 is refused."""
    with till(tmp_path, more=UNRATED) as here:
        await here.render(here.board(shots=2, provider="sjinn", budget="{cap: 5000 sjinn-credits}"))
        capped = RATED | ({"RUSHES_DAY_CAP": "0.70"} if cap == "day" else {})
        later, budget = replace(here, more=capped), "{cap: 0.70 USD}" if cap == "board" else ""
        board = later.board(shots=3, provider="sjinn", budget=budget)
        planned, refused = later.run("plan", str(board)), later.run("render", str(board), "--yes")
        jobs = len(here.truth.jobs)
        roomy = _raised(later, cap)
        bought = roomy.run("render", str(roomy.folder / "board.yaml"), "--yes")
        account = here.truth
    assert "0.60 USD committed" in " ".join(planned.out.split())
    assert (refused.code, jobs) == (4, 2)
    assert (bought.code, len(account.jobs)) == (0, 3), bought.err


def _raised(here: Till, cap: str) -> Till:
    """The same installation under a cap of exactly three shots."""
    if cap == "day":
        return replace(here, more=here.more | {"RUSHES_DAY_CAP": "0.90"})
    here.board(shots=3, provider="sjinn", budget="{cap: 0.90 USD}")
    return here


async def test_F93_what_has_no_rate_is_named_where_nobody_can_convert_it(tmp_path: Path) -> None:
    """A shot in USD under a cap in USD, beside credits without a rate: refused with the orders, nothing is bought."""
    with till(tmp_path, more=UNRATED) as here:
        await here.render(here.board(shots=1, provider="sjinn", budget="{cap: 5000 sjinn-credits}"))
        board = here.board(shots=2, budget="{cap: 5.00 USD}")
        refused = here.run("render", str(board), "--yes")
        account = here.truth
    assert (refused.code, len(account.jobs)) == (4, 1)
    assert "600 sjinn-credits were ordered without a rate in USD (TILL SH010 TK01)" in refused.err
