"""What became of each shot of a run, in the words of the report."""

from dataclasses import dataclass

from tasks.estimate import Action, PlannedShot
from tasks.exits import ExitCode
from tasks.ledger import Intent, IntentState
from tasks.rows import State

__all__ = ["Outcome", "outcome_of"]


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
    state = _STATES[intent.state]
    overbilled = _overbilled(intent)
    words = [note, intent.doubt_reason if state == "in_doubt" else "", _reason(intent, state), overbilled]
    exit_code = ExitCode.MONEY_NEEDS_A_PERSON if overbilled else _EXITS[state]
    return Outcome(shot, state, intent, "; ".join(word for word in words if word), exit_code)


def _reason(intent: Intent, state: State) -> str:
    if state == "stored":
        return f"suspect: {intent.artifact.suspect}" if intent.artifact and intent.artifact.suspect else ""
    return intent.reason or ""


def _overbilled(intent: Intent) -> str:
    billed = intent.billed
    if billed is None or billed.micros * 4 <= intent.quote.micros * 5:
        return ""
    return f"billed {billed}, quoted {intent.quote}"
