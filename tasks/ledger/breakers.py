"""Create breakers: a row for each provider, account and kind, open until a create of a later run gets through.

`create` opens on refusals that stop buying (key, credit), and the acceptance of a probe closes it. `money` opens on a bill
above 1.25 times the quote: only a run that a person approved may try again, and only a probe whose bill turns out right
closes it, or a person who takes the bill as it is. Open in run R, a breaker stops R and every older run; a later run may
send one probe at a time.
"""

import json
from collections.abc import Sequence
from typing import Any, Literal

import sqlalchemy as sa

from tasks.ledger import schema
from tasks.ledger.database import Prepared
from tasks.ledger.record import Record
from tasks.ledger.rows import Full, Halted, IntentState
from tasks.ledger.transaction import Transaction

__all__ = [
    "AMOUNT",
    "CONFIRMED",
    "LAST_NAMED",
    "OVERBILLED",
    "UNCONFIRMED",
    "UNREAD",
    "check_bill",
    "close_by",
    "close_by_person",
    "close_confirmed",
    "obstacle",
    "open_breaker",
    "overbilled",
    "send_probe",
    "unread",
]

Kind = Literal["create", "money"]
OVERBILLED = (5, 4)
"""A bill above 5/4 of the quote opens the money breaker."""

AMOUNT = "amount"
"""The kind of the fact that the provider named an amount."""
UNREAD = "amount-unusable"
"""The kind of the fact that the provider named an amount that cannot be used."""

_breaker, _run, _intent, _event = schema.breaker, schema.run, schema.intent, schema.event
_later = schema.event.alias("later")
_unread, _since = schema.event.alias("unread"), schema.event.alias("since")
CONFIRMED = sa.exists().where(
    _event.c.intent_id == _intent.c.intent_id,
    _event.c.kind == sa.literal_column("'settled'"),
    _event.c.actor != sa.literal_column("'machine'"),
    ~sa.exists().where(
        _later.c.intent_id == _event.c.intent_id,
        _later.c.kind.in_(
            [sa.literal_column(f"'{kind}'") for kind in (AMOUNT, UNREAD, "late-acceptance", "late-success")]
        ),
        _later.c.seq > _event.c.seq,
    ),
)
"""Rows whose bill a person has settled, and of which the provider has said nothing new since."""
_UNREAD_YET = sa.exists().where(
    _unread.c.intent_id == _intent.c.intent_id,
    _unread.c.kind == sa.literal_column(f"'{UNREAD}'"),
    ~sa.exists().where(
        _since.c.intent_id == _unread.c.intent_id,
        _since.c.kind == sa.literal_column(f"'{AMOUNT}'"),
        _since.c.seq > _unread.c.seq,
    ),
)
UNCONFIRMED = sa.and_(
    sa.or_(
        _UNREAD_YET,
        *(
            paid * sa.literal_column(str(OVERBILLED[1]))
            > _intent.c.quote_micros * sa.literal_column(str(OVERBILLED[0]))
            for paid in (_intent.c.settled_micros, _intent.c.amount_micros)
        ),
    ),
    ~CONFIRMED,
)
"""Rows whose bill is above `OVERBILLED` or was named and cannot be read, and that no person has settled."""
LAST_NAMED = Prepared(
    sa.select(_event.c.kind, _event.c.payload)
    .where(
        _event.c.intent_id == sa.bindparam("intent_id"),
        _event.c.kind.in_([sa.literal_column(f"'{kind}'") for kind in (AMOUNT, UNREAD)]),
    )
    .order_by(_event.c.seq.desc())
)
"""What the provider has said of a job's cost, the last word first."""
_ANY_UNCONFIRMED = Prepared(
    sa.select(sa.func.count())
    .select_from(_intent)
    .where(UNCONFIRMED, _intent.c.provider == sa.bindparam("provider"), _intent.c.account == sa.bindparam("account"))
)
_OPEN = Prepared(
    sa.select(
        _breaker.c.kind,
        _breaker.c.run_seq,
        _breaker.c.reason,
        _breaker.c.probe,
        _intent.c.state,
        _run.c.seq,
        _run.c.approved_by,
    )
    .select_from(
        _breaker.join(_run, _run.c.run_id == sa.bindparam("run_id")).outerjoin(
            _intent, _intent.c.intent_id == _breaker.c.probe
        )
    )
    .where(
        _breaker.c.provider == sa.bindparam("provider"),
        _breaker.c.account == sa.bindparam("account"),
        _breaker.c.is_open == sa.literal_column("1"),
    )
    .order_by(_breaker.c.kind)
)
_PUT = Prepared(
    sa.text(
        "INSERT INTO breaker (provider, account, kind, is_open, run_seq, reason, probe, opened_at)"
        " SELECT :provider, :account, :kind, 1, seq, :reason, '', :now FROM run WHERE run_id = :run_id"
        " ON CONFLICT (provider, account, kind) DO UPDATE SET is_open = 1, reason = excluded.reason, probe = '',"
        " opened_at = excluded.opened_at, run_seq ="
        " CASE WHEN breaker.run_seq > excluded.run_seq THEN breaker.run_seq ELSE excluded.run_seq END"
    )
    .bindparams(*(sa.bindparam(name, type_=sa.Text) for name in ("provider", "account", "kind", "reason")))
    .bindparams(sa.bindparam("now", type_=sa.BigInteger))
)
_PROBE = Prepared(
    sa.text("UPDATE breaker SET probe = :intent_id WHERE provider = :provider AND account = :account AND is_open = 1")
)
_CLOSE = Prepared(
    sa.text(
        "UPDATE breaker SET is_open = 0, probe = '' WHERE provider = :provider AND account = :account"
        " AND is_open = 1 AND probe = :intent_id AND kind = :kind"
    )
)
_UNKNOWN_YET = {
    "create": {IntentState.SUBMITTING},
    "money": {IntentState.SUBMITTING, IntentState.SUBMITTED},
}
"""While its probe is in one of these, nobody knows what it will tell of the key, or of the bill."""
_CLOSE_MONEY = Prepared(
    sa.text(
        "UPDATE breaker SET is_open = 0, probe = '' WHERE provider = :provider AND account = :account AND is_open = 1"
        " AND kind = 'money'"
    )
)
_CLOSE_ALL = Prepared(
    sa.text(
        "UPDATE breaker SET is_open = 0, probe = '' WHERE provider = :provider AND account = :account AND is_open = 1"
    )
)


