"""The gate between a plan and its purchase: within the caps, and approved by a rule or by a person."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Literal

from specs.money import USD, Money
from tasks.errors import Refused
from tasks.estimate import Plan
from tasks.ledger import Cap, Ledger
from tasks.settings import Settings

__all__ = ["Approval", "NeedsApproval", "Wish", "changes_between", "gate", "warned"]


@dataclass(frozen=True, slots=True)
class Wish:
    """What the caller brings: a most in USD, a person's yes, or the digest that a person approved."""

    max_cost: Money | None = None
    yes: bool = False
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class Approval:
    """A plan that may be bought: by which rule or person, and the caps of the run in each unit."""

    by: Literal["auto", "person"]
    reason: str
    caps: tuple[Money, ...]

    def run_caps(self, run_id: str, unit: str) -> tuple[Cap, ...]:
        """The run's cap for a quote in `unit`: one in USD where all can be converted, else one a unit."""
        return tuple(Cap("run", run_id, cap) for cap in self.caps if cap.unit in {USD, unit})


@dataclass(frozen=True, slots=True)
class NeedsApproval:
    """A plan that fits every cap but that nobody has approved yet."""

    total: str


def gate(plan: Plan, ledger: Ledger, wish: Wish) -> Approval | NeedsApproval:
    """Let the plan through, or say that a person must.

    Raises:
        Refused: a cap would be passed, a price cannot be held against a cap, or the approved digest is another plan's.
    """
    if wish.digest is not None and not _same(plan.digest, wish.digest):
        raise Refused(
            f"the plan has changed: {wish.digest[:12]} was approved, it is {plan.digest[:12]} now",
            "Look at `rushes plan` again and approve the new digest.",
        )
    if plan.free:
        return Approval("auto", "nothing is spent", _run_caps(plan, None))
    _within_caps(plan, ledger, wish.max_cost)
    caps = _run_caps(plan, wish.max_cost)
    if wish.digest is not None:
        return Approval("person", f"digest {plan.digest}", caps)
    if wish.yes:
        return Approval("person", "--yes", caps)
    auto = plan.budget.auto_approve
    if auto is not None and (total := _total(plan, auto.unit)) is not None and total <= auto.amount:
        return Approval("auto", f"within budget.auto_approve of {auto}", caps)
    return NeedsApproval(" + ".join(map(str, plan.by_unit.values())))


def _same(digest: str, approved: str) -> bool:
    return len(approved) >= 12 and digest.startswith(approved.lower())


def _run_caps(plan: Plan, max_cost: Money | None) -> tuple[Money, ...]:
    if max_cost is not None:
        return (max_cost,)
    if plan.usd is not None:
        return (Money(int((plan.usd * 1_000_000).to_integral_value("ROUND_CEILING")), USD),)
    return tuple(plan.by_unit.values())


def _total(plan: Plan, unit: str) -> Decimal | None:
    """The plan's total in `unit`; None where a part of it cannot be expressed in it."""
    if unit == USD:
        return plan.usd
    others = [money for money in plan.by_unit.values() if money.unit != unit and money.micros]
    return None if others else plan.by_unit.get(unit, Money(0, unit)).amount


def warned(plan: Plan, ledger: Ledger, settings: Settings) -> Plan:
    """The plan with what a render of it would be refused for, or go on in spite of, before its other warnings."""
    return replace(plan, warnings=(*_money_warnings(plan, ledger, settings), *plan.warnings))


def _money_warnings(plan: Plan, ledger: Ledger, settings: Settings) -> tuple[str, ...]:
    if plan.free:
        return ()
    warnings = list(_breaker_warnings(plan, ledger, settings))
    if told := settings.told_by_file():
        warnings.append(f"the .env of this folder, which holds no key, sets {', '.join(told)}: is it yours?")
    try:
        _within_caps(plan, ledger, None)
    except Refused as error:
        warnings.append(f"{error}: a render would be refused")
    return tuple(warnings)


def _breaker_warnings(plan: Plan, ledger: Ledger, settings: Settings) -> Iterator[str]:
    for name in dict.fromkeys(shot.provider for shot in plan.shots if shot.spends.micros):
        breaker = ledger.breaker_state(name, settings.account(name).name)
        if breaker is not None and breaker.kind == "money":
            yield (
                f"{breaker.reason}: a render that a person approves sends one shot there and goes on once its bill is right; "
                "`rushes doubts` names the bill, `rushes resolve INTENT --billed AMOUNT` confirms it"
            )
        elif breaker is not None:
            yield f"{name} stopped the last run ({breaker.reason}): a render sends one shot there first"


def _within_caps(plan: Plan, ledger: Ledger, max_cost: Money | None) -> None:
    run = (Cap("run", "", max_cost),) if max_cost else ()
    for cap in (*run, *plan.caps):
        wanted = _total(plan, cap.limit.unit)
        if wanted is None:
            raise Refused(
                f"the {cap.scope} cap of {cap.limit} cannot be held against a price in credits",
                "Set SJINN_USD_PER_CREDIT, or write the cap in the provider's unit.",
            )
        committed = ledger.committed(cap) if cap.scope != "run" else Money(0, cap.limit.unit)
        if committed.amount + wanted > cap.limit.amount:
            raise Refused(
                f"the {cap.scope} cap is {cap.limit}: {committed} committed, {wanted.normalize():f} more wanted",
                "Raise the cap, or make the board cheaper: shorter shots, mode: std, audio: false.",
            )


def changes_between(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """What differs between two plans as `plan --json` prints them, a line each."""
    before = {shot["id"]: shot for shot in old["shots"]}
    after = {shot["id"]: shot for shot in new["shots"]}
    for name in before.keys() - after.keys():
        yield f"{name}: no longer in the board"
    for name in after.keys() - before.keys():
        yield f"{name}: new"
    for name in before.keys() & after.keys():
        moved = [*_moved(before[name], after[name])]
        if moved:
            yield f"{name}: {', '.join(moved)}"
    for name in ("board", "caps", "per_shot", "auto_approve"):
        if old.get(name) != new.get(name):
            yield f"{name}: {_brief(old.get(name))} -> {_brief(new.get(name))}"


_FACTS = (
    *("take", "provider", "alternatives", "model", "quoted", "unit", "worth_usd", "price_version"),
    *("seconds", "mode", "audio"),
)


def _moved(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """The facts of one shot that differ; its key is a hash that tells nobody anything, so only its meaning is said."""
    if old.get("key") != new.get("key"):
        yield "content (prompts, stills, cuts, length, mode, audio or take)"
    yield from (f"{fact} {old.get(fact)} -> {new.get(fact)}" for fact in _FACTS if old.get(fact) != new.get(fact))


def _brief(value: Any) -> str:
    """A fact of a plan in a few words."""
    if isinstance(value, list):
        return ", ".join(f"{cap.get('scope')} {cap.get('limit')}" for cap in value if isinstance(cap, dict)) or "none"
    return str(value)
