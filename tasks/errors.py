"""The pipeline's exceptions, crossed with the question "may it be sent again?".

RushesError
|-- Transient                certainly not accepted: may be sent again
|-- Terminal                 certainly refused: sending it again is no use
|   |-- ShotInvalid          the shot or a still does not fit (exit 3)
|   |-- StillInvalid         a still cannot be fetched, read or used (exit 3)
|   |-- Refused              stopped before spending: budget, stale plan, no approval, unknown price (exit 4)
|   |-- SetupProblem         key, ledger, storage, provider or URL cannot be used (exit 7)
|   `-- StorageConflict      a final path holds other bytes than ours; never overwritten
`-- OutcomeUnknown           the request left and no usable answer came: reconcile, never resend (exit 6)
"""

from tasks.disk import ROOM, is_full

__all__ = [
    "NoSuchSpec",
    "OutcomeUnknown",
    "Refused",
    "RushesError",
    "SetupProblem",
    "ShotInvalid",
    "StillInvalid",
    "StorageConflict",
    "Terminal",
    "Transient",
    "as_foreseen",
    "foreseen",
]


class RushesError(Exception):
    """Base of everything the pipeline raises on purpose; `hint` says what to do next and never holds a secret."""

    exit_code = 5

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message

    def diagnostics(self) -> str:
        """What the user can do about it; empty where the message says all."""
        return self.hint


class Transient(RushesError):
    """Certainly not accepted; the same call may be made again."""


class Terminal(RushesError):
    """Certainly refused; the same call would be refused again."""


class OutcomeUnknown(RushesError):
    """The request left us and nobody can tell what became of it; its money stays reserved."""

    exit_code = 6


class ShotInvalid(Terminal):
    """A shot asks for something that no listed provider can do."""

    exit_code = 3


class StillInvalid(Terminal):
    """A still that cannot be fetched, read, or used."""

    exit_code = 3


class Refused(Terminal):
    """Stopped before anything was spent."""

    exit_code = 4


class NoSuchSpec(Terminal):
    """The command names a storyboard or a plan that is not there."""

    exit_code = 2


class SetupProblem(Terminal):
    """The installation cannot do this: a key, the ledger, the storage or an address is missing or unusable."""

    exit_code = 7


class StorageConflict(Terminal):
    """A final path already holds other bytes; they were left alone."""


def foreseen(failed: ExceptionGroup[Exception]) -> Exception:
    """The first problem of a group of tasks that was foreseen, which has its own words and exit code; else all as they are."""
    known = failed.subgroup(RushesError)
    while known is not None:
        first = known.exceptions[0]
        if not isinstance(first, ExceptionGroup):
            return first
        known = first
    return failed


def as_foreseen(error: Exception) -> Exception:
    """A full disk, whoever ran into it, as a problem of the installation that names the place; all else as it is."""
    if isinstance(error, OSError) and is_full(error):
        place = error.filename or "a folder that Rushes writes to (RUSHES_HOME, the store, or the temporary folder)"
        return SetupProblem(f"disk full: {place} cannot be written ({error.strerror})", ROOM)
    return error
