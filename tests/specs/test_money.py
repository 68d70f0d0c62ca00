"""Money: exact, of one unit, and never a float."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specs.money import MAX_AMOUNT, USD, Money, MoneyError
from tests.strategies import money


@given(money())
def test_an_amount_survives_being_written_and_read(amount: Money) -> None:
    """Its text with its unit is the same money again."""
    assert Money.parse(str(amount)) == amount


@given(money("sjinn-credits"))
def test_credits_survive_being_written_and_read(amount: Money) -> None:
    """The same for a provider's credits, which are written without idle places."""
    assert Money.parse(str(amount)) == amount


@given(money(), money(), money())
def test_sums_never_round(one: Money, two: Money, three: Money) -> None:
    """Order and grouping do not matter, and what is added can be taken away."""
    assert (one + two) + three == one + (two + three) == (three + one) + two
    assert (one + two) - two == one
    assert (one + two).amount == one.amount + two.amount


@given(money(), money())
def test_amounts_are_ordered_as_their_decimals_are(one: Money, two: Money) -> None:
    """A cap is compared exactly."""
    assert (one < two) == (one.amount < two.amount)
    assert (one <= two) == (one.amount <= two.amount)


@given(st.decimals(allow_nan=True, allow_infinity=True))
def test_a_decimal_is_kept_exactly_or_refused(amount: Decimal) -> None:
    """Nothing is rounded to fit: what is not finite, negative, too large or too fine is no money."""
    try:
        kept = Money.of(amount)
    except MoneyError:
        assert not amount.is_finite() or not 0 <= amount <= MAX_AMOUNT or amount != round(amount, 6)
    else:
        assert kept.amount == amount


@given(st.text(max_size=20))
def test_any_text_is_money_or_refused(text: str) -> None:
    """No text ends in another error."""
    try:
        kept = Money.parse(text)
    except MoneyError:
        return
    assert str(kept)


@pytest.mark.parametrize("amount", [0.1, 1.0, float("nan"), float("inf"), True])
def test_a_float_is_never_money(amount: float) -> None:
    """A float has lost its exactness before it arrives."""
    with pytest.raises(MoneyError, match="not an exact amount"):
        Money.of(amount)  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize(
    "text",
    [
        "1e3",
        "+1",
        "-1",
        "1.",
        ".5",
        "1,000",
        "\N{ARABIC-INDIC DIGIT ONE}",
        "0x1",
        "1_0",
        " 1",
        "1.0000001",
        "1000000.01",
    ],
)
def test_only_plain_decimals_are_amounts(text: str) -> None:
    """No signs, exponents, separators or digits of other scripts; at most six places and a million."""
    with pytest.raises(MoneyError):
        Money.of(text)


def test_units_are_never_mixed() -> None:
    """Credits and dollars cannot be added, subtracted or compared."""
    dollars, credits_ = Money.of("1"), Money.of("1", "sjinn-credits")
    for reckon in (Money.__add__, Money.__sub__, Money.__lt__, Money.__le__):
        with pytest.raises(MoneyError, match="cannot be reckoned together"):
            reckon(dollars, credits_)


@pytest.mark.parametrize(
    ("amount", "unit", "text"),
    [("12", USD, "12.00"), ("0.143", USD, "0.143"), ("0", USD, "0.00"), ("1000", "sjinn-credits", "1000")],
)
def test_amounts_are_written_as_people_write_them(amount: str, unit: str, text: str) -> None:
    """Dollars with two places or as many as they need, credits with as few as they need."""
    assert Money.of(amount, unit).text == text
