"""Spend across runs, from the ledger's orders."""

import csv
import datetime as dt
import io
import json
from decimal import Decimal

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from specs.money import USD, Money
from tasks.assemble.spending import spend_html
from tasks.spend import By, Entry, spend, spend_csv, spend_json, spend_parquet

DAY = dt.date(2026, 3, 1)
ZERO = Money(0)


def entry(
    shot: str = "SH010",
    *,
    day: int = 0,
    board: str = "LIFTOFF",
    quoted: str = "0.42",
    settled: str = "0.42",
    reserved: str = "0",
    in_doubt: str = "0",
) -> Entry:
    """An order of ShortAPI, settled at its quote but for the facts given; `day` counts from 1 March 2026."""
    money = (Money.of(quoted), Money.of(settled), Money.of(reserved), Money.of(in_doubt))
    return Entry(DAY + dt.timedelta(days=day), board, "shortapi", shot, *money, usd=money)


def credits_entry(usd: tuple[Money, Money, Money, Money] | None) -> Entry:
    """A settled order of SJinn over 300 credits."""
    spent, nothing = Money.of(300, "sjinn-credits"), Money(0, "sjinn-credits")
    return Entry(DAY, "LIFTOFF", "sjinn", "SH030", spent, spent, nothing, nothing, usd)


ENTRIES = [
    entry("SH010"),
    entry("SH020", day=1, settled="0", reserved="0.42"),
    entry("SH010", day=1, board="ORBIT", settled="0", in_doubt="0.42"),
    credits_entry((Money.of(3), Money.of(3), ZERO, ZERO)),
]


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        ("day", ["2026-03-01", "2026-03-01", "2026-03-02"]),
        ("board", ["LIFTOFF", "LIFTOFF", "ORBIT"]),
        ("provider", ["shortapi", "sjinn"]),
        ("shot", ["LIFTOFF/SH010", "LIFTOFF/SH020", "LIFTOFF/SH030", "ORBIT/SH010"]),
    ],
)
def test_each_grouping_has_a_line_for_each_unit(by: By, keys: list[str]) -> None:
    """Credits and dollars are never added up in one line."""
    table = spend(ENTRIES, by)

    assert list(table[by]) == keys
    assert len(set(zip(table[by], table["unit"], strict=True))) == len(table)


def test_states_of_money_have_their_own_columns() -> None:
    """Settled, reserved and in doubt are apart, so that a blocked budget explains itself."""
    shortapi = spend(ENTRIES, "provider").to_dict("records")[0]

    assert shortapi == {
        "provider": "shortapi",
        "unit": USD,
        "orders": 3,
        "quoted": Decimal("1.26"),
        "settled": Decimal("0.42"),
        "reserved": Decimal("0.42"),
        "in_doubt": Decimal("0.42"),
        "quoted_usd": Decimal("1.26"),
        "settled_usd": Decimal("0.42"),
        "reserved_usd": Decimal("0.42"),
        "in_doubt_usd": Decimal("0.42"),
    }


def test_credits_without_a_rate_have_no_worth_in_usd() -> None:
    """Unknown is not zero."""
    lines = json.loads(spend_json(spend([credits_entry(None), entry()], "provider")))

    assert lines["lines"][1]["settled"] == "300.00"
    assert lines["lines"][1]["settled_usd"] is None
    assert lines["totals"]["settled_usd"] == "0.42"


def test_since_is_inclusive() -> None:
    """An order of the very day counts."""
    assert list(spend(ENTRIES, "day", since=DAY + dt.timedelta(days=1))["day"]) == ["2026-03-02"]


def test_an_unknown_grouping_is_refused() -> None:
    """The table says what there is."""
    with pytest.raises(ValueError, match="'week' is none of day, board, provider, shot"):
        spend([], "week")  # type: ignore[arg-type]


def test_no_orders_give_empty_tables() -> None:
    """A new ledger has spent nothing."""
    table = spend([])

    assert spend_csv(table).startswith(b"day,unit,orders,quoted,settled,reserved,in_doubt,quoted_usd,")
    assert json.loads(spend_json(table))["totals"]["settled_usd"] == "0.00"
    assert pq.read_table(io.BytesIO(spend_parquet(table))).num_rows == 0
    assert b"Nothing was ordered." in spend_html(table)


def test_csv_and_parquet_hold_the_same_exact_amounts() -> None:
    """Decimal text in one, decimals in the other."""
    table = spend(ENTRIES, "shot")
    text = [row["settled"] for row in csv.DictReader(io.StringIO(spend_csv(table).decode(), newline=""))]
    exact = pq.read_table(io.BytesIO(spend_parquet(table))).column("settled").to_pylist()

    assert [Decimal(amount) for amount in text] == exact == [Decimal(x) for x in ("0.42", "0", "300", "0")]


def test_S15_names_are_harmless_in_a_spreadsheet() -> None:
    """Also the name of a board."""
    assert b"'=EVIL()" in spend_csv(spend([entry(board="=EVIL()")], "board"))


def test_S13_names_are_shown_as_typed_on_the_page() -> None:
    """The page of spend escapes like the review page, and runs no script."""
    page = spend_html(spend([entry(board="<script>alert(1)</script>")], "board"), since="2026-03-01")

    assert b"<script" not in page
    assert b"&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert b"default-src &#39;none&#39;" in page


def test_bars_of_the_page_fill_the_scale_of_the_largest_group() -> None:
    """Settled, reserved and in doubt lie one after the other."""
    page = spend_html(spend([entry(settled="0.50", reserved="0.25", in_doubt="0.25")])).decode()

    assert '<rect class="is-billed" x="0.00" width="50.00"' in page
    assert '<rect class="is-reserved" x="50.00" width="25.00"' in page
    assert '<rect class="is-doubt" x="75.00" width="25.00"' in page


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 10**12)), max_size=30))
def test_no_grouping_gains_or_loses_a_micro(orders: list[tuple[int, int]]) -> None:
    """All groupings add up to the same."""
    entries = [
        Entry(
            DAY + dt.timedelta(days=n),
            f"B{n}",
            f"p{n}",
            f"SH{n}",
            *(money := (Money(m), Money(m), ZERO, ZERO)),
            usd=money,
        )
        for n, m in orders
    ]
    bys: tuple[By, ...] = ("day", "board", "provider", "shot")

    assert {sum(spend(entries, by)["settled"], Decimal(0)) for by in bys} == {
        Decimal(sum(micros for _, micros in orders)) / 10**6
    }
