"""How the long-running commands end: on SIGTERM or Ctrl-C, once, in order."""

import asyncio
import signal
from collections.abc import Awaitable, Callable

__all__ = ["stop_on_signals", "until_told"]


def stop_on_signals(stop: asyncio.Event) -> None:
    """Set `stop` on SIGTERM and SIGINT, in place of whatever was to happen then."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


async def until_told(running: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run something that ends when its event is set."""
    stop = asyncio.Event()
    stop_on_signals(stop)
    await running(stop)
