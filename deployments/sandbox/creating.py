"""What a create request meets: first its upload, then the rules of the page, then perhaps a fault."""

import asyncio
import hashlib
import secrets
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from deployments.sandbox import clips, shelf
from deployments.sandbox.account import Create
from deployments.sandbox.dialects import Dialect
from deployments.sandbox.faults import lies
from deployments.sandbox.faults.kinds import CreateFault, JobFault, UploadFault
from deployments.sandbox.house import House
from deployments.sandbox.orders import Job, Order, Outcome, Refused
from deployments.sandbox.wire import End, Reply, Request, Step, json_reply, plain, read_body

__all__ = ["create"]

LONG = 2000


@dataclass(frozen=True, slots=True)
class Still:
    """The start still as the sandbox knows it: sha256 (empty where it was not fetched) and the clip's sides."""

    digest: str
    width: int
    height: int


async def create(house: House, dialect: Dialect, head: Request, reader: asyncio.StreamReader) -> Iterable[Step]:
    """Read one create request to its end, book it, and say how it is answered."""
    if house.script.next(UploadFault, dialect.NAME):
        await reader.read(1024)
        _book(house, dialect, head, "cut", fault="upload-cut")
        return [End.RESET]
    try:
        request = replace(head, body=await read_body(reader, head))
    except asyncio.IncompleteReadError:
        _book(house, dialect, head, "cut", reason="the client stopped half way")
        return [End.CLOSE]
    if "again" in request.query:
        _book(house, dialect, request, "lost", reason="followed a redirect")
        return lies.loop(Reply())
    if not house.admits(request.headers.get("authorization", "")):
        _book(house, dialect, request, "unauthorized")
        return plain(dialect.unauthorized())
    try:
        order = dialect.read_order(request.json())
        still = await _still(house, dialect, order)
        _check_balance(house, dialect, order)
    except Refused as refusal:
        _book(house, dialect, request, "refused", reason=refusal.text)
        return plain(dialect.refused(refusal))
    return await _take(house, dialect, request, order, still)


async def _take(house: House, dialect: Dialect, request: Request, order: Order, still: Still) -> Iterable[Step]:
    fault = house.script.next(
        CreateFault, dialect.NAME, fits=lambda fault: not fault.used or request.nth > 1
    ) or CreateFault(name="", ids=(), text="")
    if fault.change is not None:
        order = fault.change(order)
    job = _job(house, dialect, order, still, fault)
    if fault.accepts:
        jobs = (job, _job(house, dialect, order, still, fault)) if fault.twice else (job,)
        _book(house, dialect, request, "accepted", fault=fault.name, jobs=jobs, ignored=order.ignored)
        await _accept(house, fault, jobs)
    else:
        outcome = "refused" if fault.refuses else "lost"
        _book(house, dialect, request, outcome, fault=fault.name, ignored=order.ignored)
    envelope: Any = dialect.accepted(job)
    if fault.reshape is not None:
        envelope = fault.reshape(envelope, house.scene(job))
    return (fault.lie or plain)(json_reply(envelope))


async def _accept(house: House, fault: CreateFault, jobs: tuple[Job, ...]) -> None:
    for job in jobs:
        house.expect(job)
        if fault.foreign:
            house.book.book_spend(job.billed, house.clock.now(), str(uuid.uuid4()))
    if fault.told_first:
        await house.settle()


async def _still(house: House, dialect: Dialect, order: Order) -> Still:
    try:
        data = await house.pictures.look(order.image, house.base)
        if data is None:
            return Still("", *clips.aspect_size(16, 9, house.options.size))
        digest, width, height = house.pictures.keep_still(data)
    except shelf.BadStill as error:
        raise Refused(f"invalid image: {error}", code=dialect.INVALID) from error
    return Still(digest, *clips.aspect_size(width, height, house.options.size))


def _check_balance(house: House, dialect: Dialect, order: Order) -> None:
    if dialect.UNIT == "credits" and dialect.price(order) > house.book.balance:
        raise Refused("insufficient balance", code=100)


def _job(house: House, dialect: Dialect, order: Order, still: Still, fault: CreateFault) -> Job:
    now = house.clock.now()
    ending = house.script.next(JobFault, dialect.NAME) if fault.accepts else None
    return Job(
        job_id=str(10**15 + secrets.randbelow(10**15)) if fault.number_id else str(uuid.uuid4()),
        provider=dialect.NAME,
        create=len(house.book.creates) + 1,
        accepted_at=now,
        ready_at=now if fault.told_first else now + house.job_time(order),
        seconds=order.seconds,
        pro=order.pro,
        audio=order.audio,
        multi_shot=order.multi_shot,
        prompt=order.prompt,
        image=_shortened(order.image),
        width=still.width,
        height=still.height,
        still=still.digest,
        unit=dialect.UNIT,
        billed=dialect.price(order) * fault.factor,
        outcome=ending.outcome if ending else Outcome(),
        callback_url=order.callback_url,
        faults=tuple(one.name for one in (fault, ending) if one and one.name),
    )


def _book(
    house: House,
    dialect: Dialect,
    request: Request,
    outcome: str,
    *,
    fault: str = "",
    reason: str = "",
    jobs: tuple[Job, ...] = (),
    ignored: tuple[str, ...] = (),
) -> None:
    row = Create(
        n=len(house.book.creates) + 1,
        at=house.clock.now(),
        provider=dialect.NAME,
        outcome=outcome,
        job_ids=tuple(job.job_id for job in jobs),
        fault=fault,
        reason=reason,
        connection=request.connection,
        nth_on_connection=request.nth,
        body=_seen(request),
        ignored=ignored,
    )
    house.book.book_create(row, jobs)


def _seen(request: Request) -> Any:
    """The body as it may be shown: no callback address, long texts as their hash."""
    body = request.json()
    if isinstance(body, dict) and "callback_url" in body:
        body = {**body, "callback_url": "(hidden)"}
    return _shorten(body)


def _shorten(value: Any) -> Any:
    match value:
        case str():
            return _shortened(value)
        case list():
            return [_shorten(one) for one in value]
        case dict():
            return {_shortened(str(key)): _shorten(one) for key, one in value.items()}
        case _:
            return value


def _shortened(text: str) -> str:
    if len(text) <= LONG:
        return text
    return f"({len(text)} characters, sha256 {hashlib.sha256(text.encode(errors='replace')).hexdigest()})"
