"""The CSV shot list (RFC 4180): one row a shot, the columns named as in the YAML; board-level keys stand in a sidecar.

`shots.csv` has its title, code, budget, style and elements in `shots.board.yaml` beside it.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePath
from types import MappingProxyType
from typing import Any

from specs.storyboard import Shot
from specs.tree import MAX_DIGITS, REFUSED, Composed, Node, StopReading, shown
from specs.wording import did_you_mean

__all__ = ["COLUMNS", "compose_shotlist", "is_sidecar", "sidecar_name"]

COLUMNS = tuple(Shot.model_fields)
MAX_CELL = 16_384
_NEEDED = ("id", "still")
_SIDECAR = ".board.yaml"
_SEPARATOR_LINE = re.compile(r"sep=([,;\t])\r?\n", re.IGNORECASE)
_QUOTED = re.compile(r'"((?:[^"]|"")*)"')
_WHOLE = re.compile(rf"[0-9]{{1,{MAX_DIGITS}}}")
_CUT = re.compile(r"\s*([0-9]+)\s*s?\s*:\s*(.*?)\s*", re.DOTALL)
Row = list[Node]


def sidecar_name(shotlist: str) -> str:
    """Where the board-level keys of a shot list stand: `shots.board.yaml` for `shots.csv`."""
    return f"{shotlist[: -len(PurePath(shotlist).suffix)]}{_SIDECAR}"


def is_sidecar(name: str) -> bool:
    """Whether a file is named like one that belongs to a shot list."""
    return name.endswith(_SIDECAR)


def compose_shotlist(text: str, name: str, beside: Composed | None) -> Composed:
    """The tree of a shot list as the YAML would give it. An empty cell is an absent key.

    `cuts` is `auto` or `3:Drift across | 4:Push in`; `elements` are separated by `;`. Cells are separated by the one of
    `,`, `;` and TAB that the header uses. Without `beside`, title and code come from the file's name.
    """
    result = Composed(Node(name, 1, 1, _board(name)))
    if beside is not None:
        _merge(result, beside)
    try:
        shots = _shots(text, name, result)
    except StopReading:
        result.root = None
    if result.root is not None:
        result.root.value["shots"] = Node(name, 1, 1, shots)
    return result


def _shots(text: str, name: str, result: Composed) -> list[Node]:
    header, *body = list(_rows(text, name, result)) or [[]]
    columns = _columns(header, result)
    missing = [word for word in _NEEDED if word not in columns]
    for word in missing:
        result.refuse(Node(name, 1, 1, None).issue((word,), "Column required"))
    return [_shot(columns, row, index, missing, result) for index, row in enumerate(body)]


def _board(name: str) -> dict[str, Node]:
    stem = PurePath(name).stem
    code = re.sub(r"[^A-Z0-9_-]+", "_", stem.upper())[:32]
    return {key: Node(name, 1, 1, value) for key, value in (("rushes", 1), ("title", stem), ("code", code))}


def _merge(result: Composed, beside: Composed) -> None:
    result.issues += beside.issues
    if beside.root is None or result.root is None:
        result.root = None
        return
    if not isinstance(beside.root.value, dict):
        result.refuse(beside.root.issue((), "The board beside a shot list is a mapping of keys to values"))
        return
    if "shots" in beside.root.value:
        shots = beside.root.value.pop("shots")
        result.refuse(shots.issue(("shots",), "The shots stand in the shot list, not here"))
    result.root.value.update(beside.root.value)


def _separator(line: str) -> str:
    """The separator that makes the most column names of the first line, so that one inside a prompt never counts."""

    def known(separator: str) -> int:
        return sum(cell.strip().strip('"') in COLUMNS for cell in line.split(separator))

    return max(",;\t", key=known)


def _rows(text: str, name: str, result: Composed) -> Iterator[Row]:
    """The rows with the place of every cell; blank lines are passed over."""
    said = _SEPARATOR_LINE.match(text)
    at, line, start = (said.end(), 2, said.end()) if said else (0, 1, 0)
    separator = said[1] if said else _separator(text.partition("\n")[0].strip("\r"))
    bare = re.compile(f"[^{separator}\r\n]*")
    row: Row = []
    while at < len(text):
        place = (line, at - start + 1)
        here = result.node(name, *place, "")
        here.value, end = _cell(text, at, bare, here, result)
        row.append(here)
        newlines = text.count("\n", at, end)
        if newlines:
            line, start = line + newlines, text.rfind("\n", at, end) + 1
        at = end
        if text[at : at + 1] == separator:
            at += 1
            if at == len(text):
                row.append(result.node(name, line, at - start + 1, ""))
            continue
        yield from _told(row)
        row = []
        at += 2 if text[at : at + 2] == "\r\n" else 1
        line, start = line + 1, at
    yield from _told(row)


def _told(row: Row) -> Iterator[Row]:
    if any(cell.value for cell in row):
        yield row


def _cell(text: str, at: int, bare: re.Pattern[str], here: Node, result: Composed) -> tuple[Any, int]:
    """The text of the cell that begins at an offset, and the offset after it."""
    advice = 'write "" for a quote inside a quoted cell'
    quoted = _QUOTED.match(text, at) if text[at] == '"' else None
    if text[at] == '"' and quoted is None:
        result.refuse(here.issue((), "This quote is not closed", advice))
        return REFUSED, len(text)
    after = bare.match(text, quoted.end() if quoted else at)
    outside, end = (after[0].strip(), after.end()) if after else ("", at)
    if quoted and outside:
        result.refuse(here.issue((), "Text follows the closing quote", advice))
    said = quoted[1].replace('""', '"').strip() if quoted else outside
    if len(said) > MAX_CELL:
        result.refuse(here.issue((), f"A cell has at most {MAX_CELL:,} characters"))
        return REFUSED, end
    return said, end


def _columns(header: Row, result: Composed) -> list[str]:
    names = [cell.value for cell in header]
    for index, cell in enumerate(header):
        word = cell.value
        if word is REFUSED:
            continue
        if word not in COLUMNS:
            hint = did_you_mean(word, COLUMNS) or f"columns are {', '.join(COLUMNS)}"
            result.refuse(cell.issue((shown(word),), "There is no such column", hint))
        elif word in names[:index]:
            result.refuse(cell.issue((word,), "This column stands here twice"))
    return names


def _shot(columns: Sequence[str], row: Row, index: int, missing: Sequence[str], result: Composed) -> Node:
    """The shot of a row; a column that is not there was reported once, not for every row."""
    for cell in row[len(columns) :]:
        if cell.value:
            advice = "put a text that holds the separator in quotes"
            result.refuse(cell.issue(("shots", index), "This cell stands under no column", advice))
    values = {name: Node(row[0].file, row[0].line, row[0].column, REFUSED) for name in missing}
    if row[-1].value is REFUSED:  # an open quote swallowed the rest of the row
        row = [*row, *[row[-1]] * len(columns)]
    for name, cell in zip(columns, row, strict=False):
        if cell.value and name in COLUMNS and name not in values:
            if cell.value is not REFUSED:
                cell.value = _READ.get(name, _text)(cell, ("shots", index, name), result)
            values[name] = cell
    return Node(row[0].file, row[0].line, row[0].column, values)


Path = tuple[str | int, ...]


def _text(cell: Node, _path: Path, _result: Composed) -> Any:
    return cell.value


def _whole(cell: Node, path: Path, result: Composed) -> Any:
    if _WHOLE.fullmatch(cell.value):
        return int(cell.value)
    result.refuse(cell.issue(path, f"Input should be a whole number, not {shown(cell.value)}"))
    return REFUSED


def _switch(cell: Node, path: Path, result: Composed) -> Any:
    """Spreadsheets write TRUE and FALSE."""
    if cell.value.lower() in {"true", "false"}:
        return cell.value.lower() == "true"
    hint = did_you_mean(cell.value, ("true", "false"))
    result.refuse(cell.issue(path, "Input should be true or false", hint))
    return REFUSED


def _elements(cell: Node, _path: Path, _result: Composed) -> Any:
    return [Node(cell.file, cell.line, cell.column, name.strip()) for name in cell.value.split(";") if name.strip()]


def _cuts(cell: Node, path: Path, result: Composed) -> Any:
    if ":" not in cell.value and "|" not in cell.value:
        return cell.value
    return [_cut(cell, part, (*path, number), result) for number, part in enumerate(cell.value.split("|"))]


def _cut(cell: Node, part: str, path: Path, result: Composed) -> Node:
    """A part stands where its cell stands."""

    def here(value: Any) -> Node:
        return Node(cell.file, cell.line, cell.column, value)

    found = _CUT.fullmatch(part)
    if found is None or len(found[1]) > MAX_DIGITS:
        result.refuse(
            cell.issue(path, "A part is its seconds, a colon and its prompt", "like 3:Drift across the field")
        )
        return here(REFUSED)
    return here({"duration": here(int(found[1])), "prompt": here(found[2])})


_READ: Mapping[str, Callable[[Node, Path, Composed], Any]] = MappingProxyType(
    {
        "duration": _whole,
        "take": _whole,
        "audio": _switch,
        "cuts": _cuts,
        "elements": _elements,
    }
)
