"""A row of `intent` while a transaction works on it, in the database's own plain values, and its way to and from `rows`."""

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any

from specs.money import Money
from tasks.ledger.database import micros_of, moment
from tasks.ledger.rows import LIVE, Artifact, Intent, IntentState

__all__ = ["COLUMNS", "MUTABLE", "Record", "artifact_values"]


@dataclass(slots=True)
class Record:
    """One attempt; `seq` is 0 before it is inserted. Names and order are the table's."""

    seq: int
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
    quote_micros: int
    unit: str
    price_version: str
    rate: str | None
    mode: str
    audio: int
    seconds: int
    state: str
    epoch: int
    lease_owner: str
    lease_until: int
    not_after: int
    token_hash: str
    job_id: str | None
    amount_micros: int | None
    reserved_micros: int
    settled_micros: int
    settled_at: int | None
    round: int
    doubt_reason: str
    reason: str
    urls: str
    extra: int
    moderated: int
    day: str
    month: str
    created_at: int
    submitted_at: int | None
    finished_at: int | None
    updated_at: int
    twin: int = 0
    # A journal of before there were approvals names neither.
    approval_id: str = ""
    approved_by: str = ""
    tries: int = 0
    next_try_at: int | None = None
    gone: int = 0
    slip: str = ""
    slip_state: str = ""

    @property
    def booked(self) -> int:
        """What counts against caps: reserved and settled."""
        return self.reserved_micros + self.settled_micros

    @property
    def expected(self) -> int:
        """What the job costs as far as is known: the provider's amount, else the quote."""
        return self.quote_micros if self.amount_micros is None else self.amount_micros

    @property
    def live(self) -> bool:
        """Whether it is in a live state, holding the shot or beside it."""
        return IntentState(self.state) in LIVE

    def money(self, micros: int) -> Money:
        """An amount in the intent's unit."""
        return Money(micros, self.unit)

    def values(self) -> dict[str, Any]:
        """Its columns, without `seq`."""
        return {name: getattr(self, name) for name in COLUMNS[1:]}

    def public(self, artifact: Sequence[Any] = ()) -> Intent:
        """The row as callers see it."""
        return Intent(
            **{name: getattr(self, name) for name in _SAME},
            quote=self.money(self.quote_micros),
            rate=Decimal(self.rate) if self.rate is not None else None,
            audio=bool(self.audio),
            state=IntentState(self.state),
            lease_until=moment(self.lease_until),
            not_after=moment(self.not_after),
            amount=self.money(self.amount_micros) if self.amount_micros is not None else None,
            billed=self.money(self.settled_micros) if self.settled_at is not None else None,
            reserved=self.money(self.reserved_micros),
            settled=self.money(self.settled_micros),
            urls=tuple(json.loads(self.urls)),
            extra=bool(self.extra),
            moderated=bool(self.moderated),
            twin=bool(self.twin),
            created_at=moment(self.created_at),
            submitted_at=_maybe(self.submitted_at),
            finished_at=_maybe(self.finished_at),
            updated_at=moment(self.updated_at),
            artifact=_artifact(artifact),
            next_try=_maybe(self.next_try_at),
            gone=bool(self.gone),
        )


COLUMNS = tuple(one.name for one in fields(Record))
MUTABLE = (
    "state",
    "epoch",
    "lease_owner",
    "lease_until",
    "not_after",
    "job_id",
    "amount_micros",
    "reserved_micros",
    "settled_micros",
    "settled_at",
    "round",
    "doubt_reason",
    "reason",
    "urls",
    "extra",
    "moderated",
    "submitted_at",
    "finished_at",
    "updated_at",
    "tries",
    "next_try_at",
    "gone",
)
_SAME = tuple(
    name
    for name in (one.name for one in fields(Intent))
    if name in COLUMNS
    and name
    not in {
        "rate",
        "audio",
        "state",
        "lease_until",
        "not_after",
        "urls",
        "extra",
        "moderated",
        "twin",
        "gone",
        "created_at",
        "submitted_at",
        "finished_at",
        "updated_at",
    }
)


def _maybe(micros: int | None) -> dt.datetime | None:
    return None if micros is None else moment(micros)


def _artifact(columns: Sequence[Any]) -> Artifact | None:
    if not columns or columns[0] is None:
        return None
    path, uri, sha256, size, seconds, probe, suspect, verified_at = columns
    return Artifact(path, uri, sha256, size, seconds, json.loads(probe), suspect, moment(verified_at))


def artifact_values(intent_id: str, artifact: Artifact) -> Mapping[str, Any]:
    """The artifact's row."""
    return {
        "intent_id": intent_id,
        "path": artifact.path,
        "uri": artifact.uri,
        "sha256": artifact.sha256,
        "size": artifact.size,
        "seconds": artifact.seconds,
        "probe": json.dumps(artifact.probe, sort_keys=True),
        "suspect": artifact.suspect,
        "verified_at": micros_of(artifact.verified_at),
    }
