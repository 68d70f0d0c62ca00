"""What a provider and a file host say on the wire, honestly or not, in both dialects."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx

__all__ = [
    "AMOUNTS",
    "LOST",
    "NOT_SENT",
    "REFUSALS",
    "SAYINGS",
    "mangled",
    "odd_file",
    "refusal",
    "reply",
    "sent",
    "status_of",
    "twisted",
]


class Body(httpx.AsyncByteStream):
    """A body that comes some time after its head, and may break off."""

    def __init__(self, start: bytes, error: Exception | None = None) -> None:
        self._start, self._error = start, error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        await asyncio.sleep(0)
        yield self._start
        if self._error is not None:
            raise self._error


def reply(document: Any, status: int = 200, headers: dict[str, str] | None = None) -> httpx.Response:
    """A JSON answer."""
    return sent(status, json.dumps(document).encode(), headers)


def sent(status: int, body: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
    """An answer whose body is still to be read, as from a socket."""
    return httpx.Response(status, headers=headers, stream=Body(body))


NOT_SENT: dict[str, type[httpx.TransportError]] = {
    "refused-connection": httpx.ConnectError,
    "connect-timeout": httpx.ConnectTimeout,
    "pool-timeout": httpx.PoolTimeout,
    "proxy": httpx.ProxyError,
}
LOST: dict[str, type[httpx.TransportError]] = {
    "lost": httpx.ReadTimeout,
    "timeout": httpx.ReadTimeout,
    "closed": httpx.RemoteProtocolError,
    "reset": httpx.ReadError,
    "cut": httpx.WriteError,
}
REFUSALS = {
    "no-credit": ("insufficient credits", 100, 402),
    "bad-key": ("unauthorized: invalid api key", 401, 401),
    "invalid": ("invalid duration: must be a string", 400, 422),
    "moderation": ("prompt violates our content policy", 400, 400),
    "queue-full": ("too many concurrent tasks", 400, 429),
    "known-text": ("invalid model", 1, 200),
}
"""Text, SJinn's code, and the status with which ShortAPI, whose codes no page lists, says the same."""
SAYINGS = {
    "accepting": "accepted, 0.429 credits were deducted, processing",
    "refusing": "insufficient balance, please top up",
}
"""Texts under a code that no page lists; they decide nothing, whatever they say."""
AMOUNTS: dict[str, Any] = {
    "word": "abc",
    "negative": "-1",
    "nan": "NaN",
    "huge": "1e308",
    "comma": "0,43",
    "number": 0.429,
    "currency": "0.43 EUR",
}


def refusal(provider: str, text: str, code: int) -> dict[str, Any]:
    """A refusal in the provider's dialect."""
    if provider == "sjinn":
        return {"success": False, "error_code": code, "errorMsg": text}
    return {"code": code, "info": text}


def status_of(state: str, *, sjinn: bool) -> int:
    """The number that the dialect has for a state."""
    return {"running": 0, "done": 1, "failed": -1}[state] if sjinn else {"running": 1, "done": 2, "failed": 3}[state]


MANGLED: dict[str, Callable[[bytes], bytes]] = {
    "json-cut": lambda text: text[: len(text) // 2],
    "json-cut-end": lambda text: text[:-2],
    "bom": lambda text: b"\xef\xbb\xbf" + text,
    "twin-keys": lambda text: text.replace(b'_id": ', b'_id": "nobody", "job_id": ', 1),
    "empty-body": lambda _text: b"",
    "html": lambda _text: b"<html>busy</html>",
}


def mangled(name: str, text: bytes) -> httpx.Response:
    """The honest text as it comes over a bad line."""
    if name == "break":
        return httpx.Response(200, stream=Body(text[:10], httpx.RemoteProtocolError("peer closed connection")))
    return sent(200, MANGLED.get(name, bytes)(text))


FILES: dict[str, Callable[[bytes], bytes]] = {
    "html": lambda _movie: b"<html><body>the clip has moved</body></html>",
    "json": lambda _movie: b'{"error": "no such clip on this host"}',
    "empty": lambda _movie: b"",
    "garbage": lambda movie: movie[:40] + bytes(400),
}


def odd_file(kind: str, movie: bytes, headers: dict[str, str], request: httpx.Request) -> httpx.Response | None:
    """Another file than the clip, or part of it; None for an honest host."""
    if kind == "lost":
        raise httpx.ReadTimeout("no answer", request=request)
    if kind == "break":
        return httpx.Response(200, headers=headers, stream=Body(movie[:500], httpx.ReadError("reset")))
    if kind == "cut-closed":
        return httpx.Response(200, stream=Body(movie[: len(movie) // 2], None))
    if kind == "metadata":
        return httpx.Response(302, headers={"location": "http://169.254.169.254/latest"})
    return sent(200, FILES[kind](movie)) if kind in FILES else None


def twisted(kind: str, data: dict[str, Any], *, sjinn: bool) -> None:
    """Change the snapshot as the script says."""
    name, _, amount = kind.partition(":")
    match name:
        case "credit" if "credit" in data:
            data["credit"] = amount
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
        case "silent":
            data.pop("credit", None)
        case "no-urls":
            for key in ("result", "output_urls"):
                data.pop(key, None)
        case _:
            pass
