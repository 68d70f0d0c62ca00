"""The house rules that no linter knows: who reads the clock, chance and the environment, and that every fault has its test."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.sandbox.faults import FAULTS
from tests.fixtures.command import ROOT

LAYERS = ("specs", "tasks", "flows", "deployments")
SOURCES = [path for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py"))]
MONEY = [path for path in SOURCES if path.is_relative_to(ROOT / "tasks") and "studio" not in path.parts]

CLOCKS = {"time.time", "time.monotonic", "datetime.now", "dt.datetime.now", "uuid.uuid4", "random.random", "time.sleep"}
FAULT_IDS = {f"F{number:02d}" for number in range(1, 110)} | {f"S{number:02d}" for number in range(1, 27)}


def _dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _uses(paths: list[Path], names: set[str]) -> Iterator[str]:
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and _dotted(node) in names:
                yield f"{path.relative_to(ROOT)}:{node.lineno} {_dotted(node)}"


def test_one_module_reads_the_environment() -> None:
    """Settings come from `tasks/settings.py` alone; the sandbox is nobody of ours."""
    # A decoder's process is given a few names of the environment, and no key.
    allowed = {"tasks/settings.py", "tasks/studio/apart.py"}
    found = [use for use in _uses(SOURCES, {"os.environ", "os.getenv"}) if use.partition(":")[0] not in allowed]
    assert [use for use in found if not use.startswith("deployments/sandbox/")] == []


def test_F76_money_takes_time_and_chance_from_the_seams() -> None:
    """No module that reckons with money asks the machine for the time or for chance by itself."""
    # The store's pause between tries is given to it; the machine's is only its default.
    allowed = {"tasks/seams.py", "tasks/storage/store.py"}
    assert [use for use in _uses(MONEY, CLOCKS) if use.partition(":")[0] not in allowed] == []


@pytest.mark.parametrize("fault", sorted(FAULT_IDS))
def test_every_fault_of_the_catalogue_has_a_test_that_carries_its_number(fault: str) -> None:
    """By name, or as a fault of the sandbox that `tests/faults` meets one by one."""
    met = {number for one in FAULTS.values() for number in one.ids}
    named = fault in met or any(_named(path, fault) for path in sorted((ROOT / "tests").rglob("*.py")))
    assert named, f"no test carries {fault}"


def _named(path: Path, fault: str) -> bool:
    return (
        re.search(rf"(def|class) \w*{fault}(_|\b)|[\"'\-]{fault}[_\"'\-]", path.read_text(encoding="utf-8")) is not None
    )


@pytest.mark.xdist_group("house")
def test_tests_of_one_group_stay_in_one_process(request: pytest.FixtureRequest) -> None:
    """Without it each process would start servers of its own, and tests that share one would not share it."""
    grouped = bool(getattr(request.config.option, "loadgroup", False))
    assert request.node.nodeid.endswith("@house") is grouped
