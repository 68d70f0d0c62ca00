"""The gate between a plan and its purchase: within the caps, and approved by a rule or by a person."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Literal

from specs.money import USD, Money
from tasks.disk import device, free_bytes
from tasks.download import RESERVE
from tasks.errors import Refused
from tasks.estimate import Action, Plan, bound, digest_of
from tasks.ledger import Approval, Cap, Ledger
from tasks.settings import Settings
from tasks.storage.store import local_path

__all__ = ["ASKED", "CONFIRM", "Approval", "NeedsApproval", "Wish", "beyond", "gate", "shortages", "warned"]

ASKED = "approval-asked"
"""The fact that a run of a deployment suspended to ask a person; told of its `attempt_of`."""
SHORTEST = 12
"""Digits of a digest that tell it from every other."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the caller brings: a most in USD, a yes, or the digest that a person approved, with what a saved plan says it binds.

    `attempt_of` names the flow run of a deployment, or the drop, whatever attempt of it this is. There a `yes` is no
    person's: it stands in a form that a schedule, a script or a web page may have filled in.
    """

    max_cost: Money | None = None
    yes: bool = False
    digest: str | None = None
    saved: Mapping[str, Any] | None = None
    attempt_of: str = ""


@dataclass(frozen=True, slots=True)
class NeedsApproval:
    """A plan that fits every cap but that no rule approves, with the reason."""

    total: str
    why: str


def gate(plan: Plan, ledger: Ledger, wish: Wish) -> Approval | NeedsApproval:
    """Let the plan through, or say that a person must.

    An approval that the ledger knows goes on with what is left of it, as long as the plan asks for nothing that was not approved.

    Raises:
        Refused: a cap would be passed, a price cannot be held against a cap, or another plan was approved.
    """
    earlier = ledger.approval(attempt_of=wish.attempt_of) if wish.attempt_of else None
    if earlier is not None and not [*_beyond_approved(earlier, plan)]:
        _within_caps(plan, ledger, None)
        return replace(earlier, attempt_of=wish.attempt_of)
    if wish.digest is not None:
        approval = _by_digest(plan, ledger, wish)
        _within_caps(plan, ledger, wish.max_cost)
        return approval
    if plan.free:
        return _approval(plan, wish, "auto", "nothing is spent")
    _within_caps(plan, ledger, wish.max_cost)
    if wish.yes and not wish.attempt_of:
        approval = _approval(plan, wish, "person", "--yes")
        return approval if wish.max_cost is None else replace(approval, caps=(wish.max_cost,))
    if earlier is not None and any(cap.micros for cap in earlier.caps):
        changes = "; ".join(_beyond_approved(earlier, plan))
        return NeedsApproval(_spent(plan), f"an earlier attempt was approved without this: {changes}")
    # A day's limit may be free again once a person has answered: the answer counts, be it a lower cap or a no.
    asked = wish.attempt_of and any(event.kind == ASKED for event in ledger.events(wish.attempt_of))
    why = "a person was asked about this run" if asked else _needs_a_person(plan, ledger, wish)
    return NeedsApproval(_spent(plan), why) if why else _approval(plan, wish, "auto", _rule(plan, wish))


def _approval(plan: Plan, wish: Wish, by: Literal["auto", "person"], reason: str) -> Approval:
    """A new approval of exactly this plan: one for all attempts of a flow run, one for each time that a command is typed."""
    facts = bound(plan)
    name = f"{wish.attempt_of}:{plan.digest[:16]}" if wish.attempt_of else ""
    shown = json.dumps(facts, sort_keys=True)
    return Approval(by, reason, _spends(facts), name, plan.board, plan.digest, shown, wish.attempt_of)


def _by_digest(plan: Plan, ledger: Ledger, wish: Wish) -> Approval:
    """The approval of a digest: of this very plan, or of an earlier one that goes further.

    Raises:
        Refused: neither is so.
    """
    given = (wish.digest or "").lower()
    usable = len(given) >= SHORTEST and not given.strip("0123456789abcdef")
    known = ledger.approval(digest=given) if usable else None
    if known is None and usable:
        facts = bound(plan) if plan.digest.startswith(given) else wish.saved or {}
        if digest_of(facts).startswith(given):
            digest, shown = digest_of(facts), json.dumps(facts, sort_keys=True)
            known = Approval("person", f"digest {digest}", _spends(facts), digest, plan.board, digest, shown)
    if known is not None:
        changes = [*_beyond_approved(known, plan)]
    else:
        changes = [*beyond(wish.saved, bound(plan))] if wish.saved else []
    if known is None or changes:
        stale = f"the plan has changed: {given[:SHORTEST]} was approved, it is {plan.digest[:SHORTEST]} now"
        raise Refused("\n  ".join([stale, *changes]), "Look at `rushes plan` again and approve the new digest.")
    return replace(known, attempt_of=wish.attempt_of)


def _spends(facts: Mapping[str, Any]) -> tuple[Money, ...]:
    """What a plan spends by its bound facts: one amount in USD where all can be converted, else one a unit."""
    bought = [shot for shot in facts["shots"] if shot["action"] == Action.CREATE]
    if all(shot["worth_usd"] is not None for shot in bought):
        usd = sum((Decimal(shot["worth_usd"]) for shot in bought), Decimal(0))
        return (Money(int((usd * 1_000_000).to_integral_value("ROUND_CEILING")), USD),)
    return tuple(Money.of(amount, unit) for unit, amount in facts["by_unit"].items())


def _spent(plan: Plan) -> str:
    return " + ".join(map(str, plan.by_unit.values()))


def _rule(plan: Plan, wish: Wish) -> str:
    limits = " and ".join(f"{name} of {cap}" for name, cap in _unasked(plan, wish))
    return f"within {limits}"


def _unasked(plan: Plan, wish: Wish) -> Iterator[tuple[str, Money]]:
    """What a run may spend that no person approved. A deployment's `yes` stands in for the board's limit, never for both."""
    board = plan.budget.auto_approve
    operator = [cap.limit for cap in plan.auto_caps if cap.scope == "approval"]
    if board is not None:
        yield "budget.auto_approve", board
    if operator and (board is not None or wish.yes):
        yield "RUSHES_AUTO_CAP", operator[0]


def _needs_a_person(plan: Plan, ledger: Ledger, wish: Wish) -> str:
    """Why no rule approves the plan; "" where one does."""
    limits = [*_unasked(plan, wish)]
    if not limits:
        return "the board has no auto_approve" + (", and RUSHES_AUTO_CAP is not set" if wish.yes else "")
    for name, limit in limits:
        total = _total(plan, limit.unit)
        if total is None or total > limit.amount:
            return f"{name} is {limit}"
    for cap in plan.auto_caps:
        if cap.scope != "auto":
            continue
        try:
            total, committed = _total(plan, cap.limit.unit), ledger.committed(cap, plan.rates)
        except Refused as error:
            return f"RUSHES_AUTO_DAY_CAP: {error}"
        if total is None or committed.amount + total > cap.limit.amount:
            return f"RUSHES_AUTO_DAY_CAP is {cap.limit}, of which {committed} are committed today"
    return ""


def _total(plan: Plan, unit: str) -> Decimal | None:
    """The plan's total in `unit`; None where a part of it cannot be expressed in it."""
    if unit == USD:
        return plan.usd
    others = [money for money in plan.by_unit.values() if money.unit != unit and money.micros]
    return None if others else plan.by_unit.get(unit, Money(0, unit)).amount


