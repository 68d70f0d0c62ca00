"""A signal that arrives while shots are under way side by side."""

import pytest

from flows.render import signal_in


class Ended(BaseException):
    """What an orchestrator raises for SIGTERM: no `Exception`, so that nothing swallows it."""


def test_F77_a_signal_comes_out_of_nested_groups_as_itself() -> None:
    """Beside failures of other shots too; failures alone stay a group."""
    inner = BaseExceptionGroup("shots", [ValueError("one"), Ended("now")])
    found = signal_in(BaseExceptionGroup("parts", [KeyError("other"), inner]))
    assert isinstance(found, Ended)
    assert signal_in(ExceptionGroup("shots", [ValueError("one")])) is None


@pytest.mark.parametrize("depth", [1, 3])
def test_F77_a_signal_is_found_however_deep_it_is(depth: int) -> None:
    """Parts hold shots, and shots hold their steps."""
    error: BaseException = Ended("now")
    for _ in range(depth):
        error = BaseExceptionGroup("group", [error])
    assert isinstance(error, BaseExceptionGroup)
    assert isinstance(signal_in(error), Ended)
