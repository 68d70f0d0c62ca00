"""Adoption: what a ledger that was put back has lost, taken over from the order slips in the store. Buys nothing.

A person starts it (`rushes doctor --adopt`); `rushes collect` then fetches the jobs that were adopted.
"""

import datetime as dt
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from specs.money import MAX_BILL, Money
from tasks.errors import RushesError
from tasks.ledger import Artifact, Found, Intent, IntentState
from tasks.production import Production
from tasks.slips import SLIP, Slip, read_slip, slip_path
from tasks.storage import Missing

__all__ = ["Adopted", "adopt_slips", "named", "news"]

SEND_WITHIN = 30_000_000  # microseconds: what an order's own `not_after` was
_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")
_OPEN_DOUBT = {IntentState.SUBMITTING, IntentState.IN_DOUBT}


@dataclass(frozen=True, slots=True)
class Adopted:
    """A slip that was looked at: the order as the ledger has it now, or why it was left alone."""

    slip: Slip
    intent: Intent | None = None
    problem: str = ""


def news(production: Production) -> Iterator[Slip]:
    """Slips of all boards that tell what the ledger does not know: other orders, or more about its own open ones.

    One listing; what is read are strange slips and those of open orders.
    """
    closed = production.ledger.slips(ended=True)
    for path in production.store.list():
        if path in closed or not SLIP.fullmatch(path):
            continue
        try:
            slip = read_slip(production, path)
        except Missing:
            continue
        if _tells(slip, production.ledger.known(slip.intent_id) if slip.intent_id else None):
            yield slip


def _tells(slip: Slip, known: Intent | None) -> bool:
    if known is None:
        return not slip.void
    if slip.void:
        return known.state in _OPEN_DOUBT
    return (bool(slip.facts.get("job_id")) and known.job_id is None) or (
        bool(slip.facts.get("clip")) and known.artifact is None
    )


def adopt_slips(production: Production, lost: str, who: str, why: str) -> list[Adopted]:
    """Take over every order that the slips tell of under this ledger's id, and under the id of a `lost` ledger.

    The newest first, so that of one shot the last take holds it. Again, it changes nothing.
    """
    mine = {production.ledger.ledger_id, lost} - {""}
    slips = sorted(news(production), key=lambda slip: str(slip.facts.get("created_at", "")), reverse=True)
    return [_adopt(production, slip, who, why) for slip in slips if slip.facts.get("ledger_id") in mine]


def _adopt(production: Production, slip: Slip, who: str, why: str) -> Adopted:
    try:
        found = found_in(production, slip)
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        return Adopted(slip, problem=f"the slip cannot be read ({type(error).__name__}: {error})")
    account = production.settings.account(found.row["provider"])
    # Whoever can write to the store could name an address of his own, to which the key would go.
    if found.row["account"] != account.name or not account.serves(found.row["base_url"]):
        name = f"{found.row['provider'].upper()}_BASE_URL"
        problem = f"it was ordered at {found.row['base_url']}, where the key of {account.base_url} may not go; "
        return Adopted(slip, problem=f"{problem}set {name} to it if it is the provider's, and adopt again")
    try:
        production.ledger.adopt(found, who, why)
        intent = production.ledger.slip_told(found.row["intent_id"], slip.path, found.state)
    except RushesError as error:
        return Adopted(slip, problem=str(error))
    return Adopted(slip, intent)


