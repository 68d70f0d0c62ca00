"""Validate: fetch and probe the stills, and check every shot against what the listed providers can really do."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from specs.request import ShotRequest
from tasks.errors import RushesError, StillInvalid
from tasks.exits import ExitCode
from tasks.netguard import AddressRules
from tasks.providers import PROVIDERS, Misfit, misfits
from tasks.redaction import redact

if TYPE_CHECKING:
    from pathlib import Path

    from tasks.http import Wire
    from tasks.stills import Still

__all__ = ["CheckedShot", "Checking", "check_shot"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Checking:
    """Where stills come from: the address of the spec that names them, a cache, the rules for addresses, the wire."""

    base: str
    cache: "Path"
    rules: AddressRules
    wire: "Wire"


@dataclass(frozen=True, slots=True)
class CheckedShot:
    """A shot with its stills by address, and what each listed provider cannot do of it (empty: it fits)."""

    request: ShotRequest
    stills: "Mapping[str, Still]"
    misfits: Mapping[str, tuple[Misfit, ...]]
    problems: tuple[tuple[str, StillInvalid], ...] = ()

    @property
    def fitting(self) -> tuple[str, ...]:
        """Providers that can do the shot, in the order of preference."""
        return tuple(name for name, found in self.misfits.items() if not found)


async def check_shot(request: ShotRequest, providers: Sequence[str], checking: Checking) -> CheckedShot:
    """Fetch every still of the shot and hold the shot against each provider; problems are values, so all are reported."""
    from tasks.stills import fetch_still

    fetched = await asyncio.gather(
        *(
            fetch_still(address, base=checking.base, cache=checking.cache, rules=checking.rules, wire=checking.wire)
            for address in request.stills
        ),
        return_exceptions=True,
    )
    stills, problems = {}, []
    for address, outcome in zip(request.stills, fetched, strict=True):
        if isinstance(outcome, StillInvalid):
            problems.append((address, outcome))
        elif isinstance(outcome, Exception) and not isinstance(outcome, RushesError):
            _log.error("%s: a defect of Rushes", request.shot, exc_info=outcome)
            problems.append((address, _tripped(outcome)))
        elif isinstance(outcome, BaseException):
            raise outcome
        else:
            stills[address] = outcome
    found = {
        name: tuple(misfits(request, PROVIDERS[name].caps, stills if not problems else None)) for name in providers
    }
    return CheckedShot(request, stills, found, tuple(problems))


def _tripped(error: Exception) -> StillInvalid:
    """A still over which we stumbled: told at its place like the others, and a defect all the same."""
    words = redact(" ".join(str(error).split()))[:200]
    problem = StillInvalid(f"cannot be used: a defect of Rushes ({type(error).__name__}: {words})")
    problem.exit_code = ExitCode.DEFECT
    return problem
