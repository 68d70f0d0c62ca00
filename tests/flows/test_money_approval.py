"""The gate: nobody pays without an approval, and no approval goes past a cap."""

import os
import pty
import subprocess
from pathlib import Path

import pytest

from flows.plan import Ask, make_plan
from tasks.errors import Refused
from tasks.gate import Approval, NeedsApproval, Wish, gate
from tests.faults.rehearsal import Rehearsal
from tests.fixtures.command import Installation
from tests.fixtures.till import paid_board, till


def test_without_a_terminal_or_an_approval_the_plan_is_shown_and_refused(tmp_path: Path) -> None:
    """Exit 4; the way on is named with the digest, and the provider never hears of it."""
    with till(tmp_path) as here:
        board = here.board(shots=2)
        digest = here.run("plan", str(board), "--json").document["digest"]
        printed = here.run("render", str(board))
        assert not here.truth.requests
    assert printed.code == 4
    assert "SH020" in printed.err
    assert "0.858 USD need approval" in printed.err
    assert f"--approve {digest[:16]}" in printed.err


def test_a_refusal_is_one_document_with_json(tmp_path: Path) -> None:
    """Scripts read why and the exit code from stdout alone."""
    with till(tmp_path) as here:
        printed = here.run("render", str(here.board()), "--json")
    assert printed.document["exit_code"] == printed.code == 4
    assert "approval" in printed.document["error"]


@pytest.mark.parametrize(
    ("budget", "words", "more", "named"),
    [
        ("{cap: 40.00 USD}", ["--yes", "--max-cost", "0.85"], {}, "the run cap is 0.85 USD"),
        ("{cap: 0.50 USD}", ["--yes"], {}, "the board cap is 0.50 USD"),
        ("{cap: 40.00 USD, per_shot: 0.40 USD}", ["--yes"], {}, "above budget.per_shot of 0.40 USD"),
        ("{cap: 40.00 USD}", ["--yes"], {"RUSHES_DAY_CAP": "0.80"}, "the day cap is 0.80 USD"),
        ("{cap: 40.00 USD}", ["--yes"], {"RUSHES_MONTH_CAP": "0.80"}, "the month cap is 0.80 USD"),
        ("{cap: 40.00 USD, auto_approve: 0.85 USD}", [], {}, "need approval"),
        ("{cap: 40.00 USD}", ["--approve", "0123456789abcdef"], {}, "0123456789ab was approved"),
    ],
)
def test_S26_a_cap_refuses_before_anything_is_sent_and_is_named(
    budget: str, words: list[str], more: dict[str, str], named: str, tmp_path: Path
) -> None:
    """Not even a yes goes past a cap."""
    with till(tmp_path, more=more) as here:
        printed = here.run("render", str(here.board(shots=2, budget=budget)), *words)
        assert not here.truth.creates
    assert printed.code == 4
    assert named in printed.err


@pytest.mark.parametrize(
    ("budget", "words", "more"),
    [
        ("{cap: 40.00 USD}", [], {}),
        ("", ["--max-cost", "5.00"], {}),
        ("", [], {"RUSHES_DAY_CAP": "5"}),
        ("{per_shot: 4.00 USD}", [], {}),
    ],
)
def test_F80_credits_without_a_rate_are_refused_under_a_cap_in_usd(
    budget: str, words: list[str], more: dict[str, str], tmp_path: Path
) -> None:
    """The setting that is missing is named; credits are never taken for dollars."""
    with till(tmp_path, more={"SJINN_USD_PER_CREDIT": "", **more}) as here:
        board = here.board(provider="sjinn", budget=budget)
        printed = here.run("render", str(board), "--yes", *words)
        assert not here.truth.creates
    assert printed.code == 4
    assert "SJINN_USD_PER_CREDIT" in printed.err


@pytest.mark.parametrize(("provider", "name"), [("shortapi", "SHORTAPI_KEY"), ("sjinn", "SJINN_API_KEY")])
def test_a_paid_provider_without_its_key_is_a_problem_of_the_set_up(provider: str, name: str, tmp_path: Path) -> None:
    """Exit 7, and the variable is named."""
    with till(tmp_path, more={name: ""}) as here:
        printed = here.run("render", str(here.board(provider=provider)), "--yes")
        assert not here.truth.requests
    assert (printed.code, name in printed.err) == (7, True)


