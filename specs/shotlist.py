"""The CSV shot list: one row a shot, the same names as in the YAML; board-level keys stand in a sidecar."""

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import PurePosixPath
from typing import Any

from specs.errors import Issue, SpecError
from specs.source import Place, Source
from specs.storyboard import Shot

__all__ = ["read_shotlist"]

COLUMNS = tuple(Shot.model_fields)
MAX_CELL = 16_384
_WHOLE = re.compile(r"[0-9]{1,6}")


def read_shotlist(text: str, name: str, board: Mapping[str, Any]) -> tuple[dict[str, Any], Source]:
    """The board's values as the YAML would give them, and the places of their cells.

    `cuts` is `auto` or `3:Drift across | 4:Push in`; `elements` are separated by `;`. An empty cell is an absent key.

    Raises:
        SpecError: for a missing or unknown column, or a row with cells beyond the header.
    """
    rows = list(_rows(text, name))
    if not rows:
        raise SpecError([Issue(name, 1, 1, "", "The shot list has no header")])
    (_, header), *body = rows
    names = [cell.strip() for cell, _ in header]
    problems = [*_wrong_columns(name, header, names), *_ragged(name, body, len(names))]
    if problems:
        raise SpecError(problems)
    shots: list[dict[str, Any]] = []
    cells: dict[tuple[str | int, ...], Place] = {}
    for index, (line, row) in enumerate(body):
        cells["shots", index] = (line, 1)
        shots.append(_shot(names, row))
        cells |= {("shots", index, column): place for column, (_, place) in zip(names, row, strict=False)}
    stem = PurePosixPath(name).stem
    code = re.sub(r"[^A-Z0-9_-]+", "_", stem.upper())[:32]
    return {"rushes": 1, "title": stem, "code": code, **board, "shots": shots}, Source(name, None, cells)


Cell = tuple[str, Place]


def _rows(text: str, name: str) -> Iterator[tuple[int, list[Cell]]]:
    """The rows with the place of every cell; blank lines are passed over."""
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield line, list(_placed(row, line))
            line = reader.line_num + 1
    except csv.Error as error:
        raise SpecError([Issue(name, reader.line_num, 1, "", f"This is not CSV: {error}")]) from None


def _placed(row: list[str], line: int) -> Iterator[Cell]:
    column = 1
    for cell in row:
        yield cell, (line, column)
        quoted = any(one in cell for one in ',;\t"\n')
        line += cell.count("\n")
        column = 1 if "\n" in cell else column
        column += len(cell.rpartition("\n")[2]) + cell.count('"') + 2 * quoted + 1


def _wrong_columns(name: str, header: list[Cell], names: list[str]) -> Iterator[Issue]:
    for (_, (line, column)), word in zip(header, names, strict=True):
        if word not in COLUMNS:
            near = get_close_matches(word, COLUMNS, 1)
            hint = f'did you mean "{near[0]}"?' if near else f"columns are {', '.join(COLUMNS)}"
            yield Issue(name, line, column, word, "There is no such column", hint)
        elif names.count(word) > 1:
            yield Issue(name, line, column, word, "This column stands here twice")
    for word in ("id", "still"):
        if word not in names:
            yield Issue(name, 1, 1, word, "Column required")


def _ragged(name: str, body: list[tuple[int, list[Cell]]], width: int) -> Iterator[Issue]:
    if not body:
        yield Issue(name, 1, 1, "shots", "The shot list has no shots")
    for index, (_, row) in enumerate(body):
        if len(row) > width:
            line, column = row[width][1]
            yield Issue(
                name, line, column, f"shots.{index}", "This cell stands outside of every column", "quote commas"
            )


def _shot(names: list[str], row: list[Cell]) -> dict[str, Any]:
    cells = {name: cell.strip() for name, (cell, _) in zip(names, row, strict=False)}
    return {name: _READ.get(name, str)(cell) for name, cell in cells.items() if cell}


def _whole(cell: str) -> object:
    return int(cell) if _WHOLE.fullmatch(cell) else cell


def _switch(cell: str) -> object:
    return {
        "true": True,
        "yes": True,
        "on": True,
        "1": True,
        "false": False,
        "no": False,
        "off": False,
        "0": False,
    }.get(cell.lower(), cell)


def _cuts(cell: str) -> object:
    if cell.lower() == "auto":
        return "auto"
    return [_cut(part) for part in cell.split("|")]


def _cut(part: str) -> dict[str, Any]:
    seconds, _, prompt = part.partition(":")
    return {"duration": _whole(seconds.strip()), "prompt": prompt.strip()}


_READ: Mapping[str, Callable[[str], object]] = {
    "duration": _whole,
    "take": _whole,
    "audio": _switch,
    "cuts": _cuts,
    "elements": lambda cell: [name.strip() for name in cell.split(";")],
}
