"""The watch over dead runs knows every state in which a run of ours has no process."""

import ast
from collections.abc import Iterator
from pathlib import Path

from deployments.automations import zombies

FLOWS = Path(__file__).parents[2] / "flows"
STATES = {"Cancelled", "Completed", "Crashed", "Failed"}


def test_every_last_state_that_a_flow_names_ends_the_watch_over_it() -> None:
    """A name that is missing there would turn a finished run into a crashed one, a hundred seconds after its end."""
    named = {name for path in sorted(FLOWS.glob("*.py")) if path.name != "steps.py" for name in _names(path)}
    assert {"Needs a person", "Refused", "Invalid"} <= named
    watched = zombies().model_dump(mode="json")["trigger"]["expect"]
    assert {f"prefect.flow-run.{name}" for name in named | STATES} <= set(watched)


def _names(path: Path) -> Iterator[str]:
    """The names that a file gives to states: as the argument `name` of one, or as a variable `name`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in STATES:
            for given in node.keywords:
                yield from _words(given.value) if given.arg == "name" else ()
        elif isinstance(node, ast.Assign) and [one.id for one in node.targets if isinstance(one, ast.Name)] == ["name"]:
            yield from _words(node.value)


def _words(value: ast.expr) -> Iterator[str]:
    """The texts that an expression may have: `"A" if it else "B"` has two."""
    for one in [value.body, value.orelse] if isinstance(value, ast.IfExp) else [value]:
        if isinstance(one, ast.Constant) and isinstance(one.value, str):
            yield one.value
