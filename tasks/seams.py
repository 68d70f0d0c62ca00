"""Where time, chance and crashes enter: money-relevant code takes these as arguments and asks nobody else."""

import asyncio
import datetime as dt
import os
import secrets
import time
from collections.abc import Callable
from typing import Protocol

__all__ = ["Clock", "Hooks", "Rng", "SystemClock", "SystemRng", "no_hooks"]


class Clock(Protocol):
    """Wall time in UTC, a monotonic count of seconds, and sleep."""

    def now(self) -> dt.datetime: ...
    def monotonic(self) -> float: ...
    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> dt.datetime:
        """The current UTC time."""
        return dt.datetime.now(dt.UTC)

    def monotonic(self) -> float:
        """Seconds since an arbitrary start, never going back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait, at least 0 seconds whatever a jumping clock reckoned."""
        await asyncio.sleep(max(0.0, seconds))


class Rng(Protocol):
    """Identifiers, tokens and jitter."""

    def new_id(self) -> str: ...
    def token(self) -> str: ...
    def uniform(self, low: float, high: float) -> float: ...


_BASE32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class SystemRng:
    """Chance from the operating system."""

    def new_id(self) -> str:
        """A ULID: 48 bits of milliseconds and 80 of chance, 26 characters, sorted by time (github.com/ulid/spec)."""
        number = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
        return "".join(_BASE32[(number >> shift) & 31] for shift in range(125, -1, -5))

    def token(self) -> str:
        """256 random bits as URL-safe text."""
        return secrets.token_urlsafe(32)

    def uniform(self, low: float, high: float) -> float:
        """A number between `low` and `high`, for jitter."""
        return low + (high - low) * secrets.randbelow(1 << 24) / (1 << 24)


Hooks = Callable[[str], None]
"""Called at every numbered point of the submit protocol (`K1`..`K22`); a proof makes it raise or kill the process."""


def no_hooks(_point: str) -> None:
    """Production: nothing happens at the points."""
