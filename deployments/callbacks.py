"""The callback receiver: a listener of its own, apart from Prefect's. A callback is a hint; a query with our key decides.

`POST /cb/<intent>/<token>` is answered 200 once the hint lies durably in the ledger. Everything that is not a live
address of ours gets the same 404, whether the intent exists or not. Alone: `python -m deployments.callbacks`.
"""

import asyncio
import hashlib
import hmac
import json
import re
import sys
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from deployments.brisk import Brisk
from deployments.ending import in_words, until_told
from tasks.errors import Refused, RushesError, SetupProblem
from tasks.hints import follow, note_hint
from tasks.ledger import Intent, IntentState
from tasks.production import Production
from tasks.seams import Clock
from tasks.settings import Settings

__all__ = ["Receiver", "main", "receive"]

BODY_LIMIT = 256 * 1024
BODY_SECONDS = 5.0
LIFE = 7 * 24 * 3600
"""Seconds after which an address is no longer ours: longer than any job, and than any provider's deliveries."""
RATE, BURST = 50.0, 300.0
"""Callbacks a second, and at once, from one network address."""
ADDRESSES = 4096
_DUMMY = hashlib.sha256(b"no such intent").hexdigest()
_INTENT = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")
_TOKEN_MAX = 100
_ANY = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


@dataclass(slots=True)
class _Buckets:
    """A token bucket for each network address; the oldest is forgotten where there are too many."""

    clock: Clock
    kept: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)

    def allows(self, address: str) -> bool:
        """Take one token, where one is left."""
        now = self.clock.monotonic()
        level, then = self.kept.pop(address, (BURST, now))
        level = min(BURST, level + (now - then) * RATE)
        self.kept[address] = (max(0.0, level - 1), now)
        while len(self.kept) > ADDRESSES:
            self.kept.popitem(last=False)
        return level >= 1


class Receiver:
    """The application, and the following of hints behind it."""

    def __init__(self, production: Production) -> None:
        self._production = production
        self._buckets = _Buckets(production.clock)
        self._following: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(4)
        routes = [
            Route("/cb/{intent}/{token}", self._callback, methods=["POST"]),
            Route("/{rest:path}", _not_here, methods=_ANY),
        ]
        self.app = Starlette(routes=routes)

    async def catch_up(self) -> None:
        """Follow what was left when the last receiver ended."""
        for intent in self._production.ledger.intents(states={IntentState.SUBMITTING, IntentState.IN_DOUBT}):
            if self._production.ledger.hints(intent.intent_id):
                self._follow(intent.intent_id)

    async def settle(self) -> None:
        """Wait until every hint is followed."""
        while self._following:
            await asyncio.wait(self._following)

    async def _callback(self, request: Request) -> Response:
        if not self._buckets.allows(request.client.host if request.client else ""):
            return _said(429)
        try:
            known = await asyncio.to_thread(self._vouched, request.path_params["intent"], request.path_params["token"])
            if known is None:
                return await _not_here(request)
            body = await _body(request)
            if isinstance(body, int):
                return _said(body)
            new = await asyncio.to_thread(note_hint, self._production, known.intent_id, body)
        except ClientDisconnect:
            return _said(400)
        except RushesError:
            return _said(503)
        if new:
            self._follow(known.intent_id)
        return _said(200)

    def _vouched(self, intent_id: str, token: str) -> Intent | None:
        """The intent whose token this is, while its address lives; the same work for one that is not there."""
        found = self._found(intent_id)
        given = hashlib.sha256(token[:_TOKEN_MAX].encode()).hexdigest()
        right = hmac.compare_digest(given, found.token_hash if found and found.token_hash else _DUMMY)
        alive = found is not None and (self._production.clock.now() - found.created_at).total_seconds() < LIFE
        return found if right and alive else None

    def _found(self, intent_id: str) -> Intent | None:
        try:
            return self._production.ledger.get(intent_id if _INTENT.fullmatch(intent_id) else "0" * 26)
        except Refused:
            return None

    def _follow(self, intent_id: str) -> None:
        task = asyncio.create_task(self._followed(intent_id))
        self._following.add(task)
        task.add_done_callback(self._following.discard)

    async def _followed(self, intent_id: str) -> None:
        async with self._slots:
            try:
                await follow(self._production, intent_id)
            except RushesError as error:
                print(f"callback for {intent_id}: {error}; collect follows it later", file=sys.stderr)  # noqa: T201


async def _not_here(_request: Request) -> Response:
    return _said(404)


def _said(status: int) -> Response:
    """Nothing of the request comes back, and its connection ends with it."""
    return Response(status_code=status, headers={"Connection": "close"})


async def _body(request: Request) -> bytes | int:
    """The JSON body, or the status that refuses it."""
    if int(request.headers.get("content-length", "0")) > BODY_LIMIT:
        return 413
    content = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                content += chunk
                if len(content) > BODY_LIMIT:
                    return 413
    except TimeoutError:
        return 408
    return bytes(content) if await asyncio.to_thread(_is_json, bytes(content)) else 400


def _is_json(content: bytes) -> bool:
    try:
        return isinstance(json.loads(content), dict | list)
    except (ValueError, RecursionError):
        return False


async def receive(settings: Settings, stop: asyncio.Event, *, host: str, port: int) -> None:
    """Listen until `stop`."""
    async with Production.open(settings) as production:
        receiver = Receiver(production)
        await receiver.catch_up()
        server = uvicorn.Server(
            uvicorn.Config(
                receiver.app,
                host=host,
                port=port,
                http=Brisk,
                ws="none",
                lifespan="off",
                access_log=False,  # a path here is a credential
                log_level="warning",
                server_header=False,
                date_header=False,
                limit_concurrency=512,
                timeout_keep_alive=5,
                timeout_graceful_shutdown=10,
            )
        )
        serving = asyncio.create_task(_served(server))
        ended = asyncio.create_task(stop.wait())
        await asyncio.wait({serving, ended}, return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        ended.cancel()
        await serving
        await receiver.settle()


async def _served(server: uvicorn.Server) -> None:
    """Uvicorn without its own signals: whoever runs it says when to stop."""
    try:
        await server._serve()  # noqa: SLF001 - `serve` would take SIGTERM for itself
    except SystemExit:
        raise SetupProblem(
            f"the callback receiver cannot listen on {server.config.host}:{server.config.port}",
            "Is the port taken? Choose another --callback-port.",
        ) from None


def main(argv: Sequence[str] | None = None) -> int:
    """Receive callbacks until interrupted; the words are a host and a port."""
    host, port = [*(argv if argv is not None else sys.argv[1:]), "127.0.0.1", "4280"][:2]
    settings = Settings.load()
    asyncio.run(until_told(lambda stop: receive(settings, stop, host=host, port=int(port))))
    return 0


if __name__ == "__main__":
    sys.exit(in_words(main))
