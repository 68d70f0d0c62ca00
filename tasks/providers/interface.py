"""What every provider adapter offers: it builds and reads messages; it sends nothing, keeps no state and never retries.

Wire facts and the kinds below: the providers' public pages, one adapter file each.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal, Protocol

from specs.money import Money
from specs.request import ShotRequest
from tasks.prices import Quote

__all__ = [
    "Accepted",
    "Caps",
    "Failure",
    "Handle",
    "Kind",
    "Media",
    "Phase",
    "Provider",
    "Quote",
    "Refusal",
    "Reply",
    "Request",
    "Snapshot",
    "State",
]


class State(StrEnum):
    """A job's state in no provider's words; UNKNOWN is a value outside the provider's map: keep polling, warn once."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    UNKNOWN = "unknown"


class Kind(StrEnum):
    """Why a call did not do what was asked."""

    RATE = "rate"
    CONCURRENCY = "concurrency"
    TRANSIENT = "transient"
    AUTH = "auth"
    BALANCE = "balance"
    INVALID = "invalid"
    MODERATION = "moderation"
    CONFIG = "config"
    NOT_FOUND = "not-found"
    AMBIGUOUS = "ambiguous"
    GENERATION = "generation"


class Phase(StrEnum):
    """Which call failed; the same HTTP status means different things in each."""

    CREATE = "create"
    POLL = "poll"
    RESULT = "result"
    DOWNLOAD = "download"


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP call. `body` is sent as JSON. The sender adds the Authorization header; an adapter never sees a key."""

    method: Literal["GET", "POST"]
    url: str
    body: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: `body` is decoded (gzip) and size-capped; `truncated` says that the cap or the wire cut it."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Accepted:
    """A create that the provider took: `amount` is the price it named, None when it named none or an unusable one.

    `amount_note` says what was wrong with an unusable amount (F21). `others` are further ids in the same reply: jobs that
    a query must confirm.
    """

    job_id: str
    amount: Money | None = None
    amount_note: str = ""
    others: tuple["Accepted", ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """A well-formed refusal that no map lists and that speaks of nothing else: a person may vouch for this code and text."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Failure:
    """A call that did not do what was asked. On create, every kind but AMBIGUOUS is a definite refusal.

    `message` is the provider's text, escaped and capped. `candidates` are jobs that an odd reply may speak of: to be
    confirmed by a query, never believed; `amount` is the largest price in it. `retry_after` in seconds. `may_be_charged`
    None: not known. `refusal` where a person may vouch for it.
    """

    kind: Kind
    message: str
    code: str = ""
    retry_after: float | None = None
    may_be_charged: bool | None = None
    candidates: tuple[Accepted, ...] = ()
    amount: Money | None = None
    amount_note: str = ""
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A job as a query shows it: `urls` of its video, best first; `refunded` None when not stated.

    `cost` if it names one that can be used, `cost_note` why it cannot.
    """

    state: State
    job_id: str | None = None
    urls: tuple[str, ...] = ()
    reason: str = ""
    kind: Kind | None = None
    cost: Money | None = None
    cost_note: str = ""
    refunded: bool | None = None
    raw_state: str = ""


@dataclass(frozen=True, slots=True)
class Handle:
    """All that is needed to poll a job, as kept with its intent: never read from current settings (F44)."""

    provider: str
    model: str
    base_url: str
    account: str
    job_id: str


@dataclass(frozen=True, slots=True)
class Media:
    """Addresses that the provider can fetch, one for each picture address of the shot as the spec writes it."""

    urls: Mapping[str, str]

    def __getitem__(self, address: str) -> str:
        return self.urls[address]


@dataclass(frozen=True, slots=True)
class Caps:
    """What one provider's model can do. Seconds are whole; sizes in pixels and bytes; lengths in characters."""

    provider: str
    model: str
    family: str  # the model behind several providers: "kling-3.0", "animatic"; a shot is bought once per family
    modes: tuple[str, ...]
    seconds: tuple[int, int]
    audio: bool
    negative_prompt: bool
    end_still: bool
    end_still_with_cuts: bool
    auto_cuts: bool
    custom_cuts: tuple[int, int] | None  # least and most parts; None: no shot list
    cut_seconds_min: int
    elements_max: int
    element_references_max: int
    prompt_max: int
    cut_prompt_max: int
    still_formats: tuple[str, ...]  # Pillow's names: JPEG, PNG, WEBP
    still_bytes_max: int
    still_side_min: int
    still_ratio: tuple[Decimal, Decimal]
    clamps_seconds: bool  # the provider would silently clamp an out-of-range duration, and bill the clamped one
    max_in_flight: int
    typical_wait_seconds: tuple[int, int]
    callback: bool
    paid: bool
    unit: str
    source: str
    notes: Mapping[str, str] = field(default_factory=dict)


class Provider(Protocol):
    """One dialect. All methods are pure; `decode_*` never raise for anything a server can send.

    `quote` raises `tasks.errors.Refused` where no dated price fits. `encode` takes the board's code and the take number
    for providers that show them; `classify` says what a reply outside the result's shape means in its phase.
    """

    caps: Caps
    auth_header: str  # "Bearer {key}", or "" where no key is sent

    def quote(self, request: ShotRequest) -> Quote: ...
    def encode(
        self,
        request: ShotRequest,
        media: Media,
        *,
        base_url: str,
        intent_id: str,
        callback_url: str | None,
        board: str,
        take: int,
    ) -> Request: ...
    def decode_submit(self, reply: Reply) -> Accepted | Failure: ...
    def poll_request(self, handle: Handle) -> Request: ...
    def decode_poll(self, handle: Handle, reply: Reply) -> Snapshot | Failure: ...
    def classify(self, reply: Reply, phase: Phase) -> Failure: ...
