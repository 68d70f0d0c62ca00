"""SJinn's free, read-only account calls: the balance, and the ledger of credits that names tasks whose reply was lost.

Source: https://sjinn.ai/docs/api (query_account_status, query_credits_usage); `cost_credits` is what public clients read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from specs.money import Money
from tasks.providers.amounts import read_amount
from tasks.providers.candidates import is_job_id
from tasks.providers.interface import Failure, Kind, Reply, Request
from tasks.providers.replies import plain, refused
from tasks.providers.sjinn import TOOL, SJinn, answered, endpoint

__all__ = ["Charge", "Usage", "balance_request", "decode_balance", "decode_usage", "usage_request"]

_PAGE = 200
_CURSOR_MAX = 2000
_CURSORS = ("next_cursor", "nextCursor", "cursor")
_MORE = ("has_more", "hasMore")


@dataclass(frozen=True, slots=True)
class Charge:
    """One row of the ledger: which task cost what; `cost` None where the row names none that is exact, and `note` why.

    `entry` is the row's own number, by which one that is shown on two pages counts once; "" where it has none.
    """

    task_id: str
    task_type: str
    cost: Money | None
    at: str
    entry: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """One page of the ledger; `cursor` asks for the next, None after the last."""

    charges: tuple[Charge, ...]
    cursor: str | None


def balance_request(base_url: str) -> Request:
    """Ask for the account's credits."""
    return Request("GET", endpoint(base_url, "query_account_status"))


def decode_balance(reply: Reply) -> Money | Failure:
    """The credits left."""
    data = answered(reply)
    if isinstance(data, Failure):
        return data
    balance, note = read_amount(data.get("balances"), SJinn.caps.unit)
    return balance if balance is not None else refused(reply, Kind.TRANSIENT, f"no usable balance: {note}")


def usage_request(base_url: str, *, start: datetime, end: datetime, cursor: str | None = None) -> Request:
    """Ask for the charges of our tool between two instants, both included; up to 200 a page."""
    wanted = {
        "limit": str(_PAGE),
        "task_type": f"tool_{TOOL}",
        "start_time": start.isoformat(),
        "end_time": end.isoformat(),
        **({"cursor": cursor} if cursor else {}),
    }
    return Request("GET", f"{endpoint(base_url, 'query_credits_usage')}?{urlencode(wanted)}")


def decode_usage(reply: Reply) -> Usage | Failure:
    """A page of charges; rows without a task are left out (the page does not name the place of the rows in `data`).

    A page that speaks of more without saying where is a failed query: a part of the list is no sum.
    """
    data = answered(reply)
    if isinstance(data, Failure):
        return data
    lists = [value for value in data.values() if isinstance(value, list)]
    if not lists:
        return refused(reply, Kind.TRANSIENT, "the ledger's reply holds no rows")
    rows = max(lists, key=lambda value: sum(isinstance(row, Mapping) and "task_id" in row for row in value))
    more = next((data[key] for key in _MORE if isinstance(data.get(key), bool)), None)
    cursor = None if more is False else next((data[key] for key in _CURSORS if data.get(key)), None)
    usable = isinstance(cursor, str) and len(cursor) <= _CURSOR_MAX
    if not usable and (cursor is not None or more):
        return refused(reply, Kind.TRANSIENT, "the ledger's reply speaks of more rows and names no usable next page")
    return Usage(tuple(_charge(row) for row in rows if _has_task(row)), cursor)


def _has_task(row: object) -> bool:
    return isinstance(row, Mapping) and is_job_id(row.get("task_id"))


def _charge(row: Mapping[str, Any]) -> Charge:
    at = row.get("created_at", row.get("create_time", row.get("time")))
    cost, note = read_amount(row.get("cost_credits"), SJinn.caps.unit)
    entry = row.get("id")
    numbered = isinstance(entry, int | str) and not isinstance(entry, bool)
    return Charge(row["task_id"], plain(row.get("task_type")), cost, plain(at), str(entry) if numbered else "", note)
