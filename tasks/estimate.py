"""Estimate: what of a board must be bought, what it will cost, and the digest that binds an approval to it.

`decide` is the one place that says create, reuse, resume or held.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from typing import Any

from specs.money import USD, Money
from specs.request import ShotRequest
from specs.storyboard import Budget, Storyboard
from tasks.errors import Refused
from tasks.ledger import Cap, Intent, IntentState, Ledger
from tasks.ledger.rows import to_usd
from tasks.prices import quote as price
from tasks.production import standing_caps
from tasks.providers import PROVIDERS
from tasks.providers.interface import Caps, Quote
from tasks.settings import Settings
from tasks.stills import Still
from tasks.validate import CheckedShot

__all__ = [
    "Action",
    "Decision",
    "Plan",
    "PlannedShot",
    "bound",
    "decide",
    "decimal_text",
    "digest_of",
    "estimate",
    "part_of",
    "retake_note",
    "semantics",
    "semantics_json",
    "shot_key",
    "worth",
]


class Action(StrEnum):
    """What a run will do about a shot; `HELD`: a person or `rushes collect` comes first, nothing is bought."""

    CREATE = "create"
    REUSE = "reuse"
    RESUME = "resume"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class Decision:
    """The action, the earlier intent that it rests on, and why; `supersede`: an older take gives way to this one."""

    action: Action
    intent: Intent | None = None
    note: str = ""
    supersede: bool = False


@dataclass(frozen=True, slots=True)
class PlannedShot:
    """One shot of a plan: who makes it, at what price, and what is done about it. `usd` is None without a credit rate."""

    checked: CheckedShot
    provider: str
    caps: Caps
    key: str
    take: int
    quote: Quote
    usd: Decimal | None
    decision: Decision

    @property
    def request(self) -> ShotRequest:
        """What is asked for."""
        return self.checked.request

    @property
    def alternatives(self) -> tuple[str, ...]:
        """Who may be asked where the provider definitely refuses, in the order of preference."""
        listed = self.checked.fitting
        return listed[listed.index(self.provider) + 1 :]

    @property
    def spends(self) -> Money:
        """What this plan will spend on the shot: its quote when it is created, else nothing."""
        return self.quote.money if self.decision.action is Action.CREATE else Money(0, self.quote.money.unit)


@dataclass(frozen=True, slots=True)
class Plan:
    """A priced board. `digest` binds what is `bound`; `auto_caps` hold for runs that no person approved.

    `rates` are the day's, by unit, of what it buys: earlier orders without a rate count at them against a cap in USD.
    """

    board: str
    title: str
    spec: str
    spec_sha256: str
    shots: tuple[PlannedShot, ...]
    budget: Budget
    caps: tuple[Cap, ...]
    warnings: tuple[str, ...]
    digest: str
    providers: tuple[str, ...] = ()
    auto_caps: tuple[Cap, ...] = ()
    rates: Mapping[str, Decimal] = field(default_factory=dict)

    @property
    def by_unit(self) -> dict[str, Money]:
        """What will be spent, by unit."""
        sums: dict[str, Money] = {}
        for shot in self.shots:
            sums[shot.spends.unit] = sums.get(shot.spends.unit, Money(0, shot.spends.unit)) + shot.spends
        return sums

    @property
    def usd(self) -> Decimal | None:
        """What will be spent in USD; None when credits without a rate are among it."""
        wanted = [(shot.spends.micros, shot.usd) for shot in self.shots]
        if any(micros and usd is None for micros, usd in wanted):
            return None
        return sum((usd for micros, usd in wanted if micros and usd is not None), Decimal(0))

    @property
    def free(self) -> bool:
        """Whether nothing will be spent."""
        return not any(money.micros for money in self.by_unit.values())


def semantics(request: ShotRequest, family: str, stills: Mapping[str, Still]) -> dict[str, Any]:
    """What the clip depends on, by content: the same for every provider of a model family, whatever the files are called."""
    cuts = request.cuts
    return {
        "family": family,
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt or "",
        "duration": request.duration,
        "mode": request.mode,
        "audio": request.audio,
        "cuts": [[cut.duration, cut.prompt] for cut in cuts] if isinstance(cuts, tuple) else cuts,
        "still": stills[request.still].sha256,
        "end_still": stills[request.end_still].sha256 if request.end_still else None,
        "elements": [
            {"front": stills[one.front].sha256, "references": [stills[view].sha256 for view in one.references]}
            for one in request.elements
        ],
        "take": request.take,
    }


def semantics_json(request: ShotRequest, family: str, stills: Mapping[str, Still]) -> str:
    """The semantic request as canonical JSON, kept with the intent so that a later edit can be named.

    `aspect` is the start still's width over height: what the delivered clip is held against.
    """
    still = stills[request.still]
    facts = {"shot": semantics(request, family, stills), "aspect": round(still.width / still.height, 6)}
    return json.dumps(facts, sort_keys=True)


def shot_key(request: ShotRequest, family: str, stills: Mapping[str, Still]) -> str:
    """The sha256 of the semantic request: the lock against buying the same clip twice."""
    return _sha256(semantics(request, family, stills))


def _sha256(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


_DONE = {IntentState.STORED, IntentState.SUPERSEDED}
_UNDER_WAY = {IntentState.SUBMITTING, IntentState.SUBMITTED, IntentState.SUCCEEDED, IntentState.STALLED}
_BUYABLE = {IntentState.REJECTED, IntentState.CANCELLED}
_ENDED = {IntentState.SUPERSEDED, IntentState.FAILED_FINAL, IntentState.ABANDONED}
_HELD_NOTES = {
    IntentState.IN_DOUBT: "outcome unknown; see `rushes doubts`",
    IntentState.RESULT_HELD: "paid, result not fetched; `rushes collect` tries again",
    IntentState.FAILED_UNSETTLED: "failed, refund unknown; `rushes collect` asks again, `rushes retake` buys a new take",
}


def decide(ledger: Ledger, board: str, request: ShotRequest, caps: Caps, key: str) -> Decision:
    """Create, reuse, resume or held: read from the ledger's facts alone."""
    row = ledger.find(key)
    if row is None:
        return _new_shot(ledger, board, request, caps)
    # A clip that comes after its shot was bought anew lies beside the newer take, whatever its row has become.
    if row.state in _ENDED or row.extra:
        row = _retaken(ledger, board, request.shot, row) or row
    if row.state in _DONE and row.artifact is not None:
        return Decision(Action.REUSE, row, f"take {row.take} of {row.shot}")
    if row.state in _UNDER_WAY:
        note = f"job {row.job_id} is under way" if row.job_id else "another run is submitting it"
        return Decision(Action.RESUME, row, note)
    billed = row.billed is not None and row.billed.micros > 0
    again = _BUYABLE if caps.paid else {*_BUYABLE, IntentState.FAILED_FINAL}
    if row.state in again and not billed:
        return _new_shot(ledger, board, request, caps)
    ended = "written off" if row.state is IntentState.ABANDONED else "failed"
    note = f"{ended}, {'and billed' if billed else 'and not billed'}; `rushes retake` buys a new take"
    return Decision(Action.HELD, row, _HELD_NOTES.get(row.state, note))


