"""JSON with places: strict RFC 8259, without the extensions that Python's reader lets through (S06)."""

import json
import re
from bisect import bisect_right
from json import JSONDecodeError
from typing import Any

from specs.tree import MAX_DEPTH, MAX_DIGITS, REFUSED, Composed, Node, StopReading

__all__ = ["compose_json"]

_SPACE = re.compile(r"[ \t\n\r]*")
_HINTS = {
    "/": "JSON has no comments; YAML has",
    "#": "JSON has no comments; YAML has",
    "'": "JSON puts texts in double quotes",
    "}": "take out the comma before it",
    "]": "take out the comma before it",
}


def compose_json(text: str, name: str) -> Composed:
    """The tree of a JSON text, with every problem of its form."""
    reader = _Reader(text, name)
    try:
        reader.result.root = reader.document()
    except StopReading:
        pass
    except JSONDecodeError as error:
        said = error.msg.removesuffix(" starting at").removesuffix(" at")
        reader.refuse(error.pos, f"This is not JSON: {said}", _HINTS.get(text[error.pos : error.pos + 1], ""))
    return reader.result


class _Reader:
    """One pass over the text; `at` is the offset reached, `path` where that is."""

    def __init__(self, text: str, name: str) -> None:
        self.text, self.name, self.at = text, name, 0
        self.result = Composed()
        self.path: list[str | int] = []
        self.starts = [0, *(found.end() for found in re.finditer("\n", text))]
        self.unusable = ""
        self.scalars = json.JSONDecoder(
            parse_int=self._whole, parse_float=self._fraction, parse_constant=self._constant
        )

    def document(self) -> Node:
        self._skip()
        root = self._node(self.at)
        self._skip()
        if self.at < len(self.text):
            self._expected("the end of the file")
        return root

    def place(self, offset: int) -> tuple[int, int]:
        line = bisect_right(self.starts, offset)
        return line, offset - self.starts[line - 1] + 1

    def refuse(self, offset: int, message: str, hint: str = "") -> None:
        self.result.refuse(Node(self.name, *self.place(offset), None).issue(self.path, message, hint))

    def _expected(self, what: str) -> None:
        found = self.text[self.at : self.at + 1]
        self.refuse(self.at, f"This is not JSON: expected {what}", _HINTS.get(found, ""))
        raise StopReading

    def _skip(self) -> str:
        space = _SPACE.match(self.text, self.at)
        self.at = space.end() if space else self.at
        return self.text[self.at : self.at + 1]

    def _node(self, shown_at: int) -> Node:
        first = self.text[self.at : self.at + 1]
        start = self.at
        if first and first in "{[":
            if len(self.path) >= MAX_DEPTH:
                self.refuse(start, f"The nesting is deeper than {MAX_DEPTH} levels")
                raise StopReading
            self.at += 1
            value: Any = self._mapping() if first == "{" else self._list()
        else:
            value = self._scalar(start)
        return self.result.node(self.name, *self.place(shown_at), value)

    def _scalar(self, start: int) -> Any:
        self.unusable = ""
        value, self.at = self.scalars.raw_decode(self.text, start)
        if value is None and not self.unusable:
            self.refuse(start, "There is no value here", "write one, or take the key out")
            return REFUSED
        if self.unusable:
            self.refuse(start, self.unusable)
            return REFUSED
        return value

    def _list(self) -> list[Node]:
        found: list[Node] = []
        if self._skip() == "]":
            self.at += 1
            return found
        self.path.append(0)
        while True:
            self._skip()
            self.path[-1] = len(found)
            found.append(self._node(self.at))
            if self._ended("]"):
                return found

    def _mapping(self) -> dict[str, Node]:
        found: dict[str, Node] = {}
        if self._skip() == "}":
            self.at += 1
            return found
        self.path.append("")
        while True:
            if self._skip() != '"':
                self.path.pop()
                self._expected("a key in double quotes")
            self._entry(found)
            if self._ended("}"):
                return found

    def _entry(self, found: dict[str, Node]) -> None:
        start = self.at
        word, self.at = self.scalars.raw_decode(self.text, start)
        self.path[-1] = word
        if self._skip() != ":":
            self._expected('":" after the key')
        self.at += 1
        self._skip()
        if word in found:
            self.refuse(start, f"This key stands here twice, first in line {found[word].line}")
        node = self._node(start)
        found.setdefault(word, node)

    def _ended(self, closing: str) -> bool:
        after = self._skip()
        if after not in {closing, ","}:
            self._expected(f'"," or "{closing}"')
        self.at += 1
        if after == closing:
            self.path.pop()
        return after == closing

    def _whole(self, digits: str) -> int | None:
        if len(digits) <= MAX_DIGITS:
            return int(digits)
        self.unusable = f"A number has at most {MAX_DIGITS} digits"
        return None

    def _fraction(self, digits: str) -> float | None:
        if len(digits) <= 40 and abs(value := float(digits)) < 10.0**MAX_DIGITS:
            return value
        self.unusable = f"A number has at most {MAX_DIGITS} digits"
        return None

    def _constant(self, word: str) -> None:
        self.unusable = f"{word} is not a number that a storyboard can hold"
