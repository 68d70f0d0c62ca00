"""An approval is one thing: what was shown is the most that is ever spent under it, whoever acts, however often, to its end."""

import asyncio
import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flows.approval import Verdict, judged
from flows.orders import cut, order_part, ordered
from flows.plan import Ask, bound_by, load_board, make_plan, plan_json
from flows.shooting import PlainSteps, begin, made_and_closed, make_shots, shoot
from specs.money import Money
from tasks.errors import Refused
from tasks.estimate import Action, Plan
from tasks.exits import ExitCode
from tasks.gate import ASKED, Approval, NeedsApproval, Wish, gate, warned
from tasks.ledger import IntentState, Reserved
from tasks.production import Production
from tasks.report import RunReport
from tasks.seams import SystemClock
from tasks.shoot import order_of
from tests.fixtures.till import Till, paid_board, till

S = IntentState
PROVIDERS = ("shortapi", "sjinn")


async def planned(production: Production, board: Path) -> Plan:
    """What a run would do now."""
    return await make_plan(production, Ask(str(board)))


async def attempt(here: Till, board: Path, wish: Wish, verdict: Money | None = None) -> RunReport:
    """One process that renders: it goes through the gate, or takes the decision of the suspended run's form."""
    async with here.open() as production:
        production.ledger.recover("test")
        plan = await planned(production, board)
        approval = gate(plan, production.ledger, wish)
        if isinstance(approval, NeedsApproval):
            assert verdict is not None, approval
            approval = judged(plan, production.ledger, wish, Verdict(plan.digest, verdict, ""))
        return await shoot(production, plan, approval, PlainSteps())


def saved(plan: Plan) -> Wish:
    """What `rushes render plan.json` brings."""
    document = json.loads(json.dumps(plan_json(plan)))
    return Wish(digest=document["digest"], saved=bound_by(document))


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_F94_a_plan_that_was_shown_for_nothing_buys_nothing(provider: str, tmp_path: Path) -> None:
    """Another run was submitting the shot when the plan was made; that create was refused: the plan is refused too, with the shot."""
    with till(tmp_path) as here:
        board = here.board(provider=provider)
        async with here.open() as production:
            plan = await planned(production, board)
            other = begin(production, plan, _yes(plan, production), production.clock.now())
            outcome = production.ledger.reserve(order_of(production, other, plan.shots[0]))
            assert isinstance(outcome, Reserved)
            shown = await planned(production, board)
            assert (shown.free, shown.shots[0].decision.action) == (True, Action.RESUME)
            production.ledger.rejected(outcome.intent.intent_id, 1, kind="invalid", reason="no", opens_breaker=False)
            for wish in (saved(shown), Wish(digest=shown.digest), replace(saved(shown), yes=True)):
                with pytest.raises(Refused, match="the plan has changed") as refused:
                    gate(await planned(production, board), production.ledger, wish)
            assert "SH010: resume for nothing -> create for" in str(refused.value)
        assert not here.truth.creates


def _yes(plan: Plan, production: Production) -> Approval:
    approval = gate(plan, production.ledger, Wish(yes=True))
    assert isinstance(approval, Approval)
    return approval


async def test_F94_a_resumed_shot_that_is_refused_is_bought_at_no_other_provider(tmp_path: Path) -> None:
    """The plan spends nothing on it, so the refusal of the other run's create is its end here."""
    with till(tmp_path) as here:
        board = here.board(provider="[shortapi, sjinn]")
        async with here.open() as production:
            plan = await planned(production, board)
            other = begin(production, plan, _yes(plan, production), production.clock.now())
            outcome = production.ledger.reserve(order_of(production, other, plan.shots[0]))
            assert isinstance(outcome, Reserved)
            shown = await planned(production, board)
            dearer = replace(_yes(shown, production), caps=(Money.of(40),))
            running = asyncio.create_task(shoot(production, shown, dearer, PlainSteps()))
            await asyncio.sleep(0.1)
            production.ledger.rejected(outcome.intent.intent_id, 1, kind="auth", reason="no", opens_breaker=False)
            report = await running
        assert not here.truth.creates
    assert [row.state for row in report.rows] == ["failed"]


def _content(text: str) -> str:
    return text.replace("Push in 2", "Pull out 2")


