"""Ways to send a reply that no honest server has. Each takes the honest reply and yields what goes over the socket."""

import gzip
import json
from collections.abc import Iterator
from functools import lru_cache

from deployments.sandbox import clips
from deployments.sandbox.faults.kinds import Lie
from deployments.sandbox.wire import End, Pause, Reply, Step, head_of, html_reply, plain

__all__ = [
    "answer",
    "bom",
    "chunk_cut",
    "close",
    "cut_at_pictures",
    "cut_close",
    "cut_json",
    "cut_length",
    "deep",
    "double_length",
    "encoding_lie",
    "endless",
    "gzip_bomb",
    "hang",
    "huge",
    "idle_close",
    "late",
    "length_is",
    "loop",
    "page",
    "reset",
    "retyped",
    "slow",
    "stall",
    "trickle_body",
    "trickle_head",
    "twin_keys",
    "utf16",
    "without_json",
]

MEBI = 1024 * 1024


def hang(_: Reply) -> Iterator[Step]:
    """No reply until the client gives up."""
    yield End.HANG


def close(_: Reply) -> Iterator[Step]:
    """The connection ends without a byte."""
    yield End.CLOSE


def reset(_: Reply) -> Iterator[Step]:
    """RST in place of a reply."""
    yield End.RESET


def late(reply: Reply) -> Iterator[Step]:
    """The honest reply after 30 lags."""
    yield Pause(30)
    yield from plain(reply)


def trickle_head(reply: Reply) -> Iterator[Step]:
    """One byte of the head a lag, without end."""
    for byte in head_of(reply)[:-4]:
        yield bytes([byte])
        yield Pause(1)
    while True:
        yield b"\r\nX-Wait: 1"
        yield Pause(1)


def trickle_body(reply: Reply) -> Iterator[Step]:
    """The head at once, the body a byte a lag with blanks before it, so that it never comes to an end."""
    yield head_of(reply, length=MEBI)
    while True:
        yield b" "
        yield Pause(1)


def idle_close(reply: Reply) -> Iterator[Step]:
    """An honest reply that promises keep-alive, and then the connection closes."""
    yield from plain(Reply(reply.status, reply.body, reply.type, (*reply.headers, ("Connection", "keep-alive"))))
    yield End.CLOSE


def answer(other: Reply) -> Lie:
    """Another reply, whatever the honest one was."""
    return lambda _: plain(other)


def page(status: int) -> Lie:
    """The error page of some proxy."""
    text = f"<!doctype html><html><head><title>{status}</title></head><body><h1>{status}</h1><hr>edge</body></html>"
    return answer(html_reply(text, status))


def loop(reply: Reply) -> Iterator[Step]:
    """307 to the same address, for ever."""
    yield from plain(Reply(307, b"", reply.type, (("Location", "?again=1"),)))


def retyped(kind: str) -> Lie:
    """The honest body under another content type."""
    return lambda reply: plain(Reply(reply.status, reply.body, kind, reply.headers))


def _with_body(reply: Reply, body: bytes) -> Iterator[Step]:
    return plain(Reply(reply.status, body, reply.type, reply.headers))


def without_json(body: bytes) -> Lie:
    """Bytes that are not JSON, with a true Content-Length."""
    return lambda reply: _with_body(reply, body)


def cut_json(share: float) -> Lie:
    """The document ends early and Content-Length agrees with it."""
    return lambda reply: _with_body(reply, reply.body[: max(1, int(len(reply.body) * share))])


def utf16(reply: Reply) -> Iterator[Step]:
    """The document in UTF-16, called UTF-8."""
    body = reply.body.decode().encode("utf-16")
    yield from plain(Reply(reply.status, body, "application/json; charset=utf-8", reply.headers))


def bom(reply: Reply) -> Iterator[Step]:
    """The document behind a byte order mark."""
    yield from _with_body(reply, b"\xef\xbb\xbf" + reply.body)


