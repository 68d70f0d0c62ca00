"""One board rendered by the plain engine against a sandbox, and the two accounts of it."""

import asyncio
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from PIL import Image

from deployments.sandbox import Account, Sandbox
from flows.collect import Collected, collect
from flows.plan import Ask, make_plan
from flows.shooting import PlainSteps, shoot
from tasks.gate import Approval, Wish, gate
from tasks.production import Deadlines, Production
from tasks.report import RunReport
from tasks.seams import SystemClock
from tasks.settings import Settings

__all__ = ["Rehearsal", "board_text"]


class HastyClock(SystemClock):
    """A clock on which every sleep is over almost at once and yet counts in full: an hour's patience takes a second."""

    def __init__(self) -> None:
        self._slept = 0.0

    async def sleep(self, seconds: float) -> None:
        """A hundredth of the time, at most a twentieth of a second."""
        self._slept += max(0.0, seconds)
        await asyncio.sleep(min(max(0.0, seconds) / 100, 0.05))

    def now(self) -> dt.datetime:
        """The machine's time and all that was slept."""
        return super().now() + dt.timedelta(seconds=self._slept)


def board_text(provider: str, shots: int = 1, *, audio: bool = False) -> str:
    """A board of small different shots with caps that fit it."""
    lines = [
        f"  - {{id: SH{number:03d}, still: still.jpg, prompt: Push in {number}, audio: {str(audio).lower()}}}"
        for number in range(1, shots + 1)
    ]
    head = f"rushes: 1\ntitle: Fault\ncode: FAULT\nprovider: {provider}\nbudget: {{cap: 40.00 USD}}\ndefaults: {{duration: 3}}\n"
    return head + "shots:\n" + "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Rehearsal:
    """A board, an installation of its own, and the sandbox that it buys from."""

    folder: Path
    sandbox: Sandbox
    provider: str
    poll_seconds: float | None = 2.0
    deadlines: Deadlines = field(default_factory=lambda: Deadlines(create=15.0, poll=10.0, stall=10.0))

    def write_board(self, text: str) -> Path:
        """The board with its still, in this rehearsal's folder."""
        board = self.folder / "board.yaml"
        board.write_text(text)
        picture = Image.linear_gradient("L").resize((480, 320)).convert("RGB")
        picture.save(self.folder / "still.jpg")
        return board

    def settings(self) -> Settings:
        """Settings that point at the sandbox, with a canary as the key."""
        return Settings.load(
            {
                "RUSHES_HOME": str(self.folder / "home"),
                "RUSHES_STORE": str(self.folder / "store"),
                "SHORTAPI_BASE_URL": self.sandbox.shortapi_url,
                "SHORTAPI_KEY": "canary-key-0451",
                "SJINN_BASE_URL": self.sandbox.sjinn_url,
                "SJINN_API_KEY": "canary-key-0451",
                "SJINN_USD_PER_CREDIT": "0.001",
                **({"RUSHES_POLL_SECONDS": str(self.poll_seconds)} if self.poll_seconds else {}),
            }
        )

    def open(self) -> Production:
        """The production, impatient: nobody sleeps long."""
        opened = Production.open(self.settings())
        return replace(opened, clock=HastyClock(), deadlines=self.deadlines)

    async def render(self, board: Path, *, wish: Wish | None = None) -> RunReport:
        """Plan, approve, shoot."""
        async with self.open() as production:
            production.ledger.recover("test")
            plan = await make_plan(production, Ask(str(board)))
            approval = gate(plan, production.ledger, wish or Wish(yes=True))
            assert isinstance(approval, Approval)
            return await shoot(production, plan, approval, PlainSteps())

    async def collect(self) -> Sequence[Collected]:
        """Pick up what is late."""
        async with self.open() as production:
            return await collect(production, "test")

    def account(self) -> Account:
        """The sandbox's truth."""
        return self.sandbox.account()
