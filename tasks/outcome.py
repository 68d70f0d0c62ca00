"""What became of each shot of a run, and the run in the plain values of its report."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from specs.money import USD, Money
from tasks.estimate import Action, Plan, PlannedShot
from tasks.exits import ExitCode, worst
from tasks.ledger import Intent, IntentState
from tasks.production import Production
from tasks.report import Row, RunReport, totals
from tasks.rows import Action as RowAction
from tasks.rows import State
from tasks.store import clip_cache, fetch_take

__all__ = ["Outcome", "outcome_of", "report_of"]


_STATES: dict[IntentState, State] = {
    IntentState.SUBMITTING: "in_doubt",
    IntentState.IN_DOUBT: "in_doubt",
    IntentState.SUBMITTED: "stalled",
    IntentState.STALLED: "stalled",
    IntentState.SUCCEEDED: "stalled",
    IntentState.RESULT_HELD: "held",
    IntentState.STORED: "stored",
    IntentState.SUPERSEDED: "stored",
    IntentState.REJECTED: "failed",
    IntentState.FAILED_UNSETTLED: "failed",
    IntentState.FAILED_FINAL: "failed",
    IntentState.ABANDONED: "failed",
    IntentState.CANCELLED: "cancelled",
}

_EXITS: dict[State, ExitCode] = {
    "stored": ExitCode.OK,
    "failed": ExitCode.SOME_FAILED,
    "cancelled": ExitCode.SOME_FAILED,
    "refused": ExitCode.REFUSED,
    "in_doubt": ExitCode.MONEY_NEEDS_A_PERSON,
    "held": ExitCode.MONEY_NEEDS_A_PERSON,
    "stalled": ExitCode.MONEY_NEEDS_A_PERSON,
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One shot at the end of a run; `exit_code` is what this shot alone would make of the run."""

    shot: PlannedShot
    state: State
    intent: Intent | None
    note: str
    exit_code: ExitCode

    @property
    def created(self) -> bool:
        """Whether this run sent a create for it."""
        return self.shot.decision.action is Action.CREATE and self.intent is not None


def outcome_of(shot: PlannedShot, intent: Intent, note: str = "") -> Outcome:
    """Read the outcome from the intent; a bill above the quote needs a person even where the take is stored."""
    given_up = intent.state is IntentState.SUPERSEDED and intent.artifact is None
    state = "failed" if given_up else _STATES[intent.state]
    overbilled = _overbilled(intent)
    words = [note, intent.doubt_reason if state == "in_doubt" else "", _reason(intent, state), overbilled]
    exit_code = ExitCode.MONEY_NEEDS_A_PERSON if overbilled else _EXITS[state]
    return Outcome(shot, state, intent, "; ".join(word for word in words if word), exit_code)


def _reason(intent: Intent, state: State) -> str:
    if state == "stored":
        return f"suspect: {intent.artifact.suspect}" if intent.artifact and intent.artifact.suspect else ""
    if intent.state is IntentState.FAILED_UNSETTLED:
        said = intent.reason or "failed"
        return (
            f"{said}; whether it was billed is not known, {intent.reserved} stay reserved: `rushes collect` asks again"
        )
    return intent.reason or ""


def _overbilled(intent: Intent) -> str:
    billed = intent.billed
    if billed is None or billed.micros * 4 <= intent.quote.micros * 5:
        return ""
    return f"billed {billed}, quoted {intent.quote}"


_ACTIONS: dict[Action, RowAction] = {
    Action.CREATE: "create",
    Action.REUSE: "reuse",
    Action.RESUME: "resume",
    Action.HELD: "skip",
}


def report_of(
    production: Production, plan: Plan, outcomes: Sequence[Outcome], *, run_id: str, started_at: dt.datetime
) -> RunReport:
    """The run in plain values, from the ledger's facts."""
    rows = tuple(_row(production, plan, one, run_id) for one in outcomes)
    return RunReport(
        run_id=run_id,
        board=plan.board,
        title=plan.title,
        digest=plan.digest,
        exit_code=int(worst(one.exit_code for one in outcomes)),
        started_at=started_at,
        finished_at=production.clock.now(),
        rows=rows,
        totals=totals(rows),
        store_uri=production.store.uri(""),
        providers=tuple(dict.fromkeys(one.shot.provider for one in outcomes)),
        warnings=plan.warnings,
    )


def _row(production: Production, plan: Plan, outcome: Outcome, run_id: str) -> Row:
    shot, intent = outcome.shot, outcome.intent
    artifact = intent.artifact if intent else None
    quoted = intent.quote if intent else shot.quote.money
    billed = intent.billed if intent else None
    in_doubt = intent is not None and intent.state is IntentState.IN_DOUBT
    open_money = intent.reserved if intent and intent.reserved.micros and not in_doubt else None
    return Row(
        run_id=run_id,
        board=plan.board,
        shot=shot.request.shot,
        take=intent.take if intent else shot.take,
        provider=intent.provider if intent else shot.provider,
        model=intent.model if intent else shot.caps.model,
        mode=shot.request.mode,
        audio=shot.request.audio,
        seconds=shot.request.duration,
        action=_ACTIONS[shot.decision.action] if intent else "skip",
        state=outcome.state,
        quoted=quoted,
        billed=billed,
        usd=_usd(production, billed or quoted, intent.provider if intent else shot.provider),
        job_id=(intent.job_id or "") if intent else "",
        submitted_at=intent.submitted_at if intent else None,
        finished_at=intent.finished_at if intent else None,
        wait_s=_waited(outcome),
        sha256=artifact.sha256 if artifact else "",
        uri=production.store.uri(artifact.path) if artifact else "",
        note=outcome.note,
        prompt=_prompt(outcome),
        still=shot.checked.stills[shot.request.still].path,
        clip=_clip(production, outcome),
        suspect=artifact.suspect if artifact else "",
        reserved=open_money,
        in_doubt=quoted if in_doubt else None,
        intent_id=intent.intent_id if intent else "",
    )


def _usd(production: Production, money: Money, provider: str) -> Decimal | None:
    if money.unit == USD:
        return money.amount
    rate = production.account(provider).rate
    return money.amount * rate if rate is not None else None


def _waited(outcome: Outcome) -> float | None:
    intent = outcome.intent
    if intent is None or intent.submitted_at is None or intent.finished_at is None:
        return None
    return (intent.finished_at - intent.submitted_at).total_seconds()


def _prompt(outcome: Outcome) -> str:
    cuts = outcome.shot.request.cuts
    parts = [cut.prompt for cut in cuts] if isinstance(cuts, tuple) else []
    return " / ".join(part for part in (outcome.shot.request.prompt, *parts) if part)


def _clip(production: Production, outcome: Outcome) -> Path | None:
    """A local copy of the take, fetched from the store where this machine has none."""
    artifact = outcome.intent.artifact if outcome.intent else None
    if artifact is None:
        return None
    cached = clip_cache(production, artifact.sha256)
    if not cached.exists():
        return cached if fetch_take(production, artifact, cached) else None
    return cached
