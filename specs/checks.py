"""Rules across a board that no single field can state: each from the board to the problems it finds."""

import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from difflib import get_close_matches

from specs.errors import Issue
from specs.request import ShotRequest
from specs.source import Source
from specs.storyboard import CUT_PROMPT_MAX, PROMPT_MAX, SECONDS, Storyboard

__all__ = ["problems", "warnings"]


def problems(board: Storyboard, source: Source) -> Iterator[Issue]:
    """Everything that makes a well-formed board unusable."""
    yield from _same_ids(board, source)
    yield from _unknown_elements(board, source)
    if any(True for _ in _unknown_elements(board, source)):
        return
    yield from _missing_prompts(board, source)
    yield from _seconds(board, source)
    yield from _lengths(board, source)


def warnings(board: Storyboard, source: Source) -> Iterator[Issue]:
    """What is allowed but hardly meant."""
    yield from _same_shots(board, source)
    used = {name for shot in board.shots for name in shot.elements}
    for name in board.elements:
        if name not in used:
            yield source.issue(("elements", name), "No shot uses this element")


def _same_ids(board: Storyboard, source: Source) -> Iterator[Issue]:
    """Ids that differ by case or by Unicode form only would share a folder on some systems (S03)."""
    seen: dict[str, str] = {}
    for index, shot in enumerate(board.shots):
        folded = unicodedata.normalize("NFC", shot.id).casefold()
        if folded in seen:
            yield source.issue(("shots", index, "id"), f"Another shot is called {seen[folded]} already")
        seen.setdefault(folded, shot.id)


def _unknown_elements(board: Storyboard, source: Source) -> Iterator[Issue]:
    for index, shot in enumerate(board.shots):
        for place, name in enumerate(shot.elements):
            if name not in board.elements:
                near = get_close_matches(name, board.elements, 1)
                hint = f'did you mean "{near[0]}"?' if near else "declare it under `elements`"
                yield source.issue(("shots", index, "elements", place), f"There is no element {name}", hint)


def _missing_prompts(board: Storyboard, source: Source) -> Iterator[Issue]:
    for index, shot in enumerate(board.shots):
        if shot.prompt is None and not isinstance(shot.cuts, tuple):
            yield source.issue(("shots", index, "prompt"), "Field required", "say what moves, or list cuts")


def _seconds(board: Storyboard, source: Source) -> Iterator[Issue]:
    least, most = SECONDS
    for index, shot in enumerate(board.shots):
        if not isinstance(shot.cuts, tuple):
            continue
        total = sum(cut.duration for cut in shot.cuts)
        if shot.duration is not None and shot.duration != total:
            yield source.issue(
                ("shots", index, "duration"), f"The cuts add up to {total} s, not {shot.duration}", "leave duration out"
            )
        if not least <= total <= most:
            yield source.issue(("shots", index, "cuts"), f"The cuts add up to {total} s; a shot has {least} to {most}")


def _lengths(board: Storyboard, source: Source) -> Iterator[Issue]:
    """Limits hold for what is sent: the prompt with the board's style."""
    for request in board.requests():
        place = ("shots", request.index)
        if len(request.prompt) > PROMPT_MAX:
            yield source.issue(
                (*place, "prompt"), f"With the style it has {len(request.prompt)} characters; {PROMPT_MAX} are allowed"
            )
        for number, cut in enumerate(request.cuts if isinstance(request.cuts, tuple) else ()):
            if len(cut.prompt) > CUT_PROMPT_MAX:
                yield source.issue(
                    (*place, "cuts", number, "prompt"),
                    f"With the style it has {len(cut.prompt)} characters; {CUT_PROMPT_MAX} are allowed",
                )


def _same_shots(board: Storyboard, source: Source) -> Iterator[Issue]:
    seen: dict[ShotRequest, str] = {}
    for request in board.requests():
        content = replace(request, index=0, shot="")
        if content in seen:
            yield source.issue(
                ("shots", request.index),
                f"The same request as {seen[content]}: one clip will serve both",
                "raise take: for another",
            )
        seen.setdefault(content, request.shot)
