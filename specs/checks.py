"""Rules across the keys of a board, and what a well-formed board hardly means.

The rules look at plain values that may still be wrong in other ways, so that every problem is found in one pass: a
value of the wrong type, reported elsewhere, is passed over.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeGuard

from specs.errors import Issue
from specs.fields import CUT_PROMPT_MAX, PROMPT_MAX, SECONDS
from specs.request import ShotRequest
from specs.source import Source
from specs.storyboard import Storyboard, styled
from specs.wording import did_you_mean

__all__ = ["Problem", "problems", "warnings"]

Values = Mapping[str, Any]
_FREE = "animatic"
_FEW = 200


class Problem(NamedTuple):
    """A broken rule: where, what, and how it may be mended."""

    path: Sequence[str | int]
    message: str
    hint: str = ""


def problems(board: Values) -> Iterator[Problem]:
    """Everything that makes a board unusable although each of its values may be right by itself."""
    yield from _same_ids(board)
    yield from _unknown_elements(board)
    yield from _prompts(board)
    yield from _seconds(board)
    yield from _lengths(board)


def warnings(board: Storyboard, source: Source) -> Iterator[Issue]:
    """What is allowed but hardly meant."""
    for path, message, hint in (*_same_requests(board), *_idle(board), *_budget(board)):
        yield source.issue(path, message, hint)


def _shots(board: Values) -> Iterator[tuple[int, Values]]:
    shots = board.get("shots")
    for index, shot in enumerate(shots if isinstance(shots, list) else ()):
        if isinstance(shot, dict):
            yield index, shot


def _cuts(shot: Values) -> list[Any] | None:
    cuts = shot.get("cuts")
    return cuts if isinstance(cuts, list) else None


def _same_ids(board: Values) -> Iterator[Problem]:
    """Ids that differ in case only would share a folder on some systems (S03); other spellings are refused before."""
    seen: dict[str, tuple[int, str]] = {}
    for index, shot in _shots(board):
        name = shot.get("id")
        if not isinstance(name, str):
            continue
        first, spelt = seen.setdefault(name.casefold(), (index, name))
        if first != index:
            how = "this id" if spelt == name else f"this id as {spelt}, and some disks ignore the case"
            yield Problem(("shots", index, "id"), f"shots.{first} has {how}")


def _unknown_elements(board: Values) -> Iterator[Problem]:
    declared = board.get("elements", {})
    if not isinstance(declared, dict):
        return
    for index, shot in _shots(board):
        named = shot.get("elements")
        for place, name in enumerate(named if isinstance(named, list) else ()):
            path = ("shots", index, "elements", place)
            if isinstance(name, str) and name not in declared:
                near = did_you_mean(name, declared) if len(declared) <= _FEW else ""
                hint = near or "declare it under the board's elements"
                yield Problem(path, "The board has no such element", hint)
            elif isinstance(named, list) and name in named[:place]:
                yield Problem(path, "This element is named twice in this shot")


def _prompts(board: Values) -> Iterator[Problem]:
    for index, shot in _shots(board):
        if "prompt" not in shot and _cuts(shot) is None:
            yield Problem(("shots", index, "prompt"), "Field required", "with cuts: auto too" if "cuts" in shot else "")


def _whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _seconds(board: Values) -> Iterator[Problem]:
    least, most = SECONDS
    for index, shot in _shots(board):
        parts = [cut.get("duration") if isinstance(cut, dict) else None for cut in _cuts(shot) or ()]
        seconds = [part for part in parts if _whole(part) and part > 0]
        if not parts or len(seconds) != len(parts):
            continue
        total, written = sum(seconds), shot.get("duration")
        if _whole(written) and written != total:
            message = f"The duration is {written} s, but its cuts add up to {total} s"
            yield Problem(("shots", index, "duration"), message, "leave the duration out")
        elif not least <= total <= most:
            message = f"The cuts add up to {total} s, and a shot has {least} to {most}"
            yield Problem(("shots", index, "cuts"), message)


def _lengths(board: Values) -> Iterator[Problem]:
    """Limits hold for what is sent: the prompt with the board's style."""
    style = board.get("style")
    if not isinstance(style, str) or not style:
        return
    for index, shot in _shots(board):
        yield from _long(("shots", index, "prompt"), shot.get("prompt"), style, PROMPT_MAX)
        for number, cut in enumerate(_cuts(shot) or ()):
            if isinstance(cut, dict):
                yield from _long(("shots", index, "cuts", number, "prompt"), cut.get("prompt"), style, CUT_PROMPT_MAX)


def _long(path: Sequence[str | int], prompt: object, style: str, most: int) -> Iterator[Problem]:
    if isinstance(prompt, str) and len(prompt) <= most < (length := len(styled(prompt, style))):
        yield Problem(path, f"With the style it has {length} characters, and at most {most} can be sent")


def _same_requests(board: Storyboard) -> Iterator[Problem]:
    seen: dict[ShotRequest, str] = {}
    for request in board.requests():
        first = seen.setdefault(replace(request, index=0, shot=""), request.shot)
        if first != request.shot:
            message = f"This asks for the same as {first}, so one clip will serve both"
            yield Problem(("shots", request.index), message, "raise take: for another")


def _idle(board: Storyboard) -> Iterator[Problem]:
    used = {name for shot in board.shots for name in shot.elements}
    for name in board.elements:
        if name not in used:
            yield Problem(("elements", name), "No shot uses this element")
    for index, shot in enumerate(board.shots):
        if shot.prompt and isinstance(shot.cuts, tuple):
            message = "A shot with a list of cuts is directed by their prompts; a provider may ignore this one"
            yield Problem(("shots", index, "prompt"), message)


def _budget(board: Storyboard) -> Iterator[Problem]:
    budget = board.budget
    if any(name != _FREE for name in board.provider) and (budget is None or budget.cap is None):
        yield Problem(("budget", "cap"), "A board that buys has no cap", "write one, like budget: {cap: 12.00 USD}")
    if budget is None or budget.cap is None:
        return
    for name, money in (("per_shot", budget.per_shot), ("auto_approve", budget.auto_approve)):
        if money is not None and money.unit == budget.cap.unit and budget.cap < money:
            yield Problem(("budget", name), f"This is more than the cap of {budget.cap}, so it never matters")
