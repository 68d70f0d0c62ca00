"""Money: an exact amount of a named unit, kept as whole micro-units so that sums never round."""

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

__all__ = ["MAX_AMOUNT", "MAX_BILL", "USD", "Money", "MoneyError"]

USD = "USD"
MAX_AMOUNT = 1_000_000
MAX_CREDITS = 1_000_000_000
MAX_BILL = 100_000_000_000
"""What a provider may name, and a person confirm: as much as the ledger can hold several of, in whole millionths."""
_MICROS = 1_000_000
_UNIT = re.compile(r"[A-Za-z][A-Za-z0-9-]{1,31}")
_NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,6})?")


class MoneyError(ValueError):
    """An amount that cannot be trusted: not finite, negative, too large, too fine, or without a unit."""


@dataclass(frozen=True, slots=True)
class Money:
    """`micros` millionths of `unit`; `unit` is `USD` or a provider's credits (`sjinn-credits`). May be negative in differences."""

    micros: int
    unit: str = USD

    @classmethod
    def of(cls, amount: Decimal | int | str, unit: str = USD, *, most: int | None = None) -> "Money":
        """Exact money from a decimal, an integer or decimal text (never a float): 0 <= amount <= 10^6 (credits 10^9), scale <= 6.

        `most` is another limit, for bills.

        Raises:
            MoneyError: for everything that is not such an amount, NaN and infinities included.
        """
        if isinstance(amount, bool | float):
            raise MoneyError(f"{amount!r} is not an exact amount")
        if isinstance(amount, str) and not _NUMBER.fullmatch(amount):
            raise MoneyError(f"{amount[:40]!r} is not a plain decimal number with at most 6 places")
        try:
            exact = Decimal(amount)
        except InvalidOperation as error:
            raise MoneyError(f"{amount!r} is not a number") from error
        most = most or (MAX_AMOUNT if unit == USD else MAX_CREDITS)
        if not exact.is_finite() or exact < 0 or exact > most:
            raise MoneyError(f"{amount} is outside 0 to {most}")
        micros = exact * _MICROS
        if micros != int(micros):
            raise MoneyError(f"{amount} has more than 6 decimal places")
        return cls(int(micros), unit)

    @classmethod
    def parse(cls, text: str, *, most: int | None = None) -> "Money":
        """Read `12.00 USD`; `most` as for `of`.

        Raises:
            MoneyError: when the amount or the unit is missing or malformed.
        """
        number, _, unit = text.strip().partition(" ")
        if not _UNIT.fullmatch(unit.strip()):
            raise MoneyError(f"{text[:40]!r} is not an amount with its unit, like '12.00 USD'")
        return cls.of(number, unit.strip(), most=most)

    @property
    def amount(self) -> Decimal:
        """The exact decimal amount."""
        return Decimal(self.micros) / _MICROS

    @property
    def text(self) -> str:
        """The amount as a plain decimal string: at least two places for USD, as few as needed for credits."""
        places = max(2 if self.unit == USD else 0, -int(self.amount.normalize().as_tuple().exponent))
        return f"{self.amount:.{places}f}"

    def __str__(self) -> str:
        return f"{self.text} {self.unit}"

    def __add__(self, other: "Money") -> "Money":
        return Money(self.micros + self._same(other), self.unit)

    def __sub__(self, other: "Money") -> "Money":
        return Money(self.micros - self._same(other), self.unit)

    def __le__(self, other: "Money") -> bool:
        return self.micros <= self._same(other)

    def __lt__(self, other: "Money") -> bool:
        return self.micros < self._same(other)

    def _same(self, other: "Money") -> int:
        if other.unit != self.unit:
            raise MoneyError(f"{self.unit} and {other.unit} cannot be reckoned together")
        return other.micros
