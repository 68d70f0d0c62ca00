"""The provider of the state machine: what it does is decided while the request is on the wire."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.proof.oracle import Oracle
from tests.proof.truth import Create

__all__ = ["Parked", "ParkingOracle"]


@dataclass(slots=True)
class Parked:
    """A create on the wire: the provider has not decided yet."""

    create: Create
    asked: dict[str, Any]
    body: dict[str, Any]
    answer: "asyncio.Future[str]"


@dataclass(slots=True)
class ParkingOracle(Oracle):
    """Keeps each create on the wire until the history says what becomes of it."""

    parked: list[Parked] = field(default_factory=list)
    ordered: dict[str, str] = field(default_factory=dict)

    async def _create(self, request: httpx.Request, body: dict[str, Any]) -> httpx.Response:
        trace = request.extensions.get("trace")
        if trace is not None:
            await trace("http11.send_request_headers.complete", {})
        asked = body["args"]
        create = Create(str(asked["prompt"]), "shortapi")
        self.on_create(create)
        self.creates.append(create)
        one = Parked(create, asked, body, asyncio.get_running_loop().create_future())
        self.parked.append(one)
        try:
            kind = await one.answer
        finally:
            self.life.check()
        self.parked.remove(one)
        return self._answer(kind, create, asked, body, request)

    def next(self, sort: str) -> str:
        """Lies that were ordered for the next events of a sort."""
        return self.ordered.pop(sort, "ok")
