"""The one HTTP layer: creates on a fresh connection and never twice, polls from a pool, downloads without credentials."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx

from tasks.errors import OutcomeUnknown, Transient
from tasks.inflate import inflated
from tasks.netguard import AddressRefused, AddressRules, Vetted, readable
from tasks.providers.interface import Reply, Request
from tasks.redaction import hush_http_logs, redact, scrub, without_known
from tasks.seams import Clock

__all__ = ["MAX_BODY", "NOT_SENT", "NotSent", "Stream", "Unanswered", "Wire"]

MAX_BODY = 1 << 20
CONNECT_SECONDS = 10.0
STALL_SECONDS = 30.0
MAX_REDIRECTS = 3
_REDIRECTS = {301, 302, 303, 307, 308}

NOT_SENT: tuple[type[Exception], ...] = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
    httpx.ProxyError,
)
"""What httpx raises before a byte of the request leaves; LocalProtocolError joins them while the head is not written."""


class NotSent(Transient):
    """Nothing left this machine; the request may be sent again."""


class Unanswered(OutcomeUnknown):
    """The request left, or may have, and no answer came; it is never sent again by itself."""


@dataclass(slots=True)
class _Arriving:
    """A reply as far as it has come; `head_sent` says whether the request's head went out whole."""

    head_sent: bool = False
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytearray = field(default_factory=bytearray)
    whole: bool = False

    async def trace(self, event: str, _info: Mapping[str, Any]) -> None:
        if event.endswith("send_request_headers.complete"):
            self.head_sent = True

    async def take(self, response: httpx.Response) -> None:
        self.status, self.headers = response.status_code, dict(response.headers)
        async for chunk in response.aiter_raw():
            self.raw += chunk[: MAX_BODY + 1 - len(self.raw)]
            if len(self.raw) > MAX_BODY:
                return
        self.whole = True

    def reply(self, clock: Clock) -> Reply:
        """What came, without our own secrets: whoever reads, journals or shows it has none to lose."""
        # RFC 9110, 6.6.1: a recipient with a clock adds the time of receipt where the sender gave no date.
        headers = {"date": format_datetime(clock.now(), usegmt=True), **_clean(self.headers)}
        body, whole = inflated(bytes(self.raw), headers.get("content-encoding", ""), MAX_BODY)
        truncated = not (self.whole and whole)
        return Reply(self.status, headers, scrub(body[:MAX_BODY], cut=truncated), truncated=truncated)


def _clean(headers: Mapping[str, str]) -> dict[str, str]:
    return {without_known(name): without_known(value) for name, value in headers.items()}


