"""One flaw a file in tests/assets/specs/bad, with the lines that `rushes check` prints for it beside it.

A name that begins with a fault's number is that fault's case.
"""

import re
from pathlib import Path

import pytest

from specs.errors import SpecError
from specs.loader import load

BAD = Path(__file__).parents[1] / "assets/specs/bad"
SPECS = sorted(
    path for path in BAD.iterdir() if not path.name.endswith((".expected", ".board.yaml")) and path.suffix != ".swp"
)
LINE = re.compile(r"(?P<file>[^:]+):(?P<line>[0-9]+):(?P<column>[0-9]+): (?:(?P<path>[^ ]+|elements\.[^:]+): )?\S.*")
INVENTED = ("ak-" + "0" * 32, "sk_" + "0" * 20, "AKIA" + "0" * 16, "0" * 20)


def named(prefix: str) -> list[Path]:
    """The cases of one fault."""
    found = [path for path in SPECS if path.name.startswith(prefix)]
    assert found
    return found


def refused(path: Path) -> SpecError:
    """What the loader says of a bad spec, with the board beside it where there is one."""
    beside = path.with_suffix(".board.yaml")
    sidecar = (beside.name, beside.read_bytes()) if path.suffix == ".csv" and beside.exists() else None
    with pytest.raises(SpecError) as caught:
        load(path.read_bytes(), name=path.name, sidecar=sidecar)
    return caught.value


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.name)
def test_every_flaw_is_told_at_its_place_in_the_expected_words(path: Path) -> None:
    """What is printed for a bad spec is, line for line, what stands beside it."""
    expected = path.with_name(f"{path.name}.expected").read_text(encoding="utf-8")
    assert f"{refused(path)}\n" == expected


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.name)
def test_every_problem_is_a_line_that_an_editor_can_jump_to(path: Path) -> None:
    """Problems are `file:line:col: path: message` on one printable line each, in the order of the file, none twice."""
    text = path.read_bytes()
    issues = refused(path).issues
    assert list(issues) == sorted(set(issues))
    for issue in issues:
        assert str(issue).isprintable()
        assert LINE.fullmatch(str(issue))
        if issue.file == path.name:
            assert issue.line <= text.count(b"\n") + 1


def test_there_is_one_expectation_for_each_bad_spec() -> None:
    """No expectation outlives its spec, and there are enough of them."""
    expected = {path.name.removesuffix(".expected") for path in BAD.glob("*.expected")}
    assert expected == {path.name for path in SPECS}
    assert len(SPECS) >= 40


@pytest.mark.parametrize("path", named("S03"), ids=lambda path: path.name)
def test_S03_names_that_could_leave_their_folder_or_meet_there_are_refused(path: Path) -> None:
    """Line breaks, dots, devices, equal names but for case: each is told at the id or code that has it."""
    (issue,) = refused(path).issues
    assert issue.path.rpartition(".")[2] in {"id", "code"}


@pytest.mark.parametrize("path", named("S04"), ids=lambda path: path.name)
def test_S04_stills_outside_the_allowed_places_are_refused(path: Path) -> None:
    """No other protocol, no chain of protocols, no absolute path gets into a board."""
    (issue,) = refused(path).issues
    assert issue.path.rpartition(".")[2] in {"still", "end_still", "front"}


@pytest.mark.parametrize("path", named("S05"), ids=lambda path: path.name)
def test_S05_yaml_machinery_and_text_that_is_no_yaml_is_refused(path: Path) -> None:
    """Aliases, anchors, merge keys, tags, equal keys, depth and odd bytes never reach a board."""
    assert refused(path).issues


@pytest.mark.parametrize("path", named("S06"), ids=lambda path: path.name)
def test_S06_json_beyond_the_standard_is_refused(path: Path) -> None:
    """NaN, Infinity, endless digits, equal keys, depth and broken texts are told at their place."""
    (issue,) = refused(path).issues
    assert issue.file == path.name


@pytest.mark.parametrize("path", named("S10"), ids=lambda path: path.name)
def test_S10_what_looks_like_a_key_is_refused_and_never_repeated(path: Path) -> None:
    """A key in a value, a name, an address or a comment is told by its place alone."""
    error = refused(path)
    assert any("looks like a secret key" in issue.message for issue in error.issues)
    assert not any(key in f"{error}{error.args!r}" for key in INVENTED)
