"""Spend across runs: what the ledger's orders add up to by day, board, provider or shot, as a table and in files."""

import datetime as dt
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, get_args

from specs.money import Money
from tasks.errors import SetupProblem
from tasks.ledger.rows import Intent, IntentState
from tasks.report import harmless
from tasks.rows import MICRO, decimal_text

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["AMOUNTS", "By", "Entry", "spend", "spend_csv", "spend_json", "spend_parquet"]

By = Literal["day", "board", "provider", "shot"]

AMOUNTS = ("quoted", "settled", "reserved", "in_doubt")
"""Money columns in the order's own unit; each has a sister with `_usd` after its name."""

_USD = tuple(f"{name}_usd" for name in AMOUNTS)


@dataclass(frozen=True, slots=True)
class Entry:
    """One order: its day by the ledger's calendar, and its money now. USD amounts are None where its unit has no rate."""

    day: dt.date
    board: str
    provider: str
    shot: str
    quoted: Money
    settled: Money
    reserved: Money
    in_doubt: Money
    usd: tuple[Money, Money, Money, Money] | None

    @classmethod
    def of(cls, intent: Intent) -> "Entry":
        """An order as the ledger keeps it; while it is in doubt, what is reserved for it counts as that."""
        nothing, doubtful = Money(0, intent.quote.unit), intent.state is IntentState.IN_DOUBT
        amounts = (
            intent.quote,
            intent.settled,
            nothing if doubtful else intent.reserved,
            intent.reserved if doubtful else nothing,
        )
        worth = [usd for money in amounts if (usd := intent.in_usd(money)) is not None]
        quoted, settled, reserved, in_doubt = amounts
        return cls(
            day=dt.date.fromisoformat(intent.day),
            board=intent.board,
            provider=intent.provider,
            shot=intent.shot,
            quoted=quoted,
            settled=settled,
            reserved=reserved,
            in_doubt=in_doubt,
            usd=(worth[0], worth[1], worth[2], worth[3]) if len(worth) == len(amounts) else None,
        )

    def key(self, by: By) -> str:
        """The group that the order belongs to; shots are told apart by their boards."""
        match by:
            case "day":
                return self.day.isoformat()
            case "board":
                return self.board
            case "provider":
                return self.provider
            case "shot":
                return f"{self.board}/{self.shot}"


def spend(entries: Sequence[Entry], by: By = "day", since: dt.date | None = None) -> "pd.DataFrame":
    """One line a group and unit, sorted: `by`, unit, orders, then the amounts as Decimals in the unit and in USD.

    USD is None where one order of the line has no rate. Groups without an order since that day (included) are left out.

    Raises:
        ValueError: for a grouping that there is not.
    """
    import pandas as pd

    if by not in get_args(By):
        raise ValueError(f"{by!r} is none of {', '.join(get_args(By))}")
    columns = [by, "unit", "orders", "known", *AMOUNTS, *_USD]
    chosen = [_micros(entry, by) for entry in entries if since is None or entry.day >= since]
    table = pd.DataFrame(chosen, columns=columns).astype(dict.fromkeys([*AMOUNTS, *_USD, "orders"], "int64"))
    sums = table.groupby([by, "unit"], sort=True, as_index=False).agg(
        {"orders": "sum", "known": "all", **dict.fromkeys([*AMOUNTS, *_USD], "sum")}
    )
    lines = [_line(record) for record in sums.to_dict("records")]
    return pd.DataFrame(lines, columns=[name for name in columns if name != "known"], dtype=object)


def _micros(entry: Entry, by: By) -> dict[str, Any]:
    own = {name: getattr(entry, name).micros for name in AMOUNTS}
    usd = {name: money.micros for name, money in zip(_USD, entry.usd or (), strict=False)}
    known = {"known": entry.usd is not None, "unit": entry.quoted.unit, "orders": 1, by: entry.key(by)}
    return dict.fromkeys(_USD, 0) | own | usd | known


def _line(record: dict[Any, Any]) -> dict[str, Any]:
    known = bool(record.pop("known"))
    amounts = {name: int(record[name]) * MICRO for name in AMOUNTS}
    worth = {name: int(record[name]) * MICRO if known else None for name in _USD}
    return record | amounts | worth | {"orders": int(record["orders"])}


def _written(table: "pd.DataFrame") -> "pd.DataFrame":
    import pandas as pd

    # Spelled as objects, or pandas turns what is unknown into NaN, which is no JSON.
    texts = {name: pd.Series(map(decimal_text, table[name]), dtype=object) for name in (*AMOUNTS, *_USD)}
    return table.assign(**texts)


def spend_csv(table: "pd.DataFrame") -> bytes:
    """UTF-8, RFC 4180 with CRLF; amounts are plain decimals, names harmless to a spreadsheet (S15)."""
    buffer = io.StringIO()
    _written(table).map(harmless).to_csv(buffer, index=False, lineterminator="\r\n")
    return buffer.getvalue().encode("utf-8", "backslashreplace")


def spend_json(table: "pd.DataFrame") -> bytes:
    """The lines and their sums in USD, money as decimal text; a sum leaves out the lines without a rate."""
    lines = _written(table).to_dict("records")
    totals = {name: decimal_text(total(table, name)) for name in _USD}
    return (json.dumps({"totals": totals, "lines": lines}, indent=2, allow_nan=False) + "\n").encode()


def total(table: "pd.DataFrame", name: str) -> Decimal:
    """The sum of a column, as far as it is known."""
    return sum((amount for amount in table[name] if amount is not None), Decimal(0))


def spend_parquet(table: "pd.DataFrame") -> bytes:
    """The lines with decimal(18,6) money.

    Raises:
        SetupProblem: when the extra `parquet` is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise SetupProblem("Parquet needs pyarrow", "pip install 'rushes[parquet]'") from error
    kinds = {"orders": pa.int64()} | dict.fromkeys((*AMOUNTS, *_USD), pa.decimal128(18, 6))
    schema = pa.schema([(str(name), kinds.get(str(name), pa.string())) for name in table.columns])
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(table, schema=schema, preserve_index=False), sink)
    return sink.getvalue()
