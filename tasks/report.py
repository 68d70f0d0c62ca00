"""The costs of a run: one row a shot and take, with its totals, as CSV, JSON, Parquet, Markdown and the command line's document."""

import io
import json
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tasks.errors import SetupProblem
from tasks.rows import MICRO, Amounts, Row, RunReport, Totals, decimal_text, iso, without_secrets

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "COLUMNS",
    "Amounts",
    "Row",
    "RunReport",
    "Totals",
    "as_words",
    "costs_csv",
    "costs_json",
    "costs_parquet",
    "frame",
    "harmless",
    "result_json",
    "summary_markdown",
    "totals",
]

COLUMNS = (
    "run_id",
    "board",
    "shot",
    "take",
    "provider",
    "model",
    "mode",
    "audio",
    "seconds",
    "action",
    "state",
    "quoted",
    "billed",
    "unit",
    "usd",
    "job_id",
    "submitted_at",
    "finished_at",
    "wait_s",
    "sha256",
    "uri",
    "note",
)
"""Columns of costs.csv, in the order that its readers rely on."""

_FORMULA = re.compile(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|~:>])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


def harmless(cell: object) -> object:
    """A text cell that a spreadsheet will not run as a formula (OWASP, CSV injection; S15); other types as they are."""
    return f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell


def _cells(row: Row) -> dict[str, Any]:
    facts: dict[str, Any] = {name: getattr(row, name) for name in COLUMNS}
    facts |= {name: money.text if (money := facts[name]) else None for name in ("quoted", "billed")}
    facts |= {name: iso(facts[name]) for name in ("submitted_at", "finished_at")}
    facts |= {name: without_secrets(facts[name]) for name in ("uri", "note")}
    facts |= {name: facts[name] or None for name in ("unit", "job_id", "sha256", "uri", "note")}
    facts |= {"usd": decimal_text(row.usd), "wait_s": None if row.wait_s is None else round(row.wait_s, 3)}
    return {name: _encodable(fact) if isinstance(fact, str) else fact for name, fact in facts.items()}


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def frame(rows: Sequence[Row]) -> "pd.DataFrame":
    """The rows as they are written, money as decimal text and moments as ISO 8601."""
    import pandas as pd

    return pd.DataFrame([_cells(row) for row in rows], columns=list(COLUMNS), dtype=object)


def _micros(row: Row) -> dict[str, Any]:
    amounts = {
        "quoted": row.quoted if row.bought else None,
        "billed": row.billed if row.bought else None,
        "reserved": row.reserved,
        "in_doubt": row.in_doubt,
    }
    own = {name: money.micros if money else 0 for name, money in amounts.items()}
    worth = {f"{name}_usd": usd.micros if (usd := row.in_usd(money)) else 0 for name, money in amounts.items()}
    return {"unit": row.unit, "known": row.convertible, **own, **worth}


def totals(rows: Sequence[Row]) -> Totals:
    """Sums over the rows, exact to a millionth; quotes and bills of reused takes are not this run's."""
    import pandas as pd

    own = ["quoted", "billed", "reserved", "in_doubt"]
    worth = [f"{name}_usd" for name in own]
    table = pd.DataFrame([_micros(row) for row in rows], columns=["unit", "known", *own, *worth])
    table = table[table["unit"] != ""].astype(dict.fromkeys([*own, *worth], "int64"))
    units = table.groupby("unit", sort=True)[own].sum()
    usd = table[worth].sum()
    return Totals(
        **{name: Decimal(int(usd[name])) * MICRO for name in worth},
        reused=sum(row.action == "reuse" for row in rows),
        created=sum(row.action == "create" and bool(row.job_id) for row in rows),
        failed=sum(row.state == "failed" for row in rows),
        by_unit={
            str(unit): Amounts(*(Decimal(int(units.loc[unit, name])) * MICRO for name in own)) for unit in units.index
        },
        unconverted=tuple(sorted({str(unit) for unit in table.loc[~table["known"].astype(bool), "unit"]})),
    )


def _totals_json(sums: Totals) -> dict[str, Any]:
    money = ("quoted_usd", "billed_usd", "reserved_usd", "in_doubt_usd")
    return {name: decimal_text(getattr(sums, name)) for name in money} | {
        name: getattr(sums, name) for name in ("reused", "created", "failed")
    }


