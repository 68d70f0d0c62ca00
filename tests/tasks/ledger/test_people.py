"""F81: what a person decides is recorded with who and why, is idempotent, and refuses the wrong intent."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from specs.money import Money
from tasks.errors import Refused
from tasks.ledger import Intent, IntentState, Ledger, Reserved
from tests.tasks.ledger.desk import Desk, artifact, in_state, order, reserved, usd

S = IntentState
HOUR = 3600


def _absent(ledger: Ledger, one: Intent) -> Intent:
    return ledger.absent(one.intent_id, "ada", "not there", "dashboard, 14:00", horizon_seconds=HOUR)


DECISIONS: dict[str, Callable[[Ledger, Intent], Intent]] = {
    "attach": lambda ledger, one: ledger.attach(one.intent_id, "job-x", "ada", "seen", confirmed=True),
    "absent": _absent,
    "write_off": lambda ledger, one: ledger.write_off(one.intent_id, "ada", "given up"),
    "supersede": lambda ledger, one: ledger.supersede(one.intent_id, "ada", "the deadline is today"),
    "settle": lambda ledger, one: ledger.settle(one.intent_id, Money.of("1.00"), "invoice 7", "ada"),
    "refund": lambda ledger, one: ledger.refund(one.intent_id, Money.of("0.43"), "credit note 3", "ada"),
}
ALLOWED: dict[str, dict[IntentState, IntentState]] = {
    "attach": dict.fromkeys((S.IN_DOUBT, S.REJECTED, S.CANCELLED, S.ABANDONED), S.SUBMITTED),
    "absent": {S.IN_DOUBT: S.REJECTED},
    "write_off": dict.fromkeys((S.IN_DOUBT, S.STALLED, S.RESULT_HELD, S.FAILED_UNSETTLED), S.ABANDONED),
    "supersede": dict.fromkeys(
        (S.IN_DOUBT, S.STALLED, S.STORED, S.RESULT_HELD, S.FAILED_UNSETTLED, S.FAILED_FINAL), S.SUPERSEDED
    ),
    "settle": {S.FAILED_UNSETTLED: S.FAILED_FINAL}
    | {one: one for one in (S.STORED, S.RESULT_HELD, S.FAILED_FINAL, S.SUPERSEDED)},
    "refund": {S.FAILED_UNSETTLED: S.FAILED_FINAL}
    | {one: one for one in (S.STORED, S.RESULT_HELD, S.FAILED_FINAL, S.ABANDONED, S.SUPERSEDED)},
}


@pytest.mark.parametrize("decision", DECISIONS)
@pytest.mark.parametrize("state", sorted(S))
def test_F81_a_decision_fits_its_states_and_refuses_the_others(
    sqlite_desk: Desk, state: IntentState, decision: str
) -> None:
    """A refusal changes nothing; deciding twice is deciding once."""
    ledger = sqlite_desk.begun()
    one = in_state(ledger, state)
    sqlite_desk.clock.turn(3 * HOUR)
    wanted = ALLOWED[decision].get(state)
    if wanted is None and (decision, state) not in {("write_off", S.ABANDONED), ("supersede", S.SUPERSEDED)}:
        with pytest.raises(Refused):
            DECISIONS[decision](ledger, one)
        assert ledger.get(one.intent_id) == one
        return
    first = DECISIONS[decision](ledger, one)
    assert first.state is (wanted or state)
    assert DECISIONS[decision](ledger, one) == first
    assert ledger.verify() == []


def test_F81_a_bill_needs_a_job(desk: Desk) -> None:
    """What was written off as a doubt has none to look up; what was written off as a stalled job has."""
    ledger = desk.begun()
    doubt = in_state(ledger, S.ABANDONED)
    with pytest.raises(Refused, match="no job of"):
        ledger.settle(doubt.intent_id, Money.of("0.00"), "not on the bill", "ada")
    stalled = in_state(ledger, S.STALLED, order("SH020"), job="job-2")
    ledger.write_off(stalled.intent_id, "ada", "given up")
    assert ledger.settle(stalled.intent_id, Money.of("0.00"), "refunded", "ada").settled == Money(0)


@pytest.mark.parametrize("decision", DECISIONS)
def test_F81_an_unknown_intent_is_refused(desk: Desk, decision: str) -> None:
    """The command line prints the sentence, nothing is written."""
    ledger = desk.begun()
    nobody = replace(reserved(ledger), intent_id="NOBODY")
    with pytest.raises(Refused, match="no intent NOBODY in this ledger"):
        DECISIONS[decision](ledger, nobody)


def test_F81_a_job_that_is_used_already_cannot_be_attached(desk: Desk) -> None:
    """One job cannot stand for two shots; an unconfirmed one for none; a second one not for the same."""
    ledger = desk.begun()
    in_state(ledger, S.SUBMITTED, order("SH010"), job="job-1")
    lost = in_state(ledger, S.IN_DOUBT, order("SH020"))
    with pytest.raises(Refused, match="job job-1 belongs to intent"):
        ledger.attach(lost.intent_id, "job-1", "ada", "seen", confirmed=True)
    with pytest.raises(Refused, match="does not confirm job job-2"):
        ledger.attach(lost.intent_id, "job-2", "ada", "seen", confirmed=False)
    ledger.attach(lost.intent_id, "job-2", "ada", "seen", confirmed=True)
    with pytest.raises(Refused, match="cannot be given another job"):
        ledger.attach(lost.intent_id, "job-3", "ada", "seen", confirmed=True)


def test_F81_who_and_why_are_mandatory_and_kept(desk: Desk) -> None:
    """A decision without them is no decision."""
    ledger = desk.begun()
    one = in_state(ledger, S.IN_DOUBT)
    with pytest.raises(Refused, match="who and why"):
        ledger.write_off(one.intent_id, "ada", " ")
    with pytest.raises(Refused, match="who and why"):
        ledger.write_off(one.intent_id, "", "given up")
    ledger.write_off(one.intent_id, "ada", "given up")
    last = ledger.events(one.intent_id)[-1]
    assert (last.actor, last.payload["why"], last.at) == ("ada", "given up", desk.clock.now())


def test_absence_cannot_be_declared_before_the_request_could_have_surfaced(desk: Desk) -> None:
    """Transition 5 waits for `not_after` and the horizon (the rule whose lack the model calls `humanNoQuiesce`)."""
    ledger = desk.begun()
    one = in_state(ledger, S.IN_DOUBT)
    desk.clock.turn(30 + HOUR)
    with pytest.raises(Refused, match=r"too early: .* for 1 minutes"):
        _absent(ledger, one)
    desk.clock.turn(1)
    assert _absent(ledger, one).state is S.REJECTED
    second = ledger.reserve(order())
    assert isinstance(second, Reserved)
    assert second.intent.attempt_no == 2


def test_absence_cannot_be_declared_while_the_lease_may_live(desk: Desk) -> None:
    """The lease and a grace of the same length must be over, however short the horizon."""
    ledger = desk.begun()
    one = in_state(ledger, S.IN_DOUBT)
    desk.clock.turn(119)
    with pytest.raises(Refused, match="too early"):
        ledger.absent(one.intent_id, "ada", "not there", "dashboard", horizon_seconds=0)


def test_absence_cannot_be_declared_while_its_sender_lives_on_this_host(desk: Desk) -> None:
    """A paused process holds its lock: it may still send when it wakes."""
    paused = desk.begun()
    one = reserved(paused)
    desk.clock.turn(3 * HOUR)
    ledger = desk.open()
    ledger.recover("other")
    with pytest.raises(Refused, match="is still alive"):
        _absent(ledger, one)
    paused.close()
    assert _absent(ledger, one).state is S.REJECTED


def test_absence_needs_evidence(desk: Desk) -> None:
    """Waiting alone proves nothing."""
    ledger = desk.begun()
    one = in_state(ledger, S.IN_DOUBT)
    desk.clock.turn(3 * HOUR)
    with pytest.raises(Refused, match="needs evidence"):
        ledger.absent(one.intent_id, "ada", "silence", "", horizon_seconds=HOUR)


def test_F81_a_risked_resubmit_whose_first_job_calls_back_keeps_both_clips(desk: Desk) -> None:
    """The doubt was superseded with its full price spent; its job is collected too, and the double payment is told."""
    ledger = desk.begun()
    first = in_state(ledger, S.IN_DOUBT)
    first = ledger.supersede(first.intent_id, "ada", "the deadline is today")
    assert usd(first.settled) == "1.43"
    assert "risked-resubmit" in [event.kind for event in ledger.events(first.intent_id)]
    second = in_state(ledger, S.STORED, job="job-2")
    first = ledger.accepted(first.intent_id, "job-1", Money.of("1.43"))
    ledger.succeeded(first.intent_id, ["https://files.example/1.mp4"], None)
    first = ledger.stored(first.intent_id, artifact("b" * 64), None)
    assert (first.state, first.extra, usd(first.billed)) == (S.STORED, True, "1.43")
    assert ledger.get(second.intent_id) == second
    assert usd(ledger.totals().settled["USD"]) == "2.86"
    assert "late-acceptance" in [event.kind for event in ledger.alerts("run-1")]


def test_a_refund_counts_once_by_its_evidence_and_never_exceeds_what_was_spent(desk: Desk) -> None:
    """Also months later; a second one needs evidence of its own."""
    ledger = desk.begun()
    one = in_state(ledger, S.STORED)
    for _ in range(2):
        ledger.refund(one.intent_id, Money.of("0.40"), "credit note 3")
    one = ledger.refund(one.intent_id, Money.of("0.40"), "credit note 4")
    assert (usd(one.billed), usd(ledger.caps("run", "run-1")[0].committed)) == ("0.63", "0.63")
    with pytest.raises(Refused, match=r"0\.63 USD is settled"):
        ledger.refund(one.intent_id, Money.of("0.64"), "credit note 5")


@pytest.mark.parametrize(("billed", "kinds"), [("1.00", ["REFUND"]), ("1.60", ["ADJUST", "SETTLE"])])
def test_a_bill_that_comes_later_replaces_what_was_assumed(desk: Desk, billed: str, kinds: list[str]) -> None:
    """Up or down, by entries; what was there before stays."""
    ledger = desk.begun()
    one = in_state(ledger, S.STORED)
    before = len(ledger.money())
    one = ledger.settle(one.intent_id, Money.of(billed), "invoice 7", "ada")
    assert (one.state, usd(one.billed)) == (S.STORED, usd(Money.of(billed)))
    assert [entry["kind"] for entry in ledger.money()][before:] == kinds
    with pytest.raises(Refused, match="is billed in USD"):
        ledger.settle(one.intent_id, Money.of(1, "sjinn-credits"), "invoice 8", "ada")
