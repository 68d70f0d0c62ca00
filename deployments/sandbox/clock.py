"""The sandbox's clock: the host's, or one that stands still until it is told to go on."""

import time

__all__ = ["Clock"]

STANDING = 1_793_534_400.0
"""2026-11-01T12:00:00Z, where a manual clock starts."""


class Clock:
    """Seconds since 1970. `ahead` is what has been added by hand; the account keeps it over a restart."""

    def __init__(self, *, manual: bool, ahead: float = 0.0) -> None:
        self.manual = manual
        self.ahead = ahead

    def now(self) -> float:
        """The moment."""
        return (STANDING if self.manual else time.time()) + self.ahead
