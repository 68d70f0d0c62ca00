"""Which part of the sandbox answers a request."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace

from deployments.sandbox import filehost, querying, sjinn
from deployments.sandbox.account import Seen
from deployments.sandbox.control import control
from deployments.sandbox.creating import create
from deployments.sandbox.dialects import DIALECTS, Dialect
from deployments.sandbox.house import House
from deployments.sandbox.page import page
from deployments.sandbox.wire import End, Request, Step, json_reply, plain, read_body

__all__ = ["respond"]

QUERIES = {
    **{dialect.QUERY: dialect for dialect in DIALECTS.values()},
    ("GET", sjinn.QUERY[1]): DIALECTS["sjinn"],
}
CREATES = {dialect.CREATE[1]: dialect for dialect in DIALECTS.values()}


async def respond(house: House, head: Request, reader: asyncio.StreamReader) -> Iterable[Step]:
    """Read the rest of the request and say how it is answered."""
    house.tick()
    dialect = CREATES.get(head.path)
    if dialect is not None and (head.method == "POST" or "again" in head.query):
        return await create(house, dialect, head, reader)
    try:
        request = replace(head, body=await read_body(reader, head))
    except asyncio.IncompleteReadError:
        return [End.CLOSE]
    return await _respond(house, request)


async def _respond(house: House, request: Request) -> Iterable[Step]:
    if request.path == "/" or request.path.startswith("/_sandbox"):
        return plain(page(house)) if request.path == "/" else await control(house, request)
    asked = QUERIES.get((request.method, request.path))
    if asked is not None:
        return _query(house, asked, request)
    if request.path.startswith("/files/"):
        return await _file(house, request)
    if request.path in {querying.ACCOUNT_STATUS, querying.CREDITS_USAGE} and request.method in {"GET", "POST"}:
        _log(house, request, "balance", provider="sjinn")
        return (querying.balance if request.path == querying.ACCOUNT_STATUS else querying.usage)(house, request)
    _log(house, request, "unknown")
    return plain(json_reply({"code": 404, "info": "not found"}, 404))


def _query(house: House, dialect: Dialect, request: Request) -> Iterable[Step]:
    job = querying.asked_job(house, dialect, request)
    steps, fault = querying.query(house, dialect, request)
    _log(house, request, "query", provider=dialect.NAME, job_id=job.job_id if job else "", fault=fault)
    return steps


async def _file(house: House, request: Request) -> Iterable[Step]:
    job = filehost.clip_job(house, request)
    steps, fault = await filehost.serve(house, request)
    provider, job_id = (job.provider, job.job_id) if job else ("", "")
    _log(house, request, "file", provider=provider, job_id=job_id, fault=fault)
    return steps


def _log(house: House, request: Request, kind: str, *, provider: str = "", job_id: str = "", fault: str = "") -> None:
    house.book.book_request(
        Seen(
            at=house.clock.now(),
            kind=kind,
            method=request.method,
            path=request.path,
            provider=provider,
            job_id=job_id,
            fault=fault,
            connection=request.connection,
            nth_on_connection=request.nth,
            authorization="authorization" in request.headers,
        )
    )
