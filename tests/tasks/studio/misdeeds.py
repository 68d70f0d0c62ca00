"""What a decoder may do over a clip; called in a worker."""

import os
import resource
import signal
import sys
import time
from pathlib import Path

__all__ = ["bomb", "crash", "hang", "harmless", "nested", "spin", "surroundings", "trip", "write"]


def crash() -> None:
    """Die as a decoder that writes where it may not."""
    os.kill(os.getpid(), signal.SIGSEGV)


def hang() -> None:
    """Wait for ever, without using the processor."""
    time.sleep(3600)


def spin() -> None:
    """Turn for ever."""
    while True:
        pass


def bomb() -> int:
    """Ask for more memory than there is leave for."""
    return len(bytearray(3 << 30))


def write(to: str) -> int:
    """Write a file without end."""
    with Path(to).open("wb") as file:
        file.writelines(bytes(1 << 20) for _ in range(1000))
    return 0


def trip() -> None:
    """Raise what nobody foresaw."""
    raise OSError(22, "Invalid argument")


def nested() -> None:
    """Run out of stack."""
    nested()


def harmless(number: int) -> int:
    """Nothing happens."""
    return number


def surroundings() -> dict[str, object]:
    """What a worker has of its parent's: modules, environment, session; and how much memory it may take."""
    return {
        "modules": sorted(sys.modules),
        "environment": dict(os.environ),
        "session": os.getsid(0),
        "memory": resource.getrlimit(resource.RLIMIT_AS)[0],
    }
