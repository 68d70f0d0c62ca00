"""The rows of a run as files and as the command line's document."""

import csv
import dataclasses
import datetime as dt
import io
import json
import subprocess
import sys
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from specs.money import Money
from tasks.report import (
    COLUMNS,
    Amounts,
    Row,
    costs_csv,
    costs_json,
    costs_parquet,
    result_json,
    summary_markdown,
    totals,
)
from tests.tasks.reports import missing, report, row

HEADER = (
    "run_id,board,shot,take,provider,model,mode,audio,seconds,action,state,quoted,billed,unit,usd,job_id,"
    "submitted_at,finished_at,wait_s,sha256,uri,note"
)


def read(data: bytes) -> list[dict[str, str]]:
    """The rows as any reader of RFC 4180 sees them."""
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def test_the_columns_of_costs_csv_are_the_promised_ones_in_order() -> None:
    """Scripts read costs.csv by position as well as by name."""
    lines = costs_csv(report(row())).split(b"\r\n")

    assert lines[0].decode() == HEADER
    assert lines[1].decode() == (
        "01JNR0000000000000000000AA,LIFTOFF,SH010,1,shortapi,kwaivgi/kling-3.0/image-to-video,std,false,5,create,stored,"
        "0.42,0.42,USD,0.42,job-SH010,2026-03-01T09:30:00.000Z,2026-03-01T09:31:35.250Z,95.25,"
        + "ab" * 32
        + ",s3://dailies/LIFTOFF/shots/SH010/SH010_TK01.mp4,"
    )
    assert lines[2:] == [b""]


def test_what_is_not_known_is_an_empty_cell() -> None:
    """No row says None, NaN or 0 for a fact that nobody has."""
    only = read(costs_csv(report(missing(quoted=None, job_id="", wait_s=None, submitted_at=None, finished_at=None))))[0]

    assert {name for name, text in only.items() if not text} == {
        *("quoted", "billed", "unit", "usd", "job_id", "submitted_at", "finished_at", "wait_s", "sha256", "uri", "note")
    }


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d"])
def test_S15_a_cell_that_a_spreadsheet_would_run_is_made_harmless(start: str) -> None:
    """A note that begins like a formula gets an apostrophe before it, and stays one cell."""
    rows = read(costs_csv(report(row(note=f'{start}HYPERLINK("http://x.invalid";"a, b")'))))

    assert [cells["note"] for cells in rows] == [f'\'{start}HYPERLINK("http://x.invalid";"a, b")']


def test_S15_numbers_stay_numbers() -> None:
    """Only text is prefixed: amounts and seconds can be summed in a sheet."""
    cells = read(costs_csv(report(row(quoted=Money.of("12.5"), billed=Money.of("12.5")))))[0]

    assert (cells["quoted"], cells["usd"], cells["seconds"]) == ("12.50", "12.50", "5")


@given(st.text(max_size=40))
def test_any_note_comes_back_from_costs_csv(note: str) -> None:
    """Commas, quotes, line breaks and other scripts survive the round trip through one cell."""
    back = read(costs_csv(report(row(note=note))))[0]["note"]

    assert back.removeprefix("'") == note.removeprefix("'")


def test_a_lone_surrogate_does_not_stop_the_report() -> None:
    """Text that UTF-8 cannot hold is written as its escape."""
    assert "\\ud800" in read(costs_csv(report(row(note="bad \ud800 text"))))[0]["note"]


def test_S09_signatures_and_passwords_in_addresses_are_cut_everywhere() -> None:
    """Neither a signed result URL nor one with a password reaches a file that is passed around."""
    leaky = row(
        uri="https://cdn.example/v.mp4?X-Amz-Signature=TOPSECRET",
        note="fetched https://user:TOPSECRET@cdn.example/v.mp4#TOPSECRET, late",
    )
    whole = report(leaky, warnings=("retried https://cdn.example/a?token=TOPSECRET",))
    written = [costs_csv(whole), costs_json(whole), costs_parquet(whole)]
    written += [json.dumps(result_json(whole)).encode(), summary_markdown(whole).encode()]

    assert not [data for data in written if b"TOPSECRET" in data]
    assert read(costs_csv(whole))[0]["uri"] == "https://cdn.example/v.mp4"
    assert read(costs_csv(whole))[0]["note"] == "fetched https://cdn.example/v.mp4 late"


def test_totals_keep_each_state_of_money_apart() -> None:
    """Quoted, billed, reserved and in doubt are four sums."""
    sums = totals(
        [
            row("SH010", billed=Money.of("0.40")),
            row("SH020", state="stalled", billed=None, reserved=Money.of("0.42")),
            row("SH030", state="in_doubt", billed=None, job_id="", in_doubt=Money.of("0.42")),
            missing("SH040"),
        ]
    )

    assert (sums.quoted_usd, sums.billed_usd) == (Decimal("1.68"), Decimal("0.40"))
    assert (sums.reserved_usd, sums.in_doubt_usd) == (Decimal("0.42"), Decimal("0.42"))
    assert (sums.created, sums.reused, sums.failed) == (3, 0, 1)


def test_a_reused_take_costs_nothing_again() -> None:
    """What an earlier run paid is shown in the row and left out of this run's sums."""
    sums = totals([row("SH010", action="reuse"), row("SH020")])

    assert (sums.quoted_usd, sums.billed_usd) == (Decimal("0.42"), Decimal("0.42"))
    assert (sums.created, sums.reused) == (1, 1)


