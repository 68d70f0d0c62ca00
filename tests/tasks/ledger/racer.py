"""One of many processes that race for the same shots or the same dollars; its results go back through a queue."""

import functools
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from specs.money import Money
from tasks.ledger import Cap, Ledger, Reserved
from tasks.seams import SystemClock, SystemRng
from tests.tasks.ledger.desk import order

__all__ = ["race_for_one_shot", "race_for_the_last_dollar", "race_to_open"]


def _open(url: str, home: Path) -> Ledger:
    return Ledger.open(url, home=home, clock=SystemClock(), rng=SystemRng(), durable=False, patience=120)


def racing(run: Callable[..., Any]) -> Callable[..., None]:
    """Report what the race returns or how it broke, and wake the others when it breaks."""

    @functools.wraps(run)
    def reported(url: str, home: Path, number: int, rounds: int, start: Barrier, results: "Queue[Any]") -> None:
        try:
            results.put(run(url, home, number, rounds, start))
        except BaseException as error:
            start.abort()
            results.put(repr(error))
            raise

    return reported


@racing
def race_for_one_shot(url: str, home: Path, number: int, rounds: int, start: Barrier) -> list[int]:
    """In each round try to reserve that round's shot; report the rounds that were won."""
    ledger = _open(url, home)
    won = []
    for one in range(rounds):
        start.wait()
        outcome = ledger.reserve(order(f"SH{one}", owner=f"racer-{number}", max_in_flight=10**6, caps=_wide()))
        if isinstance(outcome, Reserved):
            won.append(one)
            ledger.accepted(outcome.intent.intent_id, f"job-{one}-{number}", Money.of("1.43"))
    ledger.close()
    return won


@racing
def race_for_the_last_dollar(url: str, home: Path, number: int, rounds: int, start: Barrier) -> list[int]:
    """In each round try to reserve 20 shots under a cap for 5 of them, each racer from another place on."""
    ledger = _open(url, home)
    won = []
    for one in range(rounds):
        cap = Cap("board", "", Money.of("7.15"))
        for shot in range(20):
            name = f"SH{(shot + number) % 20}"
            what = order(name, board=f"B{one}", shot_key=f"{one} {name}", owner=f"racer-{number}", caps=(*_wide(), cap))
            if isinstance(ledger.reserve(replace(what, max_in_flight=10**6)), Reserved):
                won.append(one)
        start.wait()
    ledger.close()
    return won


@racing
def race_to_open(url: str, home: Path, number: int, rounds: int, start: Barrier) -> object:
    """Open a ledger that is not there yet."""
    start.wait()
    ledger = _open(url, home)
    halted = ledger.halted()
    ledger.close()
    return halted or number * rounds


def _wide() -> tuple[Cap, ...]:
    return (Cap("run", "", Money.of(1_000_000)),)
