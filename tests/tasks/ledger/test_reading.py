"""What callers ask: which row decides a shot, which numbers are used, what a run cost, in plain values."""

import datetime as dt
import json

from specs.money import Money
from tasks.ledger import IntentState
from tests.tasks.ledger.desk import Desk, artifact, credits_order, in_state, order, reserved, usd

S = IntentState


def test_the_live_row_decides_then_the_newest_with_a_clip_then_the_newest(desk: Desk) -> None:
    """`find` follows the shot key through its attempts."""
    ledger = desk.begun()
    assert ledger.find("key of SH010") is None
    refused = in_state(ledger, S.REJECTED)
    assert ledger.find("key of SH010") == refused
    stored = in_state(ledger, S.STORED)
    assert ledger.find("key of SH010") == stored
    in_state(ledger, S.STORED, order(shot_key="take 2", take=2, supersede=True), job="job-2")
    found = ledger.find("key of SH010")
    assert found is not None
    assert (found.intent_id, found.state) == (stored.intent_id, S.SUPERSEDED)


def test_take_numbers_of_refused_purchases_are_free(desk: Desk) -> None:
    """A number is used when its file is there or may come."""
    ledger = desk.begun()
    in_state(ledger, S.REJECTED, order(take=1))
    in_state(ledger, S.STORED, order(take=2, shot_key="two"))
    in_state(ledger, S.SUBMITTED, order(take=4, shot_key="four", supersede=True), job="job-4")
    in_state(ledger, S.SUBMITTED, order("SH020", take=9), job="job-9")
    assert ledger.takes("LIFTOFF", "SH010") == [2, 4]


def test_intents_are_found_by_what_they_are(desk: Desk) -> None:
    """By run, board, shot, provider, states and time, oldest first."""
    ledger = desk.begun()
    desk.begun("run-2", ledger=ledger, board="OTHER")
    old = in_state(ledger, S.STORED)
    desk.clock.turn(3600)
    new = in_state(ledger, S.IN_DOUBT, order("SH020", run_id="run-2", board="OTHER", provider="sjinn"))
    assert ledger.intents() == [old, new]
    assert ledger.intents(run_id="run-2") == ledger.intents(board="OTHER") == ledger.intents(provider="sjinn") == [new]
    assert ledger.intents(states={S.STORED, S.SUBMITTED}) == ledger.intents(shot="SH010") == [old]
    assert ledger.intents(since=desk.clock.now()) == [new]
    assert ledger.doubts() == [new]


def test_a_job_is_found_at_its_provider(desk: Desk) -> None:
    """F48: a callback names a job, the ledger says whose it is."""
    ledger = desk.begun()
    one = in_state(ledger, S.SUBMITTED)
    assert ledger.by_job("shortapi", "job-1") == one
    assert ledger.by_job("sjinn", "job-1") is None


def test_a_run_is_kept_with_its_approval_and_end(desk: Desk) -> None:
    """Who approved what, and how it ended."""
    ledger = desk.begun()
    desk.clock.turn(60)
    ledger.end_run("run-1", 6)
    run = ledger.run("run-1")
    assert run is not None
    assert (run.approved_by, run.approval, run.exit_code) == ("auto", "within budget.auto_approve", 6)
    assert run.ended_at is not None
    assert run.ended_at - run.begun_at == dt.timedelta(seconds=60)
    assert ledger.run("run-9") is None


def test_rows_for_cost_reports_are_plain_values(desk: Desk) -> None:
    """Decimal strings, no floats of money; the wait in seconds; USD at the order's own rate."""
    ledger = desk.begun()
    one = reserved(ledger, credits_order())
    ledger.accepted(one.intent_id, "job-1", Money.of(900, "sjinn-credits"))
    desk.clock.turn(240)
    ledger.succeeded(one.intent_id, ["https://files.example/1.mp4"], None)
    (row,) = ledger.rows("run-1")
    assert (row["state"], row["quoted"], row["billed"], row["reserved"]) == ("SUCCEEDED", "1000", "", "1000")
    assert (row["unit"], row["usd"], row["wait_s"], row["job_id"]) == ("sjinn-credits", "1.00", 240.0, "job-1")
    assert ledger.rows("run-9") == []
    assert json.dumps(ledger.money("run-1"), default=str)


def test_money_in_the_far_corners_stays_exact(desk: Desk) -> None:
    """A micro and a million dollars pass through unchanged."""
    ledger = desk.begun()
    for number, amount in enumerate(("0.000001", "1000000")):
        one = in_state(ledger, S.SUBMITTING, order(f"SH{number}", quote=Money.of("1"), account=str(number)))
        one = ledger.accepted(one.intent_id, f"job-{number}", Money.of(amount))
        assert usd(one.amount) == usd(Money.of(amount))
        ledger.succeeded(one.intent_id, ["https://files.example/1.mp4"], None)
        assert usd(ledger.stored(one.intent_id, artifact(str(number)), None).billed) == usd(Money.of(amount))


def test_an_address_with_a_signature_is_kept_in_full_only_here(desk: Desk) -> None:
    """S09: events carry the number of addresses, not the addresses."""
    ledger = desk.begun()
    one = in_state(ledger, S.SUBMITTED)
    secret = "https://files.example/1.mp4?X-Amz-Signature=abc"
    assert ledger.succeeded(one.intent_id, [secret], None).urls == (secret,)
    assert "Signature" not in json.dumps([dict(event.payload) for event in ledger.events()])
