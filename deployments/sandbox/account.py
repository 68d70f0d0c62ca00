"""The sandbox's own account of what it accepted, billed and paid back: the truth that a ledger is compared with.

The file is append-only, one JSON event a line. Whatever touches money is on disk (fsync) before a reply leaves, so it
survives kill -9 and a restart; a last line that was cut by a crash is dropped. The file is 0600 and holds callback
addresses, never a key.
"""

import dataclasses
import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

from deployments.sandbox.orders import Job

__all__ = ["Account", "Book", "Called", "Create", "InUse", "Seen", "Total"]

KEPT_REQUESTS = 5000


class InUse(Exception):
    """Another sandbox writes this account file."""


@dataclass(frozen=True, slots=True)
class Create:
    """One create request that reached the provider. `outcome`: accepted, refused, unauthorized, lost or cut."""

    n: int
    at: float
    provider: str
    outcome: str
    job_ids: tuple[str, ...]
    fault: str
    reason: str
    connection: int
    nth_on_connection: int
    body: Any
    ignored: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """One request of any kind: path without its query, whether an Authorization header came along (never which)."""

    at: float
    kind: str
    method: str
    path: str
    provider: str
    job_id: str
    fault: str
    connection: int
    nth_on_connection: int
    authorization: bool


@dataclass(frozen=True, slots=True)
class Called:
    """One callback sent: the HTTP status of the answer, or 0 and what went wrong."""

    at: float
    job_id: str
    status: int
    error: str
    fault: str


@dataclass(frozen=True, slots=True)
class Total:
    """Money of one unit."""

    billed: Decimal
    refunded: Decimal

    @property
    def net(self) -> Decimal:
        """What stays paid."""
        return self.billed - self.refunded


@dataclass(frozen=True, slots=True)
class Account:
    """The account at one moment. `states` gives the state of each job by the sandbox's clock."""

    now: float
    jobs: tuple[Job, ...]
    creates: tuple[Create, ...]
    requests: tuple[Seen, ...]
    callbacks: tuple[Called, ...]
    balance: Decimal
    authorization_on_files: bool

    @property
    def states(self) -> dict[str, str]:
        """Job id to queued, running, done, failed or (for ever running) running."""
        return {job.job_id: job.state(self.now) for job in self.jobs}

    def of(self, provider: str) -> tuple[Job, ...]:
        """The jobs accepted by one provider."""
        return tuple(job for job in self.jobs if job.provider == provider)

    def job(self, job_id: str) -> Job:
        """The job of that id; KeyError when there is none."""
        return {job.job_id: job for job in self.jobs}[job_id]

    def total(self, unit: str, provider: str = "") -> Total:
        """Money in USD or credits, over all providers or one."""
        jobs = [job for job in self.jobs if job.unit == unit and provider in {"", job.provider}]
        return Total(
            sum((job.billed for job in jobs), Decimal(0)),
            sum((job.refunded for job in jobs), Decimal(0)),
        )

    @property
    def creates_on_used_connections(self) -> int:
        """Create requests that shared their connection with an earlier request (F25 wants 0)."""
        return sum(create.nth_on_connection > 1 for create in self.creates)

    def to_json(self) -> dict[str, Any]:
        """The document of GET /_sandbox/account: money as decimal strings, no callback addresses."""
        return {
            "now": self.now,
            "accepts": len(self.jobs),
            "create_requests": len(self.creates),
            "creates_on_used_connections": self.creates_on_used_connections,
            "authorization_on_files": self.authorization_on_files,
            "totals": {unit: _money(self.total(unit)) for unit in ("USD", "credits")},
            "providers": {name: self._provider(name, unit) for name, unit in _PROVIDERS},
            "jobs": [self._job(job) for job in self.jobs],
            "creates": [dataclasses.asdict(create) for create in self.creates],
            "callbacks": [dataclasses.asdict(call) for call in self.callbacks],
            "requests": [dataclasses.asdict(seen) for seen in self.requests],
        }

    def _provider(self, name: str, unit: str) -> dict[str, Any]:
        creates = [create for create in self.creates if create.provider == name]
        row: dict[str, Any] = {
            "accepts": len(self.of(name)),
            "create_requests": len(creates),
            "refused": sum(create.outcome in {"refused", "unauthorized"} for create in creates),
            "lost": sum(create.outcome in {"lost", "cut"} for create in creates),
            "unit": unit,
            **_money(self.total(unit, name)),
        }
        return row | ({"balance": str(self.balance)} if name == "sjinn" else {})

    def _job(self, job: Job) -> dict[str, Any]:
        row = dataclasses.asdict(job)
        called_back = bool(row.pop("callback_url"))
        money = {"billed": str(job.billed), "refunded": str(job.refunded), "net": str(job.billed - job.refunded)}
        return row | money | {"state": job.state(self.now), "callback": called_back}


_PROVIDERS = (("shortapi", "USD"), ("sjinn", "credits"))


def _money(total: Total) -> dict[str, str]:
    return {"billed": str(total.billed), "refunded": str(total.refunded), "net": str(total.net)}


