"""Approval: above its limit a run waits in Prefect, holding no process and no money, for a person to decide about its plan."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from prefect.flow_runs import asuspend_flow_run
from prefect.input import RunInput
from prefect.logging import get_run_logger
from pydantic import Field, create_model

from flows.plan import plan_json
from flows.showing import show_table
from specs.money import USD, Money, MoneyError
from tasks.errors import Refused
from tasks.estimate import Plan, PlannedShot
from tasks.gate import Approval, NeedsApproval, Wish, gate
from tasks.ledger import Ledger
from tasks.report import as_words

__all__ = ["Decide", "Verdict", "ask_person", "form_of", "judged", "plan_artifact"]

SHOWN = 12
TURNS = 5
"""How often one run may ask again because its plan changed while it waited."""


class Decide(RunInput):
    """The form of a suspended run."""

    decision: Literal["approve", "approve up to a lower cap", "reject"] = Field(
        title="Decision", description="Approve buys exactly the plan above. Nothing has been spent yet."
    )
    lower_cap: str = Field(
        "",
        title="Lower cap",
        description="With 'approve up to a lower cap': shots are bought until this much is spent, the others are refused.",
        examples=["3.50", "3.50 USD", "400 sjinn-credits"],
        max_length=40,
    )
    reason: str = Field("", title="Reason", description="Kept with the run; needed to reject.", max_length=500)
    digest: str = Field(
        "",
        title="Digest of the plan",
        description="Binds the decision to this plan. Leave it as it is.",
        max_length=64,
    )


def form_of(plan: Plan, needed: NeedsApproval, stale: str = "") -> type[Decide]:
    """The form with its question and the digest filled in; `with_initial_data` would drop the field's title and bounds."""
    field = Decide.model_fields["digest"]
    filled = Field(plan.digest, title=field.title, description=field.description, max_length=64)
    form: type[Decide] = create_model(Decide.__name__, digest=(str, filled), __base__=Decide)
    form._description = _words(plan, needed, stale)  # noqa: SLF001 - where Prefect keeps what stands above the form
    return form


@dataclass(frozen=True, slots=True)
class Verdict:
    """A person's approval of the plan with `digest`, up to `cap` where a lower one was named."""

    digest: str
    cap: Money | None
    reason: str


async def ask_person(plan: Plan, needed: NeedsApproval) -> Verdict:
    """Suspend the run until a person decides about `plan`; after the resume this returns what was decided.

    Call it with nothing open: the process ends here. A decision about another plan is not taken; the new one is asked about.

    Raises:
        Refused: the plan was rejected, the lower cap is none, or the plan changed too often.
    """
    stale = ""
    for turn in range(1, TURNS + 1):
        form = form_of(plan, needed, stale)
        await plan_artifact(plan)
        given = await asuspend_flow_run(wait_for_input=form, key=f"approval-{turn}")
        if given.decision == "reject":
            raise Refused(f"rejected: {given.reason.strip() or 'no reason given'}", "Nothing was spent.")
        if given.digest.strip().lower() == plan.digest:
            return Verdict(plan.digest, _lower(given, plan), given.reason.strip())
        stale = given.digest.strip()[:12]
        get_run_logger().warning("The approval of %s is refused: the plan is %s now", stale, plan.digest[:12])
    raise Refused("the plan changed each time that it was approved", "Start a new run when the board is at rest.")


def judged(plan: Plan, ledger: Ledger, wish: Wish, verdict: Verdict) -> Approval:
    """The verdict, held against every cap as it stands now; one approval for all attempts of the run, of this plan alone.

    Raises:
        Refused: a cap would be passed.
    """
    approval = gate(plan, ledger, Wish(digest=verdict.digest))
    if isinstance(approval, NeedsApproval):
        raise Refused("the plan is not approved")
    caps = approval.caps if verdict.cap is None else (verdict.cap,)
    reason = f"digest {verdict.digest} in Prefect" + (f": {verdict.reason}" if verdict.reason else "")
    name = f"{wish.attempt_of}:{plan.digest[:16]}"
    return replace(approval, reason=reason, caps=caps, approval_id=name, attempt_of=wish.attempt_of)


def _lower(given: Decide, plan: Plan) -> Money | None:
    """The lower cap; the form's own bounds are not relied on."""
    if given.decision == "approve":
        return None
    text = given.lower_cap.strip()
    try:
        cap = Money.parse(text) if " " in text else Money.of(text, USD)
    except MoneyError as error:
        raise Refused(f"the lower cap cannot be used: {error}", "Write it like 3.50 USD.") from None
    total = plan.usd if cap.unit == USD else plan.by_unit.get(cap.unit, Money(0, cap.unit)).amount
    if total is None or cap.micros <= 0 or cap.amount > total:
        known = " + ".join(map(str, plan.by_unit.values()))
        raise Refused(f"the lower cap of {cap} is not between nothing and {known}", "A new cap can only be lower.")
    return cap


def _words(plan: Plan, needed: NeedsApproval, stale: str) -> str:
    """What stands above the form, as Markdown; whatever others wrote is quoted in it, never part of it."""
    again = f"The approval of plan {stale} was refused: the board or its prices have changed. " if stale else ""
    shots = [shot for shot in plan.shots if shot.spends.micros]
    lines = [
        f"{again}“{as_words(plan.title)}” wants {needed.total}; {as_words(needed.why)}.",
        "",
        *(f"- {as_words(_bought(shot))}" for shot in shots[:SHOWN]),
        *([f"- and {len(shots) - SHOWN} more"] if len(shots) > SHOWN else []),
        *(f"- {cap.scope} cap: {cap.limit}" for cap in plan.caps),
        *(f"- warning: {as_words(warning)}" for warning in plan.warnings[:SHOWN]),
        "",
        "The whole plan is the run's table artifact.",
    ]
    return "\n".join(lines)


def _bought(shot: PlannedShot) -> str:
    request = shot.request
    sound = ", with sound" if request.audio else ""
    return f"{request.shot} TK{shot.take:02d}: {request.duration} s {request.mode}{sound} at {shot.provider}, {shot.quote.money}"


async def plan_artifact(plan: Plan) -> None:
    """The plan as a table, a row a shot."""
    document = plan_json(plan)
    await show_table(
        [_row(shot) for shot in document["shots"]],
        key=f"rushes-{plan.board.lower().replace('_', '-')}-plan",
        description=f"Plan of “{as_words(plan.title)}”, digest {plan.digest[:16]}",
    )


def _row(shot: dict[str, Any]) -> dict[str, Any]:
    names = ("id", "take", "action", "provider", "model", "mode", "seconds", "audio")
    return {name: shot[name] for name in names} | {"price": f"{shot['quoted']} {shot['unit']}", "note": shot["note"]}
