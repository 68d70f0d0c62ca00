"""Where things stand in a spec file: from a key path to a line and a column."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import yaml

from specs.errors import Issue

__all__ = ["Place", "Source"]

Place = tuple[int, int]
"""Line and column, both from 1."""


@dataclass(frozen=True, slots=True)
class Source:
    """The nodes of one file. A CSV has no nodes: `cells` places its paths instead."""

    file: str
    root: yaml.Node | None = None
    cells: Mapping[tuple[str | int, ...], Place] = field(default_factory=dict)
    index: dict[int, dict[str, tuple[yaml.Node, yaml.Node]]] = field(default_factory=dict)

    def issue(self, path: Sequence[str | int], message: str, hint: str = "") -> Issue:
        """A problem at `path`, or at its nearest ancestor that the file has."""
        (line, column), walked = self.locate(path)
        named = ".".join(map(str, walked if walked == tuple(path) else path))
        return Issue(self.file, line, column, named, message, hint)

    def locate(self, path: Sequence[str | int]) -> tuple[Place, tuple[str | int, ...]]:
        """The place of the deepest part of `path` that the file has, and the parts on the way that it has.

        Parts that the file does not have (a union's tag, a missing key) are stepped over.
        """
        if self.root is None:
            return self._cell(tuple(path))
        node, mark = self.root, self.root.start_mark
        walked: list[str | int] = []
        for part in path:
            step = self._step(node, part)
            if step:
                key, node = step
                mark = key.start_mark
                walked.append(part)
        return (mark.line + 1, mark.column + 1), tuple(walked)

    def _step(self, node: yaml.Node, part: str | int) -> tuple[yaml.Node, yaml.Node] | None:
        if isinstance(node, yaml.MappingNode):
            return self._keys(node).get(str(part))
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            item = node.value[part]
            return item, item
        return None

    def _keys(self, node: yaml.MappingNode) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """The keys of a mapping, reckoned once: a board with ten thousand problems is still read in one pass."""
        known = self.index.get(id(node))
        if known is None:
            known = self.index[id(node)] = {str(key.value): (key, value) for key, value in node.value}
        return known

    def _cell(self, path: tuple[str | int, ...]) -> tuple[Place, tuple[str | int, ...]]:
        for length in range(len(path), 0, -1):
            if path[:length] in self.cells:
                return self.cells[path[:length]], path[:length]
        return (1, 1), ()

    def scalars(self) -> Iterator[yaml.ScalarNode]:
        """Every scalar of the file, keys included."""
        waiting = [self.root] if self.root is not None else []
        while waiting:
            node = waiting.pop()
            if isinstance(node, yaml.ScalarNode):
                yield node
            elif isinstance(node, yaml.MappingNode):
                waiting += [one for pair in node.value for one in pair]
            elif isinstance(node, yaml.SequenceNode):
                waiting += node.value
