"""What can go wrong around a create, one fault a test: how the call ends, and how many requests the server saw."""

import asyncio
import contextlib
import gzip
import json
import socket
import tracemalloc
import zlib
from collections.abc import AsyncIterator

import pytest

from tasks.errors import OutcomeUnknown
from tasks.http import MAX_BODY, NotSent, Unanswered, Wire
from tasks.providers import PROVIDERS
from tasks.providers.interface import Accepted, Failure, Kind, Reply, Request
from tasks.seams import SystemClock
from tests.fixtures.raw_server import Answer, Conversation, answer, raw_server, unused_port

ACCEPTED = b'{"code": 0, "data": {"amount": "0.95", "job_id": "J-1"}}'
BRIEF = 1.0
SHORTAPI = PROVIDERS["shortapi"]


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    """A wire with the machine's clock."""
    wire = Wire(clock=SystemClock())
    yield wire
    await wire.close()


def post(url: str, body: object = "x") -> Request:
    """A create."""
    return Request("POST", f"{url}/api/v1/job/create", {"prompt": body})


def doubt(reply: Reply) -> Failure:
    """The reply, which must be a doubt to ShortAPI's adapter."""
    found = SHORTAPI.decode_submit(reply)
    assert isinstance(found, Failure)
    assert found.kind is Kind.AMBIGUOUS
    return found


async def test_F01_a_refused_connection_is_definite(wire: Wire) -> None:
    """Nobody listens: nothing was sent."""
    with pytest.raises(NotSent):
        await wire.create(post(f"http://127.0.0.1:{unused_port()}"), auth=None, deadline=5)


async def test_F01_an_unknown_host_is_definite(wire: Wire) -> None:
    """No address: nothing was sent (RFC 2606 reserves .invalid)."""
    with pytest.raises(NotSent):
        await wire.create(post("http://provider.invalid"), auth=None, deadline=5)


async def test_F02_a_connection_that_never_comes_about_is_definite(wire: Wire) -> None:
    """A full queue of connections swallows the attempt: connect timeout, nothing was sent."""
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.settimeout(0)
            one.connect_ex(busy.getsockname())
        with pytest.raises(NotSent, match="ConnectTimeout"):
            await wire.create(post(f"http://127.0.0.1:{busy.getsockname()[1]}"), auth=None, deadline=2 * BRIEF)
        for one in waiting:
            one.close()


async def test_F03_F04_no_answer_is_a_doubt(wire: Wire) -> None:
    """The server read the request and says nothing until the deadline: unanswered, sent once."""

    async def silent(_: Conversation) -> None:
        await asyncio.sleep(60)

    async with raw_server(silent) as server:
        with pytest.raises(Unanswered, match="deadline"):
            await wire.create(post(server.url), auth=None, deadline=BRIEF)
    assert len(server.heads) == 1


async def test_F05_a_close_without_a_reply_is_a_doubt(wire: Wire) -> None:
    """The server read the request and closed: unanswered, sent once."""

    async def close(conversation: Conversation) -> None:
        conversation.writer.close()

    async with raw_server(close) as server:
        with pytest.raises(Unanswered):
            await wire.create(post(server.url), auth=None, deadline=5)
    assert (len(server.heads), server.connections) == (1, 1)


async def test_F06_a_reset_is_a_doubt(wire: Wire) -> None:
    """The server read the request and reset the connection: unanswered, sent once."""

    async def reset(conversation: Conversation) -> None:
        conversation.reset()

    async with raw_server(reset) as server:
        with pytest.raises(Unanswered):
            await wire.create(post(server.url), auth=None, deadline=5)
    assert (len(server.heads), server.connections) == (1, 1)


async def test_F07_an_upload_cut_half_way_is_a_doubt(wire: Wire) -> None:
    """The connection breaks while the body is still being written: unanswered, begun once."""

    async def reset(conversation: Conversation) -> None:
        conversation.reset()

    async with raw_server(reset, reads_body=False) as server:
        with pytest.raises(Unanswered):
            await wire.create(post(server.url, "x" * 30_000_000), auth=None, deadline=10)
    assert (len(server.heads), server.connections) == (1, 1)