def huge(reply: Reply) -> Iterator[Step]:
    """The document and then 100 MB of blanks."""
    yield head_of(reply, length=len(reply.body) + 100 * MEBI) + reply.body
    for _ in range(100):
        yield b" " * MEBI


def deep(reply: Reply) -> Iterator[Step]:
    """The document with 200,000 nested lists in it."""
    nest = b"[" * 200_000 + b"]" * 200_000
    yield from _with_body(reply, reply.body[:-1] + b', "more": ' + nest + b"}")


def twin_keys(key: str) -> Lie:
    """The id twice in one object: most parsers keep the second, which is nobody's."""

    def lie(reply: Reply) -> Iterator[Step]:
        document = json.loads(reply.body)
        honest = json.dumps(document["data"][key]).encode()
        field = f'"{key}": '.encode()
        twin = field + honest + b", " + field + b'"00000000-0000-4000-8000-000000000000"'
        yield from _with_body(reply, reply.body.replace(field + honest, twin))

    return lie


@lru_cache
def _bomb() -> bytes:
    return gzip.compress(b" " * (50 * MEBI), 9)


def gzip_bomb(reply: Reply) -> Iterator[Step]:
    """50 KB that inflate to 50 MB."""
    yield from plain(Reply(reply.status, _bomb(), reply.type, (*reply.headers, ("Content-Encoding", "gzip"))))


def encoding_lie(reply: Reply) -> Iterator[Step]:
    """Plain bytes under Content-Encoding: gzip."""
    yield from plain(Reply(reply.status, reply.body, reply.type, (*reply.headers, ("Content-Encoding", "gzip"))))


def cut_length(reply: Reply) -> Iterator[Step]:
    """Half the body that Content-Length promised, then the end."""
    yield head_of(reply) + reply.body[: len(reply.body) // 2]
    yield End.CLOSE


def chunk_cut(reply: Reply) -> Iterator[Step]:
    """A chunked body without its last chunk."""
    half = reply.body[: len(reply.body) // 2]
    yield head_of(reply, ("Transfer-Encoding", "chunked"), length=None)
    yield f"{len(reply.body):x}\r\n".encode() + half
    yield End.CLOSE


def cut_close(reply: Reply) -> Iterator[Step]:
    """Half a body without any length: to HTTP it looks whole."""
    yield head_of(reply, ("Connection", "close"), length=None) + reply.body[: len(reply.body) // 2]
    yield End.CLOSE


def cut_at_pictures(reply: Reply) -> Iterator[Step]:
    """As cut_close, and cut between two MP4 boxes: a valid prefix that announces every frame and has none."""
    if reply.status != 200:
        yield from cut_close(reply)
        return
    yield head_of(reply, ("Connection", "close"), length=None) + reply.body[: clips.box_cut(reply.body)]
    yield End.CLOSE


def length_is(size: int | str | None) -> Lie:
    """A Content-Length that is not true; the whole body follows and the connection closes."""

    def lie(reply: Reply) -> Iterator[Step]:
        yield head_of(reply, ("Connection", "close"), length=size) + reply.body
        yield End.CLOSE

    return lie


def double_length(reply: Reply) -> Iterator[Step]:
    """Two Content-Length headers that disagree."""
    yield head_of(reply, ("Content-Length", "10"), ("Connection", "close")) + reply.body
    yield End.CLOSE


def endless(reply: Reply) -> Iterator[Step]:
    """The file and then chunks without end."""
    yield head_of(reply, ("Transfer-Encoding", "chunked"), length=None)
    yield f"{len(reply.body):x}\r\n".encode() + reply.body + b"\r\n"
    while True:
        yield b"100000\r\n" + b"\0" * MEBI + b"\r\n"


def slow(reply: Reply) -> Iterator[Step]:
    """1 KiB a lag."""
    yield head_of(reply)
    for start in range(0, len(reply.body), 1024):
        yield Pause(1)
        yield reply.body[start : start + 1024]


def stall(reply: Reply) -> Iterator[Step]:
    """Half the body, then silence."""
    yield head_of(reply) + reply.body[: len(reply.body) // 2]
    yield End.HANG
