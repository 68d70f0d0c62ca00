"""No sequence of steps, decisions, jumps of the clock and restarts creates or loses money (I1, I3, I4, I6)."""

import tempfile
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from specs.money import Money
from tasks.errors import Refused
from tasks.ledger import Cap, IntentState, Ledger, Reserved
from tests.tasks.ledger.desk import Desk, artifact, order

S = IntentState
PRICES = st.sampled_from(["0", "0.01", "1.00", "1.43", "1.78", "1.79", "20"])
HOURS = st.sampled_from([0, 1, 30, 61, 3600, 100_000])


class Purchases(RuleBasedStateMachine):
    """A ledger under random hands, beside the provider's own account of what it accepted and billed."""

    intents = Bundle("intents")

    @initialize()
    def start(self) -> None:
        """An empty ledger with a run of $6."""
        self.folder = tempfile.TemporaryDirectory()
        home = Path(self.folder.name) / "home"
        self.desk = Desk(f"sqlite:///{home}/ledger.db", home)
        self.ledger: Ledger = self.desk.begun(caps=(Cap("run", "", Money.of(6)),), approved_by="person")
        self.runs = 1
        self.jobs: dict[str, Decimal] = {}
        self.shots: defaultdict[str, int] = defaultdict(int)

    def teardown(self) -> None:
        """Close the desk and remove the folder."""
        if hasattr(self, "desk"):
            self.desk.close()
            self.folder.cleanup()

    @rule(target=intents, shot=st.integers(0, 3), take=st.integers(1, 2), supersede=st.booleans())
    def reserve(self, shot: int, take: int, supersede: bool) -> object:
        """A cap of $6 holds four of $1.43."""
        what = order(
            f"SH{shot}", take=take, shot_key=f"{shot} {take}", supersede=supersede, run_id=f"run-{self.runs}",
            caps=(Cap("run", "", Money.of(6)), Cap("day", "", Money.of(10))), max_attempts=2,
        )  # fmt: skip
        outcome = self.ledger.reserve(what)
        return outcome.intent.intent_id if isinstance(outcome, Reserved) else multiple()

    @rule(intent=intents, price=st.none() | PRICES, again=st.booleans())
    def accept(self, intent: str, price: str | None, again: bool) -> None:
        """The provider accepts, at a price that it names or at the quote; now and then a job that it had accepted before."""
        job = next(iter(self.jobs), "job-0") if again else f"job-{len(self.jobs)}"
        held = self.ledger.accepted(intent, job, Money.of(price) if price else None)
        if job not in self.jobs:
            self.jobs[job] = Decimal("1.43")
            assert held.job_id == job
        if price and held.job_id == job and held.amount == Money.of(price):
            self.jobs[job] = Decimal(price)

    @rule(intent=intents, step=st.sampled_from(["rejected", "cancelled", "doubt"]))
    def answer(self, intent: str, step: str) -> None:
        """What a sender says when there is no job."""
        extras = {"kind": "rate", "reason": "429", "opens_breaker": step == "rejected" and self.runs % 2 == 0}
        match step:
            case "rejected":
                self.ledger.rejected(intent, 1, **extras)  # type: ignore[arg-type]
            case "cancelled":
                self.ledger.cancelled(intent, 1)
            case _:
                self.ledger.doubt(intent, 1, "timed out")

    @rule(intent=intents, step=st.sampled_from(["succeeded", "failed", "stalled", "resumed", "held", "stored"]))
    def poll(self, intent: str, step: str) -> None:
        """What a poller or fetcher reports, in any order."""
        match step:
            case "succeeded":
                self.ledger.succeeded(intent, ["https://files.example/1.mp4"], None)
            case "failed":
                self.ledger.failed(intent, "failed", refunded=None)
            case "stored":
                self.ledger.stored(intent, artifact(), None)
            case "held":
                self.ledger.held(intent, "gone")
            case "stalled":
                self.ledger.stalled(intent, "slow")
            case _:
                self.ledger.resumed(intent)

    @rule(intent=intents, step=st.sampled_from(["absent", "write_off", "supersede"]))
    def decide(self, intent: str, step: str) -> None:
        """A person decides; a refusal changes nothing."""
        before = self.ledger.get(intent)
        try:
            if step == "absent":
                self.ledger.absent(intent, "ada", "looked", "dashboard", horizon_seconds=3600)
            else:
                getattr(self.ledger, step)(intent, "ada", "decided")
        except Refused:
            assert self.ledger.get(intent) == before

    @rule(seconds=HOURS, back=st.booleans())
    def turn(self, seconds: int, back: bool) -> None:
        """Time passes, or the wall clock jumps back."""
        self.desk.clock.turn(-seconds if back and seconds == 3600 else seconds)

    @rule()
    def settle_failed(self) -> None:
        """The daily settlement."""
        self.ledger.settle_failed()

    @rule()
    def restart(self) -> None:
        """The process dies and another one starts."""
        self.desk.close()
        self.ledger = self.desk.open()
        self.ledger.recover("worker-2")

    @rule()
    def begin(self) -> None:
        """Another run of the same board, approved by a person."""
        self.runs += 1
        self.desk.begun(f"run-{self.runs}", ledger=self.ledger, approved_by="person")

    @invariant()
    def sound(self) -> None:
        """I3 and I6: caps, rows, entries and events tell the same, and no cap was passed but by a bill."""
        if hasattr(self, "ledger"):
            assert self.ledger.verify() == []

    @invariant()
    def owed_money_is_known(self) -> None:
        """I4: what the provider has billed is reserved or settled; I2: every job that it accepted is a row."""
        if not hasattr(self, "ledger"):
            return
        rows = {row.job_id: row for row in self.ledger.intents() if row.job_id}
        assert self.jobs.keys() <= rows.keys()
        booked = sum((row.reserved.amount + row.settled.amount for row in rows.values()), Decimal(0))
        assert booked >= sum(self.jobs.values(), Decimal(0))

    @invariant()
    def one_purchase_holds_a_shot(self) -> None:
        """I1: of the rows that may be sent or were, at most one holds the shot."""
        if hasattr(self, "ledger"):
            rows = self.ledger.intents(states={S.SUBMITTING, S.IN_DOUBT, S.SUBMITTED, S.SUCCEEDED, S.STORED})
            holders = [row.shot for row in rows if not row.extra]
            assert len(holders) == len(set(holders))


Purchases.TestCase.settings = settings(
    max_examples=30, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestPurchases = Purchases.TestCase
