"""Every state meets every step of the machine: the legal ones move it, the others change nothing but are told."""

from collections.abc import Callable

import pytest

from specs.money import Money
from tasks.ledger import Intent, IntentState, Ledger
from tests.tasks.ledger.desk import Desk, artifact, in_state, order, usd

S = IntentState
Step = Callable[[Ledger, Intent], Intent]

STEPS: dict[str, Step] = {
    "rejected": lambda ledger, one: ledger.rejected(one.intent_id, 1, kind="rate", reason="429", opens_breaker=False),
    "cancelled": lambda ledger, one: ledger.cancelled(one.intent_id, 1),
    "doubt": lambda ledger, one: ledger.doubt(one.intent_id, 1, "timed out"),
    "accepted": lambda ledger, one: ledger.accepted(one.intent_id, "job-1", None),
    "succeeded": lambda ledger, one: ledger.succeeded(one.intent_id, ["https://files.example/2.mp4"], None),
    "failed": lambda ledger, one: ledger.failed(one.intent_id, "failed", refunded=None),
    "refunded": lambda ledger, one: ledger.failed(one.intent_id, "failed", refunded=True),
    "stalled": lambda ledger, one: ledger.stalled(one.intent_id, "slow"),
    "resumed": lambda ledger, one: ledger.resumed(one.intent_id),
    "held": lambda ledger, one: ledger.held(one.intent_id, "410 Gone"),
    "stored": lambda ledger, one: ledger.stored(one.intent_id, artifact(), None),
}
"""`rejected`, `cancelled` and `doubt` come from the sender of the first epoch."""

LEGAL: dict[tuple[IntentState, str], IntentState] = {
    (S.SUBMITTING, "rejected"): S.REJECTED,
    (S.SUBMITTING, "cancelled"): S.CANCELLED,
    (S.SUBMITTING, "doubt"): S.IN_DOUBT,
    (S.SUBMITTING, "accepted"): S.SUBMITTED,
    (S.IN_DOUBT, "accepted"): S.SUBMITTED,
    (S.REJECTED, "accepted"): S.SUBMITTED,
    (S.CANCELLED, "accepted"): S.SUBMITTED,
    (S.ABANDONED, "accepted"): S.SUBMITTED,
    (S.SUBMITTED, "succeeded"): S.SUCCEEDED,
    (S.SUBMITTED, "failed"): S.FAILED_UNSETTLED,
    (S.SUBMITTED, "refunded"): S.FAILED_FINAL,
    (S.SUBMITTED, "stalled"): S.STALLED,
    (S.STALLED, "succeeded"): S.SUCCEEDED,
    (S.STALLED, "failed"): S.FAILED_UNSETTLED,
    (S.STALLED, "refunded"): S.FAILED_FINAL,
    (S.STALLED, "resumed"): S.SUBMITTED,
    (S.SUCCEEDED, "stored"): S.STORED,
    (S.SUCCEEDED, "held"): S.RESULT_HELD,
    (S.RESULT_HELD, "succeeded"): S.SUCCEEDED,
    (S.RESULT_HELD, "stored"): S.STORED,
    (S.RESULT_HELD, "refunded"): S.FAILED_FINAL,
    (S.FAILED_UNSETTLED, "succeeded"): S.SUCCEEDED,
    (S.FAILED_UNSETTLED, "refunded"): S.FAILED_FINAL,
    (S.FAILED_FINAL, "succeeded"): S.SUCCEEDED,
}


@pytest.mark.parametrize("state", list(S))
def test_each_state_moves_only_as_the_table_says(sqlite_desk: Desk, state: IntentState) -> None:
    """A step that is not in the table leaves state and money as they were."""
    ledger = sqlite_desk.begun()
    for number, (name, step) in enumerate(STEPS.items()):
        shot = f"SH{number:03}"
        before = in_state(ledger, state, order(shot, account=name), job=f"job-{shot}")
        after = _run(ledger, step, before, f"job-{shot}")
        wanted = LEGAL.get((state, name), state)
        assert (name, after.state) == (name, wanted)
        if wanted is state:
            assert _money(after) == _money(before) or (state, name) == (S.FAILED_FINAL, "refunded")
    assert ledger.verify() == []


