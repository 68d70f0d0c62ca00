"""Breakers outlive the run that opened them, stop what must not go on, and close by a success."""

import pytest

from specs.money import Money
from tasks.ledger import Full, Halted, IntentState, Ledger, Reserved
from tests.tasks.ledger.desk import Desk, in_state, order, reserved

S = IntentState


def _refuse(ledger: Ledger, what: str, run_id: str = "run-1") -> None:
    one = reserved(ledger, order(what, run_id=run_id))
    ledger.rejected(one.intent_id, 1, kind="auth", reason="401 Unauthorized", opens_breaker=True)


def test_F13_a_refused_key_stops_the_run_at_that_account(desk: Desk) -> None:
    """The reason is named, the money is back, another account goes on."""
    ledger = desk.begun()
    _refuse(ledger, "SH010")
    assert ledger.reserve(order("SH020")) == Halted("creates at shortapi are stopped: 401 Unauthorized")
    assert ledger.creates_halted("run-1", "shortapi", "main") == "creates at shortapi are stopped: 401 Unauthorized"
    assert isinstance(ledger.reserve(order("SH020", account="second")), Reserved)
    breaker = ledger.breaker_state("shortapi", "main")
    assert breaker is not None
    assert breaker.kind == "create"


def test_F14_a_create_that_is_reserved_but_not_sent_is_held_back(desk: Desk) -> None:
    """K6 asks the breaker again: what was reserved before it opened is not sent after."""
    ledger = desk.begun()
    waiting = reserved(ledger, order("SH020"))
    _refuse(ledger, "SH010")
    assert not ledger.still_ours(waiting.intent_id, 1)
    assert ledger.cancelled(waiting.intent_id, 1).state is S.CANCELLED


def test_an_open_breaker_does_not_stop_the_collecting(desk: Desk) -> None:
    """What was accepted is polled, stored and settled as ever."""
    ledger = desk.begun()
    one = in_state(ledger, S.SUBMITTED, order("SH020"))
    _refuse(ledger, "SH010")
    assert ledger.succeeded(one.intent_id, ["https://files.example/1.mp4"], None).state is S.SUCCEEDED


def test_a_run_begun_before_stays_stopped(desk: Desk) -> None:
    """Older runs know nothing new."""
    ledger = desk.begun("run-1")
    desk.begun("run-2", ledger=ledger)
    _refuse(ledger, "SH010", "run-2")
    assert isinstance(ledger.reserve(order("SH020", run_id="run-1")), Halted)


def test_a_later_run_sends_one_probe_whose_acceptance_closes_the_breaker(desk: Desk) -> None:
    """Half-open: the others wait for it; an acceptance of somebody else closes nothing."""
    ledger = desk.begun()
    older = reserved(ledger, order("SH030"))
    _refuse(ledger, "SH010")
    desk.begun("run-2", ledger=ledger)
    probe = reserved(ledger, order("SH010", run_id="run-2"))
    assert ledger.still_ours(probe.intent_id, 1)
    assert ledger.reserve(order("SH020", run_id="run-2")) == Full(1, 1)
    assert ledger.creates_halted("run-2", "shortapi", "main") == ""
    ledger.accepted(older.intent_id, "job-old", None)
    assert ledger.reserve(order("SH020", run_id="run-2")) == Full(1, 1)
    ledger.accepted(probe.intent_id, "job-1", None)
    assert ledger.breaker_state("shortapi", "main") is None
    reserved(ledger, order("SH020", run_id="run-2"))


def test_a_probe_that_is_refused_opens_the_breaker_for_its_own_run(desk: Desk) -> None:
    """The next run may try again."""
    ledger = desk.begun()
    _refuse(ledger, "SH010")
    desk.begun("run-2", ledger=ledger)
    _refuse(ledger, "SH010", "run-2")
    assert isinstance(ledger.reserve(order("SH020", run_id="run-2")), Halted)
    desk.begun("run-3", ledger=ledger)
    reserved(ledger, order("SH020", run_id="run-3"))


@pytest.mark.parametrize("end", ["rejected", "doubt", "cancelled"])
def test_a_probe_without_an_acceptance_frees_the_way_for_the_next(desk: Desk, end: str) -> None:
    """A shot that was refused for its own sake says nothing about the key."""
    ledger = desk.begun()
    _refuse(ledger, "SH010")
    desk.begun("run-2", ledger=ledger)
    probe = reserved(ledger, order("SH010", run_id="run-2"))
    if end == "rejected":
        ledger.rejected(probe.intent_id, 1, kind="invalid", reason="the still is too small", opens_breaker=False)
    else:
        getattr(ledger, end)(probe.intent_id, 1, *(["timed out"] if end == "doubt" else []))
    reserved(ledger, order("SH020", run_id="run-2"))
    assert ledger.breaker_state("shortapi", "main") is not None


def test_F22_only_a_run_that_a_person_approved_tries_again_after_an_overbilling(desk: Desk) -> None:
    """The money breaker is not closed by a schedule."""
    ledger = desk.begun()
    one = reserved(ledger)
    ledger.accepted(one.intent_id, "job-1", Money.of("9.99"))
    assert isinstance(ledger.reserve(order("SH020")), Halted)
    desk.begun("run-2", ledger=ledger, approved_by="auto")
    assert isinstance(ledger.reserve(order("SH020", run_id="run-2")), Halted)
    assert "a person approves" in ledger.creates_halted("run-2", "shortapi", "main")
    desk.begun("run-3", ledger=ledger, approved_by="person")
    probe = reserved(ledger, order("SH020", run_id="run-3"))
    ledger.accepted(probe.intent_id, "job-2", Money.of("1.43"))
    assert ledger.breaker_state("shortapi", "main") is None


def test_a_person_may_close_a_breaker(desk: Desk) -> None:
    """Recorded with who and why."""
    ledger = desk.begun()
    _refuse(ledger, "SH010")
    ledger.close_breaker("shortapi", "main", "ada", "the key was replaced")
    reserved(ledger, order("SH020"))
    closed = next(event for event in ledger.events() if event.kind == "breaker-closed")
    assert (closed.actor, closed.payload["why"]) == ("ada", "the key was replaced")