def test_credits_are_summed_by_unit_and_in_usd_only_where_a_rate_is_known() -> None:
    """A row without a rate is named, not guessed."""
    credit = {"provider": "sjinn", "quoted": Money.of(300, "sjinn-credits"), "billed": Money.of(290, "sjinn-credits")}
    priced = totals([row("SH010", **credit, rate=Decimal("0.01")), row("SH020")])
    unpriced = totals([row("SH010", **credit, rate=None), row("SH020")])

    assert (priced.quoted_usd, priced.billed_usd) == (Decimal("3.42"), Decimal("3.32"))
    assert priced.by_unit["sjinn-credits"] == Amounts(quoted=Decimal(300), billed=Decimal(290))
    assert priced.unconverted == ()
    assert (unpriced.billed_usd, unpriced.unconverted) == (Decimal("0.42"), ("sjinn-credits",))


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), max_size=20))
def test_sums_are_exact_to_a_millionth(micros: list[tuple[int, int]]) -> None:
    """Nothing is lost or gained by adding up."""
    rows = [row(f"SH{n:03}", quoted=Money(quoted), billed=Money(billed)) for n, (quoted, billed) in enumerate(micros)]
    sums = totals(rows)

    assert sums.quoted_usd == Decimal(sum(quoted for quoted, _ in micros)) / 10**6
    assert sums.billed_usd == Decimal(sum(billed for _, billed in micros)) / 10**6


def test_a_run_without_rows_sums_to_nothing() -> None:
    """A run that was refused at once still has a report."""
    empty = report()

    assert empty.totals.quoted_usd == 0
    assert costs_csv(empty).decode() == HEADER + "\r\n"
    assert json.loads(costs_json(empty))["shots"] == []


def test_render_json_has_exactly_the_promised_keys() -> None:
    """The document that scripts parse; money is text."""
    document = json.loads(json.dumps(result_json(report(row()))))

    assert list(document) == ["run_id", "board", "digest", "exit_code", "run_uri", "totals", "shots"]
    told = result_json(report(row(), passed_caps=("the day cap is passed",)))
    assert told["passed_caps"] == ["the day cap is passed"], "only where there is something to tell"
    assert document["run_uri"] == "s3://dailies/LIFTOFF/runs/01JNR0000000000000000000AA"
    assert document["totals"] == {
        "quoted_usd": "0.42",
        "billed_usd": "0.42",
        "reserved_usd": "0.00",
        "in_doubt_usd": "0.00",
        "reused": 0,
        "created": 1,
        "failed": 0,
    }
    assert document["shots"] == [
        {
            "id": "SH010",
            "take": 1,
            "state": "stored",
            "action": "create",
            "provider": "shortapi",
            "job_id": "job-SH010",
            "quoted": "0.42",
            "billed": "0.42",
            "unit": "USD",
            "uri": "s3://dailies/LIFTOFF/shots/SH010/SH010_TK01.mp4",
            "sha256": "ab" * 32,
            "note": None,
        }
    ]


def test_money_in_costs_json_is_never_a_float() -> None:
    """0.1 + 0.2 is 0.30, written as text."""
    whole = report(*(row(f"SH{n}", quoted=Money.of(f"0.{n}"), billed=Money.of(f"0.{n}")) for n in (1, 2)))
    document = json.loads(costs_json(whole), parse_float=lambda text: pytest.fail(text) if text != "95.25" else text)

    assert document["totals"]["billed_usd"] == "0.30"
    assert document["totals"]["by_unit"]["USD"]["billed"] == "0.30"
    assert [shot["quoted"] for shot in document["shots"]] == ["0.10", "0.20"]


def test_parquet_has_decimals_and_moments() -> None:
    """A warehouse reads the types that the rows have, also where a whole column is unknown."""
    table = pq.read_table(io.BytesIO(costs_parquet(report(row(), missing(submitted_at=None, finished_at=None)))))

    assert tuple(table.column_names) == COLUMNS
    assert table.schema.field("billed").type == pa.decimal128(18, 6)
    assert table.column("billed").to_pylist() == [Decimal("0.42"), None]
    assert table.column("submitted_at").to_pylist()[0] == dt.datetime(2026, 3, 1, 9, 30, tzinfo=dt.UTC)
    assert costs_parquet(report(missing())) == costs_parquet(report(missing()))


def test_S14_the_markdown_summary_reads_nothing_as_markup() -> None:
    """Titles and notes of strangers are shown as they were typed."""
    text = summary_markdown(
        report(
            row(note="a | b\n# [x](javascript:alert(1)) <script>alert(1)</script>"),
            title="<img src=x onerror=alert(1)>",
            warnings=("*slow* provider",),
        )
    )

    assert "<script" not in text
    assert "<img" not in text
    assert "](javascript" not in text
    assert "a \\| b \\# \\[x\\]" in text
    assert "- \\*slow\\* provider" in text


def test_importing_the_report_does_not_import_pandas() -> None:
    """Commands that report nothing start without paying for it."""
    code = "import sys, tasks.report; sys.exit('pandas' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_column_is_a_fact_of_a_row() -> None:
    """costs.csv invents nothing."""
    facts = {part.name for part in dataclasses.fields(Row)} | {"unit", "usd"}

    assert set(COLUMNS) <= facts
