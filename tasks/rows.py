"""What a finished run is, in plain values: its rows, its sums, and how money, moments and addresses are written."""

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Literal

from specs.money import USD, Money
from tasks.ledger.rows import to_usd

__all__ = [
    "MICRO",
    "Action",
    "Amounts",
    "Row",
    "RunReport",
    "State",
    "Totals",
    "decimal_text",
    "iso",
    "without_secrets",
]

Action = Literal["create", "reuse", "resume", "skip"]
State = Literal["stored", "failed", "in_doubt", "held", "stalled", "refused", "cancelled"]

MICRO = Decimal("0.000001")
"""The finest amount that the ledger keeps."""

_URL_TAIL = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)(?:[^\s/?#@]*@)?([^\s?#]*)[?#][^\s\"'<>)]*")
_URL_USER = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^\s/?#@]*@")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One shot and take of a run: a line of costs.csv, and what the page shows beside it.

    `seconds` is the length that was ordered, `rate` USD for one unit of its order, None where that had none.
    `reserved` and `in_doubt` are still open for this row; `still` and `clip` are verified local copies; `suspect` says
    why a delivered clip is not what was ordered, empty when it is; `overbilled` asks a person to confirm its bill. `beside`
    marks a job that was paid for beside the shot's own: it has its money here, and no place in the film.
    """

    run_id: str
    board: str
    shot: str
    take: int
    provider: str
    model: str
    mode: str
    audio: bool
    seconds: int
    action: Action
    state: State
    quoted: Money | None = None
    billed: Money | None = None
    rate: Decimal | None = None
    job_id: str = ""
    submitted_at: dt.datetime | None = None
    finished_at: dt.datetime | None = None
    wait_s: float | None = None
    sha256: str = ""
    uri: str = ""
    note: str = ""
    prompt: str = ""
    still: Path | None = None
    clip: Path | None = None
    suspect: str = ""
    reserved: Money | None = None
    in_doubt: Money | None = None
    intent_id: str = ""
    overbilled: bool = False
    beside: bool = False

    @property
    def unit(self) -> str:
        """The unit of the row's money, empty where it has none."""
        known = next((money for money in (self.billed, self.quoted, self.reserved, self.in_doubt) if money), None)
        return known.unit if known else ""

    @property
    def bought(self) -> bool:
        """Whether the row's quote and bill belong to this run; a reused take was paid for before."""
        return self.action in {"create", "resume"}

    @property
    def convertible(self) -> bool:
        """Whether the row's money can be told in USD."""
        return self.unit in {"", USD} or self.rate is not None

    def in_usd(self, money: Money | None) -> Money | None:
        """`money` of this row at its order's rate; None without money or rate."""
        return None if money is None else to_usd(money, self.rate)

    @property
    def usd(self) -> Decimal | None:
        """What the row's bill, else its quote, is worth."""
        worth = self.in_usd(self.billed or self.quoted)
        return None if worth is None else worth.amount

    @property
    def filename(self) -> str:
        """The take's name in the store, `SH010_TK01.mp4`."""
        return f"{self.shot}_TK{self.take:02d}.mp4"


@dataclass(frozen=True, slots=True)
class Amounts:
    """Money of one unit, each state apart, because only `billed` is gone."""

    quoted: Decimal = Decimal(0)
    billed: Decimal = Decimal(0)
    reserved: Decimal = Decimal(0)
    in_doubt: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums of a run. `created` counts jobs that a provider accepted in it; USD sums leave out the units in `unconverted`."""

    quoted_usd: Decimal
    billed_usd: Decimal
    reserved_usd: Decimal
    in_doubt_usd: Decimal
    reused: int
    created: int
    failed: int
    by_unit: Mapping[str, Amounts] = field(default_factory=dict)
    unconverted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """A run, at whatever level of completion, ready to be written down. `store_uri` is the root of everything delivered.

    `passed_caps` are sentences about caps that bills have passed and that no person has settled yet;
    `alerts` what the ledger recorded of the run for a person's eye.
    """

    run_id: str
    board: str
    title: str
    digest: str
    exit_code: int
    started_at: dt.datetime
    finished_at: dt.datetime
    rows: tuple[Row, ...]
    totals: Totals
    store_uri: str
    providers: tuple[str, ...] = ()
    rehearsal: bool = False
    warnings: tuple[str, ...] = ()
    passed_caps: tuple[str, ...] = ()
    alerts: tuple[str, ...] = ()

    @property
    def notices(self) -> tuple[str, ...]:
        """What is said beside the shots, money first."""
        return tuple(dict.fromkeys((*self.passed_caps, *self.alerts, *self.warnings)))

    @property
    def run_uri(self) -> str:
        """The folder of this run in the store."""
        return f"{self.store_uri.rstrip('/')}/{self.board}/runs/{self.run_id}"


def iso(moment: dt.datetime | None) -> str | None:
    """ISO 8601 in UTC with milliseconds, `2026-03-01T09:30:00.000Z`."""
    if moment is None:
        return None
    return moment.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def decimal_text(amount: Decimal | None) -> str | None:
    """A plain decimal string with two to six places; six is what the ledger keeps."""
    if amount is None:
        return None
    exact = amount.quantize(MICRO).normalize()
    return f"{exact:.{max(2, -int(exact.as_tuple().exponent))}f}"


def without_secrets(text: str) -> str:
    """`text` with query, fragment and user part cut from every URL in it: a signature opens what it signs (S09)."""
    return _URL_USER.sub(r"\1", _URL_TAIL.sub(r"\1\2", text))
