"""HTTP/1.1 by hand, one step at a time.

A server library keeps HTTP correct, which is just what a server that has to lie must not do.
So a reply here is a list of steps (bytes, a pause, an end of the connection) and a lie is another list.
"""

import asyncio
import json
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

__all__ = [
    "MAX_BODY",
    "BadRequest",
    "End",
    "Pause",
    "Reply",
    "Request",
    "Step",
    "deliver",
    "head_of",
    "html_reply",
    "json_reply",
    "plain",
    "read_body",
    "read_head",
]

MAX_BODY = 64 * 1024 * 1024
TLS_HELLO = b"\x16"


class End(Enum):
    """How a connection ends before its time."""

    HANG = "hang"
    CLOSE = "close"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class Pause:
    """A wait of so many lags; the lag (seconds) is an option of the sandbox."""

    lags: float


Step = bytes | Pause | End


class BadRequest(Exception):
    """What came in is not HTTP/1.1, or too large."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `connection` numbers the TCP connection, `nth` its place on it (from 1). Header names are lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    connection: int
    nth: int
    body: bytes = b""

    @property
    def keeps_alive(self) -> bool:
        """Whether the client wants the connection to stay."""
        return self.headers.get("connection", "").lower() != "close"

    def json(self) -> Any:
        """The body as JSON; None where it is not JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


@dataclass(frozen=True, slots=True)
class Reply:
    """An honest answer."""

    status: int = 200
    body: bytes = b""
    type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = field(default=())


def json_reply(value: object, status: int = 200) -> Reply:
    """A reply that holds one JSON document."""
    return Reply(status, json.dumps(value).encode())


def html_reply(text: str, status: int = 200, *headers: tuple[str, str]) -> Reply:
    """A reply that holds a page."""
    return Reply(status, text.encode(), "text/html; charset=utf-8", headers)


def head_of(reply: Reply, *extra: tuple[str, str], length: int | str | None = -1) -> bytes:
    """The head as bytes; `length` None leaves Content-Length out, -1 tells the truth."""
    try:
        phrase = HTTPStatus(reply.status).phrase
    except ValueError:
        phrase = "Unknown"
    size = len(reply.body) if length == -1 else length
    fields = [("Content-Type", reply.type), *reply.headers, *extra]
    if size is not None:
        fields.append(("Content-Length", str(size)))
    lines = [f"HTTP/1.1 {reply.status} {phrase}", *(f"{name}: {value}" for name, value in fields)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def plain(reply: Reply) -> Iterator[Step]:
    """The reply as it should be sent."""
    yield head_of(reply) + reply.body


async def read_head(reader: asyncio.StreamReader, connection: int, nth: int) -> Request | None:
    """The next request without its body; None when the client has closed.

    Raises:
        BadRequest: the bytes are no HTTP/1.1 head, or it is longer than 64 KiB.
    """
    try:
        begin = await reader.readexactly(1)
        if begin == TLS_HELLO:
            raise BadRequest("this port speaks plain HTTP")
        raw = begin + await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    except asyncio.LimitOverrunError as error:
        raise BadRequest("head too long") from error
    first, *lines = raw[:-4].decode("latin-1").split("\r\n")
    try:
        method, target, _ = first.split(" ")
        headers = {name.strip().lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
        parts = urlsplit(target)
    except ValueError as error:
        raise BadRequest("not an HTTP/1.1 request") from error
    return Request(method, unquote(parts.path), dict(parse_qsl(parts.query)), headers, connection, nth)


async def read_body(reader: asyncio.StreamReader, request: Request) -> bytes:
    """The body that belongs to this head.

    Raises:
        BadRequest: it is longer than MAX_BODY, or its framing is broken.
        asyncio.IncompleteReadError: the client stopped half way.
    """
    if "chunked" in request.headers.get("transfer-encoding", "").lower():
        return await _read_chunks(reader)
    try:
        size = int(request.headers.get("content-length", "0"))
    except ValueError as error:
        raise BadRequest("bad Content-Length") from error
    if not 0 <= size <= MAX_BODY:
        raise BadRequest("body too large")
    return await reader.readexactly(size)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while True:
        line = await reader.readuntil(b"\r\n")
        try:
            size = int(line.split(b";")[0], 16)
        except ValueError as error:
            raise BadRequest("bad chunk") from error
        if size + len(body) > MAX_BODY:
            raise BadRequest("body too large")
        body += await reader.readexactly(size)
        await reader.readexactly(2)
        if size == 0:
            return bytes(body)


async def deliver(
    steps: Iterable[Step], reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, lag: float
) -> bool:
    """Send the steps; True when the connection may carry another request."""
    for step in steps:
        match step:
            case bytes():
                writer.write(step)
                await writer.drain()
            case Pause():
                await asyncio.sleep(step.lags * lag)
            case End.HANG:
                while await reader.read(65536):
                    pass
                return False
            case End.CLOSE:
                return False
            case End.RESET:
                reset(writer)
                return False
    return True


def reset(writer: asyncio.StreamWriter) -> None:
    """End the connection with RST instead of FIN."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
