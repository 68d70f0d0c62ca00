"""Failover: the next provider of the preference list, for a shot whose create was definitely refused and not billed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from specs.money import Money
from tasks.errors import Refused
from tasks.estimate import Action, Decision, PlannedShot, shot_key, worth
from tasks.ledger import Event, Intent
from tasks.prices import quote as price
from tasks.providers import PROVIDERS
from tasks.providers.interface import Kind
from tasks.settings import Settings

__all__ = ["PASSES_ON", "Next", "next_choice", "refusal_kind"]

PASSES_ON = {Kind.AUTH, Kind.BALANCE, Kind.CONFIG, Kind.RATE, Kind.CONCURRENCY, Kind.TRANSIENT}
"""Refusals that are about the provider. What is wrong with the shot is wrong everywhere, and moderation is never evaded."""


@dataclass(frozen=True, slots=True)
class Next:
    """The shot as another provider would make it, None where none may; `note` tells people why."""

    shot: PlannedShot | None
    note: str


def refusal_kind(events: Sequence[Event]) -> Kind | None:
    """What an intent's create was last refused for, from its facts; None where it never was."""
    kinds = [str(event.payload["kind"]) for event in events if event.kind == "rejected"]
    return Kind(kinds[-1]) if kinds else None


def next_choice(shot: PlannedShot, refused: Intent, settings: Settings) -> Next:
    """The first later provider of the list that has the same model and asks no more than was approved for the shot.

    The caps are not looked at here: the reservation holds the new price against every one of them.
    """
    passed = []
    for name in shot.alternatives:
        try:
            chosen = _priced(shot, name, settings)
        except Refused as error:
            passed.append(f"{name} not asked: {error}")
            continue
        reason = f"{shot.provider} refused ({refused.reason or 'no reason given'})"
        note = "; ".join(filter(None, [shot.decision.note, *passed, f"{reason}, so {name} was asked"]))
        decision = Decision(Action.CREATE, shot.decision.intent, note, shot.decision.supersede)
        return Next(replace(chosen, decision=decision), note)
    return Next(None, "; ".join(filter(None, [shot.decision.note, *passed])))


def _priced(shot: PlannedShot, name: str, settings: Settings) -> PlannedShot:
    caps, account = PROVIDERS[name].caps, settings.account(name)
    if caps.paid and account.key is None:
        raise Refused("it has no key")
    if shot_key(shot.request, caps.family, shot.checked.stills) != shot.key:
        raise Refused(f"it has another model ({caps.family})")
    quoted = price(name, caps.model, shot.request)
    usd = worth(quoted.money, account.rate)
    _not_dearer(shot, quoted.money, usd)
    return replace(shot, provider=name, caps=caps, quote=quoted, usd=usd)


def _not_dearer(shot: PlannedShot, money: Money, usd: Decimal | None) -> None:
    approved = shot.quote.money
    if money.unit == approved.unit:
        dearer = approved < money
    elif usd is None or shot.usd is None:
        raise Refused(f"{money} cannot be held against the {approved} that were approved")
    else:
        dearer = shot.usd < usd
    if dearer:
        raise Refused(f"{money} are more than the {approved} that were approved")
