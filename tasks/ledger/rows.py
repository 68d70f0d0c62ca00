"""What the ledger holds and answers with, as frozen values: times are aware UTC, money is exact."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal

from specs.money import USD, Money

__all__ = [
    "LIVE",
    "Approval",
    "Artifact",
    "Breaker",
    "BudgetRefused",
    "Cap",
    "CapState",
    "Closed",
    "Edited",
    "Event",
    "Found",
    "Full",
    "Halted",
    "Intent",
    "IntentState",
    "OpenRun",
    "Order",
    "PassedCap",
    "Recovery",
    "Replayed",
    "Reservation",
    "Reserved",
    "Run",
    "Scope",
    "Taken",
    "Totals",
    "Vouch",
]

_NOTHING = Money(0)

Scope = Literal["run", "approval", "board", "shot", "day", "month", "auto", "provider"]
"""`approval`: all that was bought under one approval; `auto`: all of a day that no person approved."""


class IntentState(StrEnum):
    """Where a purchase stands; a shot that was only planned, or refused by a cap, has no row."""

    SUBMITTING = "SUBMITTING"
    REJECTED = "REJECTED"
    CANCELLED = "CANCELLED"
    IN_DOUBT = "IN_DOUBT"
    SUBMITTED = "SUBMITTED"
    STALLED = "STALLED"
    SUCCEEDED = "SUCCEEDED"
    STORED = "STORED"
    RESULT_HELD = "RESULT_HELD"
    FAILED_UNSETTLED = "FAILED_UNSETTLED"
    FAILED_FINAL = "FAILED_FINAL"
    ABANDONED = "ABANDONED"
    SUPERSEDED = "SUPERSEDED"


LIVE = frozenset(
    {
        IntentState.SUBMITTING,
        IntentState.IN_DOUBT,
        IntentState.SUBMITTED,
        IntentState.STALLED,
        IntentState.SUCCEEDED,
        IntentState.STORED,
        IntentState.RESULT_HELD,
        IntentState.FAILED_UNSETTLED,
    }
)
"""States in which a shot may not be bought again."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A verified clip: `path` in the store, its full `uri`, `size` in bytes, `suspect` "" when it is what was ordered."""

    path: str
    uri: str
    sha256: str
    size: int
    seconds: float
    probe: Mapping[str, Any]
    suspect: str
    verified_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Intent:
    """One attempt to buy one shot.

    `slip` is where the store announces it ("" for what is free), and `slip_state` the state that the slip last told.

    `take` is the number in the file's name. `amount` is what the provider named, `billed` what was settled (None while
    open). `reserved` and `settled` are its money now. `extra` marks a job beside the one that holds the shot: a double
    accept, or a job that came to light after the shot was bought again. `twin` marks one whose job an older row has as well,
    which only ledgers of the first schema can hold. `reason` is the last failure or hold.
    `tries` counts the questions after its job, the next of which is due at `next_try` (None: now); `gone`: the provider
    says for good that there is no clip.
    """

    intent_id: str
    run_id: str
    board: str
    shot: str
    take: int
    shot_key: str
    family: str
    attempt_no: int
    provider: str
    model: str
    base_url: str
    account: str
    request_sha256: str
    request_json: str
    quote: Money
    price_version: str
    rate: Decimal | None
    mode: str
    audio: bool
    seconds: int
    state: IntentState
    epoch: int
    lease_owner: str
    lease_until: dt.datetime
    not_after: dt.datetime
    token_hash: str
    job_id: str | None
    amount: Money | None
    billed: Money | None
    reserved: Money
    settled: Money
    doubt_reason: str
    reason: str
    urls: tuple[str, ...]
    extra: bool
    moderated: bool
    twin: bool
    day: str
    month: str
    created_at: dt.datetime
    submitted_at: dt.datetime | None
    finished_at: dt.datetime | None
    updated_at: dt.datetime
    artifact: Artifact | None
    tries: int = 0
    next_try: dt.datetime | None = None
    gone: bool = False
    approval_id: str = ""
    approved_by: str = ""
    slip: str = ""
    slip_state: str = ""

    def in_usd(self, money: Money) -> Money | None:
        """`money` at the rate of the order, rounded up to a micro; None where the unit has no rate."""
        return to_usd(money, self.rate)


