"""The provider inside the proof: speaks both dialects, lies by script, and keeps the truth that a ledger is held against."""

import functools
import hashlib
import io
import json
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any

import av
import httpx
import numpy as np

from tests.proof.crashes import Life, VirtualTime

__all__ = ["Create", "Job", "Oracle", "Script"]

JOB_SECONDS = 70.0
USD_PER_SECOND = Decimal("0.143")
CREDITS_PER_SECOND = Decimal(200)


@dataclass(slots=True)
class Job:
    """One accepted job: the truth about it. `served` are the hashes of what its links gave."""

    job_id: str
    shot: str
    accepted_at: float
    billed: Decimal
    outcome: str = "ok"
    refunded: Decimal = Decimal(0)
    callback: str = ""
    queries: int = 0
    told_done: bool = False
    version: int = 0

    @property
    def net(self) -> Decimal:
        """What stays paid."""
        return self.billed - self.refunded


@dataclass(slots=True)
class Create:
    """One create request that reached the provider; `definite`: it was answered with a definite refusal."""

    shot: str
    accepted: bool = False
    definite: bool = False


@dataclass(frozen=True, slots=True)
class Script:
    """How the provider, the file host, the disk and the database behave; each list is used up one event after another.

    `shots` on the board; `cap` the run's cap as a multiple of one shot's price; `exact`: at the end the ledger's money
    equals the provider's to the micro. `ends`: the state in which every shot must be at last.
    """

    name: str
    create: tuple[str, ...] = ()
    query: tuple[str, ...] = ()
    file: tuple[str, ...] = ()
    store: tuple[str, ...] = ()
    receipt: tuple[str, ...] = ()
    ledger: tuple[str, ...] = ()
    job: tuple[str, ...] = ()
    provider: str = "shortapi"
    shots: int = 1
    cap: int = 3
    exact: bool = True
    ends: str = "STORED"
    overbills: bool = False


class Broken(httpx.AsyncByteStream):
    """A body that breaks off."""

    def __init__(self, start: bytes, error: Exception | None) -> None:
        self._start, self._error = start, error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._start
        if self._error is not None:
            raise self._error


