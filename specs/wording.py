"""Pydantic's findings in the words of a storyboard, with what was probably meant."""

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel

from specs.storyboard import Budget, Cut, Defaults, Element, Shot, Storyboard

__all__ = ["did_you_mean", "hint", "message"]

_MESSAGES = {
    "tuple_type": "Input should be a list",
    "dict_type": "Input should be a mapping of keys to values",
    "model_type": "Input should be a mapping of keys to values",
    "string_type": "Input should be a text",
    "int_type": "Input should be a whole number",
    "bool_type": "Input should be true or false",
}
_LIMITS = {
    "too_short": ("min_length", "Input should have at least {} {}"),
    "too_long": ("max_length", "Input should have at most {} {}"),
}
_MODELS: Mapping[tuple[str, int], type[BaseModel]] = MappingProxyType(
    {
        ("budget", 2): Budget,
        ("defaults", 2): Defaults,
        ("elements", 3): Element,
        ("shots", 3): Shot,
        ("shots", 5): Cut,
    }
)
_ELSEWHERE = {
    # The providers' words, and those of other tools, for what a board calls otherwise.
    "seconds": "duration",
    "length": "duration",
    "image": "still",
    "start_image": "still",
    "image_tail": "end_still",
    "tail_image_url": "end_still",
    "end_image": "end_still",
    "generate_audio": "audio",
    "sound": "audio",
    "model_mode": "mode",
    "multi_prompt": "cuts",
    "multi_shot": "cuts",
    "name": "id",
    "shot": "id",
    "frontal_image_url": "front",
    "reference_image_urls": "references",
    "max_cost": "cap",
    "total": "cap",
    "standard": "std",
    "professional": "pro",
    "yes": "true",
    "on": "true",
    "no": "false",
    "off": "false",
}


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """`did you mean "prompt"?`, or nothing when no choice is near."""
    folded = {choice.casefold(): choice for choice in choices}
    near = get_close_matches(word.casefold(), folded, 1)
    known = folded[near[0]] if near else _ELSEWHERE.get(word.casefold(), "")
    return f'did you mean "{known}"?' if known in folded.values() else ""


def message(error: Mapping[str, Any]) -> str:
    """What is wrong, as one sentence."""
    kind = error["type"]
    if kind in {"tuple_type", "literal_error"} and error["loc"][2:3] == ("cuts",) and len(error["loc"]) == 4:
        return "Input should be auto, or a list of cuts"
    if kind in _LIMITS:
        limit, sentence = _LIMITS[kind]
        number = error["ctx"][limit]
        return sentence.format(number, "item" if number == 1 else "items")
    return _MESSAGES.get(kind) or str(error["msg"])


def hint(error: Mapping[str, Any], path: Sequence[str | int]) -> str:
    """What was probably meant, or how to write it."""
    kind, value = error["type"], error["input"]
    if kind == "extra_forbidden":
        return _known_keys(path)
    if kind == "literal_error":
        return did_you_mean(str(value), re.findall("'([^']*)'", str(error["ctx"]["expected"])))
    if kind == "bool_type" and isinstance(value, str):
        return did_you_mean(value, ("true", "false"))
    if kind == "string_type" and isinstance(value, int | float):
        return "put it in quotes"
    if kind == "tuple_type" and isinstance(value, str):
        return "write it in brackets, [like, this]"
    return _as_whole(value) if kind == "int_type" else ""


def _known_keys(path: Sequence[str | int]) -> str:
    model = Storyboard if len(path) == 1 else _MODELS.get((str(path[0]), len(path)))
    if model is None:
        return ""
    return did_you_mean(str(path[-1]), model.model_fields) or f"known here: {', '.join(model.model_fields)}"


def _as_whole(value: object) -> str:
    if isinstance(value, str) and (digits := re.fullmatch(r"\s*([0-9]{1,6})\s*(s|sec|seconds)?\s*", value)):
        return f"write {digits[1]}, without {'its unit' if digits[2] else 'quotes'}"
    if isinstance(value, float) and value.is_integer():
        return f"write {int(value)}"
    return ""
