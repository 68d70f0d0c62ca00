"""The provider inside the proof: speaks both dialects, lies by script, and keeps the truth that a ledger is held against."""

import asyncio
import functools
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import httpx

from tests.proof.crashes import Life
from tests.proof.movies import clip
from tests.proof.truth import Create, Job, Script
from tests.proof.virtual import VirtualTime
from tests.proof.wires import (
    AMOUNTS,
    LOST,
    NOT_SENT,
    REFUSALS,
    SAYINGS,
    mangled,
    odd_file,
    refusal,
    reply,
    sent,
    status_of,
    twisted,
)

__all__ = ["Oracle"]

JOB_SECONDS = 70.0
LATE = 80_000.0
"""Seconds for which a job that is late is called failed, or a link is dead, before the clip is there all the same."""
FAILED_TOO = {"shortapi": '3, "refunded": true', "sjinn": '-1, "error": "generation failed"'}
ODD_TEXTS = {"contradiction": "generation could not be started", "odd-bill": "balance 12.50 left"}
USD_PER_SECOND = Decimal("0.143")
CREDITS_PER_SECOND = Decimal(200)


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
        """Route by path; whoever asks waits before the answer and behind it, as on a socket."""
        self.life.check()
        await asyncio.sleep(0)
        self.life.check()
        response = await self._routed(request)
        await asyncio.sleep(0)
        self.life.check()
        return response

    async def _routed(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if "/clips/" in path:
            return self._file(request)
        if path.endswith("/query_credits_usage"):
            return reply({"success": True, "data": {"records": list(self._charges()), "next_cursor": None}})
        body = json.loads(await request.aread() or b"{}")
        creates = path.endswith(("/job/create", "/create_tool_task"))
        if creates:
            return await self._create(request, body)
        return self._query(request, body)

    async def _create(self, request: httpx.Request, body: dict[str, Any]) -> httpx.Response:
        kind = self.next("create")
        if kind in NOT_SENT:
            raise NOT_SENT[kind]("nothing left", request=request)
        asked = body.get("args") or body.get("input") or {}
        create = Create(str(asked["prompt"]), speaker(request))
        self.on_create(create)
        self.life("K8 bytes on the wire")
        trace = request.extensions.get("trace")
        if trace is not None:
            await trace("http11.send_request_headers.complete", {})
        self.creates.append(create)
        try:
            response = self._answer(kind, create, asked, body, request)
        except httpx.TimeoutException:
            if kind.startswith("timeout"):
                await asyncio.sleep(60)  # longer than our own deadline
            raise
        self.life("K9 head of the reply")
        return response

    def _charges(self) -> Iterator[dict[str, Any]]:
        """The rows of SJinn's list of charges, numbered within their task."""
        for job in self.jobs.values():
            parts = 2 if job.charged_twice else 1
            for part in range(parts) if job.provider == "sjinn" else ():
                cost = float(job.billed / parts)
                yield {"id": part, "task_id": job.job_id, "task_type": "tool", "cost_credits": cost}

    def _accept(self, create: Create, asked: dict[str, Any], body: dict[str, Any], factor: str = "1") -> Job:
        create.accepted = True
        self.on_accept(self, create)
        per_second = USD_PER_SECOND if create.provider == "shortapi" else CREDITS_PER_SECOND
        price = per_second * int(asked["duration"]) * Decimal(factor)
        name = f"job-{len(self.jobs) + 1:04d}-{create.shot[:8]}"
        job = Job(name, create.shot, create.provider, self.time.ticks, price)
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
        if name in LOST:
            return self._lose(name, argument, create, asked, body, request)
        if name == "http":
            return self._status(argument, create, asked, body)
        if name in SAYINGS and argument == "after":
            self._accept(create, asked, body)
        if name in REFUSALS or name in SAYINGS or argument == "before":
            return self._refuse(name, create)
        first = self._accept(create, asked, body) if name in {"twice", "two-ids"} else None
        if name == "told":
            told = refusal(create.provider, "slow down", 1) | {
                "data": json.dumps({"ref": self._accept(create, asked, body).job_id})
            }
            return reply(told, int(argument))
        factor = argument if name in {"bill", "odd-bill"} else "2" if name == "charged-twice" else "1"
        job = self._accept(create, asked, body, factor)
        job.charged_twice = name == "charged-twice"
        if name == "two-ids" and first is not None:
            return self._both(argument, first, job)
        if name == "callback-first":
            self.time.turn(JOB_SECONDS)
        if name == "callback-first" and argument == "lost":
            raise httpx.ReadTimeout("no answer", request=request)
        return self._odd(name, argument, job)

    def _refuse(self, name: str, create: Create) -> httpx.Response:
        """A refusal that the dialect's map lists; or one in words only, or none at all."""
        if name in REFUSALS:
            create.definite, create.stops = True, name in {"no-credit", "bad-key"}
            create.final = name in {"invalid", "moderation", "known-text"}
            text, code, status = REFUSALS[name]
            return reply(refusal(create.provider, text, code), 200 if create.provider == "sjinn" else status)
        if name in SAYINGS:
            return reply(refusal(create.provider, SAYINGS[name], 5))
        unlisted = refusal(create.provider, "the flux is too high", 977)
        return reply(unlisted) if name == "unlisted" else sent(200, b"<html>busy</html>")

    def _lose(
        self,
        name: str,
        argument: str,
        create: Create,
        asked: dict[str, Any],
        body: dict[str, Any],
        request: httpx.Request,
    ) -> httpx.Response:
        if argument == "after":
            self._accept(create, asked, body)
        if argument == "late":
            self.time.later(600, functools.partial(self._accept, create, asked, body))
        raise LOST[name]("no answer", request=request)

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
        create.stops, create.final = status in {"401", "402", "403"}, status in {"400", "413", "422"}
        text = {"402": "insufficient credit", "422": "duration is invalid"}.get(status, "no")
        return reply(refusal(create.provider, text, int(status)), int(status), headers)

    def _honest(self, job: Job) -> dict[str, Any]:
        if job.provider == "sjinn":
            return {"success": True, "error_code": 0, "data": {"task_id": job.job_id}}
        return {"code": 0, "data": {"job_id": job.job_id, "amount": f"{job.billed.normalize():f}"}}

    def _both(self, shape: str, first: Job, second: Job) -> httpx.Response:
        """One reply that names two jobs, both charged."""
        honest = self._honest(first)
        key = "task_id" if first.provider == "sjinn" else "job_id"
        if shape == "list":
            honest["data"][key] = [first.job_id, second.job_id]
        elif shape == "top":
            honest[key] = second.job_id
        text = json.dumps(honest)
        twin = f'"{key}": "{second.job_id}", "{key}": '
        return sent(200, (text.replace(f'"{key}": ', twin) if shape == "twin" else text).encode())

    def _odd(self, name: str, argument: str, job: Job) -> httpx.Response:
        honest = self._honest(job)
        key = "task_id" if job.provider == "sjinn" else "job_id"
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
                data["amount"] = AMOUNTS[argument]
            case "named":
                data["amount"] = argument
            case "amount-missing":
                del data["amount"]
            case "contradiction" | "odd-bill":
                honest["error"] = ODD_TEXTS[name]
            case "unlisted":
                return reply(refusal(job.provider, "the flux is too high", 977))
            case _:
                pass
        return mangled(name, json.dumps(honest).encode())

    def _query(self, request: httpx.Request, body: dict[str, Any]) -> httpx.Response:
        self.life("query")
        kind = self.next("query")
        asked = str(request.url.params.get("id") or body.get("task_id") or "")
        job = self.jobs.get(asked)
        if job is None or job.provider != speaker(request):
            return reply(refusal(speaker(request), "job not found", 404))
        if kind in {"lost", "closed", "reset"}:
            raise LOST[kind]("no answer", request=request)
        if kind.isdigit():
            return reply({"code": int(kind), "info": "no"}, int(kind))
        if kind == "html":
            return sent(200, b"<html>busy</html>")
        if kind == "cut":
            return sent(200, json.dumps(self._snapshot(job, "ok")).encode()[:20])
        if kind == "two-fold":
            told = json.dumps(self._snapshot(job, kind)).removesuffix("}}")
            return sent(200, f'{told}, "status": {FAILED_TOO[job.provider]}}}}}'.encode())
        return reply(self._snapshot(job, kind))

    def _snapshot(self, job: Job, kind: str) -> dict[str, Any]:
        job.queries += 1
        state = self._state(job, kind)
        sjinn = job.provider == "sjinn"
        data: dict[str, Any] = {"task_id" if sjinn else "id": job.job_id, "status": status_of(state, sjinn=sjinn)}
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
        if kind.startswith("refunded"):
            data["refunded"] = True
        twisted(kind, data, sjinn=sjinn)
        return {"success": True, "data": data} if sjinn else {"code": 0, "data": data}

    def _state(self, job: Job, kind: str) -> str:
        if job.outcome == "stuck" or self.time.ticks < job.accepted_at + JOB_SECONDS or kind.endswith("backwards"):
            return "running"
        if kind.endswith("failed-first") or (job.outcome == "late" and self.time.ticks < job.accepted_at + LATE):
            return "failed"
        return "failed" if job.outcome.startswith(("failed", "moderated")) else "done"

    def dead(self, job: Job) -> bool:
        """Whether the clip of a job cannot be had yet."""
        return bool(job.dead_link) and self.time.ticks < job.accepted_at + LATE

    def _file(self, request: httpx.Request) -> httpx.Response:
        self.life("download")
        self.authorized_files += "authorization" in request.headers
        job = self.jobs[request.url.path.rpartition("/")[2].removesuffix(".mp4")]
        kind, movie = job.dead_link if self.dead(job) else self.next("file"), clip(job.job_id)
        self.served[job.job_id] = hashlib.sha256(movie).hexdigest()
        if kind.isdigit():
            job.version += 1
            return sent(int(kind), b"gone")
        headers = {"content-type": "video/mp4", "content-length": str(len(movie)), "etag": f'"{job.job_id}"'}
        start = request.headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")[0]
        if kind == "short":
            movie = clip(job.job_id, seconds=1)
            return sent(200, movie)
        if (odd := odd_file(kind, movie, headers, request)) is not None:
            return odd
        if start != "0":
            headers["content-length"] = str(len(movie) - int(start))
            headers["content-range"] = f"bytes {start}-{len(movie) - 1}/{len(movie)}"
            return sent(206, movie[int(start) :], headers)
        return sent(200, movie, headers)


def speaker(request: httpx.Request) -> str:
    """Whose address a request goes to."""
    return "sjinn" if request.url.host.endswith("sjinn.ai") else "shortapi"
