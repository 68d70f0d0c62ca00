"""The sandbox's own account of what it accepted, billed and paid back: the truth that a ledger is compared with."""

import dataclasses
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from deployments.sandbox.orders import Job

__all__ = ["Account", "Called", "Create", "Seen", "Total"]


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
        return row | ({"balance": _text(self.balance)} if name == "sjinn" else {})

    def _job(self, job: Job) -> dict[str, Any]:
        row = dataclasses.asdict(job)
        called_back = bool(row.pop("callback_url"))
        return row | _money(Total(job.billed, job.refunded)) | {"state": job.state(self.now), "callback": called_back}


_PROVIDERS = (("shortapi", "USD"), ("sjinn", "credits"))


def _money(total: Total) -> dict[str, str]:
    return {"billed": _text(total.billed), "refunded": _text(total.refunded), "net": _text(total.net)}


def _text(amount: Decimal) -> str:
    """A decimal string without idle zeros."""
    return f"{amount.normalize():f}"
