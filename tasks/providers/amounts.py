"""Prices that a provider names in a reply: exact money, or a note on why the quote stands instead."""

from decimal import Decimal

from specs.money import Money, MoneyError
from tasks.providers.replies import plain

__all__ = ["credits_amount", "text_amount"]


def text_amount(value: object, unit: str) -> tuple[Money | None, str]:
    """Documented as text: a plain decimal, at most 10^6 with six places. Anything else is None and a note (F21)."""
    if value is None:
        return None, "the provider named no amount"
    if not isinstance(value, str):
        return None, f"the provider's amount is not text: {plain(str(value)[:60])}"
    try:
        return Money.of(value, unit), ""
    except MoneyError:
        return None, f"the provider's amount is no plain decimal: {plain(value[:60])!r}"


def credits_amount(value: object, unit: str) -> Money | None:
    """Documented as a JSON number of credits; None for anything that is no exact, modest amount."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    try:
        return Money.of(value, unit)
    except MoneyError:
        return None
