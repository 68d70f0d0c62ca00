"""The sandbox as a server in a thread of its own, on 127.0.0.1 only."""

import asyncio
import contextlib
import itertools
import socket
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from deployments.sandbox.account import Account
from deployments.sandbox.book import Book
from deployments.sandbox.clock import Clock
from deployments.sandbox.control import entry_text
from deployments.sandbox.faults import FAULTS
from deployments.sandbox.faults.script import Script, parse
from deployments.sandbox.house import House, Options
from deployments.sandbox.routes import respond
from deployments.sandbox.shelf import Shelf
from deployments.sandbox.wire import BadRequest, deliver, html_reply, plain, read_head

__all__ = ["Sandbox"]

T = TypeVar("T")
IDLE = 60.0
HEAD_LIMIT = 64 * 1024


class Sandbox:
    """Stand-in ShortAPI and SJinn on a loopback port; a context manager.

    `faults` holds entries such as "hang-after@2" (see faults/script.py). `account_path` None keeps the account in a
    temporary file. `clock="manual"` lets jobs go on only by `advance`. The other options are those of `house.Options`.

    Raises:
        UnknownFault: an entry of `faults` is not in the catalogue.
        InUse: another sandbox writes this account.
        OSError: the port is taken.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        speed: float = 1.0,
        job_seconds: float | None = None,
        key: str | None = None,
        faults: Iterable[str] = (),
        seed: int = 0,
        account_path: Path | str | None = None,
        callback: bool = True,
        clock: Literal["real", "manual"] = "real",
        lag: float = 1.0,
        size: int = 320,
        balance: Decimal | int = 1_000_000,
        url_seconds: float | None = None,
    ) -> None:
        self._port = port
        self._options = Options(
            speed=speed,
            job_seconds=job_seconds,
            key=key,
            callback=callback,
            lag=lag,
            size=size,
            balance=Decimal(balance),
            url_seconds=url_seconds,
        )
        self._script = Script(seed)
        self._script.add(parse(entry, FAULTS) for entry in faults)
        self._account_path = None if account_path is None else Path(account_path)
        self._manual = clock == "manual"
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="rushes-sandbox", daemon=True)
        self._dead_ends = contextlib.ExitStack()
        self.url = ""
        self.account_path = Path()

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._dead_ends.close()
        if self._failure is not None:
            raise self._failure

    @property
    def shortapi_url(self) -> str:
        """For SHORTAPI_BASE_URL."""
        return self.url

    @property
    def sjinn_url(self) -> str:
        """For SJINN_BASE_URL."""
        return self.url

    def account(self) -> Account:
        """The truth: what was accepted, billed and paid back."""
        return self._call(self._house.account)

    def fault(
        self,
        name: str,
        *,
        at: int | None = None,
        times: int | None = 1,
        chance: float | None = None,
        provider: str | None = None,
    ) -> None:
        """Arm a fault from now on, by name or by a whole entry; `times` None means every time.

        Raises:
            UnknownFault: it is not in the catalogue.
        """
        armed = parse(entry_text(name, at, times, chance, provider), FAULTS)
        self._call(lambda: self._script.add([armed]))

    def clear_faults(self) -> None:
        """Disarm all faults."""
        self._call(self._script.clear)

    def advance(self, seconds: float) -> None:
        """Move the sandbox's clock forward; what falls due is booked before this returns, callbacks follow."""
        self._call(lambda: self._house.advance(seconds))

    def settle(self) -> None:
        """Wait until everything due has happened and every callback has been answered."""
        self._await(self._house.settle())

    def set_key(self, key: str | None) -> None:
        """Rotate the key; None takes any."""
        self._call(lambda: self._house.set_key(key))

    @property
    def refused_url(self) -> str:
        """An address where connections are refused (F01)."""
        bound = self._dead_ends.enter_context(socket.socket())
        bound.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{bound.getsockname()[1]}"

    @property
    def silent_url(self) -> str:
        """An address where connecting never comes to an end (F02): its queue of connections is full."""
        bound = self._dead_ends.enter_context(socket.socket())
        bound.bind(("127.0.0.1", 0))
        bound.listen(0)
        for _ in range(3):
            waiting = self._dead_ends.enter_context(socket.socket())
            waiting.setblocking(False)  # noqa: FBT003
            waiting.connect_ex(bound.getsockname())
        return f"http://127.0.0.1:{bound.getsockname()[1]}"

    def _call(self, ask: Callable[[], T]) -> T:
        async def asked() -> T:
            return ask()

        return self._await(asked())

    def _await(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - handed to the thread that started this one
            self._failure = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        with contextlib.ExitStack() as stack:
            path = self._account_path
            if path is None:
                path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rushes-sandbox-")), "account.jsonl")
            book = stack.enter_context(Book(path, opening_balance=self._options.balance))
            clock = Clock(manual=self._manual, ahead=book.clock_ahead)
            self._house = House(self._options, book, clock, self._script, Shelf(path.with_suffix(".files")))
            self.account_path = path
            await self._listen()

    async def _listen(self) -> None:
        connections: set[asyncio.Task[Any]] = set()
        numbers = itertools.count(1)

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            connections.add(task)
            try:
                await _converse(self._house, reader, writer, next(numbers))
            finally:
                connections.discard(task)

        server = await asyncio.start_server(connected, "127.0.0.1", self._port, limit=HEAD_LIMIT)
        self.url = self._house.base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        watch = asyncio.create_task(self._house.watch())
        self._started.set()
        await self._stop.wait()
        for sock in server.sockets:
            self._loop.remove_reader(sock.fileno())
        await _breathe()
        server.close()
        for task in (watch, *connections):
            task.cancel()
        await asyncio.gather(watch, *connections, return_exceptions=True)
        await self._house.caller.stop()
        await _breathe()


async def _breathe() -> None:
    """Let the loop finish what it has begun: connections half accepted, transports half closed."""
    for _ in range(5):
        await asyncio.sleep(0)


async def _converse(house: House, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int) -> None:
    """Answer the requests of one connection until either side has had enough, or the sandbox ends."""
    try:
        for nth in itertools.count(1):
            if not await _answer(house, reader, writer, connection, nth):
                break
        writer.close()
        await writer.wait_closed()
    except (ConnectionError, TimeoutError, asyncio.IncompleteReadError, asyncio.CancelledError):
        writer.transport.abort()


async def _answer(
    house: House, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int, nth: int
) -> bool:
    """Answer one request; True when another may follow."""
    try:
        # Not wait_for: before Python 3.12 it can swallow the cancellation that ends the sandbox.
        async with asyncio.timeout(IDLE):
            request = await read_head(reader, connection, nth)
        if request is None:
            return False
        steps = await respond(house, request, reader)
    except BadRequest as error:
        await deliver(plain(html_reply(str(error), 400)), reader, writer, lag=0)
        return False
    return await deliver(steps, reader, writer, lag=house.options.lag) and request.keeps_alive
