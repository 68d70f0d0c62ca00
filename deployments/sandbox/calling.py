"""Callbacks: unsigned POSTs, and only to this machine."""

import asyncio
import contextlib
from collections.abc import Sequence
from urllib.parse import urlsplit

import httpx

from deployments.sandbox.account import Called
from deployments.sandbox.book import Book
from deployments.sandbox.clock import Clock
from deployments.sandbox.faults.kinds import Note
from deployments.sandbox.shelf import PLAIN, is_loopback

__all__ = ["Caller"]

DRIPS = 10_000


class Caller:
    """Sends notes in the background, in order for each job, and books what was answered."""

    def __init__(self, book: Book, clock: Clock, *, lag: float) -> None:
        self._book = book
        self._clock = clock
        self._lag = lag
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, job_id: str, notes: Sequence[Note], fault: str) -> None:
        """Start sending."""
        task = asyncio.get_running_loop().create_task(self._send(job_id, notes, fault))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settle(self) -> None:
        """Wait until nothing is under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def stop(self) -> None:
        """Give up what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _send(self, job_id: str, notes: Sequence[Note], fault: str) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=10, verify=PLAIN) as client:
            for note in notes:
                status, error = await self._post(client, note)
                self._book.book_callback(Called(self._clock.now(), job_id, status, error, fault))

    async def _post(self, client: httpx.AsyncClient, note: Note) -> tuple[int, str]:
        if not is_loopback(note.url):
            return 0, "not sent: callbacks go to loopback addresses only"
        if note.slowly:
            return await self._drip(note)
        try:
            reply = await client.post(note.url, content=note.body, headers={"Content-Type": "application/json"})
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return 0, type(error).__name__
        return reply.status_code, ""

    async def _drip(self, note: Note) -> tuple[int, str]:
        """Send a body that never ends until the receiver has had enough; the status of its last word, if any."""
        parts = urlsplit(note.url)
        try:
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
        except OSError as error:
            return 0, type(error).__name__
        head = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {DRIPS}\r\n\r\n".encode())
        answer = asyncio.ensure_future(reader.read(64))
        with contextlib.suppress(ConnectionError):
            for _ in range(DRIPS - 1):
                writer.write(b" ")
                await writer.drain()
                done, _ = await asyncio.wait({answer}, timeout=self._lag)
                if done:
                    break
        answer.cancel()
        writer.close()
        words = b"" if answer.cancelled() or not answer.done() or answer.exception() else answer.result()
        status = words.split(b" ")[1] if words.startswith(b"HTTP/1.1 ") else b"0"
        return int(status), "" if int(status) else "closed by the receiver"
