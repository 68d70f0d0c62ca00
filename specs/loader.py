"""From the text of a spec to a Storyboard, or to every problem it has, each with its place.

The text is read once: problems are placed on the same nodes that the values were made from.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import PurePosixPath
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from specs import checks
from specs.errors import Issue, SpecError
from specs.shotlist import read_shotlist
from specs.source import Source
from specs.storyboard import PROVIDERS, Budget, Cut, Defaults, Element, Shot, Storyboard

__all__ = ["MAX_BYTES", "load", "load_with_source"]

MAX_BYTES = 4 << 20  # ten thousand shots, written out, are two
MAX_DEPTH = 16
MAX_NODES = 400_000
MAX_DIGITS = 12
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_KEY_LIKE = re.compile(
    r"\b(ak-[0-9a-f]{32}|sk_[A-Za-z0-9]{16,}|sk-[A-Za-z0-9_-]{16,}|api-key-kling-\S{8,}|AKIA[0-9A-Z]{16})"
)


def load(text: bytes, *, name: str, sidecar: tuple[str, bytes] | None = None) -> Storyboard:
    """The board that `text` describes; the ending of `name` tells YAML, JSON or CSV.

    Raises:
        SpecError: with every problem of the file.
    """
    return load_with_source(text, name=name, sidecar=sidecar)[0]


def load_with_source(text: bytes, *, name: str, sidecar: tuple[str, bytes] | None = None) -> tuple[Storyboard, Source]:
    """The board, and where its keys stand. `sidecar` (name and text) holds a shot list's board-level keys.

    Raises:
        SpecError: with every problem of the file.
    """
    decoded = _decoded(text, name)
    kind = PurePosixPath(name).suffix.lower()
    if kind == ".csv":
        value, source = _shotlist(decoded, name, sidecar)
    elif kind in {".yaml", ".yml", ".json"}:
        value, source = _document(decoded, name, as_json=kind == ".json")
    else:
        raise SpecError([Issue(name, 1, 1, "", "A storyboard is a .yaml, .yml, .json or .csv file")])
    return _validated(value, source), source


def _decoded(text: bytes, name: str) -> str:
    if len(text) > MAX_BYTES:
        raise SpecError([Issue(name, 1, 1, "", f"The file is larger than {MAX_BYTES >> 20} MiB")])
    try:
        decoded = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        readable = text[: error.start].decode("utf-8-sig")
        raise SpecError([Issue(name, *_after(readable), "", "This is not UTF-8 text")]) from None
    if "\0" in decoded:
        place = _after(decoded[: decoded.index("\0")])
        raise SpecError([Issue(name, *place, "", "A storyboard holds no NUL characters")])
    if not decoded.strip():
        raise SpecError([Issue(name, 1, 1, "", "The file is empty")])
    return decoded


def _after(text: str) -> tuple[int, int]:
    """Line and column of the character that follows `text`."""
    return text.count("\n") + 1, len(text) - text.rfind("\n")


def _shotlist(text: str, name: str, sidecar: tuple[str, bytes] | None) -> tuple[Any, Source]:
    board: dict[str, Any] = {}
    if sidecar is not None:
        beside, raw = sidecar
        found, source = _document(_decoded(raw, beside), beside, as_json=False)
        _sidecar_alone(found, source)
        board = found
    return read_shotlist(text, name, board)


def _sidecar_alone(found: Any, source: Source) -> None:
    """The board-level keys must be right by themselves: their problems stand in the sidecar, not in the list."""
    if not isinstance(found, dict):
        raise SpecError([source.issue((), "The board beside a shot list is a mapping of keys to values")])
    if "shots" in found:
        raise SpecError([source.issue(("shots",), "The shots stand in the shot list, not here")])
    probe = {"rushes": 1, "title": "x", "code": "X", **found, "shots": [{"id": "X", "still": "x.jpg", "prompt": "x"}]}
    try:
        Storyboard.model_validate(probe)
    except ValidationError as error:
        raise SpecError(sorted(_issues(error, source, found))) from None


def _document(text: str, name: str, *, as_json: bool) -> tuple[Any, Source]:
    # Tabs cannot stand inside a JSON string, and YAML's reader takes none between tokens.
    marked = text.replace("\t", " ") if as_json else text
    value = _json(text, name) if as_json else None
    try:
        _refuse_machinery(marked, name)
        loader = _Loader(marked)
        root = loader.get_single_node()
        source = Source(name, root)
        twice = list(_said_twice(source))
        if twice:
            raise SpecError(twice)
        secret = next((node for node in source.scalars() if _KEY_LIKE.search(str(node.value))), None)
        if secret is not None:
            raise SpecError([_at(name, secret.start_mark, "This looks like a key; keys belong in the environment")])
        return (value if as_json else loader.construct_document(root)), source
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise SpecError([_at(name, mark, str(error.problem or error.context or "cannot be read"))]) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SpecError([Issue(name, 1, 1, "", str(error).splitlines()[0])]) from None


def _at(name: str, mark: Any, message: str) -> Issue:
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    return Issue(name, line, column, "", message)


def _json(text: str, name: str) -> Any:
    def whole(digits: str) -> int:
        if len(digits) > MAX_DIGITS:
            raise ValueError(f"the number {digits[:MAX_DIGITS]}... has too many digits")
        return int(digits)

    def constant(word: str) -> None:
        raise ValueError(f"{word} is not a number that a storyboard can hold")

    try:
        return json.loads(text, parse_int=whole, parse_constant=constant)
    except json.JSONDecodeError as error:
        raise SpecError([Issue(name, error.lineno, error.colno, "", error.msg)]) from None
    except (ValueError, RecursionError) as error:
        message = "The nesting is too deep" if isinstance(error, RecursionError) else str(error)
        raise SpecError([_word_place(text, name, message)]) from None


def _word_place(text: str, name: str, message: str) -> Issue:
    """The place of the word that a JSON number error names."""
    named = re.search(r"NaN|-?Infinity|[0-9]{12}", message)
    at = text.find(named.group()) if named else -1
    return Issue(name, *_after(text[: max(at, 0)]), "", message)


def _refuse_machinery(text: str, name: str) -> None:
    """Anchors, aliases, tags, depth and size are judged on the stream of events, before any tree is built (S05)."""
    depth = nodes = 0
    found: list[Issue] = []
    for event in yaml.parse(text, _Loader):
        nodes += isinstance(event, yaml.NodeEvent)
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise SpecError([_at(name, event.start_mark, f"The nesting is deeper than {MAX_DEPTH} levels")])
        if nodes > MAX_NODES:
            raise SpecError([_at(name, event.start_mark, f"The file has more than {MAX_NODES} values")])
        found += _machinery(event, name)
    if found:
        raise SpecError(found)


def _machinery(event: yaml.Event, name: str) -> Iterator[Issue]:
    if isinstance(event, yaml.AliasEvent):
        yield _at(name, event.start_mark, f"Aliases are not allowed: write *{event.anchor} out")
    elif isinstance(event, yaml.NodeEvent):
        if event.anchor:
            yield _at(name, event.start_mark, f"Anchors are not allowed: take &{event.anchor} out")
        tag = getattr(event, "tag", None)
        if tag not in {None, "!"}:
            yield _at(name, event.start_mark, f"Tags are not allowed: take {tag} out")


def _said_twice(source: Source) -> Iterator[Issue]:
    """PyYAML silently lets the last of two equal keys win."""
    waiting: list[tuple[yaml.Node, tuple[str | int, ...]]] = [(source.root, ())] if source.root is not None else []
    while waiting:
        node, path = waiting.pop()
        if isinstance(node, yaml.SequenceNode):
            waiting += [(item, (*path, index)) for index, item in enumerate(node.value)]
        elif isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                word = str(key.value)
                if word in seen or word == "<<":
                    mark, named = key.start_mark, ".".join(map(str, (*path, word)))
                    message = "Merge keys are not allowed" if word == "<<" else "This key stands here twice"
                    yield Issue(source.file, mark.line + 1, mark.column + 1, named, message)
                seen.add(word)
                waiting.append((value, (*path, word)))


def _validated(value: Any, source: Source) -> Storyboard:
    if not isinstance(value, dict):
        raise SpecError([source.issue((), "A storyboard is a mapping of keys to values")])
    try:
        board = Storyboard.model_validate(value)
    except ValidationError as error:
        rest = _without_faults(error, value)
        across = [] if rest is None else checks.problems(rest, source)
        raise SpecError(sorted({*_issues(error, source, value), *across})) from None
    found = sorted(checks.problems(board, source))
    if found:
        raise SpecError(found)
    return board


def _without_faults(error: ValidationError, value: dict[str, Any]) -> Storyboard | None:
    """The board with harmless values in place of the faulty ones, so that rules across shots are judged in the same pass."""
    places = [one["loc"] for one in error.errors(include_url=False)]
    faulty = {loc[:2] for loc in places}
    keys = {str(loc[0]) for loc in faulty}
    sound = {key: kept for key, kept in value.items() if key not in keys}
    if isinstance(value.get("shots"), list):
        sound["shots"] = [
            _harmless(index, shot, places) if ("shots", index) in faulty else shot
            for index, shot in enumerate(value["shots"])
        ]
    if isinstance(value.get("elements"), dict):
        harmless = {"front": "x.jpg"}
        sound["elements"] = {
            name: harmless if ("elements", name) in faulty else one for name, one in value["elements"].items()
        }
    try:
        return Storyboard.model_validate({"rushes": 1, "title": "x", "code": "X", **sound})
    except ValidationError:
        return None


def _issues(error: ValidationError, source: Source, value: Any) -> Iterator[Issue]:
    errors = error.errors(include_url=False)
    places = [one["loc"] for one in errors]
    for one in errors:
        loc = one["loc"]
        if one["type"] == "too_short" and any(len(other) > len(loc) and other[: len(loc)] == loc for other in places):
            continue  # pydantic counts only the items that passed
        path = _printed(loc, value, missing=one["type"] == "missing")
        yield source.issue(path, one["msg"], _hint(one, path))


def _printed(loc: Sequence[str | int], value: Any, *, missing: bool) -> tuple[str | int, ...]:
    """The parts of `loc` that the file has, without union tags; a missing key's name is kept at the end."""
    node: Any = value
    path: list[str | int] = []
    for place, part in enumerate(loc):
        children = dict(enumerate(node)) if isinstance(node, list) else node
        if isinstance(children, dict) and part in children:
            node = children[part]
        elif not (missing and place == len(loc) - 1):
            continue
        path.append(part)
    return tuple(path)


