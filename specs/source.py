"""Where things stand in a spec: from a key path to a file, a line and a column."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from specs.errors import Issue
from specs.tree import REFUSED, Node, walk

__all__ = ["Source"]

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """The tree of a spec. A shot list's tree has nodes of two files: of the list, and of the board beside it."""

    file: str
    root: Node

    def issue(self, path: Sequence[str | int], message: str, hint: str = "") -> Issue:
        """A problem at `path`, shown at the nearest ancestor that the spec has (a key that is missing has no place)."""
        return self.locate(path)[0].issue(path, message, hint)

    def locate(self, path: Sequence[str | int]) -> tuple[Node, tuple[str | int, ...]]:
        """The deepest node on `path`, and the parts that led there.

        Parts that the spec does not have, like the tag of a union, are stepped over.
        """
        node, walked = self.root, list[str | int]()
        for part in path:
            child = _child(node, part)
            if child is not None:
                node = child
                walked.append(part)
        return node, tuple(walked)

    def refused(self, path: Sequence[str | int]) -> bool:
        """Whether what stands at `path` has been refused already, with a message of its own."""
        return self.locate(path)[0].value is REFUSED

    def paths_at(self, places: Sequence[tuple[int, int]]) -> list[Path]:
        """What stands at each place of the spec's own file: the path of the last value that begins there or before."""
        begins = sorted(((node.line, node.column), path) for path, node in walk(self.root) if node.file == self.file)
        marks = [mark for mark, _ in begins]
        return [begins[max(bisect_right(marks, place) - 1, 0)][1] if begins else () for place in places]


def _child(node: Node, part: str | int) -> Node | None:
    if isinstance(node.value, dict):
        keys: dict[str | int, Node] = node.value
        return keys.get(part)
    items: list[Node] = node.value if isinstance(node.value, list) else []
    return items[part] if isinstance(part, int) and part < len(items) else None
