"""The README is held against the program: commands, exit codes, settings, and the plan table as it is printed."""

import re
from pathlib import Path

from flows.cli import app
from tasks.exits import ExitCode
from tasks.settings import Settings
from tests.fixtures.command import ROOT, Installation

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_plan_table_is_the_one_that_is_printed(tmp_path: Path) -> None:
    """Word for word, digest included: prices, stills and the example board have not moved since it was pasted."""
    printed = Installation(tmp_path).run("plan", "specs/examples/liftoff.yaml", "--provider", "shortapi").out
    assert printed.rstrip() in README


def test_every_command_is_documented() -> None:
    """Each command of the program stands in the table of commands, and none besides."""
    named = set(re.findall(r"`rushes ([a-z]+)", README))
    assert named == {name for name in app if not name.startswith("-")}


def test_every_exit_code_is_documented() -> None:
    """The table of exit codes is complete."""
    table = set(re.findall(r"^\| ([0-9]+) \|", README, flags=re.MULTILINE))
    assert table == {str(int(code)) for code in ExitCode}


def test_every_setting_is_documented() -> None:
    """Each variable that is read is in the table of settings."""
    read = {str(field.validation_alias) for field in Settings.model_fields.values()}
    fixed = {name for name in read if not name.endswith("_MAX_IN_FLIGHT")}
    assert {name for name in fixed if f"`{name}`" not in README} == set()


def test_the_picture_is_there() -> None:
    """The frame that the first screen shows is committed."""
    (picture,) = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README)
    assert (ROOT / picture).stat().st_size > 10_000