def _at_a_terminal(here: Rehearsal, environment: dict[str, str], board: Path, answer: str) -> tuple[int, str]:
    """`rushes render` with a real terminal to answer on."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        Installation(here.folder).command("render", str(board)),
        cwd=Path(__file__).parents[2],
        env=Installation(here.folder, environment).environment(),
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    os.close(theirs)
    os.write(ours, f"{answer}\n".encode())
    out, _ = process.communicate(timeout=400)
    os.close(ours)
    return process.returncode, out


@pytest.mark.parametrize("answer", ["n", "", "maybe"])
def test_anything_but_yes_at_the_terminal_spends_nothing(answer: str, tmp_path: Path) -> None:
    """Exit 4 after one question."""
    with till(tmp_path) as here:
        code, out = _at_a_terminal(here, here.environment(), here.board(), answer)
        assert not here.truth.creates
    assert (code, out.count("[y/N]")) == (4, 1)
    assert "Spend 0.429 USD on Till?" in out
    assert "nothing was spent" in out


@pytest.mark.prefect
@pytest.mark.xdist_group("prefect")
def test_a_yes_at_the_terminal_buys_the_plan_that_was_shown(tmp_path: Path, prefect_api: str) -> None:
    """It asks once, then goes on to the end."""
    with till(tmp_path, more={"PREFECT_API_URL": prefect_api}) as here:
        code, out = _at_a_terminal(here, here.environment(), here.board(), "y")
        account = here.truth
    assert (code, out.count("[y/N]")) == (0, 1), out
    assert f"{account.total('USD').net:f}" == "0.429"


@pytest.mark.prefect
@pytest.mark.xdist_group("prefect")
def test_an_approved_digest_buys_by_its_first_twelve_digits(tmp_path: Path, prefect_api: str) -> None:
    """The prefix is enough, in either case of letters."""
    with till(tmp_path, more={"PREFECT_API_URL": prefect_api}) as here:
        board = here.board()
        digest = here.run("plan", str(board), "--json").document["digest"]
        printed = here.run("render", str(board), "--approve", digest[:12].upper(), "--json")
        account = here.truth
    assert printed.code == 0, printed.err
    assert (printed.document["digest"], len(account.jobs)) == (digest, 1)


async def _judged(tmp_path: Path, budget: str, wish: Wish) -> object:
    with till(tmp_path) as here:
        async with here.open() as production:
            plan = await make_plan(production, Ask(str(here.board(shots=2, budget=budget))))
            digest = {"full": plan.digest, "twelve": plan.digest[:12], "eleven": plan.digest[:11]}
            return gate(
                plan, production.ledger, Wish(wish.max_cost, wish.yes, digest.get(wish.digest or "", wish.digest))
            )


@pytest.mark.parametrize(
    ("budget", "wish", "by"),
    [
        ("{cap: 1.00 USD}", Wish(digest="full"), "person"),
        ("{cap: 1.00 USD}", Wish(digest="twelve"), "person"),
        ("{cap: 1.00 USD}", Wish(yes=True), "person"),
        ("", Wish(yes=True), "person"),
        ("{cap: 1.00 USD, auto_approve: 0.858 USD}", Wish(), "auto"),
    ],
)
async def test_who_may_approve(budget: str, wish: Wish, by: str, tmp_path: Path) -> None:
    """A digest, its first twelve digits, a yes, or the board's own limit; the run's cap is the plan's total."""
    approval = await _judged(tmp_path, budget, wish)
    assert isinstance(approval, Approval)
    assert (approval.by, [str(cap) for cap in approval.caps]) == (by, ["0.858 USD"])


@pytest.mark.parametrize("budget", ["", "{cap: 1.00 USD}", "{auto_approve: 0.857999 USD}"])
async def test_what_nobody_approved_waits(budget: str, tmp_path: Path) -> None:
    """Without an approval a paid board never starts, with a cap or without."""
    assert isinstance(await _judged(tmp_path, budget, Wish()), NeedsApproval)


@pytest.mark.parametrize("digest", ["eleven", "", "0" * 64])
async def test_a_digest_that_is_too_short_or_another_s_is_refused(digest: str, tmp_path: Path) -> None:
    """Also beside a yes: who names a plan means that plan."""
    with pytest.raises(Refused, match="the plan has changed"):
        await _judged(tmp_path, "{cap: 1.00 USD}", Wish(yes=True, digest=digest))


async def test_F80_a_cap_lowered_below_what_is_spent_refuses_new_shots_and_keeps_the_old(tmp_path: Path) -> None:
    """What is there stays reusable, at no cost, whatever the caps say now."""
    with till(tmp_path) as here:
        await here.render(here.board(shots=1))
        low = "{cap: 0.10 USD, per_shot: 0.10 USD}"
        again = await here.render(here.board(shots=1, budget=low), wish=Wish())
        printed = here.run("render", str(here.board(paid_board(shots=2, budget="{cap: 0.50 USD}"))), "--yes")
        account = here.truth
    assert [row.action for row in again.rows] == ["reuse"]
    assert printed.code == 4
    assert "the board cap is 0.50 USD: 0.429 USD committed, 0.429 more wanted" in printed.err
    assert len(account.jobs) == 1
