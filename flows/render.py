"""Render: the flow that turns a storyboard into rushes."""

import asyncio
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from prefect import flow
from prefect.artifacts import acreate_link_artifact, acreate_markdown_artifact, acreate_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows import steps
from flows.plan import Ask, load_board, make_plan, plan_json
from specs.errors import SpecError
from specs.money import Money
from tasks.deliver import deliver, report_of
from tasks.errors import RushesError
from tasks.estimate import Action, Plan, PlannedShot
from tasks.exits import ExitCode
from tasks.gate import Approval, NeedsApproval, Wish, gate
from tasks.ledger import Intent, IntentState
from tasks.outcome import Outcome, outcome_of
from tasks.production import Production, Watcher
from tasks.report import RunReport, result_json, summary_markdown
from tasks.settings import Settings
from tasks.shoot import Run, check_ready, owner, unresolved
from tasks.wait import Wakeups

__all__ = ["WATCHER", "render", "render_plan"]

WATCHER: ContextVar[Watcher | None] = ContextVar("watcher", default=None)
"""Who is told of each shot's progress in this process: the command line's live display."""


@flow(name="render", flow_run_name="render-{spec}", persist_result=False)
async def render(
    spec: str,
    provider: list[str] | None = None,
    max_cost: str | None = None,
    approve: str | None = None,
    yes: bool = False,
    retakes: dict[str, str] | None = None,
) -> Any:
    """Render a storyboard: validate, estimate, submit, wait, store, report."""
    settings = Settings.load()
    ask = Ask(spec, tuple(provider or ()), retakes or {})
    wish = Wish(Money.parse(max_cost) if max_cost else None, yes, approve)
    try:
        async with Production.open(settings, watcher=WATCHER.get()) as production:
            production.ledger.recover(owner())
            plan = await make_plan(production, ask, loaded=load_board(spec), check=_validate)
            approval = gate(plan, production.ledger, wish)
            if isinstance(approval, NeedsApproval):
                return Failed(name="Not approved", message=f"{approval.total} to be approved", data=None)
            check_ready(production, plan)
            return _final(await render_plan(production, plan, approval))
    except (RushesError, SpecError) as error:
        return Failed(name="Refused", message=str(error), data=error)


async def _validate(*args: Any) -> Any:
    return await steps.value_of(await steps.validate(*args))


def _final(report: RunReport) -> "State[Any]":
    """The flow run's last state, by name, with the document of `render --json` as its result."""
    document = result_json(report)
    match ExitCode(report.exit_code):
        case ExitCode.OK:
            return Completed(data=document, message=f"{len(report.rows)} shots stored")
        case ExitCode.MONEY_NEEDS_A_PERSON:
            return Failed(name="Needs a person", data=document, message="see the notes of the shots")
        case code:
            return Failed(data=document, message=f"exit code {int(code)}: see the notes of the shots")


@dataclass(slots=True)
class _Shooting:
    """A run under way: one slot a live job of each provider, and one result a shot key."""

    production: Production
    run: Run
    wakeups: Wakeups
    slots: dict[str, asyncio.Semaphore]
    results: dict[str, "asyncio.Future[Outcome]"] = field(default_factory=dict)


async def render_plan(production: Production, plan: Plan, approval: Approval) -> RunReport:
    """Shoot every shot of an approved plan and deliver what came of it; a shot that fails stops no other."""
    started = production.clock.now()
    run = Run(f"{started:%Y%m%d-%H%M%S}-{production.rng.new_id()[-6:]}", owner(), plan.board, approval, plan.caps)
    production.ledger.begin_run(
        run.run_id,
        board=plan.board,
        spec_sha256=plan.spec_sha256,
        digest=plan.digest,
        caps=(),
        approved_by=approval.by,
        approval=approval.reason,
    )
    production.watcher.begins({shot.request.shot: shot.request.duration for shot in plan.shots})
    shooting = _Shooting(production, run, Wakeups(), _slots(production, plan))
    beating = asyncio.create_task(_heartbeat(production, run))
    try:
        async with asyncio.TaskGroup() as group:
            chains = [group.create_task(_chain(shooting, shot)) for shot in plan.shots]
        outcomes = [chain.result() for chain in chains]
    finally:
        beating.cancel()
    report = report_of(production, plan, outcomes, run_id=run.run_id, started_at=started)
    production.watcher.report()
    delivered = await asyncio.to_thread(deliver, production, plan, report, plan_json(plan))
    production.ledger.end_run(run.run_id, report.exit_code)
    await _artifacts(report, delivered.uris)
    return report


