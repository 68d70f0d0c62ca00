"""The two wire dialects, seen through what they have in common."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Protocol

from deployments.sandbox import shortapi, sjinn
from deployments.sandbox.orders import Job, Order, Refused, State
from deployments.sandbox.wire import Reply, Request

__all__ = ["DIALECTS", "Dialect"]


class Dialect(Protocol):
    """What a module that speaks one provider's wire format must have."""

    NAME: str
    UNIT: str
    CREATE: tuple[str, str]
    QUERY: tuple[str, str]
    ID_KEY: str
    INVALID: int

    def price(self, order: Order) -> Decimal:
        """The whole clip, in UNIT."""

    def read_order(self, body: Any) -> Order:
        """The order in a create body; raises Refused."""

    def refused(self, refusal: Refused) -> Reply:
        """A refusal on the wire."""

    def unauthorized(self) -> Reply:
        """The answer to a wrong key."""

    def accepted(self, job: Job) -> dict[str, Any]:
        """The envelope of an accepted create."""

    def asked(self, request: Request) -> str:
        """The job id that a query asks for."""

    def unknown(self) -> Reply:
        """The answer to a query of an unknown job."""

    def snapshot(self, job: Job, state: State, urls: Sequence[str]) -> dict[str, Any]:
        """The envelope of a query."""


DIALECTS: Mapping[str, Dialect] = MappingProxyType({"shortapi": shortapi, "sjinn": sjinn})
