"""YAML with places: the core scalars of YAML 1.2, and none of the machinery that a storyboard has no use for (S05).

Values are made from the parser's events, so an alias, an anchor, a tag or a repeated key is seen where it stands and an
alias bomb is never built. YAML 1.2 is what editors' language servers read: `yes` and `on` are texts, `010` is ten.
"""

import re
from collections.abc import Iterator
from typing import Any

import yaml

from specs.errors import Issue
from specs.tree import MAX_DEPTH, MAX_DIGITS, REFUSED, Composed, Node, StopReading, shown

__all__ = ["compose_yaml"]

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_WHOLE = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FRACTION = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS = {word: value for value in (True, False) for word in (str(value), str(value).lower(), str(value).upper())}
_EMPTY = {"", "~", "null", "Null", "NULL"}
_HINTS = {
    "mapping values are not allowed in this context": 'put a text that holds ": " in quotes',
    "did not find expected key": "look for a quote or bracket that is not closed, or an indent that is off",
    "did not find expected '-' indicator": "look at the indents above",
    "found character that cannot start any token": "indent with spaces, and put texts that begin with @ or ` in quotes",
    "found unexpected end of stream": "a quote or bracket is not closed",
    "found unknown escape character": "write \\\\ for a backslash, or use single quotes",
}


def compose_yaml(text: str, name: str) -> Composed:
    """The tree of a YAML text, with every problem of its form."""
    composer = _Composer(text, name)
    try:
        composer.result.root = composer.document()
    except StopReading:
        pass
    except yaml.MarkedYAMLError as error:
        composer.result.issues.append(_broken(error, name, text))
    except yaml.YAMLError as error:
        composer.result.issues.append(Issue(name, 1, 1, "", f"This is not YAML: {shown(str(error), 120)}"))
    return composer.result


def _broken(error: yaml.MarkedYAMLError, name: str, text: str) -> Issue:
    mark = error.problem_mark or error.context_mark
    problem = str(error.problem or error.context)
    if mark is None:
        return Issue(name, 1, 1, "", f"This is not YAML: {problem}")
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    if line[mark.column : mark.column + 1] == "\t":
        return Issue(name, mark.line + 1, mark.column + 1, "", "A tab cannot stand here in YAML", "indent with spaces")
    return Issue(name, mark.line + 1, mark.column + 1, "", f"This is not YAML: {problem}", _HINTS.get(problem, ""))


class _Composer:
    """One pass over the events; `path` is where it stands."""

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        self.result = Composed()
        self.path: list[str | int] = []
        self.events: Iterator[Any] = yaml.parse(text, _Loader)

    def document(self) -> Node:
        next(self.events)
        if isinstance(next(self.events), yaml.StreamEndEvent):
            self.result.issues.append(Issue(self.name, 1, 1, "", "The file is empty", 'begin with "rushes: 1"'))
            raise StopReading
        event = next(self.events)
        root = self._node(event, event.start_mark)
        next(self.events)
        after = next(self.events)
        if isinstance(after, yaml.DocumentStartEvent):
            self._refuse(after.start_mark, "A second document begins here", "a file holds one storyboard")
        return root

    def _refuse(self, mark: Any, message: str, hint: str = "") -> None:
        place = Node(self.name, mark.line + 1, mark.column + 1, None)
        self.result.refuse(place.issue(self.path, message, hint))

    def _node(self, event: Any, mark: Any) -> Node:
        self._machinery(event)
        value: Any = REFUSED
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = list(self._items(event))
        elif isinstance(event, yaml.MappingStartEvent):
            value = self._mapping(event)
        if getattr(event, "tag", None):
            value = REFUSED
        return self.result.node(self.name, mark.line + 1, mark.column + 1, value)

    def _machinery(self, event: Any) -> None:
        if isinstance(event, yaml.AliasEvent):
            self._refuse(
                event.start_mark, f"Aliases are not allowed: *{shown(str(event.anchor))}", "write the values out"
            )
            return
        if event.anchor:
            self._refuse(event.start_mark, f"Anchors are not allowed: &{shown(event.anchor)}", "take it out")
        if event.tag:
            written = str(event.tag).replace("tag:yaml.org,2002:", "!!", 1)
            self._refuse(event.start_mark, f"Tags are not allowed: {shown(written)}", "take it out")

    def _deeper(self, event: Any) -> None:
        if len(self.path) >= MAX_DEPTH:
            self._refuse(event.start_mark, f"The nesting is deeper than {MAX_DEPTH} levels")
            raise StopReading

    def _items(self, event: Any) -> Iterator[Node]:
        self._deeper(event)
        self.path.append(0)
        for index, child in enumerate(iter(self.events.__next__, None)):
            if isinstance(child, yaml.SequenceEndEvent):
                break
            self.path[-1] = index
            yield self._node(child, child.start_mark)
        self.path.pop()

    def _mapping(self, event: Any) -> dict[str, Node]:
        self._deeper(event)
        found: dict[str, Node] = {}
        for key in iter(self.events.__next__, None):
            if isinstance(key, yaml.MappingEndEvent):
                break
            self._entry(key, found)
        return found

    def _entry(self, key: Any, found: dict[str, Node]) -> None:
        if not isinstance(key, yaml.ScalarEvent):
            self._refuse(key.start_mark, "A key should be a plain word")
            raise StopReading
        word = key.value
        self.path.append(word)
        self._machinery(key)
        if word == "<<" and key.implicit[0]:
            self._refuse(key.start_mark, "Merge keys are not allowed", "write the values out")
            self._passed_over(next(self.events))
        elif word in found:
            self._refuse(key.start_mark, f"This key stands here twice, first in line {found[word].line}")
            self._node(next(self.events), key.start_mark)
        else:
            found[word] = self._node(next(self.events), key.start_mark)
        self.path.pop()

    def _passed_over(self, event: Any) -> None:
        depth = 0
        while True:
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth == 0:
                return
            if depth > MAX_DEPTH:
                raise StopReading
            event = next(self.events)

    def _scalar(self, event: Any) -> Any:
        text = event.value
        if not event.implicit[0]:
            return text
        if text in _EMPTY:
            self._refuse(event.start_mark, "There is no value here", "write one, or take the key out")
            return REFUSED
        if text in _WORDS:
            return _WORDS[text]
        if text[0] not in "+-.0123456789":
            return text
        return self._number(event, text)

    def _number(self, event: Any, text: str) -> Any:
        if _NOT_FINITE.fullmatch(text):
            self._refuse(event.start_mark, f"{text} is not a number that a storyboard can hold")
            return REFUSED
        if _WHOLE.fullmatch(text) and len(text) <= MAX_DIGITS:
            return int(text, 0) if text[:2] in {"0o", "0x"} else int(text)
        if not _FRACTION.fullmatch(text) and not _WHOLE.fullmatch(text):
            return text
        if len(text) <= 40 and not _WHOLE.fullmatch(text) and abs(float(text)) < 10.0**MAX_DIGITS:
            return float(text)
        self._refuse(event.start_mark, f"A number has at most {MAX_DIGITS} digits", "is it a text? Put it in quotes")
        return REFUSED