def to_usd(money: Money, rate: Decimal | None) -> Money | None:
    """`money` at `rate` USD a unit, rounded up to a micro: every amount in USD that anybody is shown comes from here.

    What was ordered is converted at its order's rate, whatever the setting says today.
    """
    if money.unit == USD:
        return money
    micros = usd_micros(money.micros, rate)
    return None if micros is None else Money(micros, USD)


def usd_micros(micros: int, rate: Decimal | None) -> int | None:
    """The same for bare micro-units."""
    if rate is None:
        return None
    over, under = rate.as_integer_ratio()
    return -(-micros * over // under)


@dataclass(frozen=True, slots=True)
class Cap:
    """A limit on what may be committed. The ledger fills in the key of `day`, `month` and any scope whose `key` is ""."""

    scope: Scope
    key: str
    limit: Money


@dataclass(frozen=True, slots=True)
class Approval:
    """What a person, or a rule in no person's presence, allows to be spent: `caps` in each unit, once, whoever acts under it.

    `approval_id` names its row, "" gets a new one each time. `shown` is what was approved, as JSON. `attempt_of` is not of
    the row: it names the flow run, or the drop, whose attempt acts under it now.
    """

    by: Literal["auto", "person"]
    reason: str
    caps: tuple[Money, ...]
    approval_id: str = ""
    board: str = ""
    digest: str = ""
    shown: str = ""
    attempt_of: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """Everything that a reservation needs.

    `rate` is USD per unit of the quote: a cap in USD with a quote in credits and no rate is refused. `supersede` says
    that a person asked for a new take, or that the family is free: an older finished take of the same shot gives way,
    for `reason`. `max_attempts` counts accepted jobs. `owner` holds the lease; an empty `intent_id` is filled in.
    """

    run_id: str
    board: str
    shot: str
    take: int
    shot_key: str
    family: str
    provider: str
    model: str
    base_url: str
    account: str
    request_sha256: str
    request_json: str
    quote: Money
    price_version: str
    mode: str
    audio: bool
    seconds: int
    max_in_flight: int
    caps: tuple[Cap, ...]
    rate: Decimal | None
    supersede: bool
    reason: str
    owner: str
    token_hash: str
    max_attempts: int = 1
    intent_id: str = ""


@dataclass(frozen=True, slots=True)
class Reserved:
    """The money is set aside and the intent is durable: it may be sent once, while `still_ours` says so."""

    intent: Intent


@dataclass(frozen=True, slots=True)
class BudgetRefused:
    """A cap would be passed, or cannot be compared with the quote; nothing was written."""

    scope: str
    key: str
    limit: Money | None
    committed: Money
    wanted: Money
    message: str


@dataclass(frozen=True, slots=True)
class Taken:
    """This very shot is bought, being bought, or has used its attempts: go and read `intent`."""

    intent: Intent


@dataclass(frozen=True, slots=True)
class Edited:
    """The shot was bought with other content (F79): a person decides about a new take."""

    intent: Intent


@dataclass(frozen=True, slots=True)
class Full:
    """As many jobs are in flight as the account may have: wait and ask again."""

    live: int
    limit: int


@dataclass(frozen=True, slots=True)
class Halted:
    """No creates here for now: an open breaker, doubts, or a ledger in recovery."""

    reason: str


@dataclass(frozen=True, slots=True)
class Closed:
    """The run has ended, or the process that holds it is gone: nobody buys anything for it any more."""

    reason: str


Reservation = Reserved | BudgetRefused | Taken | Edited | Full | Halted | Closed


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a board and who approved it; `exit_code` is None while it runs.

    `attempt_of` names the flow run, or the drop, that may begin several.
    """

    run_id: str
    board: str
    spec_sha256: str
    digest: str
    caps: tuple[Cap, ...]
    approved_by: str
    approval: str
    begun_at: dt.datetime
    ended_at: dt.datetime | None
    exit_code: int | None
    approval_id: str
    attempt_of: str


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A run that was not ended, and the flow run that began it, of a deployment; `alive`: its process keeps up its heartbeat."""

    run_id: str
    flow_run: str
    deployment: str
    alive: bool


@dataclass(frozen=True, slots=True)
class CapState:
    """What is committed in one bucket, and its last limit (None: only counted)."""

    scope: str
    key: str
    limit: Money | None
    committed: Money


@dataclass(frozen=True, slots=True)
class PassedCap:
    """A cap that bills have carried past its limit, and the intents whose bills no person has confirmed yet."""

    scope: str
    key: str
    limit: Money
    committed: Money
    intents: tuple[Intent, ...]

    def __str__(self) -> str:
        over, bills = self.committed - self.limit, ", ".join(map(_bill, self.intents[:BILLS_NAMED]))
        more = len(self.intents) - BILLS_NAMED
        return (
            f"the {self.scope} cap of {self.key} is {self.limit} and {self.committed} are booked, {over} over: {bills}"
            + (f" and {more} more" if more > 0 else "")
        )


BILLS_NAMED = 10


def _bill(intent: Intent) -> str:
    told = intent.billed if intent.billed is not None else intent.reserved + intent.settled
    word = "billed" if intent.billed is not None else "booked"
    return f"{intent.shot} TK{intent.take:02d} ({intent.intent_id}, {word} {told}, quoted {intent.quote})"


@dataclass(frozen=True, slots=True)
class Breaker:
    """Why creates at a provider's account are stopped; `probe` is the intent let through to try it again."""

    provider: str
    account: str
    kind: str
    is_open: bool
    reason: str
    probe: str
    opened_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Event:
    """A fact, never changed: `state` is the state that it led to, "" where it changed none; `alert` needs a person."""

    seq: int
    intent_id: str
    at: dt.datetime
    actor: str
    kind: str
    state: str
    alert: bool
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Vouch:
    """A refusal outside the provider's map that a person says is definite: its code, its whole text and what it means."""

    provider: str
    code: str
    text: str
    kind: str
    who: str
    why: str
    intent_id: str
    at: dt.datetime


@dataclass(frozen=True, slots=True)
class Totals:
    """Money by unit: quoted, reserved, reserved in doubt (not part of `reserved`), settled.

    The same in USD at each order's own rate, without the units that have none.
    """

    quoted: Mapping[str, Money] = field(default_factory=dict)
    reserved: Mapping[str, Money] = field(default_factory=dict)
    in_doubt: Mapping[str, Money] = field(default_factory=dict)
    settled: Mapping[str, Money] = field(default_factory=dict)
    quoted_usd: Money = _NOTHING
    reserved_usd: Money = _NOTHING
    in_doubt_usd: Money = _NOTHING
    settled_usd: Money = _NOTHING


@dataclass(frozen=True, slots=True)
class Found:
    """An order that the ledger lost, as its slip in the store tells it: the columns of its row, and what became of it.

    `own`: written under this ledger's id, by the life of it that a restored backup has cut off.
    """

    row: Mapping[str, Any]
    state: str
    job_id: str | None
    amount: Money | None
    billed: Money | None
    artifact: Artifact | None
    own: bool


@dataclass(frozen=True, slots=True)
class Recovery:
    """What a start-up put right: intent ids that became doubts, jobs taken from the journal, rows made again from it."""

    doubts: tuple[str, ...] = ()
    replayed: tuple[str, ...] = ()
    recreated: tuple[str, ...] = ()
    halted: str = ""


@dataclass(frozen=True, slots=True)
class Replayed:
    """An intent as its events and money entries alone tell it."""

    state: str
    job_id: str | None
    reserved: int
    settled: int
