"""Orders: what each part of a large board may buy, and what came of it, as facts of the run in the ledger.

A part has no authority of its own. Its run was approved as a whole; approval and caps stand in the ledger, and so does whether
the run is still open. The order binds the part's shots, what is done about each and at which price; without one a part buys nothing.
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from flows.plan import Ask, LoadedBoard
from specs.loader import load_with_source
from specs.storyboard import Storyboard
from tasks.errors import Refused
from tasks.estimate import Action, Plan, PlannedShot, bound, part_of
from tasks.exits import ExitCode
from tasks.ledger import Ledger
from tasks.ledger import Run as LedgerRun
from tasks.outcome import Outcome, outcome_of
from tasks.shoot import Run, owner

__all__ = ["PartOrder", "cut", "made", "narrowed", "order_part", "ordered", "tell_made"]

ORDERED = "part-ordered"
MADE = "part-made"


def cut(plan: Plan, most: int) -> list[Plan]:
    """The shots that are yet to be made, in parts of about equal size, none with more than `most` different clips.

    Shots that ask for the same clip are in one part. Shots that are there or held are in none.
    """
    keys = list(
        dict.fromkeys(shot.key for shot in plan.shots if shot.decision.action in {Action.CREATE, Action.RESUME})
    )
    count = -(-len(keys) // most)
    bounds = [len(keys) * number // count for number in range(count + 1)] if count else []
    chosen = [set(keys[low:high]) for low, high in pairwise(bounds)]
    return [part_of(plan, [shot for shot in plan.shots if shot.key in wanted]) for wanted in chosen]


@dataclass(frozen=True, slots=True)
class PartOrder:
    """One part: its place among the others, the run that it works for, what was approved, and how it is planned anew."""

    number: int
    of: int
    run: Run
    ask: Ask
    loaded: LoadedBoard
    shown: Mapping[str, Any]


def order_part(ledger: Ledger, run_id: str, part: Plan, place: tuple[int, int], ask: Ask, loaded: LoadedBoard) -> None:
    """Record what the part with the digest of `part` is to make, so that any machine can."""
    shots = {shot.request.shot for shot in part.shots}
    spec = loaded.spec if "://" in loaded.spec else str(Path(loaded.spec).absolute())
    facts = {
        "number": place[0],
        "of": place[1],
        "spec": spec,
        "providers": ask.providers,
        "retakes": {shot: why for shot, why in ask.retakes.items() if shot in shots},
        "confined": ask.confined,
        "board": narrowed(loaded.board, shots),
        "shown": bound(part),
    }
    ledger.tell(_name(run_id, part.digest), ORDERED, facts)


def _name(run_id: str, digest: str) -> str:
    """What the facts about a part are found under."""
    return f"{run_id}/{digest}"


def narrowed(board: Storyboard, shots: Collection[str]) -> dict[str, Any]:
    """The board as JSON of its own format, with these shots alone."""
    kept = tuple(shot for shot in board.shots if shot.id in shots)
    used = {name for shot in kept for name in shot.elements}
    elements = {name: element for name, element in board.elements.items() if name in used}
    fewer = board.model_copy(update={"shots": kept, "elements": elements})
    return fewer.model_dump(mode="json", exclude_unset=True, exclude_none=True)


def ordered(ledger: Ledger, run_id: str, digest: str) -> PartOrder:
    """The order with `digest` of a run that is under way.

    Raises:
        Refused: there is none.
    """
    run = ledger.run(run_id)
    facts = _latest(ledger, run_id, ORDERED, digest)
    if run is None or facts is None or ledger.closed(run_id, owner()):
        raise Refused(
            f"no render under way has ordered part {digest[:12]} of run {run_id}",
            "Parts are started by `render` alone; start that instead.",
        )
    ask = Ask(facts["spec"], tuple(facts["providers"]), facts["retakes"], facts["confined"])
    working = Run(run.run_id, owner(), run.board, run.caps)
    return PartOrder(facts["number"], facts["of"], working, ask, _loaded(run, facts), facts["shown"])


def _latest(ledger: Ledger, run_id: str, kind: str, digest: str) -> Mapping[str, Any] | None:
    found = [one.payload for one in ledger.events(_name(run_id, digest)) if one.kind == kind]
    return found[-1] if found else None


def _loaded(run: LedgerRun, facts: Mapping[str, Any]) -> LoadedBoard:
    text = json.dumps(facts["board"]).encode()
    board, source = load_with_source(text, name=f"{run.board}.json")
    return LoadedBoard(board, source, facts["spec"], hashlib.sha256(text).hexdigest())


def tell_made(ledger: Ledger, run_id: str, digest: str, outcomes: Sequence[Outcome]) -> None:
    """Record what became of a part's shots, those that were refused without a trace in the ledger among them."""
    ledger.tell(_name(run_id, digest), MADE, {one.shot.request.shot: _told(one) for one in outcomes})


def _told(outcome: Outcome) -> dict[str, Any]:
    intent = outcome.intent
    return {
        "state": outcome.state,
        "note": outcome.note,
        "exit_code": int(outcome.exit_code),
        "intent": intent.intent_id if intent else None,
        "then": intent.state if intent else None,
    }


def made(ledger: Ledger, run_id: str, part: Plan) -> list[Outcome] | None:
    """What became of the shots of `part`; None before its run has said so."""
    facts = _latest(ledger, run_id, MADE, part.digest)
    if facts is None:
        return None
    return [_outcome(ledger, shot, facts[shot.request.shot]) for shot in part.shots]


def _outcome(ledger: Ledger, shot: PlannedShot, told: Mapping[str, Any]) -> Outcome:
    """As the part told it, unless its purchase has moved on since."""
    intent = ledger.get(told["intent"]) if told["intent"] else None
    if intent is not None and intent.state != told["then"]:
        return outcome_of(shot, intent)
    return Outcome(shot, told["state"], intent, told["note"], ExitCode(told["exit_code"]))
