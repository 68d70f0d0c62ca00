"""HTTP/1.1 for a public listener: a connection that does not finish the head of a request in time is closed (slowloris)."""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["HEAD_SECONDS", "Brisk"]

HEAD_SECONDS = 5.0


class Brisk(H11Protocol):
    """Uvicorn's own protocol with a deadline for the head of the only request that a connection carries."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock."""
        super().connection_made(transport)
        self.loop.call_later(HEAD_SECONDS, self._too_slow, transport)

    def _too_slow(self, transport: asyncio.Transport) -> None:
        if self.scope is None and not transport.is_closing():
            transport.close()