@pytest.mark.parametrize("status", [408, 409, 500, 502, 503, 504])
async def test_F08_F09_F10_statuses_that_tell_nothing_are_doubts(wire: Wire, status: int) -> None:
    """The answer arrives as it is, is a doubt even with a refusal in it, and nothing is sent again."""
    async with raw_server(answer(b'{"code": 1, "info": "invalid model"}', status)) as server:
        doubt(await wire.create(post(server.url), auth=None, deadline=5))
    assert len(server.heads) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_F10_F26_a_redirect_is_not_followed(wire: Wire, status: int) -> None:
    """A loop of redirects sees one POST."""
    async with raw_server(answer(b"", status, "Location: /api/v1/job/create\r\n")) as server:
        doubt(await wire.create(post(server.url), auth=None, deadline=5))
    assert len(server.heads) == 1


@pytest.mark.parametrize(
    "target", ["http://[bad", "http://h:abc/", "http://h:99999999/", "http://\u2460/", "//", "x" * 70_000]
)
async def test_F10_a_redirect_that_cannot_be_read_is_a_doubt(wire: Wire, target: str) -> None:
    """The library stumbles over some of these addresses after the server had the request: never NotSent."""

    async def elsewhere(conversation: Conversation) -> None:
        await conversation.send(f"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: {target}\r\n\r\n".encode())

    async with raw_server(elsewhere) as server:
        with contextlib.suppress(Unanswered):
            doubt(await wire.create(post(server.url), auth=None, deadline=5))
    assert len(server.heads) == 1


async def test_F11_a_429_tells_how_long_to_wait(wire: Wire) -> None:
    """Retry-After as a date counts from the server's own Date; the wire itself sends nothing again."""
    headers = "Date: Sun, 22 Nov 2026 12:00:00 GMT\r\nRetry-After: Sun, 22 Nov 2026 12:00:40 GMT\r\n"
    async with raw_server(answer(b"slow down", 429, headers)) as server:
        found = SHORTAPI.decode_submit(await wire.create(post(server.url), auth=None, deadline=5))
    assert isinstance(found, Failure)
    assert (found.kind, found.retry_after, len(server.heads)) == (Kind.RATE, 40.0, 1)


@pytest.mark.parametrize(
    "script",
    [
        answer(b'{"message":"slow down","data":{"job_', 429, length=500, close=True),
        answer(b'{"message":"slow down"}', 429, "Content-Encoding: br\r\n"),
        answer(b" " * (1 << 20) + b'{"job_id":"J-1"}', 429),
        answer(b'{"message":"slow down"}', 429, "X-Job-Id: J-1\r\n"),
    ],
    ids=["cut", "encoded", "huge", "header"],
)
async def test_F88_a_429_that_did_not_come_whole_refuses_nothing(wire: Wire, script: Answer) -> None:
    """Cut, encoded in a way that nobody asked for, beyond the size that is read, or with the job in its head."""
    async with raw_server(script) as server:
        reply = await wire.create(post(server.url), auth=None, deadline=10)
    for provider in ("shortapi", "sjinn"):
        found = PROVIDERS[provider].decode_submit(reply)
        assert isinstance(found, Failure)
        assert (reply.status, found.kind) == (429, Kind.AMBIGUOUS)


async def test_F15_an_error_page_is_kept(wire: Wire) -> None:
    """HTML instead of JSON: the raw body is there for the record."""
    page = b"<!doctype html><title>Maintenance</title>"
    async with raw_server(answer(page, headers="Content-Type: text/html\r\n")) as server:
        reply = await wire.create(post(server.url), auth=None, deadline=5)
    assert reply.body == page
    doubt(reply)
    assert len(server.heads) == 1


async def test_F16_a_huge_body_is_cut_at_the_cap(wire: Wire) -> None:
    """Of 100 MB announced and pouring in, 1 MiB is kept, and the reply says so."""

    async def pour(conversation: Conversation) -> None:
        await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + ACCEPTED)
        for _ in range(1600):
            await conversation.send(b" " * 62_500)

    async with raw_server(pour) as server:
        reply = await wire.create(post(server.url), auth=None, deadline=10)
    assert (len(reply.body), reply.truncated) == (MAX_BODY, True)
    assert doubt(reply).candidates[0].job_id == "J-1"
    assert len(server.heads) == 1


@pytest.mark.parametrize(
    "script",
    [
        answer(ACCEPTED, length=len(ACCEPTED) + 100, close=True),
        answer(ACCEPTED[:-2]),
    ],
    ids=["connection-cut", "json-cut"],
)
async def test_F16_a_body_cut_short_keeps_its_job_id(wire: Wire, script: Answer) -> None:
    """The job id in the part that came is a candidate for a query, never an acceptance."""
    async with raw_server(script) as server:
        found = doubt(await wire.create(post(server.url), auth=None, deadline=5))
    assert found.candidates[0].job_id == "J-1"
    assert len(server.heads) == 1


