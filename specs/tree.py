"""A spec's text as a tree of values with their places, whatever the format; and what no format may smuggle in."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from specs.errors import Issue

__all__ = [
    "MAX_DEPTH",
    "MAX_DIGITS",
    "MAX_ISSUES",
    "MAX_NODES",
    "REFUSED",
    "UNWRITABLE",
    "Composed",
    "Node",
    "StopReading",
    "dotted",
    "plain",
    "shown",
    "unwritable",
    "walk",
]

MAX_DEPTH = 12
MAX_DIGITS = 12
MAX_NODES = 400_000  # ten thousand shots of six cuts, with every key written out
MAX_ISSUES = 25_000


class _Refused:
    """The value of a node whose text was refused, so that no second problem is reported for it."""

    def __repr__(self) -> str:
        return "REFUSED"


REFUSED: Final = _Refused()
UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufeff\ufffe\uffff]")


@dataclass(slots=True)
class Node:
    """A value and its place, from 1: of its key in a mapping, of itself in a list.

    `value` is a scalar, a list of nodes, a dict of nodes, or REFUSED.
    """

    file: str
    line: int
    column: int
    value: Any

    def issue(self, path: Sequence[str | int], message: str, hint: str = "") -> Issue:
        """A problem at this node."""
        return Issue(self.file, self.line, self.column, dotted(path), message, hint)


class StopReading(Exception):
    """Nothing that follows can be made sense of, or it is more than can be meant."""


@dataclass(slots=True)
class Composed:
    """What a reader made of a text: no root where it could not be read to its end."""

    root: Node | None = None
    issues: list[Issue] = field(default_factory=list)
    count: int = 0

    def refuse(self, issue: Issue) -> None:
        """Keep a problem.

        Raises:
            StopReading: when there are more than anybody reads.
        """
        self.issues.append(issue)
        if len(self.issues) > MAX_ISSUES:
            raise StopReading

    def node(self, file: str, line: int, column: int, value: Any) -> Node:
        """A value of the text.

        Raises:
            StopReading: when there are more than the largest board has.
        """
        self.count += 1
        made = Node(file, line, column, value)
        if self.count > MAX_NODES:
            self.issues.append(made.issue((), f"The file has more than {MAX_NODES:,} values"))
            raise StopReading
        return made


def shown(text: str, limit: int = 40) -> str:
    """Text as a message may quote it: on one line, without control characters, and short."""
    safe = UNWRITABLE.sub("\N{REPLACEMENT CHARACTER}", " ".join(text.split()))
    return safe if len(safe) <= limit else f"{safe[: limit - 1]}\N{HORIZONTAL ELLIPSIS}"


def dotted(path: Sequence[str | int]) -> str:
    """`shots.1.prompt`."""
    return ".".join(shown(str(part), 80) for part in path)


def plain(node: Node) -> Any:
    """The values without their places."""
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return node.value


def walk(node: Node, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Node]]:
    """Every node with its path, in the order of the text."""
    yield path, node
    if isinstance(node.value, dict):
        for key, child in node.value.items():
            yield from walk(child, (*path, key))
    elif isinstance(node.value, list):
        for index, child in enumerate(node.value):
            yield from walk(child, (*path, index))


def unwritable(root: Node) -> Iterator[Issue]:
    """Texts and keys with characters that no name, prompt or report can hold: controls, lone surrogates."""
    for path, node in walk(root):
        key = path[-1] if path else ""
        for text in (key, node.value):
            found = UNWRITABLE.search(text) if isinstance(text, str) else None
            if found:
                yield node.issue(path, f"This text holds the character U+{ord(found.group()):04X}", "take it out")
                node.value = REFUSED
                break
