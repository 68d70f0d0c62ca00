"""From the text of a spec to a Storyboard, or to every problem it has, each with its place.

A reader per format makes a tree of values with places; the same rules then hold for all: no machinery, no key-like
text, the models, and the rules across keys. What can be judged is judged, so that one pass finds every problem.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import PurePath
from typing import Any

from pydantic import ValidationError

from specs import checks
from specs.errors import Issue, SpecError
from specs.json_text import compose_json
from specs.keylike import hidden, key_places
from specs.shotlist import compose_shotlist, is_sidecar
from specs.source import Source
from specs.storyboard import Storyboard
from specs.tree import MAX_ISSUES, REFUSED, UNWRITABLE, Composed, Node, plain, unwritable, walk
from specs.wording import hint, message
from specs.yaml_text import compose_yaml

__all__ = ["MAX_BYTES", "load", "load_with_source"]

MAX_BYTES = 4 << 20  # ten thousand shots, written out, are two
_WIDE = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"\x00\x00": "UTF-32"}


def load(text: bytes, *, name: str, sidecar: tuple[str, bytes] | None = None) -> Storyboard:
    """The board that `text` describes; the ending of `name` tells YAML, JSON or CSV.

    Raises:
        SpecError: with every problem of the file.
    """
    return load_with_source(text, name=name, sidecar=sidecar)[0]


def load_with_source(text: bytes, *, name: str, sidecar: tuple[str, bytes] | None = None) -> tuple[Storyboard, Source]:
    """The board, and where its keys stand. `sidecar` (name and text) holds a shot list's board-level keys.

    Raises:
        SpecError: with every problem of the file, and of the sidecar.
    """
    composed = _composed(text, name, sidecar)
    if composed.root is None:
        raise _spec_error(composed.issues)
    source = Source(name, composed.root)
    board, found = _validated(source)
    if board is None or found or composed.issues:
        raise _spec_error([*composed.issues, *found])
    return board, source


def _spec_error(issues: list[Issue]) -> SpecError:
    """Each problem once, in the order of the file; no message repeats what looks like a key."""
    found = sorted(set(issues))
    kept = [
        Issue(one.file, one.line, one.column, hidden(one.path), hidden(one.message), hidden(one.hint))
        for one in found[:MAX_ISSUES]
    ]
    if len(found) > MAX_ISSUES:
        last = kept[-1]
        kept.append(Issue(last.file, last.line, last.column, "", "There is more wrong than can be listed"))
    return SpecError(kept)


def _composed(text: bytes, name: str, sidecar: tuple[str, bytes] | None) -> Composed:
    suffix = PurePath(name).suffix.lower()
    if suffix not in {".yaml", ".yml", ".json", ".csv"}:
        raise SpecError([Issue(name, 1, 1, "", "A storyboard is a .yaml, .yml, .json or .csv file")])
    decoded = _decoded(text, name)
    if suffix == ".csv":
        made = compose_shotlist(decoded, name, _beside(sidecar) if sidecar else None)
    else:
        made = compose_json(decoded, name) if suffix == ".json" else compose_yaml(decoded, name)
    _vetted(made, decoded, name)
    return made


def _beside(sidecar: tuple[str, bytes]) -> Composed:
    name, text = sidecar
    decoded = _decoded(text, name)
    made = compose_yaml(decoded, name)
    _vetted(made, decoded, name)
    return made


def _vetted(made: Composed, text: str, name: str) -> None:
    """Add what is wrong with texts of any format: keys that give access, characters that nothing can hold."""
    places = list(key_places(text))
    paths = Source(name, made.root).paths_at(places) if places and made.root else [()] * len(places)
    for (line, column), path in zip(places, paths, strict=True):
        made.issues.append(_secret(Node(name, line, column, None), path))
    if made.root is not None:
        if not places:
            made.issues += [
                _secret(node, path) for path, node in walk(made.root) if node.file == name and _holds_key(path, node)
            ]
        made.issues += [one for one in unwritable(made.root) if one.file == name]


def _secret(node: Node, path: Sequence[str | int]) -> Issue:
    return node.issue(
        path, "This looks like a secret key", "a key belongs in the environment; revoke it if it was real"
    )


def _holds_key(path: Sequence[str | int], node: Node) -> bool:
    """Whether a key was spelt with escapes, which the text itself does not show."""
    said = (path[-1] if path else "", node.value)
    return any(isinstance(one, str) and hidden(one) != one for one in said)


def _decoded(text: bytes, name: str) -> str:
    if len(text) > MAX_BYTES:
        raise SpecError(
            [Issue(name, 1, 1, "", f"The file has {len(text):,} bytes, and at most {MAX_BYTES:,} are read")]
        )
    wide = _WIDE.get(text[:2])
    if wide:
        raise SpecError([Issue(name, 1, 1, "", f"This is {wide}", "save it as UTF-8")])
    try:
        decoded = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = text[: error.start].decode("utf-8-sig")
        problem = f"This is not UTF-8: byte 0x{text[error.start]:02X}"
        raise SpecError([Issue(name, *_after(before), "", problem, "save it as UTF-8")]) from None
    odd = UNWRITABLE.search(decoded)
    if odd:
        message = f"The file holds the character U+{ord(odd.group()):04X}"
        raise SpecError([Issue(name, *_after(decoded[: odd.start()]), "", message, "take it out")])
    if not decoded.strip():
        raise SpecError([Issue(name, 1, 1, "", "The file is empty")])
    return decoded


def _after(text: str) -> tuple[int, int]:
    """Line and column of the character that follows `text`."""
    return text.count("\n") + 1, len(text) - text.rfind("\n")


def _validated(source: Source) -> tuple[Storyboard | None, list[Issue]]:
    values = plain(source.root)
    if not isinstance(values, dict):
        refused = values is REFUSED
        return None, [] if refused else [source.issue((), "A storyboard is a mapping of keys to values")]
    values.pop("$schema", None)
    board, found = None, list[Issue]()
    try:
        board = Storyboard.model_validate(values)
    except ValidationError as error:
        found += _problems(error, source)
    found += [
        source.issue(path, problem, advice)
        for path, problem, advice in islice(checks.problems(values), MAX_ISSUES + 1)
        if not source.refused(path)
    ]
    return board, found


def _problems(error: ValidationError, source: Source) -> Iterator[Issue]:
    errors = error.errors(include_url=False)[: MAX_ISSUES + 1]
    places = {one["loc"][:length] for one in errors for length in range(len(one["loc"]))}
    for one in errors:
        if one["type"] == "too_short" and one["loc"] in places:
            continue  # pydantic counts only the items that passed
        node, path = source.locate(_untagged(one["loc"]))
        if node.value is REFUSED:
            continue
        if one["type"] == "missing":
            path = (*path, one["loc"][-1])
        yield source.issue(path, message(one), hint(one, path) or _sidecar_hint(source, path))


def _untagged(loc: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Pydantic names the kind of `cuts` after the key: a file may have a key of that name there."""
    return (*loc[:3], *loc[4:]) if loc[:1] == ("shots",) and loc[2:3] == ("cuts",) else loc


def _sidecar_hint(source: Source, path: tuple[Any, ...]) -> str:
    lone = path == ("shots",) and is_sidecar(source.file) and path[0] not in source.root.value
    return "this file belongs to the shot list beside it: check that one" if lone else ""
