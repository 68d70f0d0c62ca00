"""What a create request orders, as the sandbox understood it; both wire dialects end here."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

__all__ = ["Job", "Order", "Outcome", "Refused", "State"]

State = str
"""queued, running, done or failed."""


class Refused(Exception):
    """The provider says no: nothing is accepted and nothing is billed."""

    def __init__(self, text: str, *, code: int, status: int = 200) -> None:
        super().__init__(text, code, status)
        self.text = text
        self.code = code
        self.status = status


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """A valid create request. `ignored` names the fields that the provider's page does not know."""

    seconds: int
    pro: bool
    audio: bool
    multi_shot: bool
    prompt: str
    image: str
    callback_url: str = ""
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a job ends.

    `end` is done, failed or stuck. `refund` is none, at-once or late (one more job time later). `word` is what a failed
    job says of it: refunded, billed or nothing. `clip` names a flaw of the delivered picture (clips.FLAWS).
    """

    end: str = "done"
    refund: str = "none"
    word: str = "nothing"
    error: str = ""
    status: int | None = None
    clip: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """An accepted job: a fact of the account. Times are seconds of the sandbox's clock since 1970."""

    job_id: str
    provider: str
    create: int
    accepted_at: float
    ready_at: float
    seconds: int
    pro: bool
    audio: bool
    multi_shot: bool
    prompt: str
    image: str
    width: int
    height: int
    still: str
    unit: str
    billed: Decimal
    outcome: Outcome
    callback_url: str = ""
    refunded: Decimal = Decimal(0)
    finished: bool = False
    queries: int = 0
    downloads: int = 0
    faults: tuple[str, ...] = ()

    @property
    def takes(self) -> float:
        """Seconds from acceptance to the end."""
        return self.ready_at - self.accepted_at

    def state(self, now: float) -> State:
        """The state at this moment of the sandbox's clock."""
        if self.outcome.end == "stuck" or now < self.ready_at:
            return "queued" if now < self.accepted_at + self.takes / 10 else "running"
        return self.outcome.end

    @classmethod
    def read(cls, row: Mapping[str, Any]) -> "Job":
        """A job from a line of the account file."""
        known = {**row, "billed": Decimal(row["billed"]), "refunded": Decimal(row["refunded"])}
        known["outcome"] = Outcome(**row["outcome"])
        known["faults"] = tuple(row["faults"])
        return cls(**known)
