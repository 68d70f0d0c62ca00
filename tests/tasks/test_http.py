"""Creates, polls and downloads over real connections: what is sent, what is told, what is never shown."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tasks.errors import OutcomeUnknown, Transient
from tasks.http import NOT_SENT, NotSent, Unanswered, Wire
from tasks.netguard import AddressRefused, AddressRules
from tasks.providers.interface import Request
from tasks.seams import SystemClock
from tests.fixtures.certificates import server_certificate
from tests.fixtures.raw_server import Answer, Conversation, answer, raw_server, unused_port

KEY = "Bearer sk_canary0123456789"
RULES = AddressRules(allow_private=True)


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    """A wire with the machine's clock."""
    wire = Wire(clock=SystemClock())
    yield wire
    await wire.close()


def post(url: str, body: object = "x") -> Request:
    """A create."""
    return Request("POST", f"{url}/create?token=canary-query", {"prompt": body})


async def test_a_create_is_one_json_post(wire: Wire) -> None:
    """The body goes out as JSON, asking for no encoding, with the key in the Authorization header and nowhere else."""
    async with raw_server(answer(b'{"ok": 1}', headers="X-Seen: yes\r\n")) as server:
        reply = await wire.create(post(server.url, "Ö"), auth=KEY, deadline=5)
    assert (reply.status, reply.body, reply.truncated, reply.headers["x-seen"]) == (200, b'{"ok": 1}', False, "yes")
    [head], [body] = server.heads, server.bodies
    assert head.startswith("post /create?token=canary-query http/1.1\r\n")
    for line in ("accept-encoding: identity", "content-type: application/json", f"authorization: {KEY.lower()}"):
        assert f"\r\n{line}\r\n" in head
    assert json.loads(body) == {"prompt": "Ö"}


async def test_a_reply_without_a_date_gets_the_time_of_receipt(wire: Wire) -> None:
    """So that a Retry-After date can be counted from something (RFC 9110, 6.6.1)."""
    async with raw_server(answer()) as server:
        reply = await wire.create(post(server.url), auth=None, deadline=5)
    assert reply.headers["date"].endswith("GMT")


async def test_F25_every_create_has_a_connection_of_its_own(wire: Wire) -> None:
    """No create rides on an idle connection that the server may be closing."""
    async with raw_server(answer()) as server:
        for _ in range(3):
            await wire.create(post(server.url), auth=None, deadline=5)
    assert (server.connections, len(server.heads)) == (3, 3)


async def test_polls_share_connections(wire: Wire) -> None:
    """Queries come from a pool."""
    async with raw_server(answer()) as server:
        for _ in range(3):
            await wire.call(Request("GET", server.url), auth=KEY, deadline=5)
        assert (server.connections, len(server.heads)) == (1, 3)
        await wire.close()


async def test_polls_follow_no_redirect_with_the_key(wire: Wire) -> None:
    """A redirected query is an answer like any other; the key goes to one host only (S21)."""
    async with (
        raw_server(answer()) as other,
        raw_server(answer(status=302, headers=f"Location: {other.url}/\r\n")) as server,
    ):
        reply = await wire.call(Request("GET", server.url), auth=KEY, deadline=5)
        await wire.close()
    assert reply.status == 302
    assert other.heads == []


@pytest.mark.parametrize("port_kind", ["closed", "silent"])
async def test_a_poll_that_gets_no_answer_is_transient(wire: Wire, port_kind: str) -> None:
    """Refused connections and passed deadlines may be asked again."""

    async def silent(_: Conversation) -> None:
        await asyncio.sleep(60)

    async with raw_server(silent) as server:
        url = server.url if port_kind == "silent" else f"http://127.0.0.1:{unused_port()}"
        with pytest.raises(Transient) as caught:
            await wire.call(Request("GET", f"{url}/?secret=canary-query"), auth=KEY, deadline=0.3)
    assert "canary" not in str(caught.value)


def _exceptions() -> list[type[Exception]]:
    found = [one for one in vars(httpx).values() if isinstance(one, type) and issubclass(one, Exception)]
    return sorted(found, key=lambda one: one.__name__)


class _Raising(httpx.AsyncBaseTransport):
    def __init__(self, error: Exception) -> None:
        self.error = error

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:  # noqa: ARG002
        raise self.error