def _choice(text: str) -> str:
    return text.replace("provider: shortapi", "provider: [shortapi, sjinn]")


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (None, ""),
        (_content, "SH020: content"),
        (_choice, "SH020: alternatives [] -> ['sjinn']"),
        (lambda text: text.replace("40.00", "50.00"), "caps: board 40.00 USD -> board 50.00 USD"),
        (lambda text: text + "  - {id: SH090, still: still.jpg, prompt: More}\n", "SH090: new"),
    ],
)
async def test_F94_a_saved_plan_goes_on_after_a_crash_within_what_was_approved(
    edit: Callable[[str], str] | None, words: str, tmp_path: Path
) -> None:
    """One of its two shots is there: the digest is another, and the plan buys the rest; anything dearer is refused with its place."""
    text = paid_board(shots=2)
    with till(tmp_path) as here:
        board = here.board(text)
        async with here.open() as production:
            wish = saved(await planned(production, board))
        await here.render(here.board(paid_board(shots=1)))
        board = here.board(text if edit is None else edit(text))
        if edit is None:
            report = await attempt(here, board, wish)
            assert [row.state for row in report.rows] == ["stored", "stored"]
        else:
            with pytest.raises(Refused, match="the plan has changed") as refused:
                await attempt(here, board, wish)
            assert words in str(refused.value)
        assert len(here.truth.jobs) == (2 if edit is None else 1)


async def test_F94_what_a_saved_plan_says_is_believed_as_far_as_its_digest(tmp_path: Path) -> None:
    """A file in which a shot was changed from reuse to create is no approval of that."""
    with till(tmp_path) as here:
        await here.render(here.board(shots=1))
        async with here.open() as production:
            wish = saved(await planned(production, here.board(shots=1)))
            assert wish.saved is not None
            forged = json.loads(json.dumps(wish.saved))
            forged["shots"][0]["action"] = "create"
            board = here.board(paid_board(shots=1, prompt="Pull out"))
            forged["shots"][0]["key"] = (await planned(production, board)).shots[0].key
            with pytest.raises(Refused, match="the plan has changed"):
                gate(await planned(production, board), production.ledger, replace(wish, saved=forged))


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_F102_a_digest_that_is_rendered_again_has_no_fresh_cap(provider: str, tmp_path: Path) -> None:
    """Two of three shots are paid above their quote; under the same digest the third no longer fits, however often it is typed."""
    with till(tmp_path) as here:
        board = here.board(shots=3, provider=provider)
        async with here.open() as production:
            plan = await planned(production, board)
            wish = saved(plan)
            recorded = production.ledger.approve(replace(_digest_approval(plan, production, wish), caps=(_half(plan),)))
            assert recorded.approval_id == plan.digest
        for _ in range(3):
            report = await attempt(here, board, wish)
        assert len(here.truth.jobs) == 1
        with here.ledger() as ledger:
            (bucket,) = [one for one in ledger.caps("approval") if one.limit is not None]
            assert bucket.limit == _half(plan)
            assert bucket.committed <= bucket.limit
    assert sorted(row.state for row in report.rows) == ["refused", "refused", "stored"]
    assert {
        row.note for row in report.rows if row.state == "refused" and "the cap of this approval is" not in row.note
    } == set()


def _digest_approval(plan: Plan, production: Production, wish: Wish) -> Approval:
    approval = gate(plan, production.ledger, wish)
    assert isinstance(approval, Approval)
    return approval


def _half(plan: Plan) -> Money:
    """Enough for one of three shots, in USD."""
    assert plan.usd is not None
    return Money.of(f"{plan.usd / 2:.6f}")


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_F102_a_lower_cap_holds_for_all_attempts_of_a_flow_run(provider: str, tmp_path: Path) -> None:
    """Approved up to 1.30 of a board of 2.57: three attempts of the flow run spend no more, by the provider's account."""
    with till(tmp_path) as here:
        board = here.board(shots=6, provider=provider)
        wish = Wish(yes=True, attempt_of="flow-run-1")
        for _ in range(3):
            report = await attempt(here, board, wish, Money.of("1.30"))
        assert len(here.truth.jobs) == 3
        with here.ledger() as ledger:
            runs = [ledger.run(run) for run in dict.fromkeys(one.run_id for one in ledger.intents())]
            assert {run.approval_id for run in runs if run} == {runs[0].approval_id if runs[0] else ""}
    assert sorted(row.state for row in report.rows) == ["refused"] * 3 + ["stored"] * 3


async def test_F102_released_money_is_free_again_and_settled_money_is_not(tmp_path: Path) -> None:
    """The first create is refused for certain: the second attempt buys what fits; what is stored counts for ever."""
    with till(tmp_path, "http-402@1") as here:
        board = here.board(shots=2)
        wish = Wish(attempt_of="flow-run-1")
        await attempt(here, board, wish, Money.of("0.50"))
        before = len(here.truth.jobs)
        for _ in range(2):
            await attempt(here, board, wish)
        assert (before, len(here.truth.jobs)) == (0, 1)


