"""Write the golden ledger of the present version: `python -m tests.assets.ledger.make tests/assets/ledger/version-N`.

Run once for each released version of the schema; what is there already is never written again.
"""

import sys
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from specs.money import Money
from tasks.ledger import IntentState, Ledger
from tests.tasks.ledger.desk import TurnedClock, credits_order, in_state, order


@dataclass
class Counted:
    """Ids that are the same each time."""

    numbers: Any = field(default_factory=lambda: count(1))

    def new_id(self) -> str:
        """The next one."""
        return f"01GOLDEN{next(self.numbers):018}"

    def token(self) -> str:
        """Never sent anywhere."""
        return "0" * 43

    def uniform(self, low: float, high: float) -> float:
        """No jitter."""
        return (low + high) / 2


def make(home: Path) -> None:
    """A ledger with a row in each state, each named for its state, and one answer that only the journal has."""
    assert not home.exists(), f"{home} is there already"
    ledger = Ledger.open(
        f"sqlite:///{home.absolute()}/ledger.db", home=home, clock=TurnedClock(), rng=Counted(), durable=False
    )
    ledger.begin_run(
        "run-1",
        board="LIFTOFF",
        spec_sha256="0" * 64,
        digest="1" * 64,
        caps=(),
        approved_by="person",
        approval="--yes",
    )
    for state in IntentState:
        in_state(ledger, state, order(f"SH-{state}", account=state), job=f"job-{state}")
    answered = in_state(ledger, IntentState.SUBMITTING, credits_order("SH-JOURNAL", account="journal"))
    ledger.journal_answer(answered.intent_id, "2" * 64, "job-JOURNAL")
    overbilled = in_state(ledger, IntentState.SUBMITTED, order("SH-OVERBILLED"), job="job-OVERBILLED")
    ledger.succeeded(overbilled.intent_id, [], Money.of("2.00"))
    ledger.end_run("run-1", 6)
    ledger.close()
    for leftover in ("ledger.lock", *(f"sending/{path.name}" for path in (home / "sending").iterdir())):
        (home / leftover).unlink()
    (home / "sending").rmdir()


if __name__ == "__main__":
    make(Path(sys.argv[1]))