def _run(ledger: Ledger, step: Step, before: Intent, job: str) -> Intent:
    if step is STEPS["accepted"]:
        return ledger.accepted(before.intent_id, job, None)
    return step(ledger, before)


def _money(intent: Intent) -> tuple[Money, Money]:
    return intent.reserved, intent.settled


@pytest.mark.parametrize("state", [S.IN_DOUBT, S.REJECTED, S.STORED])
def test_a_step_out_of_order_is_told(sqlite_desk: Desk, state: IntentState) -> None:
    """Nothing happens without a trace: the step and the state that refused it are an event."""
    ledger = sqlite_desk.begun()
    one = in_state(ledger, state)
    ledger.stalled(one.intent_id, "slow")
    last = ledger.events(one.intent_id)[-1]
    assert (last.kind, last.state, last.payload["state"]) == ("late-stall", "", state)


def test_an_ordinary_life_books_its_money_once(desk: Desk) -> None:
    """Reserve, accept at a lower amount, store: what is committed follows the provider's amount once it is settled."""
    ledger = desk.begun()
    one = in_state(ledger, S.SUBMITTING)
    assert (usd(one.reserved), usd(one.settled), one.billed) == ("1.43", "0.00", None)
    one = ledger.accepted(one.intent_id, "job-1", Money.of("1.20"))
    assert (usd(one.reserved), usd(one.amount)) == ("1.43", "1.20")
    ledger.succeeded(one.intent_id, ["https://files.example/1.mp4"], None)
    one = ledger.stored(one.intent_id, artifact(), None)
    assert (one.state, usd(one.billed), usd(one.reserved)) == (S.STORED, "1.20", "0.00")
    assert [entry["kind"] for entry in ledger.money("run-1")] == ["RESERVE", "SETTLE", "RELEASE"]
    assert {usd(bucket.committed) for bucket in ledger.caps()} == {"1.20"}
    assert one.artifact == artifact()


def test_a_stored_clip_settles_at_the_bill_and_gives_the_rest_back(desk: Desk) -> None:
    """A bill below the reservation releases the remainder in the same transaction."""
    ledger = desk.begun()
    one = in_state(ledger, S.SUCCEEDED)
    one = ledger.stored(one.intent_id, artifact(), Money.of("1.00"))
    assert usd(one.billed) == "1.00"
    assert [(entry["kind"], entry["amount"]) for entry in ledger.money()][1:] == [
        ("SETTLE", "1.00"),
        ("RELEASE", "0.43"),
    ]


def test_a_failure_is_settled_in_full_after_a_day(desk: Desk) -> None:
    """F38 (ledger part): no refund seen in 24 hours means that it was billed."""
    ledger = desk.begun()
    one = in_state(ledger, S.FAILED_UNSETTLED)
    desk.clock.turn(24 * 3600 - 1)
    assert ledger.settle_failed() == []
    desk.clock.turn(1)
    assert ledger.settle_failed(desk.clock.now()) == [one.intent_id]
    one = ledger.get(one.intent_id)
    assert (one.state, usd(one.billed)) == (S.FAILED_FINAL, "1.43")


def test_fresh_addresses_free_a_held_result(desk: Desk) -> None:
    """RESULT_HELD is settled once, however often the clip is asked for again."""
    ledger = desk.begun()
    one = in_state(ledger, S.RESULT_HELD)
    assert usd(one.billed) == "1.43"
    one = ledger.succeeded(one.intent_id, ["https://files.example/fresh.mp4"], None)
    assert (one.state, one.urls) == (S.SUCCEEDED, ("https://files.example/fresh.mp4",))
    ledger.held(one.intent_id, "403 Forbidden")
    ledger.succeeded(one.intent_id, ["https://files.example/again.mp4"], None)
    one = ledger.stored(one.intent_id, artifact(), None)
    assert (one.state, usd(one.settled), usd(one.reserved)) == (S.STORED, "1.43", "0.00")
