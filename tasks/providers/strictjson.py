"""JSON from strangers: strict, bounded, and never an exception. What cannot be read is a value that says why."""

import json
import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

__all__ = ["MAX_DEPTH", "MAX_DIGITS", "Parsed", "Unreadable", "parse_json"]

MAX_DEPTH = 64
MAX_DIGITS = 40
# A string, closed or cut off, is one token, so that brackets inside it do not count and no quote is scanned twice.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[{]|[\]}]', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Parsed:
    """A whole document; fractions are Decimal.

    `objects` holds the keys and values of each object at any depth, inner ones first, `duplicates` the keys that an object
    names twice (in `value` the last one won).
    """

    value: Any
    objects: tuple[tuple[tuple[str, Any], ...], ...]
    duplicates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why the bytes are not one strict, modest JSON document."""

    reason: str


def parse_json(body: bytes) -> Parsed | Unreadable:
    """Read UTF-8 (or UTF-16/32 by its byte order mark); NaN, infinities, over 64 levels or 40 digits are refused."""
    try:
        text = body.decode(json.detect_encoding(body))
    except UnicodeDecodeError:
        return Unreadable("the text is in no Unicode encoding")
    if _depth(text) > MAX_DEPTH:
        return Unreadable(f"nested deeper than {MAX_DEPTH} levels")
    reading = _Reading()
    try:
        value = json.loads(
            text,
            object_pairs_hook=reading.take,
            parse_int=_integer,
            parse_float=_fraction,
            parse_constant=_constant,
        )
    except RecursionError:
        return Unreadable("nested too deeply")
    except ValueError as error:
        return Unreadable(str(error))
    return Parsed(value, tuple(reading.objects), tuple(reading.duplicates))


class _Reading:
    def __init__(self) -> None:
        self.objects: list[tuple[tuple[str, Any], ...]] = []
        self.duplicates: list[str] = []

    def take(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        self.objects.append(tuple(pairs))
        whole = dict(pairs)
        if len(whole) < len(pairs):
            names = [name for name, _ in pairs]
            self.duplicates += [name for name in whole if names.count(name) > 1]
        return whole


def _depth(text: str) -> int:
    depth = deepest = 0
    for token in _TOKEN.finditer(text):
        if token[0] in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif token[0] in "]}":
            depth -= 1
    return deepest


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number of more than {MAX_DIGITS} digits")
    return int(digits)


def _fraction(digits: str) -> Decimal:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number of more than {MAX_DIGITS} digits")
    try:
        return Decimal(digits)
    except InvalidOperation as error:
        raise ValueError("a number beyond all bounds") from error


def _constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")
