"""Doubts: what only a person can settle, and the decisions that settle it. Each records who, when, why and the evidence."""

import getpass
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.errors import Refused, SetupProblem
from tasks.ledger import Intent
from tasks.production import Production, open_ledger
from tasks.settings import Settings
from tasks.shoot import owner
from tasks.submit import confirms

__all__ = ["Decision", "doubt_json", "doubt_lines", "doubts_now", "resolve", "resolve_now"]

HORIZON = 60 * 60 + 60.0
"""Seconds after which "absent" may be said: no callback of a create that did arrive can still be under way by then."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person says of an intent in doubt: exactly one of the three, with the reason."""

    intent_id: str
    why: str
    job_id: str | None = None
    absent: bool = False
    write_off: bool = False

    @property
    def reason(self) -> str:
        """Why, in the person's words, else in those of the option that was chosen."""
        if self.why.strip():
            return self.why
        if self.absent:
            return "a person looked at the provider's list of jobs and did not find it"
        return "given up by a person" if self.write_off else "named by a person, confirmed by a query"

    def check(self) -> None:
        """Refuse none or several decisions at once.

        Raises:
            Refused: naming the three.
        """
        if sum((self.job_id is not None, self.absent, self.write_off)) != 1:
            raise Refused("say exactly one of --job-id ID, --absent, --write-off")


def doubt_json(intents: Sequence[Intent]) -> list[dict[str, Any]]:
    """What `doubts --json` prints: the intents with the money at stake."""
    return [
        {
            "intent": intent.intent_id,
            "state": intent.state,
            "board": intent.board,
            "shot": intent.shot,
            "take": intent.take,
            "provider": intent.provider,
            "reserved": intent.reserved.text,
            "unit": intent.quote.unit,
            "job_id": intent.job_id,
            "reason": intent.doubt_reason or intent.reason,
            "since": intent.updated_at.isoformat(),
        }
        for intent in intents
    ]


def doubt_lines(intents: Sequence[Intent]) -> Iterator[str]:
    """What people read: each intent, the money it holds, why, and what can be said of it."""
    for intent in intents:
        reason = intent.doubt_reason or intent.reason
        what = f"{intent.board} {intent.shot} TK{intent.take:02d}"
        yield f"{intent.intent_id}  {what}  {intent.state}  {intent.reserved} reserved at {intent.provider}: {reason}"
    if intents:
        yield "Look at the provider's own list of jobs, then: rushes resolve INTENT --job-id ID | --absent | --write-off"
    else:
        yield "no doubts"


def doubts_now(settings: Settings) -> list[Intent]:
    """Every doubt of this installation, a create whose process has died under way among them."""
    ledger = open_ledger(settings)
    try:
        ledger.recover(owner())
        return ledger.doubts()
    finally:
        ledger.close()


async def resolve_now(decision: Decision) -> Intent:
    """Resolve with the settings of this installation."""
    async with Production.open(Settings.load()) as production:
        return await resolve(production, decision)


async def resolve(production: Production, decision: Decision) -> Intent:
    """Carry out a person's decision; the ledger refuses the wrong intent, a used job id, and "absent" said too early.

    Raises:
        Refused: where a guard stands in the way.
        SetupProblem: where a job id cannot be confirmed because the key is missing or the provider does not answer.
    """
    decision.check()
    who = getpass.getuser()
    ledger = production.ledger
    if decision.write_off:
        return ledger.write_off(decision.intent_id, who, decision.reason)
    if decision.absent:
        return ledger.absent(
            decision.intent_id, who, decision.reason, evidence=decision.reason, horizon_seconds=HORIZON
        )
    intent = ledger.get(decision.intent_id)
    job = decision.job_id or ""
    confirmed = await confirms(production, intent, job, production.auth(intent.provider))
    if not confirmed:
        raise SetupProblem(
            f"{intent.provider} does not confirm job {job}",
            "Check the id on the provider's own page, and that the provider can be reached (`rushes doctor`).",
        )
    return ledger.attach(decision.intent_id, job, who, decision.reason, confirmed=True)