class Stream:
    """An open download: `url` after redirects, header names in lower case, the bytes as they are sent."""

    def __init__(self, url: str, response: httpx.Response) -> None:
        self.url = url
        self.status = response.status_code
        self.headers: Mapping[str, str] = _clean(response.headers)
        self._response = response

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body, piece by piece.

        Raises:
            Transient: when it stalls or breaks off.
        """
        try:
            async for chunk in self._response.aiter_raw():
                yield chunk
        except httpx.HTTPError as error:
            raise Transient(f"the download broke off ({type(error).__name__})") from None


class Wire:
    """Every call that leaves this process. `mounts` answer a scheme (`animatic://`) on this machine; `close` ends them too.

    `cafile` names further certificate authorities to trust, for a private provider; verification is never off.
    """

    def __init__(
        self, *, clock: Clock, mounts: Mapping[str, httpx.AsyncBaseTransport] | None = None, cafile: Path | None = None
    ) -> None:
        hush_http_logs()
        self._clock = clock
        self._mounts = dict(mounts or {})
        self._cafile = cafile
        self._trust: ssl.SSLContext | None = None
        self._pool: httpx.AsyncClient | None = None

    async def create(self, request: Request, *, auth: str | None, deadline: float) -> Reply:
        """Send a create once, on a connection of its own; `deadline` seconds bound the whole call.

        A body that is cut short or too large arrives as a truncated reply: its status and its bytes are evidence.

        Raises:
            NotSent: when nothing left this machine.
            Unanswered: when anything else went wrong before the head of an answer came.
        """
        arriving = _Arriving()
        try:
            async with asyncio.timeout(deadline), self._client() as client:
                await self._exchange(client, request, auth, deadline, arriving)
        # Whatever goes wrong after money may have moved is one of two answers; no foreign text (it may hold the key) escapes.
        except Exception as error:  # noqa: BLE001
            if arriving.status:
                return arriving.reply(self._clock)
            raise _create_error(error, request, arriving) from None
        return arriving.reply(self._clock)

    async def call(self, request: Request, *, auth: str | None, deadline: float) -> Reply:
        """Send a query from the pool; redirects are not followed, `deadline` seconds bound the whole call.

        Raises:
            Transient: whatever went wrong before the head of an answer came.
        """
        arriving = _Arriving()
        self._pool = self._pool or self._client()
        try:
            async with asyncio.timeout(deadline):
                await self._exchange(self._pool, request, auth, deadline, arriving)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, ValueError) as error:
            if not arriving.status:
                raise Transient(_told(error, request)) from None
        return arriving.reply(self._clock)

    @asynccontextmanager
    async def stream(
        self, url: str, headers: Mapping[str, str], *, rules: AddressRules, stall: float = STALL_SECONDS
    ) -> AsyncIterator[Stream]:
        """Open a download with no credentials, at the pinned address, following at most 3 redirects that `rules` admit.

        `stall` seconds without a byte end it.

        Raises:
            AddressRefused: when the address, or one that it redirects to, is not allowed.
            Transient: when the host cannot be reached or does not answer.
        """
        if {"authorization", "cookie"} & {name.lower() for name in headers}:
            raise ValueError("downloads carry no credentials")
        # Only the first address may be one of this machine's own; a redirect into it is a stranger's idea.
        guard = None if self.is_mounted(url) else rules
        for _ in range(MAX_REDIRECTS + 1):
            async with self._opened(url, headers, guard, stall) as response:
                target = response.headers.get("location")
                if response.status_code not in _REDIRECTS or target is None:
                    yield Stream(url, response)
                    return
            url, guard = _joined(url, without_known(target)), rules
        raise AddressRefused(f"more than {MAX_REDIRECTS} redirects")

    async def close(self) -> None:
        """End the pool and the mounts."""
        if self._pool is not None:
            await self._pool.aclose()
        for transport in self._mounts.values():
            await transport.aclose()

    def is_mounted(self, url: str) -> bool:
        """Whether the address is answered on this machine."""
        return any(url.startswith(prefix) for prefix in self._mounts)

    async def _exchange(
        self, client: httpx.AsyncClient, request: Request, auth: str | None, deadline: float, arriving: _Arriving
    ) -> None:
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "rushes"}
        content = None
        if request.body is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(dict(request.body), allow_nan=False, ensure_ascii=False).encode()
        if auth is not None:
            headers["Authorization"] = auth
        # Shorter than the whole, so that a connection that never came about is told from a request that did leave.
        brief = min(CONNECT_SECONDS, deadline / 2)
        timeout = httpx.Timeout(None, connect=brief, pool=brief)
        async with client.stream(
            request.method,
            request.url,
            headers=headers,
            content=content,
            timeout=timeout,
            extensions={"trace": arriving.trace},
        ) as response:
            await arriving.take(response)

    @asynccontextmanager
    async def _opened(
        self, url: str, headers: Mapping[str, str], rules: AddressRules | None, stall: float
    ) -> AsyncIterator[httpx.Response]:
        if rules is None:
            requests = [httpx.Request("GET", readable(url), headers=headers)]
        else:
            vetted = await rules.vet(url)
            requests = [_pinned(vetted, address, headers) for address in vetted.addresses]
        async with self._client(httpx.Timeout(stall, connect=CONNECT_SECONDS)) as client:
            response = await _first_answer(client, requests)
            try:
                yield response
            finally:
                await response.aclose()

    def _client(self, timeout: httpx.Timeout | None = None) -> httpx.AsyncClient:
        if self._trust is None:
            self._trust = _trust(self._cafile)
        return httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(verify=self._trust, http2=False, retries=0, trust_env=False),
            mounts={prefix: _Borrowed(transport) for prefix, transport in self._mounts.items()},
            trust_env=False,
            follow_redirects=False,
            timeout=timeout or httpx.Timeout(STALL_SECONDS),
        )


class _Borrowed(httpx.AsyncBaseTransport):
    """A mount that outlives the client it is lent to."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._transport.handle_async_request(request)


def _trust(cafile: Path | None) -> ssl.SSLContext:
    context = httpx.create_ssl_context(verify=True, trust_env=False)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if cafile is not None:
        context.load_verify_locations(cafile)
    return context


def _create_error(error: Exception, request: Request, arriving: _Arriving) -> NotSent | Unanswered:
    # Also what httpx says of an answer looks like NOT_SENT: a Location that it cannot read is an InvalidURL.
    if not arriving.head_sent and isinstance(error, (*NOT_SENT, httpx.LocalProtocolError)):
        return NotSent(_told(error, request))
    return Unanswered(_told(error, request))


def _told(error: Exception, request: Request) -> str:
    """Where and what, without the path, the query or the key; only connection errors speak for themselves."""
    host = request.url.partition("://")[2].partition("/")[0].rpartition("@")[2]
    name = "the deadline passed" if isinstance(error, TimeoutError) else type(error).__name__
    cause = f": {redact(str(error))[:200]}" if isinstance(error, httpx.ConnectError) else ""
    return f"no answer from {redact(host)[:100]} ({name}{cause})"


def _pinned(vetted: Vetted, address: str, headers: Mapping[str, str]) -> httpx.Request:
    """A request that connects to the vetted address while TLS and Host still name the server."""
    url = httpx.URL(vetted.url)
    named = {**headers, "Host": url.netloc.decode()}
    return httpx.Request("GET", url.copy_with(host=address), headers=named, extensions={"sni_hostname": vetted.host})


async def _first_answer(client: httpx.AsyncClient, requests: list[httpx.Request]) -> httpx.Response:
    """The answer from the first address that can be connected to."""
    for place, request in enumerate(requests, start=1):
        try:
            return await client.send(request, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            if place == len(requests):
                raise Transient(f"the file host cannot be reached ({type(error).__name__})") from None
        # httpx reads the Location of an answer by itself; idna's errors are ValueErrors.
        except (httpx.InvalidURL, ValueError):
            raise AddressRefused(_REDIRECTED) from None
        except httpx.HTTPError as error:
            raise Transient(f"the file host gave no answer ({type(error).__name__})") from None
    raise AssertionError("the last address returns or raises")


def _joined(url: str, target: str) -> str:
    try:
        joined = str(httpx.URL(url).join(target))
    except (httpx.InvalidURL, ValueError, TypeError, IndexError):
        raise AddressRefused(_REDIRECTED) from None
    return str(readable(joined, _REDIRECTED))


_REDIRECTED = "the redirect leads to an address that cannot be read"