@dataclass(slots=True)
class Oracle(httpx.AsyncBaseTransport):
    """Answers every https address: creates, queries and clips."""

    script: Script
    time: VirtualTime
    on_accept: Callable[["Oracle", Create], None] = lambda _oracle, _create: None
    on_create: Callable[[Create], None] = lambda _create: None
    on_callback: Callable[[str, str], None] = lambda _url, _job: None
    jobs: dict[str, Job] = field(default_factory=dict)
    creates: list[Create] = field(default_factory=list)
    life: Life = field(default_factory=Life)
    used: dict[str, int] = field(default_factory=dict)
    authorized_files: int = 0
    served: dict[str, str] = field(default_factory=dict)

    def next(self, sort: str) -> str:
        """The script's behaviour for the next event of a sort; `ok` once the list is used up, or its last for ever."""
        script: tuple[str, ...] = getattr(self.script, sort)
        at = self.used.get(sort, 0)
        self.used[sort] = at + 1
        if script and script[-1].endswith("*"):
            return script[min(at, len(script) - 1)].rstrip("*")
        return script[at] if at < len(script) else "ok"

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Route by path; the request's head counts as sent once it is here."""
        self.life.check()
        path = request.url.path
        if "/clips/" in path:
            return self._file(request)
        body = json.loads(await request.aread() or b"{}")
        creates = path.endswith(("/job/create", "/create_tool_task"))
        if creates:
            return await self._create(request, body)
        return await self._query(request, body)

    async def _create(self, request: httpx.Request, body: dict[str, Any]) -> httpx.Response:
        kind = self.next("create")
        if kind in _NOT_SENT:
            raise _NOT_SENT[kind]("nothing left", request=request)
        self.life("K8 bytes on the wire")
        trace = request.extensions.get("trace")
        if trace is not None:
            await trace("http11.send_request_headers.complete", {})
        asked = body.get("args") or body.get("input") or {}
        create = Create(str(asked["prompt"]))
        self.creates.append(create)
        self.on_create(create)
        response = self._answer(kind, create, asked, body, request)
        self.life("K9 head of the reply")
        return response

    def _accept(self, create: Create, asked: dict[str, Any], body: dict[str, Any], factor: str = "1") -> Job:
        create.accepted = True
        self.on_accept(self, create)
        per_second = USD_PER_SECOND if self.script.provider == "shortapi" else CREDITS_PER_SECOND
        price = per_second * int(asked["duration"]) * Decimal(factor)
        job = Job(f"job-{len(self.jobs) + 1:04d}-{create.shot[:8]}", create.shot, self.time.ticks, price)
        job.outcome = self.next("job")
        job.callback = str(body.get("callback_url") or "")
        self.jobs[job.job_id] = job
        if job.callback:
            self.time.later(JOB_SECONDS, functools.partial(self.on_callback, job.callback, job.job_id))
        return job

    def _answer(
        self, kind: str, create: Create, asked: dict[str, Any], body: dict[str, Any], request: httpx.Request
    ) -> httpx.Response:
        name, _, argument = kind.partition(":")
        if name in {"lost", "closed", "reset", "cut", "timeout"}:
            if argument == "after":
                self._accept(create, asked, body)
            if argument == "late":
                self.time.later(600, lambda: void(self._accept(create, asked, body)))
            if name == "timeout":
                self.time.turn(26)
            raise _LOST[name]("no answer", request=request)
        if name == "callback-first":
            job = self._accept(create, asked, body)
            self.time.turn(JOB_SECONDS)
            if argument == "lost":
                raise httpx.ReadTimeout("no answer", request=request)
            return reply(self._honest(job))
        if name == "http":
            return self._status(argument, create, asked, body)
        if name == "twice":
            self._accept(create, asked, body)
        if name in _REFUSALS:
            create.definite = True
            return reply(_refusal(self.script.provider, *_REFUSALS[name]))
        if name == "unlisted" and argument == "before":
            return reply(_refusal(self.script.provider, "the flux is too high", 977))
        if name == "html" and argument == "before":
            return sent(200, b"<html>busy</html>")
        job = self._accept(create, asked, body, argument if name == "bill" else "1")
        return self._odd(name, argument, job, request)

    def _status(self, argument: str, create: Create, asked: dict[str, Any], body: dict[str, Any]) -> httpx.Response:
        status, _, when = argument.partition("-")
        headers = {}
        if status == "429" and when:
            headers["Retry-After"] = when
        if status in {"307", "301"}:
            headers["Location"] = "https://api.shortapi.ai/api/v1/job/create"
        if when == "after":
            self._accept(create, asked, body)
        create.definite = status in {"400", "401", "402", "403", "404", "405", "413", "415", "422", "429"}
        text = {"402": "insufficient credit", "422": "duration is invalid"}.get(status, "no")
        return reply(_refusal(self.script.provider, text, int(status)), int(status), headers)

    def _honest(self, job: Job) -> dict[str, Any]:
        if self.script.provider == "sjinn":
            return {"success": True, "error_code": 0, "data": {"task_id": job.job_id}}
        return {"code": 0, "data": {"job_id": job.job_id, "amount": f"{job.billed.normalize():f}"}}

    def _odd(self, name: str, argument: str, job: Job, request: httpx.Request) -> httpx.Response:
        honest = self._honest(job)
        key = "task_id" if self.script.provider == "sjinn" else "job_id"
        data = honest["data"]
        match name:
            case "id":
                data[key] = {"empty": "", "null": None, "number": 7, "list": [job.job_id], "object": {}}[argument]
            case "id-missing":
                del data[key]
            case "id-outside":
                honest[key] = data.pop(key)
            case "id-of-another":
                data[key] = next(iter(self.jobs))
            case "amount":
                data["amount"] = _AMOUNTS[argument]
            case "amount-missing":
                del data["amount"]
            case "contradiction":
                honest["error"] = "generation could not be started"
            case "unlisted":
                return reply(_refusal(self.script.provider, "the flux is too high", 977))
            case "html":
                return sent(200, b"<html>busy</html>")
            case _:
                pass
        return _mangled(name, json.dumps(honest).encode(), request)

    async def _query(self, request: httpx.Request, body: dict[str, Any]) -> httpx.Response:
        self.life("query")
        kind = self.next("query")
        asked = str(request.url.params.get("id") or body.get("task_id") or "")
        job = self.jobs.get(asked)
        if job is None:
            return reply(_refusal(self.script.provider, "job not found", 404))
        if kind in {"lost", "closed", "reset"}:
            raise _LOST[kind]("no answer", request=request)
        if kind.isdigit():
            return reply({"code": int(kind), "info": "no"}, int(kind))
        if kind == "html":
            return sent(200, b"<html>busy</html>")
        if kind == "cut":
            return sent(200, json.dumps(self._snapshot(job, "ok")).encode()[:20])
        return reply(self._snapshot(job, kind))

    def _snapshot(self, job: Job, kind: str) -> dict[str, Any]:
        job.queries += 1
        state = self._state(job, kind)
        sjinn = self.script.provider == "sjinn"
        data: dict[str, Any] = {"task_id" if sjinn else "id": job.job_id, "status": _status_of(state, sjinn=sjinn)}
        if state == "done":
            job.told_done = True
            url = f"https://files.example/clips/{job.job_id}.mp4?v={job.version}&sig=secret"
            data |= {"output_urls": [url]} if sjinn else {"result": {"videos": [{"url": url}]}}
            if not sjinn:
                data["credit"] = f"{job.billed.normalize():f}"
        if state == "failed":
            data["error"] = "output violates the content policy" if job.outcome == "moderated" else "generation failed"
            if job.outcome == "failed-refunded":
                job.refunded, data["refunded"] = job.billed, True
            if job.outcome == "failed-billed":
                data["refunded"] = False
        _twisted(kind, data, sjinn=sjinn)
        return {"success": True, "data": data} if sjinn else {"code": 0, "data": data}

    def _state(self, job: Job, kind: str) -> str:
        if job.outcome == "stuck" or self.time.ticks < job.accepted_at + JOB_SECONDS or kind == "backwards":
            return "running"
        if kind == "failed-first":
            return "failed"
        return "failed" if job.outcome.startswith(("failed", "moderated")) else "done"

    def _file(self, request: httpx.Request) -> httpx.Response:
        self.life("download")
        self.authorized_files += "authorization" in request.headers
        job = self.jobs[request.url.path.rpartition("/")[2].removesuffix(".mp4")]
        kind, movie = self.next("file"), clip(job.job_id)
        self.served[job.job_id] = hashlib.sha256(movie).hexdigest()
        if kind.isdigit():
            job.version += 1
            return sent(int(kind), b"gone")
        headers = {"content-type": "video/mp4", "content-length": str(len(movie)), "etag": f'"{job.job_id}"'}
        start = request.headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")[0]
        match kind:
            case "lost":
                raise httpx.ReadTimeout("no answer", request=request)
            case "break":
                return httpx.Response(200, headers=headers, stream=Broken(movie[:500], httpx.ReadError("reset")))
            case "cut-closed":
                return httpx.Response(200, stream=Broken(movie[: len(movie) // 2], None))
            case "html":
                return sent(200, b"<html><body>the clip has moved</body></html>")
            case "json":
                return sent(200, b'{"error": "no such clip on this host"}')
            case "empty":
                return sent(200, b"")
            case "garbage":
                return sent(200, movie[:40] + bytes(400))
            case "metadata":
                return httpx.Response(302, headers={"location": "http://169.254.169.254/latest"})
            case "short":
                return sent(200, clip(job.job_id, seconds=1))
            case _:
                pass
        if start != "0":
            headers["content-length"] = str(len(movie) - int(start))
            headers["content-range"] = f"bytes {start}-{len(movie) - 1}/{len(movie)}"
            return sent(206, movie[int(start) :], headers)
        return sent(200, movie, headers)


def void(_value: object) -> None:
    """For callbacks whose result nobody wants."""


def reply(document: Any, status: int = 200, headers: dict[str, str] | None = None) -> httpx.Response:
    """A JSON answer."""
    return sent(status, json.dumps(document).encode(), headers)


def sent(status: int, body: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
    """An answer whose body is still to be read, as from a socket."""
    return httpx.Response(status, headers=headers, stream=httpx.ByteStream(body))


_NOT_SENT: dict[str, type[httpx.TransportError]] = {
    "refused-connection": httpx.ConnectError,
    "connect-timeout": httpx.ConnectTimeout,
    "pool-timeout": httpx.PoolTimeout,
    "proxy": httpx.ProxyError,
}
_LOST: dict[str, type[httpx.TransportError]] = {
    "lost": httpx.ReadTimeout,
    "timeout": httpx.ReadTimeout,
    "closed": httpx.RemoteProtocolError,
    "reset": httpx.ReadError,
    "cut": httpx.WriteError,
}
_REFUSALS = {
    "no-credit": ("insufficient credits", 100),
    "bad-key": ("unauthorized: invalid api key", 401),
    "invalid": ("invalid duration: must be a string", 400),
    "moderation": ("prompt violates our content policy", 400),
    "queue-full": ("too many concurrent tasks", 400),
}
_AMOUNTS: dict[str, Any] = {
    "word": "abc",
    "negative": "-1",
    "nan": "NaN",
    "huge": "1e308",
    "comma": "0,43",
    "number": 0.43,
    "currency": "0.43 EUR",
}


def _refusal(provider: str, text: str, code: int) -> dict[str, Any]:
    if provider == "sjinn":
        return {"success": False, "error_code": code, "errorMsg": text}
    return {"code": code, "info": text}


def _status_of(state: str, *, sjinn: bool) -> int:
    return {"running": 0, "done": 1, "failed": -1}[state] if sjinn else {"running": 1, "done": 2, "failed": 3}[state]


def _mangled(name: str, text: bytes, request: httpx.Request) -> httpx.Response:
    match name:
        case "json-cut":
            return sent(200, text[: len(text) // 2])
        case "json-cut-end":
            return sent(200, text[:-2])
        case "bom":
            return sent(200, b"\xef\xbb\xbf" + text)
        case "twin-keys":
            return sent(200, text.replace(b'_id": ', b'_id": "nobody", "job_id": ', 1))
        case "empty-body":
            return sent(200, b"")
        case "break":
            stream = Broken(text[:10], httpx.RemoteProtocolError("peer closed connection", request=request))
            return httpx.Response(200, stream=stream)
        case _:
            return sent(200, text)


def _twisted(kind: str, data: dict[str, Any], *, sjinn: bool) -> None:
    match kind:
        case "unknown-status":
            data["status"] = 99
            data.pop("result", None)
        case "null-status":
            data["status"] = None
            data.pop("result", None)
        case "word-status":
            data["status"] = "meditating"
        case "no-data":
            data.clear()
        case "other-job":
            data["task_id" if sjinn else "id"] = "job-of-somebody-else"
        case "no-urls":
            for key in ("result", "output_urls"):
                data.pop(key, None)
        case _:
            pass


@functools.cache
def _movie(seconds: int) -> bytes:
    """A real, tiny H.264 clip: a light that wanders over a gradient."""
    held = io.BytesIO()
    with av.open(held, "w", format="mp4") as movie:
        stream = movie.add_stream("libx264", rate=4, options={"preset": "ultrafast", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for number in range(4 * seconds):
            pixels = np.full((32, 48, 3), 90, dtype=np.uint8)
            pixels[:, (number * 3) % 44 : (number * 3) % 44 + 4] = 220
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 4)
            movie.mux(stream.encode(frame))
        movie.mux(stream.encode(None))
    return held.getvalue()


def clip(job_id: str, *, seconds: int = 3) -> bytes:
    """The clip of a job: players skip its last box, hashes tell jobs apart."""
    mark = job_id.encode()
    return _movie(seconds) + struct.pack(">I", 8 + len(mark)) + b"free" + mark
