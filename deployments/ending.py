"""How the commands of this layer end: on SIGTERM or Ctrl-C, once, in order; and in words where something stands in the way."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable

from tasks.errors import RushesError

__all__ = ["in_words", "stop_on_signals", "until_told"]


def in_words(command: Callable[[], int]) -> int:
    """The command's exit code; an error of ours is said with its cure on stderr, and its own exit code returned."""
    try:
        return command()
    except RushesError as error:
        print("\n  ".join(filter(None, (f"rushes: {error}", error.hint))), file=sys.stderr)  # noqa: T201
        return error.exit_code


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
