"""Prices that a provider names: exact money, or the reason why the quote stands instead."""

import re
from decimal import Decimal

from specs.money import Money, MoneyError
from tasks.redaction import redact

__all__ = ["read_amount"]

_NUMBER = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,40})?")


def read_amount(value: object, unit: str) -> tuple[Money | None, str]:
    """A price as text (blanks around it do not matter) or as a JSON number, exactly; else None and the reason (F21).

    Usable is what is finite, not negative, at most 10^6 USD or 10^9 credits, and has at most six places.
    """
    if value is None or value == "":
        return None, "the provider named no amount"
    shown = ascii(redact(str(value)))[:80]
    if isinstance(value, str):
        text = value.strip()
        if not _NUMBER.fullmatch(text):
            return None, f"the provider's amount is no plain decimal: {shown}"
        value = Decimal(text)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None, f"the provider's amount is neither text nor a number: {shown}"
    try:
        return Money.of(value, unit), ""
    except MoneyError as error:
        return None, f"the provider's amount cannot be used: {str(error)!a}"