def _new_shot(ledger: Ledger, board: str, request: ShotRequest, caps: Caps) -> Decision:
    older = ledger.live_for_shot(board, request.shot, caps.family)
    if older is None:
        return Decision(Action.CREATE)
    if not caps.paid:
        return Decision(Action.CREATE, older, "changed since the last render", supersede=True)
    if older.state in {IntentState.IN_DOUBT, *_UNDER_WAY}:
        return Decision(Action.HELD, older, f"take {older.take} is still {older.state.lower()}; finish it first")
    if request.take > _asked(older)["take"]:
        return Decision(Action.CREATE, older, f"new take, after take {older.take}", supersede=True)
    changed = ", ".join(_changes(_asked(older), request))
    what = f"another {changed}" if changed else "other stills"
    note = f"already bought with {what}; raise `take:` to buy it anew"
    return Decision(Action.HELD, older, note)


def _retaken(ledger: Ledger, board: str, shot: str, row: Intent) -> Intent | None:
    """The take of the very same content that a person asked for with `rushes retake`, in place of `row`."""
    live = ledger.live_for_shot(board, shot, row.family)
    return live if live and _asked(live) | {"take": 0} == _asked(row) | {"take": 0} else None


def _asked(intent: Intent) -> dict[str, Any]:
    asked: dict[str, Any] = json.loads(intent.request_json)["shot"]
    return asked


