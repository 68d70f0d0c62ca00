"""Reading storyboards: three formats, one board; places of keys; and texts that nobody meant."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from specs.errors import Issue, SpecError
from specs.json_text import compose_json
from specs.loader import MAX_BYTES, load, load_with_source
from specs.storyboard import Storyboard
from specs.tree import MAX_DEPTH, MAX_ISSUES, MAX_NODES, plain
from tests.strategies import boards, json_values

GOOD = Path(__file__).parents[1] / "assets/specs/good"
TEN_THOUSAND = 10_000


class Quoting(yaml.SafeDumper):
    """Writes every text in double quotes and nothing twice by reference."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        """Storyboards have no aliases."""
        return True


Quoting.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


def good(name: str, **beside: Any) -> Storyboard:
    """A board of tests/assets/specs/good."""
    return load((GOOD / name).read_bytes(), name=name, **beside)


def long_board(shots: int, prompt: str = "prompt") -> bytes:
    """A board of many shots, small enough to be read."""
    rows = [f"  - id: S{index:05}\n    still: stills/a.jpg\n    {prompt}: Push in {index}\n" for index in range(shots)]
    return ("rushes: 1\ntitle: Long\ncode: LONG\nshots:\n" + "".join(rows)).encode()


def issues_of(text: bytes, name: str) -> tuple[Issue, ...]:
    """What is wrong with a text; nothing when it is a board."""
    try:
        load(text, name=name)
    except SpecError as error:
        return error.issues
    return ()


def problems(text: bytes, name: str = "board.yaml") -> list[str]:
    """The lines that a bad text gives."""
    return [str(issue) for issue in issues_of(text, name)]


def test_yaml_json_and_a_shot_list_give_the_same_board() -> None:
    """The contract's own example reads the same in all three formats."""
    sidecar = ("contract.board.yaml", (GOOD / "contract.board.yaml").read_bytes())
    assert good("contract.yaml") == good("contract.json") == good("contract.csv", sidecar=sidecar)
    assert good("contract.yaml").requests() == good("contract.csv", sidecar=sidecar).requests()


def test_words_are_read_as_editors_read_them() -> None:
    """YAML 1.2: `NO`, `1:30` and dates are texts, `010` is ten."""
    board = good("words-of-yaml-1.2.yaml")
    assert (board.title, board.code) == ("Off", "NO")
    assert [shot.id for shot in board.shots] == ["on", "y", "1_000", "0x1g"]
    assert [shot.prompt for shot in board.shots] == ["1:30", "2026-11-22", "Push in,\nslowly 🎬", "Push in: slowly"]
    assert (board.shots[1].negative_prompt, board.shots[1].duration) == ("yes", 10)


@pytest.mark.parametrize("name", ["contract.yaml", "contract.json"])
def test_a_byte_order_mark_is_passed_over(name: str) -> None:
    """Windows editors put one before UTF-8 texts, and nothing is moved by it."""
    assert load(b"\xef\xbb\xbf" + (GOOD / name).read_bytes(), name=name) == good(name)


def test_windows_line_ends_are_read() -> None:
    """Lines end as they end where the board was written."""
    text = (GOOD / "contract.yaml").read_bytes().replace(b"\n", b"\r\n")
    assert load(text, name="contract.yaml") == good("contract.yaml")


def test_a_shot_list_alone_is_named_after_its_file() -> None:
    """Without a board beside it, title and code come from the name."""
    board = load(b"id,still,prompt\nSH010,a.jpg,Push in\n", name="boards/night shift.csv")
    assert (board.title, board.code) == ("night shift", "NIGHT_SHIFT")


@pytest.mark.parametrize(
    ("name", "path", "place"),
    [
        ("contract.yaml", ("shots", 1, "end_still"), (17, 5)),
        ("contract.yaml", ("shots", 2, "cuts", 1, "prompt"), (26, 23)),
        ("contract.yaml", ("shots", 0, "duration"), (12, 5)),
        ("contract.yaml", ("budget", "cap"), (6, 10)),
        ("contract.json", ("shots", 1, "end_still"), (10, 50)),
        ("contract.json", ("shots", 2, "cuts", 1), (13, 68)),
        ("contract.csv", ("shots", 1, "negative_prompt"), (3, 76)),
        ("contract.csv", ("shots", 2, "cuts", 0, "prompt"), (4, 43)),
        ("contract.csv", ("shots", 2), (4, 1)),
    ],
)
def test_a_source_tells_where_a_key_stands(name: str, path: tuple[str | int, ...], place: tuple[int, int]) -> None:
    """Line and column are those of the key, the item or the cell, or of the nearest one that the file has."""
    sidecar = ("contract.board.yaml", (GOOD / "contract.board.yaml").read_bytes()) if name.endswith("csv") else None
    _, source = load_with_source((GOOD / name).read_bytes(), name=name, sidecar=sidecar)
    issue = source.issue(path, "is here")
    assert (issue.file, issue.line, issue.column) == (name, *place)
    assert issue.path == ".".join(map(str, path))


def test_keys_beside_a_shot_list_are_placed_in_their_own_file() -> None:
    """A problem of the budget is told in the sidecar, not in the list."""
    sidecar = ("contract.board.yaml", (GOOD / "contract.board.yaml").read_bytes())
    _, source = load_with_source((GOOD / "contract.csv").read_bytes(), name="contract.csv", sidecar=sidecar)
    issue = source.issue(("budget", "cap"), "is here")
    assert (issue.file, issue.line, issue.column) == ("contract.board.yaml", 5, 10)


