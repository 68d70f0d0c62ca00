"""What is wrong with a spec, as values with a position.

SpecError(Exception)      every Issue of one file, raised once
"""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Issue", "SpecError"]


@dataclass(frozen=True, slots=True, order=True)
class Issue:
    """One problem of a spec file; `line` and `column` count from 1, `path` is dotted (`shots.1.prompt`)."""

    file: str
    line: int
    column: int
    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}: "
        text = f"{self.path}: {self.message}" if self.path else self.message
        return _safe(f"{where}{text}, {self.hint}" if self.hint else f"{where}{text}")


class SpecError(Exception):
    """A spec that cannot be used; `issues` holds every problem found, in the order of the file.

    `exit_code` is 1 where one of them is a defect of ours.
    """

    exit_code = 3

    def __init__(self, issues: Sequence[Issue]) -> None:
        super().__init__(tuple(issues))
        self.issues = tuple(issues)

    def __str__(self) -> str:
        return "\n".join(map(str, self.issues))

    def diagnostics(self) -> str:
        """What to do next."""
        return "Mend the places above, then run `rushes check` again; `rushes schema` prints the whole grammar."


def _safe(text: str) -> str:
    """Names and keys come from outside: what a terminal would obey, or no encoding can hold, is spelt out (S14, S24)."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)