async def test_F102_a_changed_board_of_a_flow_run_is_asked_about_again(tmp_path: Path) -> None:
    """What goes beyond the first decision waits for another; within it nobody is asked twice."""
    with till(tmp_path) as here:
        wish = Wish(attempt_of="flow-run-1")
        text = paid_board(shots=2, budget="{cap: 40.00 USD, auto_approve: 1.00 USD}")
        await attempt(here, here.board(text.partition("  - {id: SH020")[0]), wish)
        async with here.open() as production:
            asked = gate(await planned(production, here.board(text)), production.ledger, wish)
    assert isinstance(asked, NeedsApproval)
    assert "SH020: new" in asked.why


async def test_F97_what_a_person_was_asked_about_no_rule_decides_any_more(tmp_path: Path) -> None:
    """A run that suspended for the day's limit resumes on another day: it still takes the person's answer."""
    with till(tmp_path) as here:
        wish = Wish(attempt_of="flow-run-1")
        async with here.open() as production:
            plan = await planned(production, here.board(budget="{auto_approve: 9.00 USD}"))
            assert isinstance(gate(plan, production.ledger, wish), Approval)
            production.ledger.tell("flow-run-1", ASKED, {"digest": plan.digest})
            assert isinstance(gate(plan, production.ledger, wish), NeedsApproval)
            assert isinstance(gate(plan, production.ledger, Wish(attempt_of="flow-run-2")), Approval)
            lower = judged(plan, production.ledger, wish, Verdict(plan.digest, Money.of("0.10"), ""))
            report = await shoot(production, plan, lower, PlainSteps())
            assert not here.truth.creates
    assert [row.state for row in report.rows] == ["refused"]


OPERATOR = {"RUSHES_AUTO_CAP": "0.50", "RUSHES_AUTO_DAY_CAP": "0.90"}


@pytest.mark.parametrize(
    ("budget", "more", "wish", "why"),
    [
        ("{cap: 9.00 USD}", {}, Wish(), "the board has no auto_approve"),
        ("{cap: 9.00 USD}", {}, Wish(yes=True, attempt_of="run"), "RUSHES_AUTO_CAP is not set"),
        ("{cap: 9.00 USD}", OPERATOR, Wish(), "the board has no auto_approve"),
        (
            "{cap: 9.00 USD}",
            {"RUSHES_AUTO_CAP": "0.42"},
            Wish(yes=True, attempt_of="run"),
            "RUSHES_AUTO_CAP is 0.42 USD",
        ),
        ("{auto_approve: 0.42 USD}", OPERATOR, Wish(yes=True, attempt_of="run"), "budget.auto_approve is 0.42 USD"),
        ("{auto_approve: 9.00 USD}", {"RUSHES_AUTO_CAP": "0.42"}, Wish(), "RUSHES_AUTO_CAP is 0.42 USD"),
        ("{auto_approve: 9.00 USD}", {"RUSHES_AUTO_DAY_CAP": "0.42"}, Wish(), "RUSHES_AUTO_DAY_CAP is 0.42 USD"),
        ("{cap: 9.00 USD}", OPERATOR, Wish(yes=True, attempt_of="run"), None),
        ("{auto_approve: 9.00 USD}", OPERATOR, Wish(attempt_of="run"), None),
        ("{auto_approve: 9.00 USD}", OPERATOR, Wish(), None),
        ("{auto_approve: 0.10 USD}", {"RUSHES_AUTO_CAP": "0.10"}, Wish(yes=True), None),
    ],
)
async def test_F97_who_counts_as_a_person(
    budget: str, more: dict[str, str], wish: Wish, why: str | None, tmp_path: Path
) -> None:
    """A yes in a deployment's form is none: the lower of the board's limit and the operator's decides."""
    with till(tmp_path, more=more) as here:
        async with here.open() as production:
            passed = gate(await planned(production, here.board(budget=budget)), production.ledger, wish)
    if why is None:
        assert isinstance(passed, Approval)
    else:
        assert isinstance(passed, NeedsApproval)
        assert why in passed.why


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_F97_the_operators_day_holds_for_all_unapproved_runs_together(provider: str, tmp_path: Path) -> None:
    """Two boards that pass the gate side by side: the day's limit is held again when each shot is reserved; a person may go on."""
    with till(tmp_path, more={"RUSHES_AUTO_DAY_CAP": "0.90"}) as here:
        budget = "{cap: 40.00 USD, auto_approve: 9.00 USD}"
        board = here.board(shots=2, provider=provider, budget=budget)
        async with here.open() as production:
            first = await planned(production, board)
            other = here.board(
                paid_board(shots=2, provider=provider, budget=budget, prompt="Pull").replace("TILL", "TWO")
            )
            second = await planned(production, other)
            approvals = [gate(plan, production.ledger, Wish()) for plan in (first, second)]
            assert all(isinstance(one, Approval) for one in approvals)
            reports = []
            for plan, approval in zip((first, second), approvals, strict=True):
                assert isinstance(approval, Approval)
                reports.append(await shoot(production, plan, approval, PlainSteps()))
            assert len(here.truth.jobs) == 2
            assert "RUSHES_AUTO_DAY_CAP" in reports[1].rows[0].note
            again = await planned(production, other)
            assert any(
                "RUSHES_AUTO_DAY_CAP" in one for one in warned(again, production.ledger, production.settings).warnings
            )
            await shoot(production, again, _yes(again, production), PlainSteps())
            assert production.ledger.verify() == []
        assert len(here.truth.jobs) == 4