def _changes(old: Mapping[str, Any], request: ShotRequest) -> Iterator[str]:
    cuts = request.cuts
    new = {
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt or "",
        "duration": request.duration,
        "mode": request.mode,
        "audio": request.audio,
        "cuts": [[cut.duration, cut.prompt] for cut in cuts] if isinstance(cuts, tuple) else cuts,
        "take": request.take,
    }
    return (name for name, value in new.items() if old.get(name) != value)


def estimate(
    board: Storyboard,
    checked: Sequence[CheckedShot],
    *,
    ledger: Ledger,
    settings: Settings,
    spec: str,
    spec_sha256: str,
    warnings: Sequence[str] = (),
    retakes: Mapping[str, str] | None = None,
    providers: tuple[str, ...] = (),
) -> Plan:
    """Price the board and decide about each shot.

    Raises:
        Refused: a shot without a dated price, or above `budget.per_shot`.
    """
    shots: list[PlannedShot] = []
    seen: dict[str, str] = {}
    for one in checked:
        shot = _plan_shot(board, one, ledger, settings, seen)
        if reason := (retakes or {}).get(one.request.shot):
            shot = replace(shot, decision=replace(shot.decision, note=retake_note(reason)))
        seen.setdefault(shot.key, one.request.shot)
        shots.append(shot)
    plan = Plan(
        board=board.code,
        title=board.title,
        spec=spec,
        spec_sha256=spec_sha256,
        shots=tuple(shots),
        budget=board.budget or Budget(),
        caps=_caps(board, settings),
        warnings=tuple(warnings),
        digest="",
        providers=providers,
        auto_caps=_auto_caps(settings),
        rates={
            shot.quote.money.unit: rate
            for shot in shots
            if shot.spends.micros and (rate := settings.account(shot.provider).rate) is not None
        },
    )
    return part_of(plan, plan.shots)


def retake_note(reason: str) -> str:
    """How the reason for a new take is recorded with its order."""
    return f"retake: {reason}"


def _plan_shot(
    board: Storyboard, checked: CheckedShot, ledger: Ledger, settings: Settings, seen: Mapping[str, str]
) -> PlannedShot:
    """The first listed provider that can do the shot and whose price fits the cap per shot."""
    request, refusals = checked.request, []
    for name in checked.fitting:
        caps = PROVIDERS[name].caps
        try:
            quoted = price(name, caps.model, request)
            key = shot_key(request, caps.family, checked.stills)
            decision = decide(ledger, board.code, request, caps, key)
            if decision.action is Action.CREATE and key in seen:
                decision = Decision(Action.REUSE, None, f"the same request as {seen[key]}")
            usd = worth(quoted.money, _rate(decision, quoted.money.unit, settings.account(name).rate))
            if decision.action is Action.CREATE:
                _within(board, request, quoted.money, usd)
        except Refused as error:
            refusals.append(error)
            continue
        return PlannedShot(
            checked, name, caps, key, _take(ledger, board.code, request, decision), quoted, usd, decision
        )
    raise refusals[0] if len(refusals) == 1 else _no_provider(request, refusals)


def _no_provider(request: ShotRequest, refusals: Sequence[Refused]) -> Refused:
    return Refused(f"{request.shot}: {'; '.join(map(str, refusals)) or 'no provider can do it'}")


