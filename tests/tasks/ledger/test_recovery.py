"""Recovery: whoever is gone leaves a doubt, never a second purchase; clocks that jump cost doubt, never money."""

import datetime as dt
import sys
import time

import pytest

from tasks.ledger import IntentState, Taken, transaction
from tests.tasks.ledger.desk import Desk, order, reserved, usd

S = IntentState


def test_a_create_whose_sender_is_gone_becomes_a_doubt_at_once(desk: Desk) -> None:
    """Its lock is free, so the lease need not run out; the money stays, and nothing is bought again."""
    one = reserved(desk.begun())
    desk.close()
    ledger = desk.open()
    assert ledger.recover("worker-2").doubts == (one.intent_id,)
    one = ledger.get(one.intent_id)
    assert (one.state, one.epoch, usd(one.reserved)) == (S.IN_DOUBT, 2, "1.43")
    assert one.doubt_reason == "its sender ended before an answer was recorded"
    assert isinstance(ledger.reserve(order()), Taken)
    assert ledger.recover("worker-2").doubts == ()


def test_a_create_of_a_living_sender_is_left_alone(desk: Desk) -> None:
    """Also by a process of the same name, and by the sender itself."""
    ledger = desk.begun()
    reserved(ledger)
    desk.clock.turn(59)
    assert desk.open().recover("worker-1").doubts == ()
    assert ledger.recover("worker-1").doubts == ()


def test_a_lease_that_is_over_becomes_a_doubt_wherever_the_sender_is(desk: Desk) -> None:
    """F74: on another host nothing but the lease tells."""
    one = reserved(desk.begun())
    desk.clock.turn(61)
    elsewhere = Desk(desk.url, desk.home.parent / "elsewhere", desk.clock)
    if desk.url.startswith("sqlite"):
        elsewhere = desk
    ledger = elsewhere.open()
    assert ledger.recover("worker-2").doubts == (one.intent_id,)
    ledger.close()


def test_a_heartbeat_keeps_the_lease_of_its_owner_only(desk: Desk) -> None:
    """Sixty seconds from the beat; a lease that is over is not brought back."""
    ledger = desk.begun()
    mine, other = reserved(ledger), reserved(ledger, order("SH020", owner="worker-2"))
    desk.clock.turn(50)
    ledger.heartbeat("worker-1")
    desk.clock.turn(50)
    ledger.heartbeat("worker-2")
    assert desk.open().recover("worker-3").doubts == (other.intent_id,)
    assert ledger.get(mine.intent_id).state is S.SUBMITTING


@pytest.mark.parametrize("jump", [dt.timedelta(hours=1), dt.timedelta(hours=-1), dt.timedelta(days=-365 * 50)])
def test_F76_a_clock_that_jumps_never_lets_a_create_be_sent_late(desk: Desk, jump: dt.timedelta) -> None:
    """The monotonic clock counts as well as the wall: thirty seconds are thirty seconds."""
    ledger = desk.begun()
    one = reserved(ledger)
    desk.clock.wall += jump
    assert ledger.still_ours(one.intent_id, 1) == (jump < dt.timedelta())
    desk.clock.ticks += 30
    assert not ledger.still_ours(one.intent_id, 1)


def test_F76_a_clock_that_jumps_ahead_costs_a_doubt_and_no_more(desk: Desk) -> None:
    """The lease ends early; the answer still counts."""
    ledger = desk.begun()
    one = reserved(ledger)
    desk.clock.wall += dt.timedelta(hours=1)
    assert desk.open().recover("worker-2").doubts == (one.intent_id,)
    assert ledger.accepted(one.intent_id, "job-1", None).state is S.SUBMITTED


def test_F76_after_a_clock_was_set_back_the_newest_row_is_still_the_newest(desk: Desk) -> None:
    """Order comes from the ledger's own count, not from timestamps; times before 1970 are times."""
    ledger = desk.begun()
    first = reserved(ledger)
    ledger.cancelled(first.intent_id, 1)
    desk.clock.wall = dt.datetime(1969, 12, 31, tzinfo=dt.UTC)
    second = reserved(ledger)
    ledger.cancelled(second.intent_id, 1)
    found = ledger.find("key of SH010")
    assert found is not None
    assert (found.intent_id, found.created_at.year) == (second.intent_id, 1969)


def test_F84_ten_thousand_creates_are_recovered_in_one_pass(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """G7: linear; the time is printed, not judged."""
    ledger = desk.begun()
    one = reserved(ledger)
    _multiply(desk, one.intent_id, 9_999)
    desk.close()
    desk.clock.turn(61)
    started = time.perf_counter()
    ledger = desk.open()
    found = ledger.recover("worker-2")
    took = time.perf_counter() - started
    assert len(found.doubts) == 10_000
    assert ledger.totals().in_doubt["USD"].micros == 10_000 * 1_430_000
    with capsys.disabled():
        sys.stdout.write(f"\n10,000 rows recovered in {took:.2f} s on {desk.url.partition(':')[0]}\n")
    desk.opened.clear()
    ledger.close()


def _multiply(desk: Desk, intent_id: str, times: int) -> None:
    """Write `times` copies of a row, each for a shot of its own, without their entries."""
    ledger = desk.open()
    with ledger._writing() as tx:
        record = tx.load(intent_id)
        plain = record.values()
        copies = [{**plain, "intent_id": f"copy-{n}", "shot": f"SH-{n}", "shot_key": f"key-{n}"} for n in range(times)]
        tx.run(transaction._INSERT, copies)
