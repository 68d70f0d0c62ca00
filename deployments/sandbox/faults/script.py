"""Which faults happen when.

The grammar of one entry is

    [PROVIDER/]NAME[@N][*K|*][%P]

NAME alone happens once, at the next event of its kind; `@2` waits for the second; `*3` means three times in a row, `*`
alone every time; `%0.2` lets each event decide with that probability by the seed, without limit unless `*K` is given.
Events are counted from the moment the entry was added.
"""

import random
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from deployments.sandbox.faults.kinds import Fault

__all__ = ["Armed", "Script", "UnknownFault", "parse"]

GRAMMAR = re.compile(
    r"(?:(?P<provider>[a-z]+)/)?(?P<name>[a-z0-9.-]+)"
    r"(?:@(?P<at>[1-9][0-9]*))?(?P<times>\*(?P<count>[1-9][0-9]*)?)?(?:%(?P<chance>[01](?:\.[0-9]+)?|\.[0-9]+))?"
)
F = TypeVar("F", bound=Fault)


class UnknownFault(ValueError):
    """No fault of that name, or not this grammar."""


@dataclass(slots=True)
class Armed:
    """One entry of the script and how far it has come. `times` None means without end."""

    fault: Fault
    at: int = 1
    times: int | None = 1
    chance: float | None = None
    provider: str = ""
    seen: int = 0
    fired: int = 0

    def __str__(self) -> str:
        prefix = f"{self.provider}/" if self.provider else ""
        place = f"@{self.at}" if self.at > 1 else ""
        times = "*" if self.times is None else f"*{self.times}" if self.times > 1 else ""
        return f"{prefix}{self.fault.name}{place}{times}" + ("" if self.chance is None else f"%{self.chance}")

    @property
    def spent(self) -> bool:
        """Whether it can happen no more."""
        return self.times is not None and self.fired >= self.times

    def wants(self, provider: str, seed: int) -> bool:
        """Count one event; True when the fault should happen at it."""
        if self.spent or not {self.provider, self.fault.provider} <= {"", provider}:
            return False
        self.seen += 1
        if self.seen < self.at:
            return False
        return self.chance is None or self._dice(seed) < self.chance

    def _dice(self, seed: int) -> float:
        return random.Random(f"{seed}/{self.provider}/{self.fault.name}/{self.seen}").random()  # noqa: S311 - play, not secrets


def parse(entry: str, catalogue: Mapping[str, Fault]) -> Armed:
    """An entry of the script from its text.

    Raises:
        UnknownFault: the name is not in the catalogue, or the text is not of the grammar.
    """
    found = GRAMMAR.fullmatch(entry.strip())
    if found is None:
        raise UnknownFault(f"{entry!r} is not [PROVIDER/]NAME[@N][*K|*][%P]")
    fault = catalogue.get(found["name"])
    if fault is None:
        raise UnknownFault(f"there is no fault {found['name']!r}; --faults lists them")
    if found["provider"] not in {None, "shortapi", "sjinn"}:
        raise UnknownFault(f"there is no provider {found['provider']!r}")
    chance = None if found["chance"] is None else float(found["chance"])
    endless = (found["times"] == "*") if found["times"] else chance is not None
    return Armed(
        fault,
        at=int(found["at"] or 1),
        times=None if endless else int(found["count"] or 1),
        chance=chance,
        provider=found["provider"] or "",
    )


class Script:
    """The armed faults, in the order in which they were added.

    Each counts every event of its kind; where two want the same one, the first has it and the other waits for the next.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.armed: list[Armed] = []

    def add(self, entries: Iterable[Armed]) -> None:
        """Arm more faults."""
        self.armed.extend(entries)

    def clear(self) -> None:
        """Disarm all; what has already been decided about a job stays."""
        self.armed.clear()

    def next(self, kind: type[F], provider: str, *, fits: Callable[[F], bool] = lambda _: True) -> F | None:
        """The fault that happens at this event of this kind, if any."""
        ready = [
            (armed, armed.fault)
            for armed in self.armed
            if isinstance(armed.fault, kind) and fits(armed.fault) and armed.wants(provider, self.seed)
        ]
        if not ready:
            return None
        winner, fault = ready[0]
        winner.fired += 1
        return fault