def _rate(decision: Decision, unit: str, today: Decimal | None) -> Decimal | None:
    """What is bought already keeps the rate of its order; what is to be bought has today's."""
    order = None if decision.action is Action.CREATE else decision.intent
    return order.rate if order is not None and order.quote.unit == unit else today


def worth(money: Money, rate: Decimal | None) -> Decimal | None:
    """`money` in USD; None for credits without a rate."""
    usd = to_usd(money, rate)
    return None if usd is None else usd.amount


def _within(board: Storyboard, request: ShotRequest, money: Money, usd: Decimal | None) -> None:
    cap = board.budget.per_shot if board.budget else None
    if cap is None:
        return
    amount = money.amount if cap.unit == money.unit else usd if cap.unit == USD else None
    if amount is None:
        raise Refused(
            f"{request.shot} costs {money}, which cannot be held against budget.per_shot of {cap}",
            "Set SJINN_USD_PER_CREDIT, or write the cap in the provider's unit.",
        )
    if amount > cap.amount:
        raise Refused(f"{request.shot} costs {money}, above budget.per_shot of {cap}", "Shorten it, or use mode: std.")


def _take(ledger: Ledger, board: str, request: ShotRequest, decision: Decision) -> int:
    """The number in the file's name: the earlier intent's, else the spec's, or the next free one where that is used."""
    if decision.action is not Action.CREATE and decision.intent is not None:
        return decision.intent.take
    used = set(ledger.takes(board, request.shot))
    return request.take if request.take not in used else max(used) + 1


def _caps(board: Storyboard, settings: Settings) -> tuple[Cap, ...]:
    caps = []
    if board.budget and board.budget.cap:
        caps.append(Cap("board", board.code, board.budget.cap))
    return (*caps, *standing_caps(settings))


def _auto_caps(settings: Settings) -> tuple[Cap, ...]:
    """The operator's own limits for runs that no person approved: of each, and of all of a day."""
    caps = []
    if settings.auto_cap:
        caps.append(Cap("approval", "", settings.auto_cap))
    if settings.auto_day_cap:
        caps.append(Cap("auto", "", settings.auto_day_cap))
    return tuple(caps)


def part_of(plan: Plan, shots: Sequence[PlannedShot]) -> Plan:
    """A part of a plan, with a digest that binds exactly these shots, under the caps of the whole."""
    part = replace(plan, shots=tuple(shots))
    return replace(part, digest=digest_of(bound(part)))


def digest_of(facts: Mapping[str, Any]) -> str:
    """The digest under which the `bound` facts of a plan are approved."""
    return _sha256(facts)


def bound(plan: Plan) -> dict[str, Any]:
    """What an approval of the plan binds: each shot, what is done about it and at which price, the total, the caps.

    Money is decimal text; a saved plan holds the same facts under the same names.
    """
    return {
        "board": plan.board,
        "shots": [_bound_shot(shot) for shot in plan.shots],
        "by_unit": {unit: money.text for unit, money in sorted(plan.by_unit.items())},
        "caps": [{"scope": cap.scope, "limit": str(cap.limit)} for cap in plan.caps],
        "per_shot": str(plan.budget.per_shot or "none"),
        "auto_approve": str(plan.budget.auto_approve or "none"),
    }


def _bound_shot(shot: PlannedShot) -> dict[str, Any]:
    request = shot.request
    return {
        "id": request.shot,
        "take": shot.take,
        "action": shot.decision.action.value,
        "provider": shot.provider,
        "alternatives": list(shot.alternatives),
        "model": shot.caps.model,
        "quoted": shot.quote.money.text,
        "unit": shot.quote.money.unit,
        "worth_usd": decimal_text(shot.usd),
        "price_version": shot.quote.version,
        "seconds": request.duration,
        "mode": request.mode,
        "audio": request.audio,
        "key": shot.key,
    }


def decimal_text(amount: Decimal | None) -> str | None:
    """At least two places, no more than needed."""
    if amount is None:
        return None
    places = max(2, -int(amount.normalize().as_tuple().exponent))
    return f"{amount:.{places}f}"