@pytest.mark.parametrize("kind", _exceptions(), ids=lambda kind: kind.__name__)
async def test_every_exception_of_the_library_is_sorted(kind: type[Exception]) -> None:
    """Whatever httpx can raise is NotSent or Unanswered on create and Transient on a query, and tells nothing it was told."""
    error = kind.__new__(kind)
    Exception.__init__(error, "canary-text")
    wire = Wire(clock=SystemClock(), mounts={"scripted://": _Raising(error)})
    expected = NotSent if issubclass(kind, (*NOT_SENT, httpx.LocalProtocolError)) else Unanswered
    with pytest.raises(expected) as caught:
        await wire.create(Request("POST", "scripted://host/path", {}), auth=KEY, deadline=5)
    assert caught.value.__suppress_context__
    assert "sk_canary" not in str(caught.value)
    if not issubclass(kind, httpx.CookieConflict):
        with pytest.raises(Transient):
            await wire.call(Request("GET", "scripted://host/path"), auth=KEY, deadline=5)
    await wire.close()


class _HalfSent(httpx.AsyncBaseTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.extensions["trace"]("http11.send_request_headers.complete", {})
        raise httpx.LocalProtocolError("too much data for the announced length")


async def test_a_protocol_error_of_ours_after_the_head_is_a_doubt() -> None:
    """Once the head is out the server may act, whoever broke the rules."""
    wire = Wire(clock=SystemClock(), mounts={"scripted://": _HalfSent()})
    with pytest.raises(Unanswered):
        await wire.create(Request("POST", "scripted://host/path", {}), auth=KEY, deadline=5)
    await wire.close()


async def test_an_unforeseen_error_of_a_create_is_a_doubt() -> None:
    """What nobody thought of leaves the outcome unknown, and its text stays inside."""
    wire = Wire(clock=SystemClock(), mounts={"scripted://": _Raising(ValueError(f"while sending {KEY}"))})
    with pytest.raises(OutcomeUnknown) as caught:
        await wire.create(Request("POST", "scripted://host/path", {}), auth=KEY, deadline=5)
    assert "sk_canary" not in str(caught.value)
    await wire.close()


@pytest.mark.parametrize("url", ["gopher://127.0.0.1/", "http://", "https://exa\nmple/", "nonsense"])
async def test_an_address_that_cannot_be_used_sends_nothing(wire: Wire, url: str) -> None:
    """A broken base URL is told as such, without the key."""
    with pytest.raises(NotSent):
        await wire.create(Request("POST", url, {}), auth=KEY, deadline=5)


async def test_S08_a_key_with_a_line_break_is_not_shown(wire: Wire) -> None:
    """The library's message would quote the header; ours names the error alone, and nothing was sent."""
    async with raw_server(answer()) as server:
        with pytest.raises(NotSent) as caught:
            await wire.create(post(server.url), auth="Bearer sk_canary\nsecond-line", deadline=5)
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert server.heads == []


async def test_S08_nothing_of_a_request_is_logged(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    """With every logger at DEBUG neither key nor query nor address appears."""
    caplog.set_level(logging.DEBUG)
    async with raw_server(answer()) as server:
        await wire.create(post(server.url), auth=KEY, deadline=5)
        await wire.call(Request("GET", f"{server.url}/?secret=canary-query"), auth=KEY, deadline=5)
        await wire.close()
    assert "canary" not in caplog.text


async def test_S20_a_certificate_that_nobody_signed_is_refused(wire: Wire, tmp_path: Path) -> None:
    """TLS is verified before anything is sent: a definite failure and 0 requests."""
    tls, _ = server_certificate(tmp_path, "localhost")
    async with raw_server(answer(), tls=tls) as server:
        with pytest.raises(NotSent, match="CERTIFICATE_VERIFY_FAILED"):
            await wire.create(post(f"https://localhost:{server.port}"), auth=KEY, deadline=5)
    assert server.heads == []


async def test_S20_a_private_authority_can_be_added(tmp_path: Path) -> None:
    """With its authority's file the same server is trusted, for its own name only."""
    tls, cafile = server_certificate(tmp_path, "localhost")
    wire = Wire(clock=SystemClock(), cafile=cafile)
    async with raw_server(answer(), tls=tls) as server:
        assert (await wire.create(post(f"https://localhost:{server.port}"), auth=KEY, deadline=5)).status == 200
        with pytest.raises(NotSent):
            await wire.create(post(server.url), auth=KEY, deadline=5)
    await wire.close()


async def test_S20_proxies_of_the_environment_are_ignored(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP_PROXY and its kin do not move a key to another host."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{unused_port()}")
    async with raw_server(answer()) as server:
        assert (await wire.create(post(server.url), auth=KEY, deadline=5)).status == 200


async def _named(host: str, _port: int) -> list[str]:
    assert host.endswith(".example")
    return ["127.0.0.1"]


async def test_S01_a_download_connects_to_the_vetted_address(wire: Wire) -> None:
    """The name is resolved once, by us; Host still names the server; no credentials go along (S21)."""
    asked: list[str] = []

    async def once(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]

    rules = AddressRules(allow_private=True, resolver=once)
    async with raw_server(answer(b"clip", headers="Content-Type: video/mp4\r\n")) as server:
        url = f"http://files.example:{server.port}/v.mp4?sig=1"
        async with wire.stream(url, {"Range": "bytes=0-"}, rules=rules) as stream:
            assert (stream.status, stream.url, stream.headers["content-type"]) == (200, url, "video/mp4")
            assert b"".join([chunk async for chunk in stream.chunks()]) == b"clip"
    assert asked == ["files.example"]
    assert f"\r\nhost: files.example:{server.port}\r\n" in server.heads[0]
    assert "authorization" not in server.heads[0]


async def test_S01_tls_still_proves_the_name(tmp_path: Path) -> None:
    """A pinned address does not loosen the certificate: it must be for the host that was asked for."""
    tls, cafile = server_certificate(tmp_path, "files.example")
    wire = Wire(clock=SystemClock(), cafile=cafile)
    rules = AddressRules(allow_private=True, resolver=_named)
    async with raw_server(answer(b"clip"), tls=tls) as server:
        async with wire.stream(f"https://files.example:{server.port}/v.mp4", {}, rules=rules) as stream:
            assert stream.status == 200
        with pytest.raises(Transient):
            async with wire.stream(f"https://other.example:{server.port}/v.mp4", {}, rules=rules):
                pass
    assert len(server.heads) == 1
    await wire.close()


async def test_the_next_address_is_tried_where_nobody_listens(wire: Wire) -> None:
    """A host with a dead address is reached by its other one."""

    async def both(_host: str, _port: int) -> list[str]:
        return ["::1", "127.0.0.1"]

    rules = AddressRules(allow_private=True, resolver=both)
    server = raw_server(answer(b"clip"), host="::1")
    async with server as seen, wire.stream(f"http://files.example:{seen.port}/", {}, rules=rules) as stream:
        assert stream.status == 200


async def test_redirects_are_followed_three_times(wire: Wire) -> None:
    """Three hops arrive, relative ones too; a fourth is refused (S01)."""

    def hops(count: int) -> Answer:
        async def script(conversation: Conversation) -> None:
            step = int(conversation.head.partition("/hop")[2].partition(" ")[0])
            if step < count:
                await answer(b"", 302, f"Location: /hop{step + 1}\r\n")(conversation)
            else:
                await answer(b"clip")(conversation)

        return script

    async with raw_server(hops(3)) as server, wire.stream(f"{server.url}/hop0", {}, rules=RULES) as stream:
        assert stream.url.endswith("/hop3")
    async with raw_server(hops(4)) as server:
        with pytest.raises(AddressRefused, match="3 redirects"):
            async with wire.stream(f"{server.url}/hop0", {}, rules=RULES):
                pass
    assert len(server.heads) == 4


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "ftp://127.0.0.1/v.mp4",
        "animatic://local/clips/x.mp4",
        "//0xA9FEA9FE/",
        "http://[::ffff:169.254.169.254]/",
        "https://user:pass@files.example/",
    ],
)
async def test_F60_a_redirect_to_where_we_do_not_fetch_is_refused(target: str) -> None:
    """Each hop is vetted anew, and no redirect leads into this machine's own scheme."""
    wire = Wire(clock=SystemClock(), mounts={"animatic://": _Raising(AssertionError("reached"))})
    async with raw_server(answer(b"", 302, f"Location: {target}\r\n")) as server:
        with pytest.raises(AddressRefused):
            async with wire.stream(server.url, {}, rules=RULES):
                pass
    assert len(server.heads) == 1
    await wire.close()


async def test_S21_downloads_refuse_credentials(wire: Wire) -> None:
    """A caller's mistake, caught before anything is sent."""
    with pytest.raises(ValueError, match="no credentials"):
        async with wire.stream("https://files.example/", {"authorization": KEY}, rules=RULES):
            pass


async def test_a_download_that_breaks_off_is_transient(wire: Wire) -> None:
    """A body shorter than announced ends in an error, not in silence."""
    server = raw_server(answer(b"half", length=100, close=True))
    async with server as seen, wire.stream(seen.url, {}, rules=RULES) as stream:
        with pytest.raises(Transient):
            async for _ in stream.chunks():
                pass


async def test_a_download_that_stalls_is_transient(wire: Wire) -> None:
    """No byte for the stall time ends it."""

    async def stall(conversation: Conversation) -> None:
        await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await asyncio.sleep(60)

    async with raw_server(stall) as server, wire.stream(server.url, {}, rules=RULES, stall=0.2) as stream:
        with pytest.raises(Transient):
            async for _ in stream.chunks():
                pass