async def test_F97_an_operators_cap_that_is_lowered_holds_for_a_run_that_was_let_through(tmp_path: Path) -> None:
    """The cap is held in each reservation, with the settings of the process that reserves."""
    with till(tmp_path) as here:
        budget = "{cap: 40.00 USD, auto_approve: 9.00 USD}"
        async with here.open() as production:
            plan = await planned(production, here.board(shots=2, budget=budget))
            approval = gate(plan, production.ledger, Wish())
            assert isinstance(approval, Approval)
        lower = replace(here, more={"RUSHES_AUTO_CAP": "0.50"})
        async with lower.open() as production:
            plan = await planned(production, here.board(shots=2, budget=budget))
            report = await shoot(production, plan, approval, PlainSteps())
        assert len(here.truth.jobs) == 1
    assert sorted(row.state for row in report.rows) == ["refused", "stored"]


async def _shared(production: Production, here: Till, **facts: Any) -> tuple[Plan, Approval, list[Plan]]:
    plan = await planned(production, here.board(**facts))
    return plan, _yes(plan, production), cut(plan, 1)


ENDS = ("returned", "failed", "cancelled", "killed", "begun anew")


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("end", ENDS)
async def test_F104_a_part_of_a_render_that_is_over_buys_nothing(end: str, provider: str, tmp_path: Path) -> None:
    """However the render ended, a part that is under way and one that is started by hand reserve nothing any more."""
    with till(tmp_path) as here:
        async with here.open() as hasty:
            production = replace(hasty, clock=SystemClock())
            plan, approval, parts = await _shared(production, here, shots=2, provider=provider)
            ask, loaded = Ask(str(here.folder / "board.yaml")), load_board(str(here.folder / "board.yaml"))
            approval = replace(approval, attempt_of="flow-run-1")
            run = begin(production, plan, approval, production.clock.now())
            for number, part in enumerate(parts, 1):
                order_part(production.ledger, run.run_id, part, (number, 2), ask, loaded)
            orders = [ordered(production.ledger, run.run_id, part.digest) for part in parts]
            (stored,) = await make_shots(production, orders[0].run, parts[0].shots, PlainSteps())
            await _end(end, production, plan, approval, run)
            (late,) = await make_shots(production, orders[1].run, parts[1].shots, PlainSteps())
            with pytest.raises(Refused, match="no render under way has ordered"):
                ordered(production.ledger, run.run_id, parts[1].digest)
        assert len(here.truth.jobs) == 1
    assert (stored.state, late.state, late.exit_code) == ("stored", "refused", ExitCode.REFUSED)
    assert "nothing more is bought for it" in late.note


async def _end(end: str, production: Production, plan: Plan, approval: Approval, run: Any) -> None:
    """What ends a render: by itself, by an error, by a cancellation, by kill -9 and a minute, by the next attempt."""

    async def making() -> list[Any]:
        if end == "failed":
            raise RuntimeError("a defect")
        await asyncio.sleep(60 if end == "cancelled" else 0)
        return []

    if end == "begun anew":
        begin(production, plan, approval, production.clock.now())
    elif end == "killed":
        with sqlite3.connect(production.settings.home / "ledger.db") as database:
            database.execute("UPDATE run SET open_until = 1")
        database.close()
    else:
        task = asyncio.ensure_future(made_and_closed(production, plan, run, production.clock.now(), making()))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
