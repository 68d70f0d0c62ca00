"""The file of the account: append-only, one JSON event a line, 0600.

Whatever touches money is on disk (fsync) before a reply leaves, so it survives kill -9 and a restart; a last line that was
cut by a crash is dropped. The file holds callback addresses, never a key.
"""

import dataclasses
import fcntl
import json
import os
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

from deployments.sandbox.account import Account, Called, Create, Seen
from deployments.sandbox.orders import Job

__all__ = ["Book", "InUse"]

KEPT_REQUESTS = 5000
"""Single requests kept in memory; the file has them all."""


class InUse(Exception):
    """Another sandbox writes this account file."""


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