def _harmless(index: int, shot: Any, places: Sequence[tuple[int | str, ...]]) -> dict[str, Any]:
    """A shot that keeps only what other shots and the board's elements are held against, where that is sound."""
    kept: dict[str, Any] = {"id": f"faulty-{index}", "still": "x.jpg", "prompt": "x"}
    for name in ("id", "elements"):
        sound = all(place[:3] != ("shots", index, name) for place in places)
        if isinstance(shot, dict) and name in shot and sound:
            kept[name] = shot[name]
    return kept


_MODELS: tuple[tuple[Callable[[tuple[str | int, ...]], bool], type[BaseModel]], ...] = (
    (lambda path: len(path) == 1, Storyboard),
    (lambda path: path[0] == "budget", Budget),
    (lambda path: path[0] == "defaults", Defaults),
    (lambda path: path[0] == "elements" and len(path) == 3, Element),
    (lambda path: path[0] == "shots" and len(path) == 3, Shot),
    (lambda path: path[0] == "shots" and len(path) == 5 and path[2] == "cuts", Cut),
)


def _hint(error: Any, path: tuple[str | int, ...]) -> str:
    if error["type"] == "extra_forbidden" and path:
        model = next((model for fits, model in _MODELS if fits(path)), None)
        near = get_close_matches(str(path[-1]), model.model_fields, 1) if model else []
        return f'did you mean "{near[0]}"?' if near else ""
    if error["type"] == "literal_error" and isinstance(error.get("input"), str):
        choices = [*PROVIDERS, "std", "pro", "auto"]
        near = get_close_matches(error["input"], choices, 1)
        return f'did you mean "{near[0]}"?' if near and near[0] in error["ctx"]["expected"] else ""
    if error["type"] == "string_type" and isinstance(error.get("input"), int | float | bool):
        return "put it in quotes"
    return ""