CONFIRM = (
    "look each bill up in the provider's own account and confirm it with `rushes resolve INTENT --billed AMOUNT`, "
    "or raise the cap"
)
"""What a person does about a cap that bills have passed."""


CLIP_BYTES = {"std": 2_000_000, "pro": 3_000_000}
"""Bytes that a second of a clip may take: twice what YouTube recommends for uploads with 60 frames a second, 7.5 Mbit/s at
720p and 12 at 1080p (support.google.com/youtube/answer/1722171)."""
COPIES = 2  # of every second, in the home (the clip that is kept, the reel in the making) and in the store (take, reel)


def shortages(plan: Plan, settings: Settings) -> list[str]:
    """Where what the plan still fetches will not fit, with the figures. A store elsewhere cannot be asked for its room."""
    coming = [shot for shot in plan.shots if shot.decision.action in {Action.CREATE, Action.RESUME} and shot.caps.paid]
    if not coming:
        return []
    size = sum(shot.request.duration * CLIP_BYTES.get(shot.request.mode, max(CLIP_BYTES.values())) for shot in coming)
    needs = {settings.home: COPIES * size + RESERVE}
    if (store := local_path(settings.store)) is not None:
        near = device(store) == device(settings.home)
        needs[settings.home if near else store] = COPIES * size + (needs[settings.home] if near else RESERVE)
    return [
        f"{place} has {free_bytes(place) / 1e6:,.0f} MB free, and {len(coming)} clips need up to {need / 1e6:,.0f} MB there"
        for place, need in needs.items()
        if free_bytes(place) < need
    ]