def _slots(production: Production, plan: Plan) -> dict[str, asyncio.Semaphore]:
    """At most as many shots in submit and wait as the provider takes jobs at once."""
    caps = {shot.provider: shot.caps for shot in plan.shots}
    return {
        name: asyncio.Semaphore(production.account(name).max_in_flight or row.max_in_flight)
        for name, row in caps.items()
    }


HEARTBEAT = 15.0


async def _heartbeat(production: Production, run: Run) -> None:
    while True:
        await production.clock.sleep(HEARTBEAT)
        production.ledger.heartbeat(run.owner)


async def _chain(shooting: _Shooting, shot: PlannedShot) -> Outcome:
    """One shot to its end; a second shot with the same request shares the first one's result."""
    first = shooting.results.get(shot.key)
    if first is not None:
        outcome = await asyncio.shield(first)
        return Outcome(shot, outcome.state, outcome.intent, shot.decision.note, outcome.exit_code)
    mine = shooting.results[shot.key] = asyncio.get_running_loop().create_future()
    try:
        outcome = await _shoot(shooting, shot)
    except RushesError as error:
        code = ExitCode(error.exit_code)
        outcome = Outcome(
            shot, "refused" if code is not ExitCode.SOME_FAILED else "failed", None, unresolved(error), code
        )
    except BaseException:
        mine.cancel()
        raise
    mine.set_result(outcome)
    _tell(shooting, shot, outcome.state)
    return outcome


def _tell(shooting: _Shooting, shot: PlannedShot, phase: str) -> None:
    watcher = shooting.production.watcher
    watcher.shot(shot.request.shot, phase)
    sums = shooting.production.ledger.totals(run_id=shooting.run.run_id)
    watcher.money(
        reserved=_sum(sums.reserved.values()),
        settled=_sum(sums.settled.values()),
        in_doubt=_sum(sums.in_doubt.values()),
    )


def _sum(amounts: Iterable[Money]) -> str:
    return " + ".join(str(money) for money in amounts if money.micros) or "0.00 USD"


async def _shoot(shooting: _Shooting, shot: PlannedShot) -> Outcome:
    production, decision = shooting.production, shot.decision
    if decision.action is Action.HELD and decision.intent is not None:
        return _held(shot, decision.intent)
    if decision.action is Action.REUSE and decision.intent is not None:
        return outcome_of(shot, await steps.value_of(await steps.reuse(shot, decision.intent)), decision.note)
    _tell(shooting, shot, "queued")
    async with shooting.slots[shot.provider]:
        intent = await _made(shooting, shot)
    if intent.state is IntentState.SUCCEEDED:
        _tell(shooting, shot, "store")
        intent = await steps.value_of(await steps.store(production, intent))
    return outcome_of(shot, production.ledger.get(intent.intent_id))


def _held(shot: PlannedShot, intent: Intent) -> Outcome:
    """Nothing is done about a held shot; one that is held because it was edited counts as refused."""
    if intent.state in {IntentState.STORED, IntentState.SUPERSEDED}:
        return Outcome(shot, "refused", None, shot.decision.note, ExitCode.REFUSED)
    return outcome_of(shot, intent, shot.decision.note)


async def _made(shooting: _Shooting, shot: PlannedShot) -> Intent:
    """The job's end, whether this run submitted it or an earlier one did."""
    production = shooting.production
    intent = shot.decision.intent
    if shot.decision.action is Action.CREATE or intent is None:
        _tell(shooting, shot, "submit")
        intent = await steps.value_of(await steps.submit(production, shooting.run, shot))
    production.watcher.job(intent.intent_id, shot.request.shot)
    if intent.state is IntentState.SUBMITTED:
        _tell(shooting, shot, "wait")
        intent = await steps.value_of(await steps.wait(production, intent, shooting.wakeups))
    return intent


async def _artifacts(report: RunReport, uris: dict[str, str]) -> None:
    """What the Prefect UI shows of the run."""
    key = f"rushes-{report.board.lower().replace('_', '-')}"
    await acreate_markdown_artifact(summary_markdown(report), key=f"{key}-summary", description=report.title)
    await acreate_table_artifact(_cost_table(report.rows), key=f"{key}-costs", description="Costs, a row a shot")
    if uris["reel.mp4"].startswith(("http://", "https://")):
        await acreate_link_artifact(uris["reel.mp4"], "The reel", key=f"{key}-reel")


def _cost_table(rows: Sequence[Any]) -> list[dict[str, Any]]:
    return [
        {
            "shot": row.shot,
            "take": row.take,
            "state": row.state,
            "provider": row.provider,
            "quoted": str(row.quoted or ""),
            "billed": str(row.billed or ""),
            "note": row.note,
        }
        for row in rows
    ]
