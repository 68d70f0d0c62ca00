"""The file host: clips behind signed addresses, with Range; uploads by PUT; nothing here wants a key."""

import hashlib
import mimetypes
import re
from collections.abc import Iterable

from deployments.sandbox import clips
from deployments.sandbox.faults import lies
from deployments.sandbox.faults.kinds import FileFault
from deployments.sandbox.house import House
from deployments.sandbox.orders import Job
from deployments.sandbox.shelf import NAME
from deployments.sandbox.wire import Reply, Request, Step, head_of, html_reply, json_reply, plain

__all__ = ["clip_job", "serve"]

CLIPS = "/files/clips/"
RANGE = re.compile(r"bytes=([0-9]*)-([0-9]*)")


def clip_job(house: House, request: Request) -> Job | None:
    """The job whose clip is asked for."""
    if not request.path.startswith(CLIPS):
        return None
    return house.book.jobs.get(request.path.removeprefix(CLIPS).removesuffix(".mp4"))


async def serve(house: House, request: Request) -> tuple[Iterable[Step], str]:
    """The answer of the file host, and the name of the fault in it."""
    name = request.path.removeprefix("/files/")
    if request.method == "PUT":
        return plain(_upload(house, name, request.body)), ""
    if request.method not in {"GET", "HEAD"}:
        return plain(html_reply("method not allowed", 405)), ""
    if "again" in request.query and not request.path.startswith("/files/lies/"):
        return (lies.loop(Reply()), "") if "sig" not in request.query else await _clip(house, request)
    if request.path.startswith(CLIPS):
        return await _clip(house, request)
    data = _prop(name) if name.startswith("lies/") else house.pictures.uploaded(name)
    if data is None:
        return plain(html_reply("not found", 404)), ""
    return _send(request, ranged(request, data, mimetypes.guess_type(name)[0] or "application/octet-stream")), ""


def _upload(house: House, name: str, data: bytes) -> Reply:
    if not NAME.fullmatch(name):
        return json_reply({"error": "a plain name is required"}, 400)
    house.pictures.upload(name, data)
    return json_reply({"url": f"{house.base}/files/{name}"}, 201)


def _prop(name: str) -> bytes | None:
    match name:
        case "lies/picture.png":
            return clips.png()
        case "lies/sound.m4a":
            return clips.render(clips.Clip(64, 36, 3, audio=True, flaw="empty"))
        case _:
            return None


async def _clip(house: House, request: Request) -> tuple[Iterable[Step], str]:
    job = clip_job(house, request)
    if job is None or job.state(house.clock.now()) != "done":
        return plain(html_reply("not found", 404)), ""
    if not _signed(house, job, request):
        return plain(html_reply("expired", 403)), ""
    reply = ranged(request, await house.movie(job), "video/mp4")
    fault = house.script.next(FileFault, job.provider) if request.method == "GET" else None
    if fault is None:
        return _send(request, reply), ""
    if fault.revokes:
        house.address_version[job.job_id] += 1
    return (fault.lie or plain)(reply), fault.name


def _signed(house: House, job: Job, request: Request) -> bool:
    version, expires = house.address_version[job.job_id], request.query.get("expires", "")
    fresh = not expires or (expires.isdigit() and house.clock.now() <= int(expires))
    return fresh and request.query.get("sig") == house.signature(job.job_id, version, expires)


def ranged(request: Request, data: bytes, kind: str) -> Reply:
    """The whole file, or the one range that was asked for of the same version of it."""
    tag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
    headers = (("Accept-Ranges", "bytes"), ("ETag", tag))
    found = RANGE.fullmatch(request.headers.get("range", ""))
    if found is None or found[0] == "bytes=-" or request.headers.get("if-range", tag) != tag:
        return Reply(200, data, kind, headers)
    start, stop = _bounds(found[1], found[2], len(data))
    if start >= len(data) or start >= stop:
        return Reply(416, b"", kind, (*headers, ("Content-Range", f"bytes */{len(data)}")))
    place = f"bytes {start}-{stop - 1}/{len(data)}"
    return Reply(206, data[start:stop], kind, (*headers, ("Content-Range", place)))


def _bounds(first: str, last: str, size: int) -> tuple[int, int]:
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(size, int(last) + 1) if last else size


def _send(request: Request, reply: Reply) -> Iterable[Step]:
    return [head_of(reply)] if request.method == "HEAD" else plain(reply)