class Book:
    """The account being written; `account()` reads it.

    Raises:
        InUse: another process has the file open for writing.
    """

    def __init__(self, path: Path, *, opening_balance: Decimal) -> None:
        self.path = path
        self.jobs: dict[str, Job] = {}
        self.creates: list[Create] = []
        self.requests: list[Seen] = []
        self.callbacks: list[Called] = []
        self.balance = opening_balance
        self.spends: list[dict[str, Any]] = []
        self.clock_ahead = 0.0
        self.authorization_on_files = False
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._file)
            raise InUse(str(path)) from None
        self._replay(path.read_bytes())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def account(self, now: float) -> Account:
        """The account at this moment."""
        return Account(
            now=now,
            jobs=tuple(self.jobs.values()),
            creates=tuple(self.creates),
            requests=tuple(self.requests),
            callbacks=tuple(self.callbacks),
            balance=self.balance,
            authorization_on_files=self.authorization_on_files,
        )

    def book_create(self, create: Create, jobs: tuple[Job, ...] = ()) -> None:
        """A create request and what was accepted and billed for it, as one fact on disk."""
        rows = [{**dataclasses.asdict(job), "billed": str(job.billed), "refunded": str(job.refunded)} for job in jobs]
        self._write({"event": "create", **dataclasses.asdict(create), "jobs": rows}, durable=True)

    def book_finish(self, job_id: str, at: float) -> None:
        """A job has come to its end."""
        self._write({"event": "finish", "job_id": job_id, "at": at}, durable=True)

    def book_refund(self, job_id: str, amount: Decimal, at: float) -> None:
        """Money went back."""
        self._write({"event": "refund", "job_id": job_id, "amount": str(amount), "at": at}, durable=True)

    def book_spend(self, amount: Decimal, at: float, task_id: str) -> None:
        """Somebody else used the credits of the same account."""
        self._write({"event": "spend", "amount": str(amount), "at": at, "task_id": task_id}, durable=True)

    def book_request(self, seen: Seen) -> None:
        """A request that moves no money."""
        self._write({"event": "request", **dataclasses.asdict(seen)}, durable=False)

    def book_callback(self, call: Called) -> None:
        """A callback was sent."""
        self._write({"event": "callback", **dataclasses.asdict(call)}, durable=False)

    def book_clock(self, ahead: float) -> None:
        """The clock was moved by hand."""
        self._write({"event": "clock", "ahead": ahead}, durable=True)

    def _write(self, event: Mapping[str, Any], *, durable: bool) -> None:
        line = json.dumps(event, separators=(",", ":")).encode() + b"\n"
        while line:
            line = line[os.write(self._file, line) :]
        if durable:
            os.fsync(self._file)
        self._apply(json.loads(json.dumps(event)))

    def _replay(self, raw: bytes) -> None:
        whole = raw.rfind(b"\n") + 1
        if whole < len(raw):
            os.ftruncate(self._file, whole)
        for line in raw[:whole].splitlines():
            self._apply(json.loads(line))

    def _apply(self, event: dict[str, Any]) -> None:
        match event.pop("event"):
            case "create":
                self._apply_create(event)
            case "finish":
                self._change(event["job_id"], finished=True)
            case "refund":
                self._apply_refund(event["job_id"], Decimal(event["amount"]), event["at"])
            case "spend":
                self._apply_spend(Decimal(event["amount"]), event["at"], event["task_id"])
            case "request":
                self._apply_request(Seen(**event))
            case "callback":
                self.callbacks.append(Called(**event))
            case "clock":
                self.clock_ahead = event["ahead"]
            case unknown:
                raise ValueError(f"{self.path}: event {unknown!r} is not of this version")

    def _apply_create(self, event: dict[str, Any]) -> None:
        for row in event.pop("jobs"):
            job = Job.read(row)
            self.jobs[job.job_id] = job
            if job.unit == "credits":
                self._apply_spend(job.billed, job.accepted_at, job.job_id)
        event["job_ids"] = tuple(event["job_ids"])
        event["ignored"] = tuple(event["ignored"])
        self.creates.append(Create(**event))

    def _apply_refund(self, job_id: str, amount: Decimal, at: float) -> None:
        job = self.jobs[job_id]
        self._change(job_id, refunded=job.refunded + amount)
        if job.unit == "credits":
            self._apply_spend(-amount, at, job_id)

    def _apply_spend(self, amount: Decimal, at: float, task_id: str) -> None:
        self.balance -= amount
        self.spends.append({"at": at, "task_id": task_id, "amount": amount})

    def _apply_request(self, seen: Seen) -> None:
        self.requests.append(seen)
        del self.requests[:-KEPT_REQUESTS]
        self.authorization_on_files |= seen.kind == "file" and seen.authorization
        job = self.jobs.get(seen.job_id)
        if job is not None and seen.kind == "query":
            self._change(seen.job_id, queries=job.queries + 1)
        elif job is not None and seen.kind == "file":
            self._change(seen.job_id, downloads=job.downloads + 1)

    def _change(self, job_id: str, **facts: Any) -> None:
        self.jobs[job_id] = dataclasses.replace(self.jobs[job_id], **facts)
