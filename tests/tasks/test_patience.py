"""Who reads the ledger or records a fact waits while it is away; who permits spending does not (F107)."""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.ledger import PERMITS_SPENDING, Ledger
from tests.fixtures.command import ROOT

BY_A_PERSON = {"flows/doctor.py", "flows/doubts.py"}
"""A person at a terminal is told at once, and asks again."""
OF_THIS_PROCESS = {"close", "forsake", "journal_answer"}
"""Calls that use no database."""


def _methods() -> set[str]:
    return {name for name, _ in inspect.getmembers(Ledger, inspect.isfunction) if not name.startswith("_")}


def _called_at_once(path: Path) -> Iterator[str]:
    """Calls of the ledger's methods, with nobody who would call them again, in coroutines."""
    for coroutine in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(coroutine, ast.AsyncFunctionDef):
            continue
        for node in ast.walk(coroutine):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            owner = ast.unparse(node.func.value)
            if (owner == "ledger" or owner.endswith(".ledger")) and node.func.attr in _methods() - OF_THIS_PROCESS:
                yield f"{path.relative_to(ROOT)}:{node.lineno} {node.func.attr}"


@pytest.mark.parametrize("folder", ["tasks", "flows"])
def test_F107_no_coroutine_reads_or_records_but_through_patiently(folder: str) -> None:
    """Only what permits spending, and what a cancelled create leaves behind, is called at once."""
    paths = [path for path in sorted((ROOT / folder).rglob("*.py")) if str(path.relative_to(ROOT)) not in BY_A_PERSON]
    found = {call for path in paths for call in _called_at_once(path)}
    at_once = {call for call in found if call.rpartition(" ")[2] in PERMITS_SPENDING}
    assert {call.partition(":")[0] for call in at_once} <= {"tasks/submit.py"}
    left_behind = {
        call for call in found if call.startswith("tasks/submit.py") and call.endswith(("doubt", "cancelled"))
    }
    assert found - at_once - left_behind == set()


def test_F107_what_permits_spending_is_a_step_of_the_ledger() -> None:
    """A step that was renamed would be waited for without anybody having decided so."""
    assert _methods() >= PERMITS_SPENDING
