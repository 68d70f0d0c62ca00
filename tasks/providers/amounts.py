"""Bills that a provider names, in the reply to a create, in a query or in its account: exact money, or why it is none.

A bill that is named and cannot be read is no bill of nothing: `unusable` tells its note from that of a reply without one.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal

from specs.money import MAX_BILL, USD, Money, MoneyError
from tasks.providers.candidates import Pairs, key_words
from tasks.redaction import redact

__all__ = ["BILL_WORDS", "NAMED_NONE", "Bills", "differs", "read_amount", "read_bill", "unusable"]

Bills = Callable[[frozenset[str]], bool]
"""Whether a key of these words holds what the provider charged, in its own unit."""

BILL_WORDS = frozenset(
    [
        "amount",
        "amounts",
        "bill",
        "billed",
        "charge",
        "charged",
        "charges",
        "consumed",
        "cost",
        "costs",
        "credit",
        "credits",
        "debited",
        "deducted",
        "deduction",
        "fee",
        "fees",
        "paid",
        "price",
        "spent",
        "total",
    ]
)
"""Words in the names of fields that may hold what a job costs."""
NAMED_NONE = "the provider named no amount"
_UNUSABLE = "the provider's amount"
_SEVERAL = "the provider named several amounts"
_TEXT = re.compile(r"(US\$|USD|\$)?\s*(-?[0-9]{1,20}(?:\.[0-9]{1,40})?)\s*([A-Za-z$-]{1,32})?", re.IGNORECASE)
_DOLLARS = frozenset({"usd", "us$", "$", "dollar", "dollars"})
_CURRENCY = frozenset({"currency", "unit", "units"})
_FLAGS = frozenset({"billed", "charged", "consumed", "debited", "deducted", "paid", "spent"})
"""Under these words a boolean says whether something was charged, not how much."""


def unusable(note: str) -> bool:
    """Whether a note tells of an amount that was named and cannot be used."""
    return _UNUSABLE in note


def differs(note: str) -> bool:
    """Whether a note tells of several amounts for one job."""
    return _SEVERAL in note


def read_bill(objects: Sequence[Pairs], unit: str, bills: Bills) -> tuple[Money | None, str]:
    """The largest usable amount of a reply: less than what is owed must never be reserved. The note tells the rest."""
    read = [one for pairs in objects for one in _billed(pairs, unit, bills)]
    if not read:
        return None, NAMED_NONE
    usable = {money.micros: money for money, _ in read if money is not None}
    notes = list(dict.fromkeys(note for money, note in read if money is None))
    if len(usable) > 1:
        notes.append(f"{_SEVERAL}: {', '.join(map(str, usable.values()))}")
    return (usable[max(usable)] if usable else None), "; ".join(notes)


def _billed(pairs: Pairs, unit: str, bills: Bills) -> Iterator[tuple[Money | None, str]]:
    """Every amount that one object names; one that is an object with bills of its own is read as that object."""
    currency = next((value for key, value in pairs if "currency" in key_words(key)), None)
    for key, value in pairs:
        words = key_words(key)
        if not bills(words) or value is None or value == "" or (isinstance(value, bool) and words & _FLAGS):
            continue
        if not (isinstance(value, Mapping) and any(bills(key_words(inner)) for inner in value)):
            yield read_amount(value, unit, currency)


def read_amount(value: object, unit: str, currency: object = None) -> tuple[Money | None, str]:
    """An amount exactly; else None and the reason (F21).

    Read are a JSON number, text (blanks and the unit's own word beside the number do not matter), and an object of one
    such value with its currency. Usable is what is finite, not negative, and within what the ledger holds: `MAX_BILL`, six places.
    """
    if value is None or value == "":
        return None, NAMED_NONE
    if currency is not None and not _is_own(str(currency), unit):
        return None, f"{_UNUSABLE} is in another currency: {_shown(value)} {_shown(currency)}"
    if isinstance(value, Mapping):
        return _of_object(value, unit)
    number = _number(value, unit) if isinstance(value, str) else value
    if isinstance(number, bool) or not isinstance(number, int | Decimal):
        return None, f"{_UNUSABLE} is no plain decimal: {_shown(value)}"
    try:
        return Money.of(number, unit, most=MAX_BILL), ""
    except MoneyError as error:
        return None, f"{_UNUSABLE} cannot be used: {str(error)[:120]!a}"


def _number(text: str, unit: str) -> Decimal | None:
    """The number of `0.43`, `0.43 USD` or `$0.43`; None where anything else stands beside it."""
    found = _TEXT.fullmatch(text.strip())
    if found is None or not all(_is_own(word, unit) for word in (found[1], found[3]) if word):
        return None
    return Decimal(found[2])


def _of_object(value: Mapping[str, object], unit: str) -> tuple[Money | None, str]:
    """`{"value": "0.43", "currency": "USD"}`: one amount, and its currency where one is named."""
    amounts = [inner for key, inner in value.items() if not key_words(key) & _CURRENCY]
    currencies = [inner for key, inner in value.items() if key_words(key) & _CURRENCY]
    if len(amounts) != 1 or len(currencies) > 1 or isinstance(amounts[0], Mapping) or amounts[0] in (None, ""):
        return None, f"{_UNUSABLE} is no single one: {_shown(value)}"
    return read_amount(amounts[0], unit, *currencies)


def _is_own(word: str, unit: str) -> bool:
    """Whether a word beside a number names our unit."""
    own = _DOLLARS if unit == USD else {unit.lower(), "credit", "credits"}
    return word.strip().lower() in own


def _shown(value: object) -> str:
    return ascii(redact(str(value)))[:80]
