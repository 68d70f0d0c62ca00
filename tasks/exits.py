"""The exit codes of the contract, and which of several wins."""

from collections.abc import Iterable
from enum import IntEnum

__all__ = ["ExitCode", "worst"]


class ExitCode(IntEnum):
    """The contract's exit codes."""

    OK = 0
    DEFECT = 1
    USAGE = 2
    SPEC_INVALID = 3
    REFUSED = 4
    SOME_FAILED = 5
    MONEY_NEEDS_A_PERSON = 6
    SET_UP = 7
    INTERRUPTED = 130


_WORST_FIRST = (
    ExitCode.DEFECT,
    ExitCode.MONEY_NEEDS_A_PERSON,
    ExitCode.SET_UP,
    ExitCode.REFUSED,
    ExitCode.SOME_FAILED,
    ExitCode.SPEC_INVALID,
    ExitCode.USAGE,
)


def worst(codes: Iterable[ExitCode]) -> ExitCode:
    """The code that wins: 1, 6, 7, 4, 5, 3, else 0."""
    found = set(codes)
    return next((code for code in _WORST_FIRST if code in found), ExitCode.OK)