def _account(record: Record) -> dict[str, Any]:
    return {"provider": record.provider, "account": record.account}


def obstacle(tx: Transaction, run_id: str, provider: str, account: str, *, intent_id: str = "") -> Halted | Full | None:
    """What keeps `run_id` from creating at the account; an intent that already is the probe passes."""
    for row in tx.rows(_OPEN, run_id=run_id, provider=provider, account=account):
        if found := _stops(row, provider, intent_id):
            return found
    return None


def _stops(row: Sequence[Any], provider: str, intent_id: str) -> Halted | Full | None:
    kind, opened_in, reason, probe, probe_state, run_seq, approved_by = row
    if run_seq <= opened_in:
        return Halted(f"creates at {provider} are stopped: {reason}")
    if kind == "money" and approved_by != "person":
        return Halted(f"creates at {provider} wait for a run that a person approves: {reason}")
    if probe != intent_id and probe_state in _UNKNOWN_YET[kind]:
        return Full(1, 1)
    if intent_id and probe != intent_id:
        return Halted(f"creates at {provider} were stopped meanwhile: {reason}")
    return None


def send_probe(tx: Transaction, record: Record) -> None:
    """Make a newly reserved intent the one that tries an open breaker, where there is one."""
    tx.run(_PROBE, {**_account(record), "intent_id": record.intent_id})


def open_breaker(tx: Transaction, record: Record, kind: Kind, reason: str) -> None:
    """Stop creates at the account of `record` for its run and older ones."""
    tx.run(_PUT, {**_account(record), "kind": kind, "reason": reason, "now": tx.now, "run_id": record.run_id})
    tx.event(record.intent_id, "breaker-opened", {**_account(record), "kind": kind, "reason": reason}, alert=True)


def close_by(tx: Transaction, record: Record, kind: Kind) -> None:
    """Close the breaker that `record` was let through to try."""
    if tx.run(_CLOSE, {**_account(record), "intent_id": record.intent_id, "kind": kind}):
        tx.event(record.intent_id, "breaker-closed", {**_account(record), "kind": kind})


def close_by_person(tx: Transaction, provider: str, account: str, who: str, why: str) -> None:
    """Close every breaker of the account on a person's word."""
    tx.run(_CLOSE_ALL, {"provider": provider, "account": account})
    tx.event("", "breaker-closed", {"provider": provider, "account": account, "why": why}, actor=who)


def close_confirmed(tx: Transaction, record: Record, who: str) -> None:
    """Close the money breaker of the account once a person has settled every bill that opened it."""
    if not tx.rows(_ANY_UNCONFIRMED, **_account(record))[0][0] and tx.run(_CLOSE_MONEY, _account(record)):
        tx.event(record.intent_id, "breaker-closed", {**_account(record), "kind": "money"}, actor=who)


def overbilled(record: Record, micros: int) -> bool:
    """Whether a price is above 1.25 times the quote."""
    over, under = OVERBILLED
    return micros * under > record.quote_micros * over


def unread(named: Sequence[Sequence[Any]]) -> str:
    """What was wrong with the amount that was named last (rows of `LAST_NAMED`); "" where it was usable, or none was named."""
    if not named or named[0][0] != UNREAD:
        return ""
    return str(json.loads(named[0][1]).get("note") or "the provider's amount cannot be used")


def check_bill(tx: Transaction, record: Record, micros: int) -> None:
    """Open the money breaker for a price above 1.25 times the quote (F22); a probe's that is not above it closes it."""
    if overbilled(record, micros):
        named = f"{record.money(micros)} for a quote of {record.money(record.quote_micros)}"
        open_breaker(tx, record, "money", f"{record.provider} charged {named} ({record.board} {record.shot})")
    else:
        close_by(tx, record, "money")
