"""The shot list: every cell is placed at its first character, however it is written."""

import csv
import io
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specs.errors import SpecError
from specs.loader import load, load_with_source
from specs.shotlist import COLUMNS, compose_shotlist
from specs.storyboard import Storyboard
from specs.tree import Node

ROW = {"id": "SH010", "still": "a.jpg", "prompt": "Push in"}
cells = st.text('aé🎬 ,;\t"\n:|', max_size=12)
separators = st.sampled_from([",", ";", "\t"])


def written(rows: list[list[str]], separator: str, newline: str, *, quote_all: bool) -> str:
    """The rows as Python's writer puts them."""
    out = io.StringIO(newline="")
    kind: Literal[0, 1] = csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL
    csv.writer(out, delimiter=separator, lineterminator=newline, quoting=kind).writerows(rows)
    return out.getvalue()


def rows_of(composed_root: Node | None) -> list[dict[str, Node]]:
    """The shots of a tree."""
    assert composed_root is not None
    return [shot.value for shot in composed_root.value["shots"].value]


def offset(text: str, node: Node) -> int:
    """Where in the text a line and a column lead."""
    at = 0
    for _ in range(node.line - 1):
        at = text.index("\n", at) + 1
    return at + node.column - 1


@given(
    st.lists(cells.filter(str.strip), min_size=1, max_size=5),
    separators,
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_every_cell_is_placed_at_its_first_character(
    prompts: list[str], separator: str, newline: str, quote_all: bool
) -> None:
    """Quoted cells, line breaks inside of them, doubled quotes, wide characters: the place leads to the cell as written."""
    rows = [["id", "prompt", "still"], *(["SH010", prompt, "a.jpg"] for prompt in prompts)]
    text = written(rows, separator, newline, quote_all=quote_all)
    composed = compose_shotlist(text, "shots.csv", None)
    assert not composed.issues
    shots = rows_of(composed.root)
    assert [shot["prompt"].value for shot in shots] == [prompt.strip() for prompt in prompts]
    for shot, prompt in zip(shots, prompts, strict=True):
        cell = written([[prompt, "x"]], separator, newline, quote_all=quote_all).rpartition(separator)[0]
        assert text.startswith(cell, offset(text, shot["prompt"]))
        for name, value in (("id", "SH010"), ("still", "a.jpg")):
            assert text[offset(text, shot[name]) :].lstrip('"').startswith(value)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("id,still,mode\nA,a.jpg,best\n", "2:9"),
        ('id,still,mode\n"A","a.jpg","best"\n', "2:13"),
        ('id;still;prompt;mode\nA;a.jpg;"Push; ""in""\nslowly";best\n', "3:9"),
        ("id\tstill\tmode\nA\ta.jpg\tbest\n", "2:9"),
        ('id,prompt,still,mode\r\nA,"Push\r\nin",a.jpg,best\r\n', "3:11"),
        ("\n\nid,still,mode\n\nA,a.jpg,best", "5:9"),
        ("sep=;\nid;still;mode\nA;a.jpg;best\n", "3:9"),
        ("id,still,prompt,mode\nA,a.jpg,Schöner 🎬 Blick,best\n", "2:25"),
        ("\ufeffid,still,mode\nA,a.jpg,best\n", "2:9"),
    ],
)
def test_a_wrong_cell_is_told_where_it_stands(text: str, place: str) -> None:
    """Line and column count characters, as editors do."""
    with pytest.raises(SpecError) as caught:
        load(text.encode(), name="shots.csv")
    lines = str(caught.value).splitlines()
    expected = (
        f"shots.csv:{place}: shots.0.mode: Input should be 'std' or 'pro'",
        f"shots.csv:{place}: shots.0.mode: Input should be 'std' or 'pro', did you mean",
    )
    assert any(line.startswith(expected) for line in lines)


def listed(**cells_: str) -> dict[str, Any]:
    """One shot that a row gives, as plain values."""
    row = {**ROW, **cells_}
    text = written([list(row), list(row.values())], ",", "\n", quote_all=False)
    shot = load(text.encode(), name="shots.csv").shots[0]
    return shot.model_dump(exclude_unset=True)


@pytest.mark.parametrize(("cell", "value"), [("true", True), ("TRUE", True), ("False", False)])
def test_switches_are_read_as_spreadsheets_write_them(cell: str, value: bool) -> None:
    """TRUE and FALSE of any case."""
    assert listed(audio=cell)["audio"] is value


def test_an_empty_cell_is_an_absent_key() -> None:
    """So that a shot in a list can leave its mode to the defaults as well."""
    assert listed(mode="", duration=" ") == ROW


def test_cuts_and_elements_fit_into_a_cell() -> None:
    """`auto`, or seconds and prompts between bars; names between semicolons."""
    assert listed(cuts="auto")["cuts"] == "auto"
    cuts = listed(prompt="", cuts="3: Pan left, slowly | 4 s:Tilt up: fast")["cuts"]
    assert cuts == ({"duration": 3, "prompt": "Pan left, slowly"}, {"duration": 4, "prompt": "Tilt up: fast"})
    sidecar = ("s.board.yaml", b"elements: {cat: {front: c.jpg}, dog: {front: d.jpg}}")
    text = b"id,still,prompt,elements\nA,a.jpg,Push in,cat; dog\n"
    assert load(text, name="s.csv", sidecar=sidecar).shots[0].elements == ("cat", "dog")


def test_the_columns_are_the_keys_of_a_shot() -> None:
    """A shot list says everything that a shot can."""
    assert "prompt" in COLUMNS
    assert set(COLUMNS) == set(Storyboard.model_fields["shots"].annotation.__args__[0].model_fields)  # type: ignore[union-attr]  # tuple[Shot, ...]


def test_problems_of_the_list_and_of_its_board_are_told_together() -> None:
    """Each in its own file, in one pass."""
    sidecar = ("s.board.yaml", b"title: T\ncode: t\nbudget: {cap: 12}\n")
    with pytest.raises(SpecError) as caught:
        load(b"id,still,promt\nA,http://x/a.jpg,Push in\n", name="s.csv", sidecar=sidecar)
    assert [(issue.file, issue.line, issue.path) for issue in caught.value.issues] == [
        ("s.board.yaml", 2, "code"),
        ("s.board.yaml", 3, "budget.cap"),
        ("s.csv", 1, "promt"),
        ("s.csv", 2, "shots.0.prompt"),
        ("s.csv", 2, "shots.0.still"),
    ]


def test_warnings_about_the_board_point_into_its_own_file() -> None:
    """An idle element stands in the sidecar."""
    from specs.checks import warnings

    sidecar = ("s.board.yaml", b"elements:\n  cat: {front: c.jpg}\n")
    board, source = load_with_source(b"id,still,prompt\nA,a.jpg,Push in\n", name="s.csv", sidecar=sidecar)
    assert [str(issue) for issue in warnings(board, source)] == [
        "s.board.yaml:2:3: elements.cat: No shot uses this element"
    ]
