"""Render: the flow that turns a storyboard into rushes."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextvars import ContextVar
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows import steps
from flows.approval import ask_person, judged
from flows.calling_off import as_called_off
from flows.interruption import ends_in_order
from flows.orders import cut
from flows.parameters import Digest, MaxCost, Providers, Retakes, Spec, Yes
from flows.plan import Ask, LoadedBoard, load_board, make_plan, plan_json
from flows.prefect_settings import in_deployment, load_settings, this_flow_run
from flows.shooting import shoot
from flows.showing import named, progress_bar, show_run
from flows.spreading import spread
from specs.errors import SpecError
from specs.money import Money
from tasks.deliver import deliver
from tasks.errors import RushesError, SetupProblem, as_foreseen, foreseen
from tasks.estimate import Plan
from tasks.exits import ExitCode, worst
from tasks.gate import ASKED, Approval, NeedsApproval, Wish, gate, warned
from tasks.production import Production, Watcher
from tasks.report import RunReport, result_json
from tasks.shoot import check_ready, owner

__all__ = ["WATCHER", "ended", "render", "render_ask", "render_plan", "said", "signal_in"]

WATCHER: ContextVar[Watcher | None] = ContextVar("watcher", default=None)
"""Who is told of each shot's progress in this process: the command line's live display."""


@flow(name="render", flow_run_name="render-{spec}", persist_result=False)
async def render(
    spec: Spec,
    provider: Providers = [],  # noqa: B006 - Prefect hands each run a copy
    max_cost: MaxCost = "",
    approve: Digest = "",
    yes: Yes = False,
    retakes: Retakes = {},  # noqa: B006
) -> Any:
    """Render a storyboard: validate, estimate, submit, wait, store, report.

    What no rule approves (the board's `auto_approve`, the operator's limits) a person must: the run suspends with its plan and waits for a person's decision.
    """
    ask = Ask(spec, tuple(provider), retakes)
    wish = Wish(_usd(max_cost), yes, approve or None, attempt_of=str(flow_run.id) if in_deployment() else "")
    return await said(render_ask(ask, wish))


def _usd(text: str) -> Money | None:
    if not text:
        return None
    return Money.parse(text) if " " in text else Money.of(text)


async def said(running: Coroutine[Any, Any, "State[Any]"]) -> "State[Any]":
    """The run's last state; what stands in the way becomes its message, since nobody reads a traceback in the UI."""
    try:
        state = await _alone(ends_in_order(running, deployed=in_deployment()))
    except (SpecError, RushesError) as error:
        if in_deployment():
            for line in f"{error}\n{error.diagnostics()}".strip().splitlines():
                get_run_logger().error("%s", line)
        name = "Invalid" if isinstance(error, SpecError) else "Refused"
        state = Failed(name=name, message=str(error), data=error)
    return await as_called_off(state)


async def _alone(running: Coroutine[Any, Any, "State[Any]"]) -> "State[Any]":
    """What ends the run, out of the group of tasks that it was raised in."""
    try:
        return await running
    except ExceptionGroup as failed:
        raise foreseen(failed) from None
    except BaseExceptionGroup as failed:
        raise signal_in(failed) or failed from None


def signal_in(failed: BaseExceptionGroup[BaseException]) -> BaseException | None:
    """What ends the process, out of the groups that it was raised in: Prefect knows a cancelled run by its type."""
    found: BaseException | None = failed.split(Exception)[1]
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found


async def render_ask(
    ask: Ask,
    wish: Wish,
    *,
    loaded: LoadedBoard | None = None,
    vet: Callable[[Plan], None] | None = None,
    waits: Callable[[Plan, NeedsApproval], Awaitable[None]] | None = None,
) -> "State[Any]":
    """Plan, pass the gate, shoot. Where a person must decide, everything is closed before the run suspends.

    `vet` may refuse the plan, and `waits` is told before a deployment's run suspends. After the resume the flow runs again from its start, so the
    decision is held against the plan as it is then.
    """
    settings = await load_settings()
    async with Production.open(settings, watcher=WATCHER.get()) as production:
        await production.patiently(production.ledger.recover, owner())
        board = loaded or load_board(ask.spec)
        plan = await make_plan(production, ask, loaded=board, check=steps.checked)
        plan = await production.patiently(warned, plan, production.ledger, settings)
        if vet is not None:
            vet(plan)
        approval = await production.patiently(gate, plan, production.ledger, wish)
        if isinstance(approval, Approval) or in_deployment():
            await production.patiently(check_ready, production, plan)
        if isinstance(approval, Approval):
            return _final(await render_plan(production, plan, approval, ask, board))
        if in_deployment():
            facts = {"digest": plan.digest, "why": approval.why}
            await production.patiently(production.ledger.tell, wish.attempt_of, ASKED, facts)
    if not in_deployment():
        return Failed(name="Not approved", message=f"{approval.total} to be approved", data=None)
    if waits is not None:
        await waits(plan, approval)
    verdict = await ask_person(plan, approval)
    async with Production.open(settings, watcher=WATCHER.get()) as production:
        approval = await production.patiently(judged, plan, production.ledger, wish, verdict)
        return _final(await render_plan(production, plan, approval, ask, board))


def _final(report: RunReport) -> "State[Any]":
    """The flow run's last state, with the document of `render --json` as its result."""
    return ended(report.exit_code, len(report.rows), result_json(report))


def ended(exit_code: int, shots: int, document: Mapping[str, Any] | None = None) -> "State[Any]":
    """A last state that tells by its name what the exit code tells the command line."""
    match ExitCode(exit_code):
        case ExitCode.OK:
            return Completed(data=document, message=f"{shots} shots stored")
        case ExitCode.MONEY_NEEDS_A_PERSON:
            return Failed(name="Needs a person", data=document, message="see the notes of the shots")
        case code:
            return Failed(data=document, message=f"exit code {int(code)}: see the notes of the shots")


def undelivered(report: RunReport, error: Exception) -> Exception:
    """What kept the run's files from being delivered, with what is owed: nobody may have to read that in a file."""
    if not isinstance(error, SetupProblem):
        return error
    owed = [
        f"{row.shot} TK{row.take:02d} {row.state.replace('_', ' ')}: intent {row.intent_id}, job {row.job_id or 'unknown'}, "
        f"{row.billed or row.quoted}"
        for row in report.rows
        if row.intent_id and row.state in {"held", "in_doubt", "stalled"}
    ]
    said = SetupProblem("\n  ".join([f"run {report.run_id}: {error}", *owed]), error.hint)
    said.exit_code = int(worst([ExitCode(report.exit_code), ExitCode.SET_UP]))
    return said


async def render_plan(
    production: Production, plan: Plan, approval: Approval, ask: Ask, loaded: LoadedBoard
) -> RunReport:
    """Shoot an approved plan and deliver what came of it. In a deployment's run, a large one is shared among several runs."""
    parts = cut(plan, production.settings.part_shots) if in_deployment() else []
    async with progress_bar(production, plan.board) as shown:
        if len(parts) > 1:
            report = await spread(shown, plan, parts, approval, ask, loaded)
        else:
            report = await shoot(shown, plan, approval, steps.PrefectSteps(), this_flow_run())
    production.watcher.report()
    try:
        await asyncio.to_thread(deliver, production, plan, report, plan_json(plan))
    except (OSError, SetupProblem) as error:
        raise undelivered(report, as_foreseen(error)) from error
    await show_run(production, report)
    await named(f"{report.board} {report.run_id}")
    return report
