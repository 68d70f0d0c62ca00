"""What the parts of the sandbox share: its account, clock, script of faults, and the timeline of what is due."""

import asyncio
import contextlib
import functools
import hashlib
import heapq
import hmac
import itertools
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from deployments.sandbox import clips, shelf
from deployments.sandbox.account import Account
from deployments.sandbox.book import Book
from deployments.sandbox.calling import Caller
from deployments.sandbox.clock import Clock
from deployments.sandbox.dialects import DIALECTS
from deployments.sandbox.faults.kinds import CallbackFault, Note, Scene
from deployments.sandbox.faults.script import Script
from deployments.sandbox.orders import Job, Order

__all__ = ["House", "Options"]

DAY = 86_400.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """How the sandbox behaves when nothing goes wrong.

    `job_seconds` replaces the 2 to 8 minutes of a real job; `speed` divides either. `key` None takes any non-empty key.
    `lag` is the wait (seconds) between the drips of slow replies. `size` is the longer side of a clip in pixels.
    `balance` is what SJinn's account holds at first, in credits. `url_seconds` lets clip addresses expire.
    """

    speed: float = 1.0
    job_seconds: float | None = None
    key: str | None = None
    callback: bool = True
    lag: float = 1.0
    size: int = 320
    balance: Decimal = Decimal(1_000_000)
    url_seconds: float | None = None


class House:
    """The running sandbox without its sockets. Use it from one event loop."""

    def __init__(self, options: Options, book: Book, clock: Clock, script: Script, pictures: shelf.Shelf) -> None:
        self.options = options
        self.key = options.key
        self.book = book
        self.clock = clock
        self.script = script
        self.pictures = pictures
        self.base = ""
        self.told: set[str] = set()
        self.address_version: Counter[str] = Counter()
        self.caller = Caller(book, clock, lag=options.lag)
        self.wake = asyncio.Event()
        self._timeline: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        for job in book.jobs.values():
            self.expect(job)

    def account(self) -> Account:
        """The truth, now."""
        self.tick()
        return self.book.account(self.clock.now())

    def admits(self, authorization: str) -> bool:
        """Whether this Authorization header opens the door."""
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            return False
        return self.key is None or hmac.compare_digest(key.strip().encode(), self.key.encode())

    def set_key(self, key: str | None) -> None:
        """Rotate the key."""
        self.key = key

    def job_time(self, order: Order) -> float:
        """Seconds from acceptance to the end: 2 to 8 minutes by duration and mode, as SJinn's page says."""
        real = 120 + 20 * (order.seconds - 3) + (120 if order.pro else 0)
        return (real if self.options.job_seconds is None else self.options.job_seconds) / self.options.speed

    def expect(self, job: Job) -> None:
        """Put what is still to happen to this job on the timeline."""
        if not job.finished and job.outcome.end != "stuck":
            self._at(job.ready_at, lambda: self.finish(job.job_id))
        elif job.finished and job.outcome.refund == "late" and not job.refunded:
            self._refund_late(job)

    def tick(self) -> None:
        """Let everything happen that is due."""
        while self._timeline and self._timeline[0][0] <= self.clock.now():
            heapq.heappop(self._timeline)[2]()

    async def settle(self) -> None:
        """Let everything happen that is due, and wait until every callback has been answered."""
        self.tick()
        await self.caller.settle()

    async def watch(self) -> None:
        """Tick for ever, at the right moments."""
        while True:
            self.tick()
            self.wake.clear()
            until = self._timeline[0][0] - self.clock.now() if self._timeline and not self.clock.manual else None
            # Not wait_for: before Python 3.12 it can swallow the cancellation that ends this loop.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if until is None else max(0.001, until)):
                    await self.wake.wait()

    def advance(self, seconds: float) -> None:
        """Move the clock by hand."""
        self.clock.ahead += seconds
        self.book.book_clock(self.clock.ahead)
        self.tick()
        self.wake.set()

    def finish(self, job_id: str) -> None:
        """The job ends: refunds are booked, the callback goes out."""
        job = self.book.jobs[job_id]
        if job.finished:
            return
        self.book.book_finish(job_id, self.clock.now())
        match job.outcome.refund:
            case "at-once":
                self.book.book_refund(job_id, job.billed, self.clock.now())
            case "late":
                self._refund_late(job)
            case _:
                pass
        if job.callback_url and self.options.callback:
            self._call_back(self.book.jobs[job_id])

    def _refund_late(self, job: Job) -> None:
        at = job.ready_at + max(job.takes, 1.0)
        self._at(at, lambda: self.book.book_refund(job.job_id, job.billed, at))

    def _at(self, moment: float, happens: Callable[[], None]) -> None:
        heapq.heappush(self._timeline, (moment, next(self._order), happens))
        self.wake.set()

    def _call_back(self, job: Job) -> None:
        dialect = DIALECTS[job.provider]
        scene = self.scene(job)
        body = dialect.snapshot(job, job.state(self.clock.now()), [scene.url])
        note = Note(job.callback_url, json.dumps(body).encode())
        fault = self.script.next(CallbackFault, job.provider)
        notes = [note] if fault is None else fault.notes(note, body, scene)
        self.caller.send(job.job_id, [one for one in notes if not one.days_later], fault.name if fault else "")
        for one in notes:
            if one.days_later:
                again = functools.partial(self.caller.send, job.job_id, [one], "callback-replayed")
                self._at(job.ready_at + one.days_later * DAY, again)

    def scene(self, job: Job) -> Scene:
        """What a fault may say of this job."""
        others = (
            other.job_id
            for other in reversed(self.book.jobs.values())
            if other.provider == job.provider and other.job_id != job.job_id
        )
        return Scene(
            provider=job.provider,
            id_key=DIALECTS[job.provider].ID_KEY,
            job_id=job.job_id,
            other_id=next(others, "00000000-0000-4000-8000-000000000000"),
            base=self.base,
            url=self.clip_url(job),
        )

    def clip_url(self, job: Job) -> str:
        """The signed address of a finished clip; a revoked one never comes back."""
        version = self.address_version[job.job_id]
        life = self.options.url_seconds
        expires = "" if life is None else str(int(self.clock.now() + life))
        signature = self.signature(job.job_id, version, expires)
        tail = f"&expires={expires}" if expires else ""
        return f"{self.base}/files/clips/{job.job_id}.mp4?v={version}{tail}&sig={signature}"

    def signature(self, job_id: str, version: int, expires: str) -> str:
        """What stands in an address for the right to fetch it."""
        message = f"{job_id}/{version}/{expires}".encode()
        return hmac.new(self.pictures.secret, message, hashlib.sha256).hexdigest()[:32]

    async def movie(self, job: Job) -> bytes:
        """The bytes of the job's clip."""
        clip = clips.Clip(
            job.width, job.height, job.seconds, job.audio, job.outcome.clip, self.pictures.still_path(job.still)
        )
        return clips.sealed(await asyncio.to_thread(clips.render, clip), job.job_id)
