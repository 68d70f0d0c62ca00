"""The price table: every form exact, every row dated, no price without a row."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specs.money import Money
from tasks.errors import Refused
from tasks.prices import price, quote, rates, read_rates
from tests.contract.orders import PLAIN, shot

ROW = """
[[rate]]
provider = "shortapi"
model = "kling-3.0"
since = "{since}"
unit = "USD"
form = "flat"
keys = []
price = {{ "" = "{amount}" }}
source = "https://prices.example"
"""


@pytest.mark.parametrize(
    ("mode", "audio", "seconds", "amount"),
    [
        ("std", False, 5, "0.715"),
        ("std", True, 5, "1.07"),
        ("pro", False, 5, "0.95"),
        ("pro", True, 5, "1.43"),
        ("std", False, 3, "0.429"),
        ("pro", True, 15, "4.29"),
    ],
)
def test_shortapi_asks_dollars_by_mode_and_audio(mode: str, audio: bool, seconds: int, amount: str) -> None:
    """Per second, exactly as the page multiplies it."""
    found = quote("shortapi", "kling-3.0", shot(mode=mode, audio=audio, duration=seconds))
    assert found.money == Money.of(amount)
    assert found.version == "shortapi/kling-3.0@2026-11"
    assert found.source.startswith("https://shortapi.ai/")


@pytest.mark.parametrize(
    ("mode", "seconds", "amount"), [("std", 5, 1000), ("pro", 5, 1500), ("std", 10, 2000), ("pro", 15, 4500)]
)
def test_sjinn_asks_credits_by_mode(mode: str, seconds: int, amount: int) -> None:
    """The examples of SJinn's page, in its own unit."""
    found = quote("sjinn", "kling-3.0", shot(mode=mode, duration=seconds))
    assert found.money == Money.of(amount, "sjinn-credits")


@given(st.integers(3, 15), st.booleans(), st.sampled_from(["std", "pro"]))
def test_an_animatic_costs_nothing(seconds: int, audio: bool, mode: str) -> None:
    """Whatever the shot."""
    assert quote("animatic", "animatic", shot(duration=seconds, audio=audio, mode=mode)).money == Money(0)


def test_base_and_per_second_add_up() -> None:
    """0.10 and 8 times 0.05."""
    assert price("shortapi", "vidu-q2", {"resolution": "1080p"}, 8).money == Money.of("0.50")


def test_a_lookup_knows_its_rows_and_nothing_between() -> None:
    """8 s has a row, 7 s has none, and 1080p for 10 s is not sold."""
    facts = {"cuts": "single", "audio": "off", "resolution": "540p"}
    assert price("shortapi", "pixverse-5.5", facts, 8).money == Money.of("0.255")
    for wanted, seconds in ((facts, 7), ({**facts, "resolution": "1080p"}, 10)):
        with pytest.raises(Refused):
            price("shortapi", "pixverse-5.5", wanted, seconds)


def test_a_flat_price_is_the_same_for_any_length() -> None:
    """420 credits."""
    found = {price("sjinn", "veo3-fast", {}, seconds).money for seconds in (3, 8, 15)}
    assert found == {Money.of(420, "sjinn-credits")}


def test_a_length_that_is_not_sold_has_no_price() -> None:
    """Kling 2.6 comes in 5 and 10 s, in pro alone."""
    assert price("shortapi", "kling-2.6", {"mode": "pro", "audio": "on"}, 10).money == Money.of("1.20")
    with pytest.raises(Refused):
        price("shortapi", "kling-2.6", {"mode": "pro", "audio": "on"}, 7)
    with pytest.raises(Refused):
        price("shortapi", "kling-2.6", {"mode": "std", "audio": "on"}, 5)


def test_F80_no_row_no_price() -> None:
    """An unpriced model is refused before anything is spent, and the refusal names model, mode and audio."""
    with pytest.raises(Refused) as caught:
        quote("shortapi", "kling-9", shot(audio=True, mode="pro"))
    for word in ("kling-9", "shortapi", "mode pro", "audio on"):
        assert word in str(caught.value)
    with pytest.raises(Refused, match="4k"):
        quote("shortapi", "kling-3.0", replace(PLAIN, mode="4k"))  # type: ignore[arg-type]


def test_the_newest_row_counts() -> None:
    """A later month replaces an earlier one, wherever it stands in the file."""
    table = read_rates(ROW.format(since="2027-02", amount="2") + ROW.format(since="2026-11", amount="1"))
    rate = table["shortapi", "kling-3.0"]
    assert (rate.version, rate.amount("", 5)) == ("shortapi/kling-3.0@2027-02", Decimal(2))


def test_two_rows_of_one_month_are_refused() -> None:
    """Nobody could say which one priced an intent."""
    with pytest.raises(ValueError, match=r"shortapi/kling-3\.0@2026-11"):
        read_rates(ROW.format(since="2026-11", amount="1") * 2)


@pytest.mark.parametrize("amount", ["nan", "-1", "0.0000001", "1e3", "0,5"])
def test_an_amount_that_is_no_exact_money_is_refused(amount: str) -> None:
    """The table is read as strictly as any other money."""
    with pytest.raises(ValueError, match=r"amount|number|decimal"):
        read_rates(ROW.format(since="2026-11", amount=amount))


def test_every_row_is_whole() -> None:
    """Dated, sourced, of a known form, and with prices in every table that its form reads."""
    tables = {
        "per-second": {"per_second"},
        "base-per-second": {"per_second", "base"},
        "flat": {"price"},
        "lookup": {"price"},
    }
    for rate in rates().values():
        assert len(rate.since) == 7
        assert rate.source
        filled = {name for name in ("base", "per_second", "price") if getattr(rate, name)}
        assert filled == tables[rate.form]
        for name in filled:
            for key in getattr(rate, name):
                assert len(key.split("/")) == max(1, len(rate.keys))