def found_in(production: Production, slip: Slip) -> Found:
    """What a slip tells, in the ledger's own values.

    Raises:
        KeyError, TypeError, ValueError, ArithmeticError: a fact is missing, or is not what it should be.
    """
    told = slip.facts
    board, shot, take, unit = str(told["board"]), str(told["shot"]), int(told["take"]), str(told["unit"])
    stem = slip_path(board, shot, take).partition(".order")[0]
    if slip.path.partition(".order")[0] != stem or told["provider"] not in production.providers:
        raise ValueError("it tells of another take than its name does, or of an unknown provider")
    created = dt.datetime.fromisoformat(told["created_at"])
    at = round(created.timestamp() * 1_000_000)
    day = created.astimezone(dt.UTC).date().isoformat()
    same = ("intent_id", "run_id", "shot_key", "family", "provider", "model", "base_url", "account", "mode")
    if not _ID.fullmatch(str(told["intent_id"])):
        raise ValueError("its intent is no id of ours")
    row: dict[str, Any] = {
        name: _text(told, name)
        for name in (*same, "request_sha256", "price_version", "token_hash", "approval_id", "approved_by")
    }
    row |= {"board": board, "shot": shot, "take": take, "attempt_no": int(told["attempt_no"])}
    row |= {"request_json": json.dumps(told["request"], sort_keys=True), "seconds": int(told["seconds"])}
    row |= {"quote_micros": Money.of(told["quoted"], unit).micros, "unit": unit, "audio": int(bool(told["audio"]))}
    row |= {"rate": None if told["rate"] is None else str(Decimal(told["rate"])), "day": day, "month": day[:7]}
    row |= {"state": "IN_DOUBT", "epoch": 0, "lease_owner": str(told["host"]), "lease_until": at + SEND_WITHIN}
    row |= {"not_after": at + SEND_WITHIN, "created_at": at, "updated_at": at, "urls": "[]", "round": 0, "extra": 0}
    row |= {"reserved_micros": 0, "settled_micros": 0, "doubt_reason": "", "reason": "", "moderated": 0}
    row |= dict.fromkeys(("job_id", "amount_micros", "settled_at", "submitted_at", "finished_at"))
    return Found(
        row=row,
        state=IntentState(told["state"]).value,
        job_id=_text(told, "job_id") if told["job_id"] is not None else None,
        amount=None if told["amount"] is None else Money.of(told["amount"], unit, most=MAX_BILL),
        billed=None if told["billed"] is None else Money.of(told["billed"], unit, most=MAX_BILL),
        artifact=_artifact(production, told, stem, created),
        own=told["ledger_id"] == production.ledger.ledger_id,
    )


def _text(told: Mapping[str, Any], name: str) -> str:
    if not isinstance(told[name], str) or len(told[name]) > 4096:
        raise TypeError(f"{name} is no text")
    return str(told[name])


def _artifact(production: Production, told: Mapping[str, Any], stem: str, created: dt.datetime) -> Artifact | None:
    """The take, where the slip or its receipt tells of one and the store still holds it."""
    path = str(told.get("take_path") or f"{stem}.mp4")
    if not told.get("clip"):
        told = _receipt(production, f"{stem}.json", str(told["intent_id"]))
    if not told.get("clip") or not path.startswith(stem):
        return None
    clip = dict(told["clip"])
    sha256, size = str(clip.pop("sha256")), int(clip.pop("bytes"))
    if production.store.size(path) != size:
        return None
    at = told.get("verified_at") or told.get("finished_at")
    verified = dt.datetime.fromisoformat(at) if at else created
    uri = production.store.uri(path)
    return Artifact(path, uri, sha256, size, float(clip["seconds"]), clip, str(told.get("suspect") or ""), verified)


def _receipt(production: Production, path: str, intent_id: str) -> Mapping[str, Any]:
    """The facts of a receipt that was written before its slip could tell the same."""
    if production.store.size(path) is None:
        return {}
    receipt = read_slip(production, path).facts
    return receipt if receipt.get("intent_id") == intent_id else {}


def named(adopted: Sequence[Adopted]) -> Iterator[str]:
    """What was adopted, in words."""
    for one in adopted:
        told = one.slip.facts
        what = f"{told.get('board')} {told.get('shot')} TK{told.get('take'):02d}"
        if one.intent is None:
            yield f"{what}: left alone: {one.problem}"
        else:
            job = f"job {one.intent.job_id}" if one.intent.job_id else "no job id"
            yield f"{what}: {one.intent.state.value.lower()}, {job}, {one.intent.reserved + one.intent.settled} booked"
