"""What an orchestrator does to a task: runs it again, runs it twice at once, dies in the middle. One create a shot, always."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from deployments.sandbox import Sandbox
from flows.plan import Ask, make_plan
from flows.shooting import PlainSteps, shoot
from tasks.gate import Approval, Wish, gate
from tasks.ledger import Cap, Intent, IntentState
from tasks.production import Production, Watcher
from tasks.shoot import Run, submission_of
from tasks.submit import submit_shot
from tests.faults.rehearsal import Rehearsal, board_text


async def _submit_all(production: Production, board: Path, run_id: str) -> list[Intent]:
    plan = await make_plan(production, Ask(str(board)))
    approval = gate(plan, production.ledger, Wish(yes=True))
    assert isinstance(approval, Approval)
    run = Run(run_id, "test", plan.board, (*(Cap("run", "", one) for one in approval.caps), *plan.caps))
    production.ledger.begin_run(
        run_id, board=plan.board, spec_sha256="", digest=plan.digest, caps=(), approved_by="person", approval="test"
    )
    return [await submit_shot(production, await submission_of(production, run, shot)) for shot in plan.shots]


@pytest.mark.parametrize("fault", [(), ("hang-after",), ("http-502-before",)])
async def test_F75_a_task_that_is_run_again_sends_nothing_again(fault: tuple[str, ...], tmp_path: Path) -> None:
    """Accepted or in doubt: the second run of the same task, in another flow run, finds the first one's intent."""
    with Sandbox(job_seconds=0.2, faults=fault, callback=False) as sandbox:
        rehearsal = Rehearsal(tmp_path, sandbox, "shortapi")
        board = rehearsal.write_board(board_text("shortapi"))
        async with rehearsal.open() as production:
            (first,) = await _submit_all(production, board, "run-1")
        async with rehearsal.open() as production:
            (again,) = await _submit_all(production, board, "run-2")
        account = rehearsal.account()
    assert again.intent_id == first.intent_id
    assert len(account.creates) == 1


async def test_F74_two_pipelines_started_at_once_buy_each_shot_once(tmp_path: Path) -> None:
    """Two productions on one ledger, side by side: one create a shot, and both end with the same takes."""
    with Sandbox(job_seconds=0.2, callback=False) as sandbox:
        rehearsal = Rehearsal(tmp_path, sandbox, "sjinn")
        board = rehearsal.write_board(board_text("sjinn", shots=4))
        reports = await asyncio.gather(rehearsal.render(board), rehearsal.render(board))
        account = rehearsal.account()
    assert len(account.jobs) == len(account.creates) == 4
    assert [row.sha256 for row in reports[0].rows] == [row.sha256 for row in reports[1].rows]


class _Clumsy(Watcher):
    """A display that fails as soon as a job has been accepted."""

    def job(self, intent_id: str, shot: str) -> None:
        raise RuntimeError(f"cannot draw {shot}, {intent_id}")


async def test_F78_a_failing_display_after_acceptance_loses_nothing(tmp_path: Path) -> None:
    """The run ends with 1 and names the job; the ledger is right already, and the next run collects and buys nothing."""
    with Sandbox(job_seconds=0.2, callback=False) as sandbox:
        rehearsal = Rehearsal(tmp_path, sandbox, "shortapi")
        board = rehearsal.write_board(board_text("shortapi"))
        async with rehearsal.open() as opened:
            production = replace(opened, watcher=_Clumsy())
            plan = await make_plan(production, Ask(str(board)))
            approval = gate(plan, production.ledger, Wish(yes=True))
            assert isinstance(approval, Approval)
            broken = await shoot(production, plan, approval, PlainSteps())
            (intent,) = production.ledger.intents(board="FAULT")
            assert intent.state is IntentState.SUBMITTED
            assert (broken.exit_code, broken.rows[0].state, broken.rows[0].job_id) == (1, "stalled", intent.job_id)
        report = await rehearsal.render(board)
        account = rehearsal.account()
    assert (report.rows[0].action, report.rows[0].state) == ("resume", "stored")
    assert len(account.creates) == 1
