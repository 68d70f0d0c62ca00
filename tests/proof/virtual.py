"""Virtual time: an event loop that sleeps by turning a clock, and the seams of a process that lives on it."""

import asyncio
import datetime as dt
import random
from collections.abc import Callable, Coroutine, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from flows.shooting import HEARTBEAT
from tasks.errors import RushesError
from tasks.wait import LISTEN
from tests.proof.crashes import Life, died, foreseen

__all__ = ["Inline", "LifeClock", "LifeRng", "VirtualLoop", "VirtualTime"]

P = ParamSpec("P")
T = TypeVar("T")
START = dt.datetime(2026, 3, 1, 12, 0, tzinfo=dt.UTC)
RARELY = {LISTEN: 20.0, HEARTBEAT: 50.0}
"""Seconds between two looks of the listener, since nothing happens between them, and between heartbeats that come late."""


@dataclass(slots=True)
class VirtualTime:
    """Time that passes only when somebody sleeps; `later` runs what is due on the way."""

    wall: dt.datetime = START
    ticks: float = 1000.0
    due: list[tuple[float, int, Callable[[], object]]] = field(default_factory=list)

    def later(self, seconds: float, what: Callable[[], object]) -> None:
        """Let `what` happen in so many seconds."""
        self.due.append((self.ticks + seconds, len(self.due), what))

    def turn(self, seconds: float) -> None:
        """Let time pass."""
        until = self.ticks + max(0.0, seconds)
        while ready := sorted(one for one in self.due if one[0] <= until):
            self.due.remove(ready[0])
            self._to(ready[0][0])
            ready[0][2]()
        self._to(until)

    def turn_to_next(self, most: float | None) -> None:
        """Let time pass until something is due, at most so many seconds.

        Raises:
            RuntimeError: everybody waits for something that will never happen.
        """
        waits = [*(one[0] - self.ticks for one in self.due), *([most] if most is not None else [])]
        if not waits:
            raise RuntimeError("everybody waits and nothing is due")
        self.turn(min(waits))

    def _to(self, ticks: float) -> None:
        passed = max(0.0, ticks - self.ticks)
        self.wall += dt.timedelta(seconds=passed)
        self.ticks += passed


class Watched(Coroutine[Any, Any, Any]):
    """A coroutine each of whose suspensions is a place where it may be cancelled."""

    def __init__(self, work: Coroutine[Any, Any, Any], life: Life) -> None:
        self._work = work
        self._life = life
        self._name = work.__name__.strip("_")

    def send(self, value: Any) -> Any:
        """Go on to the next suspension."""
        held = self._work.send(value)
        self._life.suspends(self._name)
        return held

    def throw(self, *error: Any) -> Any:
        """Go on from an exception to the next suspension."""
        held = self._work.throw(*error)
        self._life.suspends(self._name)
        return held

    def close(self) -> None:
        """End it."""
        self._work.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._work.__await__()


CHAINS = {"_chain", "_section", "_collect_one"}
"""What carries a shot: its chain, the section that sends, and its collection."""


class VirtualLoop(asyncio.BaseEventLoop):
    """A loop without sockets: where all wait, its clock is turned to whatever comes first. Threads' work is done inline."""

    def __init__(self, clock: VirtualTime | None = None) -> None:
        super().__init__()
        self.clock = clock or VirtualTime()
        self._selector = self
        self._life: Life | None = None
        self._frozen = False
        self.set_default_executor(Inline())
        self.set_task_factory(self._task)
        self.set_exception_handler(self._stray)
        self.strays: list[BaseException] = []

    def time(self) -> float:
        """Virtual seconds."""
        return self.clock.ticks

    def select(self, timeout: float | None) -> Sequence[Any]:
        """Turn the clock instead of waiting."""
        if timeout is None or timeout > 0:
            if self._frozen:
                raise RuntimeError("what was cancelled still waits")
            self.clock.turn_to_next(timeout)
        return ()

    def live(self, life: Life, work: Coroutine[Any, Any, T]) -> T | None:
        """Run a process to its end; None where it dies on the way. Nothing of it is left behind."""
        self._life = life
        life.at_end = self.stop
        main = self.create_task(work)
        main.add_done_callback(lambda _: None if self._frozen else self.stop())
        try:
            # What an earlier life has left may stop the loop when it is swept away: this one goes on all the same.
            while not (main.done() or life.dead):
                self.run_forever()
        finally:
            self._life = None
            self.bury()
        return None if life.dead else main.result()

    def bury(self) -> None:
        """Cancel whatever is left, as the end of a process does; no time passes."""
        left = asyncio.all_tasks(self)
        for task in left:
            task.cancel()
        self._frozen = True
        try:
            if left:
                self.run_until_complete(asyncio.wait(left))
        finally:
            self._frozen = False
        for task in left:
            if not task.cancelled():
                task.exception()

    @staticmethod
    def _task(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> "asyncio.Task[Any]":
        assert isinstance(loop, VirtualLoop)
        life = loop._life
        if life is not None and life.watched and getattr(work, "__name__", "") in CHAINS:
            work = Watched(work, life)
        return asyncio.Task(work, loop=loop, **options)

    def _stray(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An exception that nobody waited for: a dead process's own, or a bug."""
        error = context.get("exception")
        if error is not None and not died(error) and not foreseen(error, RushesError):
            self.strays.append(error)

    def _process_events(self, _events: Sequence[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody sleeps who would have to be woken."""


@dataclass(slots=True)
class LifeClock:
    """The clock of one process; it stops with it."""

    time: VirtualTime
    life: Life

    def now(self) -> dt.datetime:
        """Virtual UTC time."""
        self.life.check()
        return self.time.wall

    def monotonic(self) -> float:
        """Virtual seconds."""
        return self.time.ticks

    async def sleep(self, seconds: float) -> None:
        """Wait on the virtual loop."""
        self.life.check()
        await asyncio.sleep(RARELY.get(seconds, max(0.0, seconds)))
        self.life.check()


@dataclass(slots=True)
class LifeRng:
    """Chance from a seed, for all lives of a schedule in turn; keeps the tokens so that leaks can be looked for."""

    seed: int
    tokens: list[str] = field(default_factory=list)
    _random: random.Random = field(init=False)
    _numbers: Iterator[int] = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._numbers = iter(range(1, 1_000_000))

    def new_id(self) -> str:
        """26 characters that count up, as ULIDs do."""
        return f"01PROOF{next(self._numbers):07d}{self._random.getrandbits(48):012X}"

    def token(self) -> str:
        """A callback token, remembered."""
        self.tokens.append(f"tok-{self._random.getrandbits(192):048x}")
        return self.tokens[-1]

    def uniform(self, low: float, high: float) -> float:
        """Jitter."""
        return self._random.uniform(low, high)


class Inline(ThreadPoolExecutor):
    """Threads' work done at once where it is asked for, so that a schedule always runs the same way."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Run `fn` now."""
        done: Future[T] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - handed on to whoever awaits it
            done.set_exception(error)
        return done
