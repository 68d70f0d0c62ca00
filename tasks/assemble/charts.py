"""Bars drawn by us: places and widths in hundredths of a row, so that a page needs no plotting library."""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from specs.money import USD, Money
from tasks.rows import Row

__all__ = ["Bar", "Part", "cost_bars", "length_text", "part", "wait_bars"]


@dataclass(frozen=True, slots=True)
class Part:
    """One rectangle; `kind` is its class on the page, `x` and `width` are percent of the row as decimal text."""

    kind: str
    x: str
    width: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One row of a chart."""

    parts: tuple[Part, ...]
    text: str = ""


def part(kind: str, start: Decimal, end: Decimal, whole: Decimal) -> Part:
    """From `start` to `end` on a scale that ends at `whole`."""
    scale = 100 / whole if whole > 0 else Decimal(0)
    return Part(kind, f"{start * scale:.2f}", f"{max(Decimal(0), end - start) * scale:.2f}")


def length_text(seconds: float) -> str:
    """`45 s`, `3 min 05 s`, `2 h 07 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole // 60 % 60:02d} min"


def cost_bars(rows: Sequence[Row]) -> list[Bar]:
    """One bar a row on a common scale: USD where every row can be told in it, else the one unit of the run.

    Rows that cannot be told on that scale have an empty bar. A reused take costs this run nothing.
    """
    units = {row.unit for row in rows if row.unit}
    native = len(units) == 1 and units != {USD} and not all(row.convertible for row in rows)

    def worth(row: Row, money: Money | None) -> Decimal:
        shown = money if native else row.in_usd(money)
        return shown.amount if shown else Decimal(0)

    whole = max(
        (
            worth(row, money)
            for row in rows
            for money in (row.quoted, row.billed, row.reserved, row.in_doubt)
            if row.bought
        ),
        default=Decimal(0),
    )
    return [Bar(_cost_parts(row, whole, worth)) if row.bought else Bar(()) for row in rows]


def _cost_parts(row: Row, whole: Decimal, worth: Callable[[Row, Money | None], Decimal]) -> tuple[Part, ...]:
    quoted, billed = worth(row, row.quoted), worth(row, row.billed)
    parts = [part("billed", Decimal(0), min(billed, quoted) if quoted else billed, whole)]
    if row.quoted and billed > quoted:
        parts.append(part("over", quoted, billed, whole))
    parts.append(part("reserved", Decimal(0), worth(row, row.reserved), whole))
    parts.append(part("doubt", Decimal(0), worth(row, row.in_doubt), whole))
    parts.append(part("quoted", Decimal(0), quoted, whole))
    return tuple(piece for piece in parts if piece.width != "0.00")


def wait_bars(rows: Sequence[Row], until: dt.datetime) -> tuple[list[Bar], float]:
    """When each job was submitted and finished, and the seconds that the scale spans; open jobs run on to `until`."""
    starts = [row.submitted_at for row in rows if row.submitted_at]
    if not starts:
        return [Bar(()) for _ in rows], 0.0
    first = min(starts)
    last = max([until, *(row.finished_at for row in rows if row.finished_at)])
    whole = _seconds(first, last)
    return [_wait_bar(row, first, until, whole) for row in rows], float(whole)


def _wait_bar(row: Row, first: dt.datetime, until: dt.datetime, whole: Decimal) -> Bar:
    if row.submitted_at is None:
        return Bar((), "reused" if row.action == "reuse" else "")
    end, kind = (row.finished_at, "run") if row.finished_at else (max(until, row.submitted_at), "open")
    text = length_text(row.wait_s) if row.wait_s is not None else "open" if kind == "open" else ""
    return Bar((part(kind, _seconds(first, row.submitted_at), _seconds(first, end), whole),), text)


def _seconds(start: dt.datetime, end: dt.datetime) -> Decimal:
    return Decimal(str((end - start).total_seconds()))
