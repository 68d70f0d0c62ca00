"""The dated price table (`prices.toml`): what a shot costs at worst, or a refusal where no published price says so."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any, Literal, assert_never

from specs.money import Money
from specs.request import ShotRequest
from tasks.errors import Refused

__all__ = ["Form", "Quote", "Rate", "facts", "price", "quote", "rates", "read_rates"]

Form = Literal["per-second", "base-per-second", "flat", "lookup"]
_HINT = "ask for something the price table lists, name another provider, or add a dated row to tasks/prices.toml"


@dataclass(frozen=True, slots=True)
class Quote:
    """The worst-case price of one shot; `version` names the dated row of the price table, `source` where it is published."""

    money: Money
    version: str
    source: str


@dataclass(frozen=True, slots=True)
class Rate:
    """One row: the prices of one model as its `source` published them in the month `since` (`2026-11`).

    The tables map the values of `keys`, joined with `/`, to an exact amount of `unit`. `seconds` lists the only lengths
    that are sold; empty: any.
    """

    provider: str
    model: str
    since: str
    unit: str
    form: Form
    keys: tuple[str, ...]
    source: str
    base: Mapping[str, Decimal]
    per_second: Mapping[str, Decimal]
    price: Mapping[str, Decimal]
    seconds: tuple[int, ...]

    @property
    def version(self) -> str:
        """What an intent keeps to show which row priced it, like `shortapi/kling-3.0@2026-11`."""
        return f"{self.provider}/{self.model}@{self.since}"

    def amount(self, key: str, seconds: int) -> Decimal | None:
        """The exact amount for one set of facts; None where the row has no price for them."""
        if self.seconds and seconds not in self.seconds:
            return None
        match self.form:
            case "per-second":
                return _scaled(self.per_second.get(key), seconds)
            case "base-per-second":
                rate, base = _scaled(self.per_second.get(key), seconds), self.base.get(key)
                return None if rate is None or base is None else base + rate
            case "flat" | "lookup":
                return self.price.get(key)
            case _:
                assert_never(self.form)


def quote(provider: str, model: str, request: ShotRequest) -> Quote:
    """The worst-case price of one shot.

    Raises:
        Refused: when no dated row prices this model with this mode, audio and length.
    """
    return price(provider, model, facts(request), request.duration)


def price(provider: str, model: str, wanted: Mapping[str, str], seconds: int) -> Quote:
    """The price for named facts (`{"mode": "std", "audio": "off"}`); facts that a row does not name do not matter to it.

    Raises:
        Refused: naming the provider, the model and every fact, when no row prices them.
    """
    described = " ".join(f"{name} {value}" for name, value in wanted.items())
    rate = rates().get((provider, model))
    if rate is None:
        raise Refused(f"no dated price for {model} at {provider} ({described})", _HINT)
    known = {**wanted, "seconds": str(seconds)}
    amount = rate.amount("/".join(known.get(key, "?") for key in rate.keys), seconds)
    if amount is None:
        raise Refused(f"{rate.version} has no price for {model} with {described}, {seconds} s", _HINT)
    return Quote(Money.of(amount, rate.unit), rate.version, rate.source)


def facts(request: ShotRequest) -> dict[str, str]:
    """The facts of a shot that prices may depend on."""
    return {
        "mode": request.mode,
        "audio": "on" if request.audio else "off",
        "cuts": "single" if request.cuts is None else "multi",
    }


@cache
def rates() -> Mapping[tuple[str, str], Rate]:
    """The newest row of every provider's model."""
    return read_rates(files("tasks").joinpath("prices.toml").read_text(encoding="utf-8"))


def read_rates(text: str) -> Mapping[tuple[str, str], Rate]:
    """Read a price table; of several rows for one model the one with the latest `since` counts.

    Raises:
        ValueError: when two rows of one model have the same date, or an amount is not exact money.
    """
    found: dict[tuple[str, str], Rate] = {}
    for rate in sorted(map(_rate, tomllib.loads(text)["rate"]), key=lambda rate: rate.since):
        previous = found.get((rate.provider, rate.model))
        if previous and previous.since == rate.since:
            raise ValueError(f"two rows are called {rate.version}")
        found[rate.provider, rate.model] = rate
    return found


def _rate(row: Mapping[str, Any]) -> Rate:
    tables: dict[str, Any] = {
        name: _amounts(row.get(name, {}), row["unit"]) for name in ("base", "per_second", "price")
    }
    plain = {name: row[name] for name in ("provider", "model", "since", "unit", "form", "source")}
    return Rate(**plain, **tables, keys=tuple(row["keys"]), seconds=tuple(row.get("seconds", ())))


def _amounts(table: Mapping[str, str], unit: str) -> dict[str, Decimal]:
    return {key: Money.of(text, unit).amount for key, text in table.items()}


def _scaled(rate: Decimal | None, seconds: int) -> Decimal | None:
    return None if rate is None else rate * seconds
