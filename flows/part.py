"""Part: the flow that makes one part of a large board for the render that started it."""

from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field

from flows import steps
from flows.orders import PartOrder, ordered, tell_made
from flows.plan import make_plan
from flows.prefect_settings import load_settings
from flows.render import ended, said
from flows.shooting import make_shots
from flows.showing import progress_bar
from tasks.errors import Refused
from tasks.estimate import Plan, bound, part_of
from tasks.exits import worst
from tasks.gate import beyond
from tasks.production import Production
from tasks.shoot import check_setup, owner

__all__ = ["part"]

RunId = Annotated[
    str,
    Field(title="Run", description="A render fills this in. By hand, a part buys nothing.", max_length=80),
]
PartDigest = Annotated[
    str,
    Field(title="Digest", description="Binds the part to what was approved. Filled in like the run.", max_length=64),
]


@flow(name="part", persist_result=False)
async def part(run: RunId, digest: PartDigest) -> Any:
    """Make one part of a large board. A render starts it; by hand it buys nothing."""
    return await said(_made(run, digest))


async def _made(run_id: str, digest: str) -> "State[Any]":
    async with Production.open(await load_settings()) as production:
        await production.patiently(production.ledger.recover, owner())
        order = await production.patiently(ordered, production.ledger, run_id, digest)
        plan = await _planned(production, order, digest)
        async with progress_bar(production, f"{plan.board}-part") as shown:
            shown.watcher.begins({shot.request.shot: shot.request.duration for shot in plan.shots})
            outcomes = await make_shots(shown, order.run, plan.shots, steps.PrefectSteps())
        await production.patiently(tell_made, production.ledger, run_id, digest, outcomes)
    return ended(worst(one.exit_code for one in outcomes), len(outcomes))


async def _planned(production: Production, order: PartOrder, digest: str) -> Plan:
    """The part's own plan.

    Raises:
        Refused: it is no longer what was approved.
        SetupProblem: this machine lacks what it takes.
    """
    plan = await make_plan(production, order.ask, loaded=order.loaded, check=steps.checked)
    plan = part_of(plan, plan.shots)
    if changes := [*beyond(order.shown, bound(plan))]:
        raise Refused(
            "\n  ".join([f"the part has changed: {digest[:12]} was approved, it is {plan.digest[:12]} now", *changes]),
            "The render that started it makes these shots itself, as they were approved.",
        )
    await production.patiently(check_setup, production, plan)
    return plan