async def test_F23_a_trickling_head_meets_the_deadline(wire: Wire) -> None:
    """A byte at a time keeps no per-read timeout from passing; the total deadline does."""

    async def trickle(conversation: Conversation) -> None:
        for byte in b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1000:
            await conversation.send(bytes([byte]))
            await asyncio.sleep(0.05)

    async with raw_server(trickle) as server:
        with pytest.raises(OutcomeUnknown, match="deadline"):
            await wire.create(post(server.url), auth=None, deadline=BRIEF)
    assert len(server.heads) == 1


async def test_F23_a_trickling_body_meets_the_deadline(wire: Wire) -> None:
    """The reply is handed over as far as it came, marked as cut: a doubt with a candidate."""

    async def trickle(conversation: Conversation) -> None:
        await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + ACCEPTED)
        while True:
            await conversation.send(b" ")
            await asyncio.sleep(0.05)

    async with raw_server(trickle) as server:
        reply = await wire.create(post(server.url), auth=None, deadline=BRIEF)
    assert reply.truncated
    assert doubt(reply).candidates[0].job_id == "J-1"
    assert len(server.heads) == 1


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "gzip, gzip"])
async def test_F24_a_compression_bomb_is_bounded(wire: Wire, encoding: str) -> None:
    """50 MB in 50 KB: at most the cap is unpacked, and the reply is marked as cut."""
    bomb = zlib.compress(bytes(50_000_000)) if encoding == "deflate" else gzip.compress(bytes(50_000_000))
    bomb = gzip.compress(bomb) if "," in encoding else bomb
    tracemalloc.start()
    async with raw_server(answer(bomb, headers=f"Content-Encoding: {encoding}\r\n")) as server:
        reply = await wire.create(post(server.url), auth=None, deadline=10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert reply.truncated
    assert len(reply.body) <= MAX_BODY
    assert peak < 20 * MAX_BODY
    doubt(reply)
    assert len(server.heads) == 1


async def test_F24_an_encoding_that_lies_is_a_doubt(wire: Wire) -> None:
    """Plain JSON called gzip, an unknown encoding, a stack of encodings: the bytes are kept as they came."""
    for encoding in ("gzip", "br", "snappy", ", ".join(["gzip"] * 9)):
        async with raw_server(answer(ACCEPTED, headers=f"Content-Encoding: {encoding}\r\n")) as server:
            reply = await wire.create(post(server.url), auth=None, deadline=5)
        assert (reply.body, reply.truncated) == (ACCEPTED, True)
        assert doubt(reply).candidates[0].job_id == "J-1"
        assert len(server.heads) == 1


async def test_a_true_gzip_is_read_though_not_asked_for(wire: Wire) -> None:
    """A server that compresses anyway is understood."""
    async with raw_server(answer(gzip.compress(ACCEPTED), headers="Content-Encoding: gzip\r\n")) as server:
        reply = await wire.create(post(server.url), auth=None, deadline=5)
    assert (json.loads(reply.body), reply.truncated) == (json.loads(ACCEPTED), False)
    assert isinstance(SHORTAPI.decode_submit(reply), Accepted)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 9\r\n\r\n",
        b"HTTP/1.1 999999 OK\r\n\r\n",
        b"SSH-2.0-OpenSSH_9\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x00" * 400_000,
    ],
    ids=["negative-length", "two-lengths", "status", "other-protocol", "bad-chunk", "zeros"],
)
async def test_broken_http_is_a_doubt(wire: Wire, head: bytes) -> None:
    """An answer that is no HTTP ends unanswered, or as a reply marked as cut; one request was seen."""

    async def lie(conversation: Conversation) -> None:
        await conversation.send(head)
        conversation.writer.close()

    async with raw_server(lie) as server:
        try:
            reply = await wire.create(post(server.url), auth=None, deadline=5)
        except Unanswered:
            reply = None
    assert reply is None or reply.truncated
    assert len(server.heads) == 1


async def test_F77_a_cancelled_create_stays_cancelled(wire: Wire) -> None:
    """Cancellation is not turned into an answer: the caller records the doubt."""
    arrived = asyncio.Event()

    async def silent(_: Conversation) -> None:
        arrived.set()
        await asyncio.sleep(60)

    async with raw_server(silent) as server:
        sending = asyncio.ensure_future(wire.create(post(server.url), auth=None, deadline=30))
        await arrived.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
    assert len(server.heads) == 1
