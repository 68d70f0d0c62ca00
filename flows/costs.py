"""Costs: spend across runs, from the ledger. Reads only; no Prefect, no network."""

import datetime as dt
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.assemble.spending import spend_html
from tasks.errors import SetupProblem
from tasks.ledger import Intent, IntentState
from tasks.production import open_ledger
from tasks.rows import decimal_text
from tasks.settings import Settings
from tasks.spend import AMOUNTS, By, Entry, spend, spend_csv, spend_json, spend_parquet, total

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

__all__ = ["Spend", "spend_of", "spend_report", "write_files"]

_BOUGHT_NOTHING = {IntentState.REJECTED, IntentState.CANCELLED}


@dataclass(frozen=True, slots=True)
class Spend:
    """What was ordered since a day, by one grouping; quoted, settled, reserved and in doubt are always apart."""

    table: "pd.DataFrame"
    by: By
    since: dt.date | None

    def document(self) -> dict[str, Any]:
        """As `costs --json` prints it: `totals` in USD, and one of `lines` for each group and unit."""
        since = self.since.isoformat() if self.since else None
        return {"by": self.by, "since": since, **json.loads(spend_json(self.table))}

    def csv(self) -> bytes:
        """The lines for a spreadsheet."""
        return spend_csv(self.table)

    def parquet(self) -> bytes:
        """The lines with exact decimals.

        Raises:
            SetupProblem: when the extra `parquet` is not installed.
        """
        return spend_parquet(self.table)

    def html(self) -> bytes:
        """One self-contained page with a chart."""
        return spend_html(self.table, since=self.since.isoformat() if self.since else "")

    def shown(self) -> "Table":
        """As people read it on a terminal."""
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False)
        table.add_column(self.by)
        table.add_column("unit")
        for name in ("orders", *(name.replace("_", " ") for name in AMOUNTS), "settled USD"):
            table.add_column(name, justify="right")
        for line in self.table.to_dict("records"):
            amounts = [decimal_text(line[name]) for name in (*AMOUNTS, "settled_usd")]
            words = (str(line[self.by]), line["unit"], str(line["orders"]), *(text or "no rate" for text in amounts))
            table.add_row(*map(Text, words))
        return table

    def summary(self) -> str:
        """The sums in one line, with what they leave out."""
        sums = ", ".join(f"{name.replace('_', ' ')} {self._usd(name)}" for name in AMOUNTS)
        unpriced = sorted({line["unit"] for line in self.table.to_dict("records") if line["settled_usd"] is None})
        left_out = f"; without a USD rate and not in it: {', '.join(unpriced)}" if unpriced else ""
        return f"total USD: {sums}{left_out}"

    def _usd(self, name: str) -> str:
        return decimal_text(total(self.table, f"{name}_usd")) or ""


def spend_report(settings: Settings, since: dt.date | None = None, by: By = "day") -> Spend:
    """The spend of this installation; `since` is a day of the ledger's calendar (UTC) and counts itself.

    Raises:
        SetupProblem: the ledger cannot be opened.
    """
    ledger = open_ledger(settings)
    try:
        return spend_of(ledger.intents(), since, by)
    finally:
        ledger.close()


def spend_of(intents: Iterable[Intent], since: dt.date | None = None, by: By = "day") -> Spend:
    """The spend of these orders. One that was refused or never sent bought nothing and is left out; free ones count."""
    bought = [Entry.of(intent) for intent in intents if intent.state not in _BOUGHT_NOTHING]
    return Spend(spend(bought, by, since), by, since)


def write_files(report: Spend, *, csv: Path | None, parquet: Path | None, html: Path | None) -> list[Path]:
    """Write what was asked for; the paths written.

    Raises:
        SetupProblem: a file cannot be written, or the extra `parquet` is not installed.
    """
    written = []
    for path, content in ((csv, report.csv), (parquet, report.parquet), (html, report.html)):
        if path is None:
            continue
        try:
            path.write_bytes(content())
        except OSError as error:
            raise SetupProblem(f"{path} cannot be written: {error.strerror}", "Choose another file.") from None
        written.append(path)
    return written
