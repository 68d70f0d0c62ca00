"""Spend across runs as a page: a bar for each group, what is settled, reserved and in doubt one after the other."""

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tasks.assemble.charts import part
from tasks.assemble.page import render
from tasks.rows import decimal_text

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["spend_html"]

_STACK = (("billed", "settled_usd"), ("reserved", "reserved_usd"), ("doubt", "in_doubt_usd"))


def spend_html(table: "pd.DataFrame", *, since: str = "") -> bytes:
    """One self-contained page from the table that `tasks.spend.spend` gives; `since` is said in its head."""
    by = str(table.columns[0])
    records: list[dict[str, Any]] = [
        {str(name): value for name, value in one.items()} for one in table.to_dict("records")
    ]
    whole = max((_worth(record) for record in records), default=Decimal(0))
    names = ("quoted_usd", *(name for _, name in _STACK))
    return render(
        "spend.html.j2",
        by=by,
        since=since,
        lines=[{"name": record[by], "parts": _parts(record, whole), **_texts(record)} for record in records],
        totals={
            name: decimal_text(sum((record[name] or Decimal(0) for record in records), Decimal(0))) for name in names
        },
        unpriced=sorted({record["unit"] for record in records if record["settled_usd"] is None}),
    )


def _worth(record: dict[str, Any]) -> Decimal:
    return sum((record[name] or Decimal(0) for _, name in _STACK), Decimal(0))


def _parts(record: dict[str, Any], whole: Decimal) -> list[Any]:
    parts, start = [], Decimal(0)
    for kind, name in _STACK:
        amount = record[name] or Decimal(0)
        if amount > 0:
            parts.append(part(kind, start, start + amount, whole))
        start += amount
    return parts


def _texts(record: dict[str, Any]) -> dict[str, Any]:
    amounts = {name: decimal_text(record[name]) for name in ("quoted", "settled", "reserved", "in_doubt")}
    return amounts | {"unit": record["unit"], "orders": record["orders"]}
