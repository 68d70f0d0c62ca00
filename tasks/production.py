"""A production: the open ledger, store and wire that one process works with, and the seams they share."""

import asyncio
import functools
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from tasks.errors import SetupProblem
from tasks.http import Wire
from tasks.ledger import Cap, Ledger, LedgerAway, LedgerFull, LedgerUnavailable
from tasks.netguard import AddressRules
from tasks.providers import PROVIDERS
from tasks.providers.interface import Provider
from tasks.providers.local_studio import LocalStudio
from tasks.seams import Clock, Hooks, Rng, SystemClock, SystemRng, no_hooks
from tasks.settings import Account, Settings, on_loopback
from tasks.still_server import StillServer
from tasks.storage import Store

__all__ = ["Deadlines", "Production", "Watcher", "open_ledger", "standing_caps"]


AWAY_PAUSES = (0.5, 1.0, 2.0, 4.0, *(8.0,) * 14)
"""Seconds between two questions to a ledger that is away: two minutes in all, for a server that restarts or moves."""
P = ParamSpec("P")
T = TypeVar("T")
_log = logging.getLogger(__name__)


class Watcher:
    """Is told how a run goes; this one looks away. Calls may come from render threads."""

    def begins(self, shots: Mapping[str, int]) -> None:
        """The run's shots with their seconds."""

    def shot(self, shot: str, phase: str) -> None:
        """`shot` enters `phase`: queued, submit, wait, store, or one of the states that a shot ends in."""

    def job(self, intent_id: str, shot: str) -> None:
        """`intent_id` is the job of `shot`."""

    def rendered(self, intent_id: str, fraction: float) -> None:
        """How much of a local render is done, 0 to 1."""

    def money(self, *, reserved: str, settled: str, in_doubt: str) -> None:
        """The run's money, as people read it."""

    def report(self) -> None:
        """The shots are done; the reel and the report are being made."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long a call may take, in seconds.

    `create` is for the whole call, under the 30 s after which a reserved intent may no longer be sent; `poll` for a query;
    `stall` for a download without a byte.
    """

    create: float = 25.0
    poll: float = 30.0
    stall: float = 30.0


def standing_caps(settings: Settings) -> tuple[Cap, ...]:
    """The caps that hold for every run of this installation."""
    limits = {"day": settings.day_cap, "month": settings.month_cap}
    return tuple(Cap(scope, "", limit) for scope, limit in limits.items() if limit)  # type: ignore[arg-type]


def open_ledger(settings: Settings, *, clock: Clock | None = None, rng: Rng | None = None) -> Ledger:
    """Open the installation's ledger.

    Raises:
        SetupProblem: when it cannot be opened, is corrupt, has vanished, or is newer than this program.
    """
    return Ledger.open(settings.ledger_url, home=settings.home, clock=clock or SystemClock(), rng=rng or SystemRng())


@dataclass(frozen=True)
class Production:
    """Everything a running board needs; close it with `async with`."""

    settings: Settings
    ledger: Ledger
    store: Store
    wire: Wire
    clock: Clock
    rng: Rng
    hooks: Hooks = no_hooks
    watcher: Watcher = field(default_factory=Watcher)
    providers: Mapping[str, Provider] = field(default_factory=lambda: PROVIDERS)
    still_server: StillServer = field(default_factory=StillServer)
    deadlines: Deadlines = field(default_factory=Deadlines)

    @classmethod
    def open(cls, settings: Settings, *, watcher: Watcher | None = None, hooks: Hooks = no_hooks) -> Self:
        """Open ledger, store and wire as the settings say.

        Raises:
            SetupProblem: naming what cannot be used.
        """
        clock, rng = SystemClock(), SystemRng()
        ledger = open_ledger(settings, clock=clock, rng=rng)
        watcher = watcher or Watcher()
        studio = LocalStudio(settings.home, progress=watcher.rendered)
        wire = Wire(clock=clock, mounts={"animatic://": studio})
        return cls(settings, ledger, Store.open(settings.store), wire, clock, rng, hooks, watcher)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.wire.close()
        self.still_server.close()
        self.ledger.close()

    async def patiently(self, call: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """Call what reads the ledger or records a fact in it; while the ledger is away it is called again, for two minutes.

        What permits spending (`PERMITS_SPENDING`) is never called so: it is called once, and where it fails nothing is sent.

        Raises:
            LedgerUnavailable: it is still away, or cannot be used at all.
        """
        return await self.outlast(functools.partial(call, *arguments, **options))

    async def outlast(
        self, call: Callable[[], T], *, said: Callable[[LedgerUnavailable], None] | None = None, apart: bool = False
    ) -> T:
        """`patiently` for a call with its arguments.

        With `said`, which is told each failure, a full disk is waited out too. `apart`: it does more than ask the ledger.
        """
        passing = (LedgerAway, LedgerFull) if said else LedgerAway
        for pause in AWAY_PAUSES:
            try:
                return await self.aside(call, apart=apart)
            except passing as error:
                if said:
                    said(error)
                else:
                    _log.info("the ledger is away and is asked again in %s s: %s", pause, error)
            await self.clock.sleep(pause)
        return await self.aside(call, apart=apart)

    async def aside(self, call: Callable[[], T], *, apart: bool = False) -> T:
        """A file answers in microseconds. A server may not answer at all, nor may a file that somebody holds: other shots go on."""
        if self.ledger.prompt and not apart:
            return call()
        return await asyncio.to_thread(call)

    def account(self, provider: str) -> Account:
        """How `provider` is reached."""
        return self.settings.account(provider)

    def auth(self, provider: str, base_url: str) -> str | None:
        """The Authorization header for calls to `provider` at `base_url`, None where it takes no key.

        Raises:
            SetupProblem: when its key is not set, or is not for that address.
        """
        template = self.providers[provider].auth_header
        if not template:
            return None
        account = self.account(provider)
        key = account.key
        if key is None:
            name = {"shortapi": "SHORTAPI_KEY", "sjinn": "SJINN_API_KEY"}[provider]
            raise SetupProblem(f"{provider} needs a key", f"Set {name} in the environment or in .env.")
        if not account.serves(base_url):
            raise SetupProblem(
                f"{provider}: the key is for {account.base_url}, and the ledger has a job at {base_url}",
                f"To ask after it, set {provider.upper()}_BASE_URL to that address beside the key that ordered it.",
            )
        return template.format(key=key.get_secret_value())

    def rules(self, base_url: str = "", *, confined: bool = False) -> AddressRules:
        """Which addresses may be fetched: private ones only by the setting, or from a provider that is itself on loopback."""
        allowed = self.settings.allow_private_urls
        return AddressRules(allow_private=allowed, confined=confined, allow_loopback=on_loopback(base_url))

    def cache(self, *parts: str) -> Path:
        """A folder under the installation's home, made when missing."""
        folder = self.settings.home.joinpath(*parts)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder
