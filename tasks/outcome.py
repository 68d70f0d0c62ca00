"""What became of each shot of a run, and the run in the plain values of its report."""

import datetime as dt
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from tasks.errors import RushesError, as_foreseen
from tasks.estimate import Action, Plan, PlannedShot
from tasks.exits import ExitCode, worst
from tasks.failover import refusal_kind
from tasks.gate import CONFIRM
from tasks.ledger import LIVE, Intent, IntentState, LedgerFull, LedgerUnavailable
from tasks.production import Production
from tasks.providers.interface import Kind
from tasks.redaction import redact
from tasks.report import Row, RunReport, totals
from tasks.rows import Action as RowAction
from tasks.rows import State
from tasks.settings import on_loopback
from tasks.shoot import unresolved
from tasks.store import clip_cache, fetch_take

__all__ = ["Outcome", "outcome_of", "owed", "report_of", "stopped", "words_of"]

_log = logging.getLogger(__name__)

_STATES: dict[IntentState, State] = {
    IntentState.SUBMITTING: "in_doubt",
    IntentState.IN_DOUBT: "in_doubt",
    IntentState.SUBMITTED: "stalled",
    IntentState.STALLED: "stalled",
    IntentState.SUCCEEDED: "held",
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
    """One shot at the end of a run; `exit_code` is what this shot alone would make of the run.

    `overbilled`: its bill is far above its quote, past a cap or cannot be read, and no person has confirmed it. `beside`: a job of the run
    that is paid for beside the shot's own.
    """

    shot: PlannedShot
    state: State
    intent: Intent | None
    note: str
    exit_code: ExitCode
    overbilled: bool = False
    beside: bool = False


def outcome_of(shot: PlannedShot, intent: Intent, note: str = "") -> Outcome:
    """Read the outcome from the intent."""
    given_up = intent.state is IntentState.SUPERSEDED and intent.artifact is None
    state = "failed" if given_up else _STATES[intent.state]
    words = [note, intent.doubt_reason if state == "in_doubt" else "", _reason(intent, state)]
    return Outcome(shot, state, intent, "; ".join(dict.fromkeys(word for word in words if word)), _EXITS[state])


async def stopped(production: Production, shot: PlannedShot, run_id: str, error: Exception) -> Outcome:
    """What became of a shot that `error` ended: what the ledger says of its purchase, else what the error says.

    An error that nobody foresaw is a defect of ours, whose traceback goes to the log.
    """
    error = as_foreseen(error)
    words, defect = words_of(error, f"{shot.request.shot} of {run_id}"), not isinstance(error, RushesError)
    code = ExitCode.DEFECT if defect else ExitCode(getattr(error, "exit_code", ExitCode.DEFECT))
    try:
        intent = await production.patiently(_purchase, production, shot, run_id)
        if intent is not None and intent.state is IntentState.SUCCEEDED:
            with suppress(
                LedgerFull
            ):  # it is paid and not stored all the same; `collect` records it once there is room
                intent = await production.patiently(production.ledger.held, intent.intent_id, words)
    except LedgerUnavailable as closed:
        note = f"{words}; what is owed for it is not known while the ledger cannot be read ({closed})"
        return Outcome(shot, "in_doubt", shot.decision.intent, note, worst([code, ExitCode.MONEY_NEEDS_A_PERSON]))
    if intent is None:
        state: State = "failed" if code in {ExitCode.SOME_FAILED, ExitCode.DEFECT} else "refused"
        return Outcome(shot, state, shot.decision.intent if shot.decision.action is Action.REUSE else None, words, code)
    outcome = outcome_of(shot, intent, words)
    return replace(outcome, note=f"{outcome.note}; {owed(intent)}", exit_code=code) if defect else outcome


def words_of(error: Exception, where: str) -> str:
    """The sentence for what `error` ended; a defect of ours is told by its name, and its traceback goes to the log."""
    if isinstance(error, RushesError):
        return unresolved(error)
    _log.error("%s: a defect of Rushes", where, exc_info=error)
    return f"a defect of Rushes ({type(error).__name__}: {redact(' '.join(str(error).split()))[:200]})"


def owed(intent: Intent) -> str:
    """The purchase in a few words: its intent, its job, its money, its clip."""
    money = f"{intent.settled} paid" if intent.settled.micros else f"{intent.reserved} reserved"
    clip = f"its clip is {intent.artifact.uri}" if intent.artifact else "its clip is not stored yet"
    return f"intent {intent.intent_id}, job {intent.job_id or 'unknown'}: {money}, {clip}"


def _purchase(production: Production, shot: PlannedShot, run_id: str) -> Intent | None:
    """What was bought for the shot, by this run or by one that still holds it; None where no money is in it."""
    if shot.decision.action not in {Action.CREATE, Action.RESUME}:
        return None
    found = production.ledger.find(shot.key)
    if found is None or not (found.job_id or found.reserved.micros or found.settled.micros):
        return None
    return found if found.run_id == run_id or found.state in LIVE else None


def _by_facts(production: Production, outcome: Outcome, run_id: str) -> Outcome:
    """The outcome as the ledger has it now: what a step returned, or failed to return, is not what happened."""
    shot, known = outcome.shot, outcome.intent
    found = production.ledger.get(known.intent_id) if known else _purchase(production, shot, run_id)
    if found is None:
        return outcome
    if known is not None and found.state is known.state:
        return replace(outcome, intent=found)
    now = outcome_of(shot, found, shot.decision.note if known else outcome.note)
    return replace(now, exit_code=ExitCode.DEFECT) if outcome.exit_code is ExitCode.DEFECT else now


def _beside(production: Production, plan: Plan, outcomes: Sequence[Outcome], run_id: str) -> Iterator[Outcome]:
    """What else the run has paid for: no cent of it is without a row, and a shot that is paid twice needs a person."""
    named = {one.intent.intent_id for one in outcomes if one.intent}
    shots = {shot.request.shot: shot for shot in plan.shots}
    for intent in production.ledger.intents(run_id=run_id):
        if (
            intent.intent_id in named
            or intent.shot not in shots
            or not (intent.reserved.micros or intent.settled.micros)
        ):
            continue
        what = "a second job of one order: both are paid and both are fetched" if intent.extra else "an earlier order"
        outcome = outcome_of(shots[intent.shot], intent, f"{what} (intent {intent.intent_id})")
        code = worst([outcome.exit_code, ExitCode.MONEY_NEEDS_A_PERSON]) if intent.extra else outcome.exit_code
        yield replace(outcome, exit_code=code, beside=True)


def _reason(intent: Intent, state: State) -> str:
    if state == "stored":
        return f"suspect: {intent.artifact.suspect}" if intent.artifact and intent.artifact.suspect else ""
    if intent.state is IntentState.FAILED_UNSETTLED:
        said = intent.reason or "failed"
        return (
            f"{said}; whether it was billed is not known, {intent.reserved} stay reserved: `rushes collect` asks again"
        )
    return intent.reason or ""


_SET_UP = {Kind.AUTH, Kind.TRANSIENT}
"""Refusals that say nothing of the shot: a key that is not taken, a provider that cannot be reached."""
_FOR_NOW = {Kind.RATE, Kind.CONCURRENCY}
"""Refusals that pass by themselves: the provider is full."""


def _held_against_set_up(production: Production, outcomes: Sequence[Outcome], run_id: str) -> Iterator[Outcome]:
    for one in outcomes:
        intent = one.intent
        ours = intent is not None and intent.state is IntentState.REJECTED and intent.run_id == run_id
        kind = refusal_kind(production.ledger.events(intent.intent_id)) if ours and intent else None
        if kind in _FOR_NOW:
            yield replace(one, state="refused")
        else:
            yield replace(one, exit_code=ExitCode.SET_UP) if kind in _SET_UP else one


def _held_against_bills(
    production: Production, outcomes: Sequence[Outcome], unconfirmed: Mapping[str, Intent]
) -> Iterator[Outcome]:
    """A bill far above its quote, past a cap or unreadable needs a person even where the take is stored."""
    for one in outcomes:
        intent = unconfirmed.get(one.intent.intent_id) if one.intent else None
        if intent is None:
            yield one
            continue
        billed = f"billed {intent.billed or intent.amount or intent.reserved}, quoted {intent.quote}"
        note = "; ".join(filter(None, [one.note, billed, production.ledger.unread_bill(intent.intent_id)]))
        yield replace(one, note=note, exit_code=ExitCode.MONEY_NEEDS_A_PERSON, overbilled=True)


def _alerts(production: Production, run_id: str) -> tuple[str, ...]:
    """What the ledger has recorded of this run's purchases for a person's eye, in its order."""
    intents = {intent.intent_id: intent for intent in production.ledger.intents(run_id=run_id)}
    told = []
    for event in production.ledger.alerts(run_id):
        intent, facts = intents[event.intent_id], event.payload
        words = next((str(facts[name]) for name in ("message", "note", "reason") if facts.get(name)), "")
        words = words or ", ".join(f"{name} {fact}" for name, fact in facts.items())
        what = "" if event.kind == "alert" else f"{event.kind.replace('-', ' ')}: "
        told.append(redact(f"{intent.shot} TK{intent.take:02d} (intent {intent.intent_id}): {what}{words}"))
    return tuple(dict.fromkeys(told))


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
    outcomes = [_by_facts(production, one, run_id) for one in outcomes]
    outcomes += _beside(production, plan, outcomes, run_id)
    passed = [
        cap
        for cap in production.ledger.passed_caps(plan.caps)
        if any(intent.board == plan.board for intent in cap.intents)
    ]
    bills = [*production.ledger.unconfirmed_bills(), *(intent for cap in passed for intent in cap.intents)]
    unconfirmed = {intent.intent_id: intent for intent in bills}
    outcomes = list(_held_against_set_up(production, [*_held_against_bills(production, outcomes, unconfirmed)], run_id))
    rows = tuple(_row(production, plan, one, run_id) for one in outcomes)
    return RunReport(
        run_id=run_id,
        board=plan.board,
        title=plan.title,
        digest=plan.digest,
        exit_code=int(
            worst([*(one.exit_code for one in outcomes), *([ExitCode.MONEY_NEEDS_A_PERSON] if passed else [])])
        ),
        started_at=started_at,
        finished_at=production.clock.now(),
        rows=rows,
        totals=totals(rows),
        store_uri=production.store.uri(""),
        providers=tuple(dict.fromkeys(one.shot.provider for one in outcomes)),
        warnings=plan.warnings,
        alerts=_alerts(production, run_id),
        passed_caps=tuple(f"{cap}; {CONFIRM}" for cap in passed),
        rehearsal=any(
            one.shot.caps.paid and on_loopback(production.account(one.shot.provider).base_url) for one in outcomes
        ),
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
        action=_action(outcome, run_id),
        state=outcome.state,
        quoted=quoted,
        billed=billed,
        rate=intent.rate if intent else production.account(shot.provider).rate,
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
        in_doubt=intent.reserved if intent and in_doubt else None,
        intent_id=intent.intent_id if intent else "",
        overbilled=outcome.overbilled,
        beside=outcome.beside,
    )


def _action(outcome: Outcome, run_id: str) -> RowAction:
    """What this run did about the shot; a purchase that another run made meanwhile was only waited for."""
    intent, planned = outcome.intent, outcome.shot.decision.action
    if intent is None:
        return "skip"
    if planned is Action.CREATE and intent.run_id != run_id:
        return "resume"
    return _ACTIONS[planned]


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
