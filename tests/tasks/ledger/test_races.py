"""Sixteen processes at once: one purchase a shot, and never a cent above a cap (F74, F80, G3).

More rounds: `RUSHES_RACE_ROUNDS=1000 pytest tests/tasks/ledger/test_races.py`.
"""

import multiprocessing
import os
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.tasks.ledger import racer
from tests.tasks.ledger.desk import Desk, usd

RACERS = 16
ROUNDS = int(os.environ.get("RUSHES_RACE_ROUNDS", "6"))


def _race(desk: Desk, run: Callable[..., None], rounds: int) -> list[Any]:
    """Let the racers run and collect what each reports; every one of them must end by itself."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.tasks.ledger.racer"])
    start, results = context.Barrier(RACERS), context.Queue()
    racers = [
        context.Process(target=run, args=(desk.url, desk.home, number, rounds, start, results))
        for number in range(RACERS)
    ]
    for one in racers:
        one.start()
    reports = [results.get(timeout=300 + 60 * rounds) for _ in racers]
    for one in racers:
        one.join()
    assert [one.exitcode for one in racers] == [0] * RACERS, reports
    return reports


def test_F74_of_sixteen_processes_exactly_one_buys_a_shot(desk: Desk) -> None:
    """In every round one reservation and one job; the others are sent to read the row."""
    ledger = desk.begun()
    reports = _race(desk, racer.race_for_one_shot, ROUNDS)
    assert Counter(one for won in reports for one in won) == dict.fromkeys(range(ROUNDS), 1)
    assert len(ledger.intents()) == ROUNDS
    assert len({intent.job_id for intent in ledger.intents()}) == ROUNDS


def test_F80_of_twenty_shots_under_a_cap_for_five_exactly_five_are_bought(desk: Desk) -> None:
    """Sixteen processes race to the last dollar: it is spent, and not a cent more."""
    ledger = desk.begun()
    rounds = max(1, ROUNDS // 3)
    reports = _race(desk, racer.race_for_the_last_dollar, rounds)
    assert Counter(one for won in reports for one in won) == dict.fromkeys(range(rounds), 5)
    assert {usd(state.committed) for state in ledger.caps("board")} == {"7.15"}


def test_sixteen_processes_that_start_at_once_make_one_ledger(desk: Desk) -> None:
    """Creation and migration happen once; nobody sees a half-made one."""
    assert sorted(_race(desk, racer.race_to_open, 1)) == list(range(RACERS))
    assert desk.open().halted() == ""