def test_ten_thousand_shots_are_read() -> None:
    """A board is as long as the show."""
    assert len(load(long_board(TEN_THOUSAND), name="board.yaml").requests()) == TEN_THOUSAND


def test_ten_thousand_flaws_are_told_in_one_pass() -> None:
    """Every shot with a wrong key is told, with the key that is missing for it."""
    assert len(problems(long_board(TEN_THOUSAND, prompt="promt"))) == 2 * TEN_THOUSAND


def test_S26_a_board_of_more_than_ten_thousand_shots_is_refused() -> None:
    """The number of shots has a limit, as every one may cost money."""
    assert problems(long_board(TEN_THOUSAND + 1)) == ["board.yaml:4:1: shots: Input should have at most 10000 items"]


def test_S05_a_file_beyond_the_limit_is_not_read() -> None:
    """Bytes that are not even text are refused for their number alone."""
    (line,) = problems(b"\xff" * (MAX_BYTES + 1))
    assert line.startswith("board.yaml:1:1: The file ")


@pytest.mark.parametrize("opening", [b"[", b"{a: ", b"- ", b"? ", b"{"])
def test_S05_depth_is_judged_before_it_costs_anything(opening: bytes) -> None:
    """Half a megabyte of opened brackets is refused like a dozen."""
    assert problems(opening * (500_000 // len(opening)))


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_S06_depth_is_judged_before_it_costs_anything(opening: bytes) -> None:
    """JSON is not read past the depth that a storyboard can have."""
    (line,) = problems(opening * 100_000, "board.json")
    assert f"deeper than {MAX_DEPTH} levels" in line


@given(boards())
def test_a_board_survives_being_written_and_read(values: dict[str, Any]) -> None:
    """Board to YAML to board, and board to JSON to board, change nothing."""
    board = Storyboard.model_validate(values)
    written = board.model_dump(mode="json", exclude_none=True)
    assert load(yaml.dump(written, Dumper=Quoting).encode(), name="board.yaml") == board
    assert load(json.dumps(written).encode(), name="board.json") == board
    assert load(json.dumps(written, ensure_ascii=False, indent="\t").encode(), name="board.json") == board


@given(json_values())
def test_json_is_read_as_the_standard_library_reads_it(value: Any) -> None:
    """The reader with places agrees with the one without."""
    composed = compose_json(json.dumps(value), "board.json")
    assert not composed.issues
    assert composed.root is not None
    assert plain(composed.root) == value


@given(st.binary(max_size=200), st.sampled_from(["board.yaml", "board.json", "board.csv"]))
def test_any_bytes_give_a_board_or_problems_with_places(text: bytes, name: str) -> None:
    """No text, however odd, ends in another error."""
    found = issues_of(text, name)
    assert found
    assert all(issue.line >= 1 and issue.column >= 1 and str(issue).isprintable() for issue in found)


@settings(max_examples=300)
@given(st.data(), st.sampled_from(["contract.yaml", "contract.json", "contract.csv"]))
def test_a_damaged_board_gives_a_board_or_problems_with_places(data: st.DataObject, name: str) -> None:
    """A slice lost, doubled or overwritten is told or harmless, and what is told has a place."""
    text = (GOOD / name).read_bytes()
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 30)))
    odd = st.sampled_from(
        [b"\t", b"\0", b"\xff", b"&a", b"*a", b"<<: ", b"!!str ", b"---\n", b"[", b'"', b": ", b"|", b";"]
    )
    damage = data.draw(st.just(b"") | odd | st.just(text[start:end] * 2) | st.binary(max_size=8))
    found = issues_of(text[:start] + damage + text[end:], name)
    assert all(issue.line >= 1 and issue.column >= 1 and str(issue).isprintable() for issue in found)


@pytest.mark.parametrize(
    "key",
    ["ak-" + "0123456789abcdef" * 2, "sk_" + "a1B2" * 6, "sk-" + "a1B2" * 6, "AKIA" + "A1B2" * 4, "r8_" + "a1B2" * 10],
)
def test_S10_no_message_repeats_a_key_however_it_is_spelt(key: str) -> None:
    """Plain, as a name, in a comment, with escapes, or in a broken file: told by its place, and never printed."""
    escaped = "".join(f"\\u{ord(one):04x}" for one in key)
    texts = [
        f"rushes: 1\ntitle: {key}\n",
        f"{key}: 1\n",
        f"# {key}\nrushes: 1\n",
        f'rushes: 1\ntitle: "{escaped}"\n',
        f'"{escaped}": 1\n',
        f"title: {key}\n\tbroken: [",
        f"title: &{key} x\n",
    ]
    for text in texts:
        lines = "\n".join(problems(text.encode()))
        assert "looks like a secret key" in lines
        assert key not in lines
    assert (
        "looks like a secret key"
        in problems(json.dumps({"title": key}).replace(key, escaped).encode(), "board.json")[-1]
    )


def test_S05_a_spec_is_never_larger_than_the_largest_board() -> None:
    """Values are counted while they are read, in every format."""
    many = MAX_NODES + 1
    texts = {
        "board.yaml": "a: [" + "1," * many + "]",
        "board.json": "[" + "1," * many + "1]",
        "board.csv": "id\n" + "1\n" * many,
    }
    for name, text in texts.items():
        assert any(f"more than {MAX_NODES:,} values" in line for line in problems(text.encode(), name))


def test_S05_problems_without_end_are_cut_off() -> None:
    """Twenty-five thousand are told, and that there are more."""
    lines = problems(b"shots:\n" + b"- \n" * (MAX_ISSUES + 10))
    assert len(lines) == MAX_ISSUES + 1
    assert lines[-1].endswith("There is more wrong than can be listed")
