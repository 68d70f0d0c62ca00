"""A real process: plans, buys and stores a board over real HTTP with the plain steps of the flow, until somebody kills it."""

import asyncio
import contextlib
import datetime as dt
import json
import logging
import os
import signal
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flows.collect import collect, exit_code
from flows.doubts import Decision, resolve
from flows.plan import Ask, make_plan
from flows.shooting import PlainSteps, shoot
from tasks.exits import ExitCode
from tasks.gate import Approval, Wish, gate
from tasks.ledger import Ledger, LedgerAway
from tasks.ledger.asking import OPEN
from tasks.production import Production
from tasks.seams import SystemClock, SystemRng
from tasks.settings import Settings

__all__ = ["KEY", "Place", "render", "resolve_doubts", "verdict"]

KEY = "canary-key-of-the-kills-77aa"


@dataclass(frozen=True, slots=True)
class Place:
    """An installation of its own, the sandbox that it buys from, the board's file, and what else is set."""

    root: Path
    url: str
    file: str = "board.yaml"
    more: tuple[tuple[str, str], ...] = ()

    @property
    def board(self) -> Path:
        """The storyboard."""
        return self.root / self.file

    def settings(self) -> Settings:
        """As the environment of a user's shell would give them."""
        named: dict[str, Any] = {
            "RUSHES_HOME": self.root / "home",
            "RUSHES_STORE": str(self.root / "store"),
            "RUSHES_POLL_SECONDS": 0.05,
            "SHORTAPI_KEY": KEY,
            "SHORTAPI_BASE_URL": self.url,
            **dict(self.more),
        }
        return Settings(**named)


@dataclass(slots=True)
class KillAt:
    """`K7:3` ends the process with SIGKILL at the third K7 (`SIGSTOP K7:3` stops it there); "" never does."""

    where: str
    signal: int = signal.SIGKILL
    seen: Counter[str] = field(default_factory=Counter)

    def __call__(self, point: str) -> None:
        """A point is passed."""
        self.seen[point] += 1
        if f"{point}:{self.seen[point]}" == self.where:
            os.kill(os.getpid(), self.signal)


class ClockAhead(SystemClock):
    """The clock of a host that is some seconds ahead: what lets a test outwait leases and horizons."""

    def __init__(self, seconds: float) -> None:
        self._ahead = dt.timedelta(seconds=seconds)

    def now(self) -> dt.datetime:
        """Its wall time."""
        return super().now() + self._ahead


def render(place: Place, where: str = "", number: int = signal.SIGKILL) -> None:
    """`rushes render` without its orchestrator; ends the process with the run's exit code."""
    logging.disable(logging.CRITICAL)
    settings = place.settings()
    try:
        code = asyncio.run(_render(settings, str(place.board), KillAt(where, number)))
    except asyncio.CancelledError:
        code = ExitCode.INTERRUPTED
    raise SystemExit(int(code))


async def _render(settings: Settings, board: str, kill: KillAt) -> ExitCode:
    main = asyncio.current_task()
    assert main is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, main.cancel)
    async with Production.open(settings, hooks=kill) as production:
        production.ledger.recover(f"pid {os.getpid()}")
        await collect(production, f"pid {os.getpid()}")
        plan = await make_plan(production, Ask(board))
        approval = gate(plan, production.ledger, Wish())
        assert isinstance(approval, Approval), approval
        report = await shoot(production, plan, approval, PlainSteps())
    return ExitCode(report.exit_code)


def collect_all(place: Place) -> None:
    """`rushes collect` until nothing is open: what is still being made at first is there a moment later."""
    raise SystemExit(int(asyncio.run(_collect_all(place.settings()))))


async def _collect_all(settings: Settings) -> ExitCode:
    code = ExitCode.OK
    async with Production.open(settings) as production:
        for _ in range(10):
            code = exit_code(await collect(production, f"pid {os.getpid()}"))
            if code is ExitCode.OK:
                break
            await asyncio.sleep(0.5)
    return code


def resolve_doubts(place: Place, jobs: list[tuple[str, str]], ahead: float = 7300.0) -> None:
    """A person with the provider's list of jobs (id and prompt) settles every doubt, two hours later by the clock."""
    asyncio.run(_resolve(place, jobs, ahead))


async def _resolve(place: Place, jobs: list[tuple[str, str]], ahead: float) -> None:
    settings, clock = place.settings(), ClockAhead(ahead)
    async with Production.open(settings) as now:
        ledger = Ledger.open(settings.ledger_url, home=settings.home, clock=clock, rng=now.rng)
        later = replace(now, ledger=ledger, clock=clock)
        ledger.recover("a person")
        for intent in ledger.doubts():
            prompt = json.loads(intent.request_json)["shot"]["prompt"]
            seen = [job for job, asked in jobs if asked == prompt and ledger.by_job(intent.provider, job) is None]
            decision = Decision(intent.intent_id, "looked at its page", job_id=next(iter(seen), None), absent=not seen)
            await resolve(later, decision)
        ledger.close()


def recover_ahead(place: Place) -> None:
    """Another host, whose clock says that every lease is over, recovers the ledger while the sender lives.

    A sender that was stopped in the middle of a write holds the file's lock: then nobody decides anything before it goes on.
    """
    settings = place.settings()
    with contextlib.suppress(LedgerAway):
        ledger = Ledger.open(settings.ledger_url, home=settings.home, clock=ClockAhead(120), rng=SystemRng())
        ledger.recover("another host")
        ledger.close()


def verdict(place: Place) -> dict[str, object]:
    """What the ledger says at the end, and whether the key is anywhere in the installation's files."""
    settings = place.settings()
    ledger = Ledger.open(settings.ledger_url, home=settings.home, clock=SystemClock(), rng=SystemRng())
    intents = ledger.intents()
    stored = {
        str(intent.job_id): intent.artifact.sha256 for intent in intents if intent.artifact and intent.state == "STORED"
    }
    problems = ledger.verify()
    ledger.close()
    files = [path for path in place.root.rglob("*") if path.is_file() and path != place.board]
    return {
        "problems": problems,
        "open": [intent.state.value for intent in intents if intent.state in OPEN],
        "settled": sum(intent.settled.micros for intent in intents),
        "reserved": sum(intent.reserved.micros for intent in intents),
        "stored": stored,
        "leaks": [path.name for path in files if KEY.encode() in path.read_bytes()],
        "strays": sorted(
            path.name
            for path in (place.root / "store").rglob("*_TK*.mp4")
            if not any(intent.artifact and intent.artifact.path.endswith(path.name) for intent in intents)
        ),
    }