def warned(plan: Plan, ledger: Ledger, settings: Settings) -> Plan:
    """The plan with what a render of it would be refused for, or go on in spite of, before its other warnings."""
    return replace(plan, warnings=(*_money_warnings(plan, ledger, settings), *plan.warnings))


def _money_warnings(plan: Plan, ledger: Ledger, settings: Settings) -> tuple[str, ...]:
    warnings = [f"{short}: a render would be refused" for short in shortages(plan, settings)]
    warnings += [f"{passed}; {CONFIRM}" for passed in ledger.passed_caps(plan.caps)]
    if plan.free:
        return tuple(warnings)
    warnings += _breaker_warnings(plan, ledger, settings)
    if told := settings.told_by_file():
        warnings.append(f"the .env of this folder, which holds no key, sets {', '.join(told)}: is it yours?")
    try:
        _within_caps(plan, ledger, None)
    except Refused as error:
        warnings.append(f"{error}: a render would be refused")
    if plan.auto_caps and plan.budget.auto_approve and (why := _needs_a_person(plan, ledger, Wish())):
        warnings.append(f"{why}: a person must approve this")
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
    if plan.free:
        return
    run = (Cap("run", "", max_cost),) if max_cost else ()
    for cap in (*run, *plan.caps):
        wanted = _total(plan, cap.limit.unit)
        if wanted is None:
            raise Refused(
                f"the {cap.scope} cap of {cap.limit} cannot be held against a price in credits",
                "Set SJINN_USD_PER_CREDIT, or write the cap in the provider's unit.",
            )
        committed = ledger.committed(cap, plan.rates) if cap.scope != "run" else Money(0, cap.limit.unit)
        if committed.amount + wanted > cap.limit.amount:
            raise Refused(
                f"the {cap.scope} cap is {cap.limit}: {committed} committed, {wanted.normalize():f} more wanted",
                "Raise the cap, or make the board cheaper: shorter shots, mode: std, audio: false.",
            )


def _beyond_approved(approval: Approval, plan: Plan) -> Iterator[str]:
    if not approval.shown:
        yield f"what {approval.approval_id} allowed is not known any more"
        return
    yield from beyond(json.loads(approval.shown), bound(plan))


def beyond(shown: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Where a plan goes beyond the one that was approved, a line each, from the `bound` facts of both.

    That a shot is there by now, on its way or held goes not beyond: it costs less.
    """
    before = {shot["id"]: shot for shot in shown["shots"]}
    after = {shot["id"]: shot for shot in now["shots"]}
    for name in before.keys() - after.keys():
        yield f"{name}: no longer in the board"
    for name in after.keys() - before.keys():
        yield f"{name}: new"
    for name, shot in after.items():
        if name in before and (moved := [*_moved(before[name], shot)]):
            yield f"{name}: {', '.join(moved)}"
    for name in ("board", "caps", "per_shot", "auto_approve"):
        if shown.get(name) != now.get(name):
            yield f"{name}: {_brief(shown.get(name))} -> {_brief(now.get(name))}"


_FACTS = (
    *("take", "provider", "alternatives", "model", "quoted", "unit", "worth_usd", "price_version"),
    *("seconds", "mode", "audio"),
)


def _moved(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """The facts of one shot that differ; its key is a hash that tells nobody anything, so only its meaning is said."""
    if old.get("key") != new.get("key"):
        yield "content (prompts, stills, cuts, length, mode, audio or take)"
    elif new.get("action") != Action.CREATE:
        return
    if new.get("action") == Action.CREATE != old.get("action"):
        yield f"{old.get('action')} for nothing -> create for {new.get('quoted')} {new.get('unit')}"
    yield from (f"{fact} {old.get(fact)} -> {new.get(fact)}" for fact in _FACTS if old.get(fact) != new.get(fact))


def _brief(value: Any) -> str:
    """A fact of a plan in a few words."""
    if isinstance(value, list):
        return ", ".join(f"{cap.get('scope')} {cap.get('limit')}" for cap in value if isinstance(cap, dict)) or "none"
    return str(value)
