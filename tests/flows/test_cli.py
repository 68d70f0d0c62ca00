"""The command line apart from money: help, speed, the linter's output, and mistakes said in words."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.command import ROOT, Installation

COMMANDS = (
    "check", "plan", "render", "retake", "collect", "doubts", "resolve", "costs", "serve", "sandbox", "doctor", "schema",
)  # fmt: skip


def test_every_command_has_help_with_an_example(offline: Installation) -> None:
    """`rushes --help` names each command, and each command's help shows how it is typed."""
    overview = offline.run("--help")
    assert overview.code == 0
    for name in COMMANDS:
        assert re.search(rf"\b{name}\b", overview.out), name
        page = offline.run(name, "--help")
        assert page.code == 0, page.err
        assert f"rushes {name}" in page.out, name


@pytest.mark.parametrize(
    "words", [["--help"], ["check", "specs/examples/liftoff.yaml"], ["plan", "specs/examples/liftoff.yaml"]]
)
def test_quick_commands_do_not_import_prefect_or_pandas(offline: Installation, words: list[str]) -> None:
    """What spends nothing stays fast: Prefect takes a second and a half to import, pandas half a one."""
    code = (
        "import sys; from flows.cli import run; code = run(sys.argv[1:]);"
        "assert not {'prefect', 'pandas'} & set(sys.modules), sorted({'prefect', 'pandas'} & set(sys.modules)); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=ROOT,
        env=offline.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_check_prints_each_problem_at_its_place(offline: Installation, tmp_path: Path) -> None:
    """`file:line:col: path: message` on stdout, every problem at once, exit code 3."""
    board = tmp_path / "board.yaml"
    board.write_text(
        "rushes: 1\ntitle: Liftoff\ncode: LIFTOFF\nshots:\n  - id: SH010\n    still: a.jpg\n    promt: Slow push in\n"
        "  - id: SH020\n    still: b.jpg\n    prompt: Pan\n    duration: 99\n"
    )
    printed = offline.run("check", str(board))
    assert printed.code == 3
    lines = printed.out.splitlines()
    assert f'{board}:7:5: shots.0.promt: Extra inputs are not permitted, did you mean "prompt"?' in lines
    assert any(line.startswith(f"{board}:11:5: shots.1.duration: ") for line in lines)
    document = offline.run("check", str(board), "--json").document
    assert document["ok"] is False
    assert {issue["path"] for issue in document["issues"]} >= {"shots.0.promt", "shots.1.duration"}


def test_check_holds_a_board_against_its_providers(offline: Installation, tmp_path: Path) -> None:
    """What SJinn cannot do is said at the place of the key that asks for it."""
    board = tmp_path / "board.yaml"
    board.write_text(
        "rushes: 1\ntitle: T\ncode: T\nprovider: sjinn\nshots:\n  - {id: A, still: a.jpg, prompt: Pan, audio: true}\n"
    )
    printed = offline.run("check", str(board))
    assert printed.code == 3
    assert f"{board}:6:40: shots.0.audio: SJinn has no audio switch" in printed.out
    assert offline.run("check", str(board), "--provider", "shortapi").code == 0


def test_check_with_stills_looks_at_the_pictures(offline: Installation, tmp_path: Path) -> None:
    """A missing still is a problem of the spec, at its place, with a near name."""
    (tmp_path / "rocket.jpg").write_bytes(b"not a picture")
    board = tmp_path / "board.yaml"
    board.write_text("rushes: 1\ntitle: T\ncode: T\nshots:\n  - {id: A, still: rockett.jpg, prompt: Pan}\n")
    assert offline.run("check", str(board)).code == 0
    printed = offline.run("check", str(board), "--stills")
    assert printed.code == 3
    assert f"{board}:5:13: shots.0.still: " in printed.out
    assert "rocket.jpg" in printed.out


def test_a_mistake_is_said_in_words_with_its_exit_code(offline: Installation, tmp_path: Path) -> None:
    """Usage is 2, an invalid setting 7; never a traceback."""
    missing = offline.run("plan", "specs/examples/lift-off.yaml")
    unknown = offline.run("plan", "specs/examples/liftoff.yaml", "--bogus")
    setting = offline.run("plan", "specs/examples/liftoff.yaml", RUSHES_DAY_CAP="plenty")
    provider = offline.run("plan", "specs/examples/liftoff.yaml", "--provider", "klingon")
    assert (missing.code, unknown.code, setting.code) == (2, 2, 7)
    assert "liftoff.yaml" in missing.err
    assert "RUSHES_DAY_CAP" in setting.err
    assert provider.code in {2, 4}
    for printed in (missing, unknown, setting, provider):
        assert "Traceback" not in printed.err
    assert json.loads(offline.run("plan", "nowhere.yaml", "--json").out)["exit_code"] == 2


def test_schema_prints_the_committed_schema(offline: Installation) -> None:
    """`rushes schema` is what editors find beside the examples."""
    printed = offline.run("schema")
    assert json.loads(printed.out) == json.loads((ROOT / "specs/storyboard.schema.json").read_text())