def costs_csv(report: RunReport) -> bytes:
    """costs.csv: UTF-8, RFC 4180 with CRLF; a lone surrogate is written as its escape."""
    table = frame(report.rows).map(harmless)
    table["audio"] = table["audio"].map({True: "true", False: "false"})
    buffer = io.StringIO()
    table.to_csv(buffer, index=False, lineterminator="\r\n")
    return buffer.getvalue().encode()


def costs_json(report: RunReport) -> bytes:
    """costs.json: the rows and their totals, USD and by unit; money is decimal text."""
    by_unit = {
        unit: {name: decimal_text(getattr(sums, name)) for name in ("quoted", "billed", "reserved", "in_doubt")}
        for unit, sums in report.totals.by_unit.items()
    }
    document = {
        "run_id": report.run_id,
        "board": report.board,
        "digest": report.digest,
        "exit_code": report.exit_code,
        "started_at": iso(report.started_at),
        "finished_at": iso(report.finished_at),
        "totals": _totals_json(report.totals) | {"by_unit": by_unit, "unconverted": list(report.totals.unconverted)},
        "shots": [_cells(row) for row in report.rows],
        "warnings": [without_secrets(warning) for warning in report.notices],
    }
    return (json.dumps(document, indent=2, allow_nan=False) + "\n").encode()


def costs_parquet(report: RunReport) -> bytes:
    """The rows with decimal(18,6) money and UTC timestamps.

    Raises:
        SetupProblem: when the extra `parquet` is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise SetupProblem("Parquet needs pyarrow", "pip install 'rushes[parquet]'") from error
    import pandas as pd

    kinds = dict.fromkeys(("quoted", "billed", "usd"), pa.decimal128(18, 6))
    kinds |= dict.fromkeys(("submitted_at", "finished_at"), pa.timestamp("us", tz="UTC"))
    kinds |= {"take": pa.int32(), "seconds": pa.int32(), "audio": pa.bool_(), "wait_s": pa.float64()}
    table = frame(report.rows)
    for name in ("submitted_at", "finished_at"):
        table[name] = [getattr(row, name) for row in report.rows]
    for name in ("quoted", "billed", "usd"):
        table[name] = pd.Series([Decimal(text) if text else None for text in table[name]], dtype=object)
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(table, schema=schema, preserve_index=False), sink)
    return sink.getvalue()


def result_json(report: RunReport) -> dict[str, Any]:
    """The document that `render --json` prints."""
    shared = ("take", "state", "action", "provider", "job_id", "quoted", "billed", "unit", "uri", "sha256", "note")
    return {
        "run_id": report.run_id,
        "board": report.board,
        "digest": report.digest,
        "exit_code": report.exit_code,
        "run_uri": without_secrets(report.run_uri),
        "totals": _totals_json(report.totals),
        **({"passed_caps": list(report.passed_caps)} if report.passed_caps else {}),
        **({"alerts": [without_secrets(alert) for alert in report.alerts]} if report.alerts else {}),
        "shots": [{"id": row.shot} | {name: _cells(row)[name] for name in shared} for row in report.rows],
    }


def as_words(text: str) -> str:
    """Any text as one line of Markdown that shows it and does nothing: no picture, no link, no markup, no second line (S14)."""
    flat = _CONTROL.sub(" ", without_secrets(text)).replace("&", "&amp;").replace("<", "&lt;")
    return _MARKDOWN.sub(r"\\\1", flat)


def summary_markdown(report: RunReport) -> str:
    """The run in one Markdown table, for Prefect's artifact page; nothing in it is read as markup (S14)."""
    sums = _totals_json(report.totals)
    counts = f"{sums['created']} created, {sums['reused']} reused, {sums['failed']} failed"
    money = f"{sums['billed_usd']} USD billed of {sums['quoted_usd']} USD quoted"
    unsettled = f"{sums['reserved_usd']} USD reserved, {sums['in_doubt_usd']} USD in doubt"
    lines = [
        f"## {as_words(report.title)}",
        "",
        f"Run {as_words(report.run_id)}: {len(report.rows)} shots, {counts}. {money}, {unsettled}.",
        "",
        "| shot | take | provider | state | action | quoted | billed | note |",
        "|---|---:|---|---|---|---:|---:|---|",
    ]
    for row in report.rows:
        words = (row.shot, f"{row.take:02d}", row.provider, row.state.replace("_", " "), row.action)
        cells = (*words, str(row.quoted or ""), str(row.billed or ""), row.note)
        lines.append("| " + " | ".join(map(as_words, cells)) + " |")
    lines += ["", *(f"- {as_words(warning)}" for warning in report.notices)]
    return "\n".join(lines).rstrip() + "\n"
