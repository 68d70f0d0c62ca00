"""The animatic's other end: an HTTP transport that renders on this machine, in threads, and survives being killed.

A job is a folder `<home>/animatic/<job>/`: `request.json` comes first, `clip.mp4` appears when it is whole, `error.txt` when
it cannot be. A query of an unfinished job that nobody renders (its process was killed) starts it again.
"""

import asyncio
import json
import os
import re
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from tasks.providers.strictjson import Parsed, parse_json
from tasks.studio.errors import RenderCancelled, StudioError

__all__ = ["LocalStudio"]

_JOB = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_CHUNK = 1 << 18
_FIELDS = {"id": str, "board": str, "shot": str, "take": int, "still": str, "beats": list, "audio": bool}

Progress = Callable[[str, float], None]


class LocalStudio(httpx.AsyncBaseTransport):
    """Answers `POST animatic://local/jobs`, `GET .../jobs/<id>` and `GET .../clips/<id>.mp4`.

    The job id is the one that the create names, so creating twice is harmless. `progress` hears (job, share done) in the
    event loop's thread. Closing stops the renders within a second of film; the next query of such a job starts it again.
    """

    def __init__(self, home: Path, threads: int | None = None, progress: Progress | None = None) -> None:
        self._folder = home / "animatic"
        self._progress = progress
        self._shares: dict[str, float] = {}
        self._renders: dict[str, Future[None]] = {}
        self._stopped = threading.Event()
        self._pool = ThreadPoolExecutor(threads or os.cpu_count() or 1, thread_name_prefix="studio")

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        match request.method, request.url.path.strip("/").split("/"):
            case "POST", ["jobs"]:
                return self._create(body)
            case "GET", ["jobs", job] if _JOB.fullmatch(job):
                return self._query(job)
            case "GET", ["clips", name] if _JOB.fullmatch(name.removesuffix(".mp4")):
                return self._clip(self._folder / name.removesuffix(".mp4") / "clip.mp4")
            case _:
                return _answer(404, error="there is nothing here")

    async def aclose(self) -> None:
        """Stop every render and wait for the threads."""
        self._stopped.set()
        await asyncio.to_thread(self._pool.shutdown, wait=True, cancel_futures=True)

    def _create(self, body: bytes) -> httpx.Response:
        parsed = parse_json(body)
        order: Any = parsed.value if isinstance(parsed, Parsed) else None
        problem = _problem(order)
        if problem:
            return _answer(422, error=problem)
        folder = self._folder / order["id"]
        try:
            known = _read(folder / "request.json")
            if known is None:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                _write(folder / "request.json", json.dumps(order, ensure_ascii=False))
        except OSError as error:
            return _answer(422, error=f"{folder} cannot be written: {error.strerror}")
        if known is not None and known != order:
            return _answer(422, error=f"job {order['id']} was already asked for with other content")
        self._start(order)
        return _answer(200, id=order["id"], status="queued")

    def _query(self, job: str) -> httpx.Response:
        folder = self._folder / job
        order = _read(folder / "request.json")
        if order is None:
            return _answer(404, error=f"job {job} is not known")
        if (folder / "clip.mp4").exists():
            return _answer(200, id=job, status="done", progress=1.0, clip=f"animatic://local/clips/{job}.mp4")
        reason = self._failure(job)
        if reason:
            return _answer(200, id=job, status="failed", error=reason)
        self._start(order)
        return _answer(200, id=job, status="rendering", progress=round(self._shares.get(job, 0.0), 3))

    def _failure(self, job: str) -> str:
        note = self._folder / job / "error.txt"
        if note.exists():
            return note.read_text(encoding="utf-8")
        render = self._renders.get(job)
        error = render.exception() if render is not None and render.done() and not render.cancelled() else None
        return "" if error is None else f"the render ended with {type(error).__name__}: {error}"

    def _clip(self, path: Path) -> httpx.Response:
        if not path.exists():
            return _answer(404, error="that clip is not there")
        headers = {"content-type": "video/mp4", "content-length": str(path.stat().st_size)}
        return httpx.Response(200, headers=headers, stream=_File(path))

    def _start(self, order: Mapping[str, Any]) -> None:
        job = order["id"]
        done = any((self._folder / job / name).exists() for name in ("clip.mp4", "error.txt"))
        if not done and job not in self._renders and not self._stopped.is_set():
            loop = asyncio.get_running_loop()

            def tell(share: float) -> None:
                loop.call_soon_threadsafe(self._tell, job, share)

            self._renders[job] = self._pool.submit(self._render, order, tell)

    def _tell(self, job: str, share: float) -> None:
        self._shares[job] = share
        if self._progress is not None:
            self._progress(job, share)

    def _render(self, order: Mapping[str, Any], tell: Callable[[float], None]) -> None:
        # PyAV, Pillow and numpy load only where something is rendered.
        from tasks.studio.render import Animatic, Beat, render_animatic

        folder = self._folder / order["id"]
        part = folder / f"clip.{os.getpid()}.part.mp4"
        animatic = Animatic(
            shot=order["shot"],
            take=order["take"],
            board=order["board"],
            still=Path(order["still"]),
            end_still=Path(order["end_still"]) if order.get("end_still") else None,
            beats=tuple(Beat(beat["prompt"], beat["seconds"]) for beat in order["beats"]),
            audio=order["audio"],
        )
        try:
            render_animatic(animatic, part, progress=tell, cancelled=self._stopped.is_set)
        except RenderCancelled:
            return
        except StudioError as error:
            _write(folder / "error.txt", str(error))
            return
        _publish(part, folder / "clip.mp4")


class _File(httpx.AsyncByteStream):
    def __init__(self, path: Path) -> None:
        self._path = path

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with self._path.open("rb") as file:
            while chunk := await asyncio.to_thread(file.read, _CHUNK):
                yield chunk


def _problem(order: object) -> str:
    """What is wrong with a create's body; empty when nothing is."""
    if not isinstance(order, dict):
        return "the order is no JSON object"
    wrong = [name for name, kind in _FIELDS.items() if type(order.get(name)) is not kind]
    if wrong:
        return f"{wrong[0]} is missing or of the wrong type"
    if not _JOB.fullmatch(order["id"]):
        return "the id is no plain name"
    whole = all(
        isinstance(beat, dict) and type(beat.get("seconds")) is int and beat["seconds"] > 0 for beat in order["beats"]
    )
    if not order["beats"] or not whole or not all(isinstance(beat.get("prompt"), str) for beat in order["beats"]):
        return "every beat needs a prompt and whole seconds"
    return ""


def _answer(code: int, /, **document: object) -> httpx.Response:
    body = json.dumps(document, ensure_ascii=False).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body))}
    return httpx.Response(code, headers=headers, stream=httpx.ByteStream(body))


def _read(path: Path) -> dict[str, Any] | None:
    try:
        parsed = parse_json(path.read_bytes())
    except FileNotFoundError:
        return None
    return parsed.value if isinstance(parsed, Parsed) and isinstance(parsed.value, dict) else None


def _write(path: Path, text: str) -> None:
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    _publish(part, path)


def _publish(part: Path, path: Path) -> None:
    """Give a whole file its final name, so that a power cut leaves either all of it or none."""
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
