"""Work on a stranger's clips, in a process apart: a decoder that crashes, hangs or eats memory takes nobody along (S18).

    facts = await apart("tasks.studio.probe:probe_facts", path, path=str(path))

A worker is an interpreter without our settings, keys and signals, bounded in memory, processor time, file size and time.
It is kept warm for the next clip and ends with the pipe to its parent. Requests and answers are JSON, a line each.
"""

import asyncio
import atexit
import contextlib
import errno
import importlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.errors import RushesError
from tasks.studio.errors import ClipUnreadable

__all__ = ["Bounds", "DecoderLost", "apart", "now_apart", "serve"]

_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from tasks.studio.apart import serve; serve()"
_KEPT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR")
_IDLE = 2
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES}


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one piece of work may take: bytes of address space, seconds of processor and of time, bytes of a file."""

    memory: int = 4 << 30
    cpu: int = 120
    wall: float = 180.0
    file: int = 64 << 20


_BOUNDS = Bounds()


class DecoderLost(ClipUnreadable):
    """The decoder of the clip died or did not come to an end; fetching the same bytes again is no use."""


class _Worker:
    """One process, and whatever of its answer has come."""

    def __init__(self) -> None:
        path = json.dumps([one or str(Path.cwd()) for one in sys.path])
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        self.process = subprocess.Popen(  # noqa: S603 - our own interpreter with our own words
            [sys.executable, "-c", _START, path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**environment, "OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C is for the run, which lets go of its workers by itself
        )
        self.served = 0

    def answer(self, request: Mapping[str, Any], wall: float) -> dict[str, Any] | None:
        """The answer to a request; None where the process has died, or says nothing in its time and is ended."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        self.served += 1
        try:
            stdin.write(json.dumps(request).encode() + b"\n")
            stdin.flush()
        except OSError:
            return None
        arrived, give_up = b"", time.monotonic() + wall
        waiting = select.poll()
        waiting.register(stdout, select.POLLIN)
        while not arrived.endswith(b"\n"):
            left = give_up - time.monotonic()
            if left <= 0 or not waiting.poll(left * 1000):
                return None
            chunk = os.read(stdout.fileno(), 1 << 16)
            if not chunk:
                return None
            arrived += chunk
        found: dict[str, Any] = json.loads(arrived)
        return found

    def end(self) -> None:
        """End it, whatever it is at."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()


@dataclass
class _Pool:
    """The workers of this process: as many at once as there are processors, at most eight; a few stay warm."""

    turns: threading.BoundedSemaphore = field(
        default_factory=lambda: threading.BoundedSemaphore(min(8, max(2, os.cpu_count() or 2)))
    )
    lock: threading.Lock = field(default_factory=threading.Lock)
    idle: list[_Worker] = field(default_factory=list)

    def take(self) -> _Worker:
        """A warm worker, or a new one."""
        with self.lock:
            worker = self.idle.pop() if self.idle else None
        return worker or _Worker()

    def keep(self, worker: _Worker) -> None:
        """Keep a worker that has answered, where there is room."""
        with self.lock:
            if len(self.idle) < _IDLE:
                self.idle.append(worker)
                return
        worker.end()

    def close(self) -> None:
        """End every idle worker."""
        while self.idle:
            self.idle.pop().end()


_pools = [_Pool()]
"""The last one is ours; those of a parent that forked us are left alone, for its pipes are not ours."""
atexit.register(lambda: _pools[-1].close())  # noqa: PLW0108 - whichever is the last one by then
os.register_at_fork(after_in_child=lambda: _pools.append(_Pool()))


class _Job:
    """A piece of work that its waiter may give up."""

    def __init__(self) -> None:
        self.worker: _Worker | None = None
        self.stopped = False

    def stop(self) -> None:
        """End the worker that is at it."""
        self.stopped = True
        if self.worker is not None:
            self.worker.process.kill()

    def run(self, work: str, clip: Path, bounds: Bounds, facts: Mapping[str, Any]) -> Any:
        """Do the work. A worker that dies over its first clip has its answer; an older one gets a second try, newly born."""
        pool = _pools[-1]
        limits = {"memory": bounds.memory, "cpu": bounds.cpu, "wall": bounds.wall, "file": bounds.file}
        with pool.turns:
            while True:
                worker = self.worker = pool.take()
                started = time.monotonic()
                answer = None if self.stopped else worker.answer({"work": work, **limits, "facts": facts}, bounds.wall)
                self.worker = None
                if answer is not None:
                    pool.keep(worker)
                    return _read(answer, clip)
                worker.end()
                hung = time.monotonic() - started >= bounds.wall
                if hung or self.stopped or worker.served == 1:
                    raise DecoderLost(clip, f"cannot be read: its decoder {'hangs' if hung else 'died'}")


def _read(answer: Mapping[str, Any], clip: Path) -> Any:
    match answer:
        case {"value": value}:
            return value
        case {"errno": int(number)}:
            raise OSError(number, os.strerror(number))
        case {"rushes": str(message)}:
            raise RushesError(message)
        case _:
            raise ClipUnreadable(clip, str(answer.get("unreadable", "cannot be read")))


def now_apart(work: str, clip: Path, *, bounds: Bounds = _BOUNDS, **facts: Any) -> Any:
    """Call the function `module:name` with `facts` in a worker, and return what it returns; all of it is JSON.

    Raises:
        ClipUnreadable: what the function says of the clip, or whatever else it raised.
        DecoderLost: the worker died, or took longer or more than it may.
        OSError: the disk that it writes to fails.
    """
    return _Job().run(work, clip, bounds, facts)


async def apart(work: str, clip: Path, *, bounds: Bounds = _BOUNDS, **facts: Any) -> Any:
    """As `now_apart`, in a thread; whoever is cancelled does not wait for a decoder."""
    job = _Job()
    try:
        return await asyncio.to_thread(job.run, work, clip, bounds, facts)
    except asyncio.CancelledError:
        job.stop()
        raise


def serve() -> None:
    """The worker: do what is asked until the pipe ends. What the code below it prints goes nowhere."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _bound(resource.RLIMIT_CORE, 0)
    for line in sys.stdin.buffer:
        request = json.loads(line)
        _bound(resource.RLIMIT_AS, request["memory"])
        _bound(resource.RLIMIT_FSIZE, request["file"])
        used = resource.getrusage(resource.RUSAGE_SELF)
        _bound(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + 1 + request["cpu"])
        # Whoever waits has left by then, or is gone: a decoder that hangs ends even so.
        signal.setitimer(signal.ITIMER_REAL, request["wall"] + 5)
        answers.write(json.dumps(_done(request["work"], request["facts"])).encode() + b"\n")
        answers.flush()
        signal.setitimer(signal.ITIMER_REAL, 0)


def _bound(kind: int, most: int) -> None:
    """Lower the soft limit, as far as the system knows such a limit."""
    with contextlib.suppress(ValueError, OSError):
        _, hard = resource.getrlimit(kind)
        resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _done(work: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    module, _, name = work.partition(":")
    try:
        return {"value": getattr(importlib.import_module(module), name)(**facts)}
    except ClipUnreadable as error:
        return {"unreadable": error.reason}
    except RushesError as error:
        return {"rushes": str(error)}
    # A parser of broken data raises whatever it meets; all of it says the same of the clip.
    except Exception as error:  # noqa: BLE001
        if isinstance(error, OSError) and error.errno in _DISK:
            return {"errno": error.errno}
        return {"unreadable": f"cannot be read ({type(error).__name__})"}
