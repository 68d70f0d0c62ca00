"""A reservation takes the shot once, or says exactly what stands in the way."""

import pytest

from specs.money import Money
from tasks.errors import Refused
from tasks.ledger import BudgetRefused, Cap, Edited, Full, Halted, IntentState, Reserved, Taken
from tests.tasks.ledger.desk import Desk, artifact, in_state, order, reserved, usd

S = IntentState


def test_a_reservation_is_durable_before_it_is_sent(desk: Desk) -> None:
    """K5: another process sees the committed SUBMITTING row, its money, its lease and its time to be sent (I5)."""
    one = reserved(desk.begun())
    seen = desk.open().get(one.intent_id)
    assert seen == one
    assert (seen.state, usd(seen.reserved), seen.epoch, seen.attempt_no) == (S.SUBMITTING, "1.43", 1, 1)
    assert (seen.lease_until - seen.created_at).total_seconds() == 60
    assert (seen.not_after - seen.created_at).total_seconds() == 30


def test_the_callers_own_intent_id_is_kept(desk: Desk) -> None:
    """A callback address holds the intent's id before it is reserved."""
    assert reserved(desk.begun(), order(intent_id="01HQ")).intent_id == "01HQ"


@pytest.mark.parametrize("state", sorted(S))
def test_F79_the_same_content_is_taken_until_it_is_free_again(desk: Desk, state: IntentState) -> None:
    """The same spec run twice reuses; only a refused, cancelled or written-off purchase may be made again."""
    ledger = desk.begun()
    one = in_state(ledger, state)
    again = ledger.reserve(order())
    if state in {S.REJECTED, S.CANCELLED, S.ABANDONED}:
        assert isinstance(again, Reserved)
        assert again.intent.attempt_no == 2
    else:
        assert isinstance(again, Taken)
        assert again.intent.intent_id == one.intent_id


@pytest.mark.parametrize("state", [S.IN_DOUBT, S.SUBMITTED, S.STORED])
def test_F79_an_edited_shot_is_not_bought_silently(desk: Desk, state: IntentState) -> None:
    """Other content for a shot that was bought collides with the live row, which the caller is shown."""
    ledger = desk.begun()
    one = in_state(ledger, state)
    edited = ledger.reserve(order(shot_key="edited"))
    assert isinstance(edited, Edited)
    assert edited.intent.intent_id == one.intent_id


def test_F79_a_renamed_shot_is_reused_across_boards_and_runs(desk: Desk) -> None:
    """The key is the content: another name, board or run finds the clip that is there."""
    ledger = desk.begun()
    one = in_state(ledger, S.STORED)
    desk.begun("run-2", ledger=ledger, board="OTHER")
    again = ledger.reserve(order("SH999", shot_key="key of SH010", board="OTHER", run_id="run-2"))
    assert isinstance(again, Taken)
    assert again.intent.intent_id == one.intent_id


def test_two_families_of_one_shot_do_not_collide(desk: Desk) -> None:
    """The animatic of a shot stands beside its paid clip."""
    ledger = desk.begun()
    in_state(ledger, S.STORED)
    free = order(shot_key="animatic", family="animatic", provider="animatic", quote=Money(0))
    assert reserved(ledger, free).reserved == Money(0)


@pytest.mark.parametrize("state", [S.STORED, S.RESULT_HELD, S.FAILED_UNSETTLED, S.FAILED_FINAL])
def test_a_person_who_asks_for_a_new_take_supersedes_what_is_finished(desk: Desk, state: IntentState) -> None:
    """The older take gives way in the same transaction, settled in full, its clip kept."""
    ledger = desk.begun()
    old = in_state(ledger, state)
    new = reserved(ledger, order(shot_key="take 2", take=2, supersede=True, reason="the light is wrong"))
    old = ledger.get(old.intent_id)
    assert (old.state, usd(old.settled), usd(old.reserved)) == (S.SUPERSEDED, "1.43", "0.00")
    assert old.artifact == (artifact() if state is S.STORED else None)
    assert ledger.live_for_shot("LIFTOFF", "SH010", "kling-3.0") == new
    assert ledger.events(old.intent_id)[-1].payload["why"] == "the light is wrong"


@pytest.mark.parametrize("state", [S.SUBMITTING, S.IN_DOUBT, S.SUBMITTED, S.STALLED, S.SUCCEEDED])
def test_a_purchase_under_way_gives_way_to_nobody(desk: Desk, state: IntentState) -> None:
    """A new take waits until the old one has ended: its outcome could still be a second bill."""
    ledger = desk.begun()
    in_state(ledger, state)
    assert isinstance(ledger.reserve(order(shot_key="take 2", take=2, supersede=True)), Edited)


@pytest.mark.parametrize("state", [S.SUBMITTING, S.IN_DOUBT, S.SUBMITTED, S.STORED])
def test_a_free_family_is_rendered_anew_after_an_edit(desk: Desk, state: IntentState) -> None:
    """Nothing is at stake in an animatic: the edited shot supersedes it in any state."""
    ledger = desk.begun()
    free = order(quote=Money(0), family="animatic", provider="animatic", supersede=True)
    old = in_state(ledger, state, free)
    reserved(ledger, order(quote=Money(0), family="animatic", provider="animatic", supersede=True, shot_key="edited"))
    assert ledger.get(old.intent_id).state is S.SUPERSEDED


def test_a_free_order_does_not_push_a_paid_purchase_aside(desk: Desk) -> None:
    """A price of nothing for a shot that has money at stake is no reason to forget that money."""
    ledger = desk.begun()
    paid = in_state(ledger, S.IN_DOUBT)
    assert isinstance(ledger.reserve(order(shot_key="edited", quote=Money(0), supersede=True)), Edited)
    assert ledger.get(paid.intent_id) == paid


def test_supersede_never_buys_the_same_content_again(desk: Desk) -> None:
    """The same shot key is reused whatever is asked, also after it was superseded by another take."""
    ledger = desk.begun()
    first = in_state(ledger, S.STORED)
    assert isinstance(ledger.reserve(order(supersede=True)), Taken)
    in_state(ledger, S.STORED, order(shot_key="take 2", take=2, supersede=True), job="job-2")
    back = ledger.reserve(order(supersede=True))
    assert isinstance(back, Taken)
    assert back.intent.intent_id == first.intent_id


def test_a_refused_new_take_leaves_the_old_one_alone(desk: Desk) -> None:
    """The old row gives way only in the transaction that buys the new one."""
    ledger = desk.begun()
    old = in_state(ledger, S.STORED)
    caps = (Cap("run", "", Money.of("2.00")),)
    outcome = ledger.reserve(order(shot_key="take 2", take=2, supersede=True, caps=caps))
    assert isinstance(outcome, BudgetRefused)
    assert ledger.get(old.intent_id) == old


def test_attempts_count_accepted_jobs_and_stop_at_the_most_allowed(desk: Desk) -> None:
    """A failed and billed job may be tried again only within `max_attempts`."""
    ledger = desk.begun()
    in_state(ledger, S.REJECTED)
    in_state(ledger, S.FAILED_FINAL, job="job-1")
    assert isinstance(ledger.reserve(order()), Taken)
    second = reserved(ledger, order(max_attempts=2))
    assert second.attempt_no == 3


def test_F39_moderated_content_is_never_tried_again_by_a_machine(desk: Desk) -> None:
    """Neither attempts left nor another provider change that; a person's new take does."""
    ledger = desk.begun()
    one = in_state(ledger, S.SUBMITTED)
    ledger.failed(one.intent_id, "moderated", refunded=True, moderated=True)
    assert isinstance(ledger.reserve(order(max_attempts=9)), Taken)
    assert isinstance(ledger.reserve(order(max_attempts=9, provider="sjinn")), Taken)
    assert isinstance(ledger.reserve(order(supersede=True)), Reserved)


def test_no_more_jobs_are_in_flight_than_the_account_may_have(desk: Desk) -> None:
    """SUBMITTING, IN_DOUBT, SUBMITTED and STALLED count, by provider and account."""
    ledger = desk.begun()
    for number, state in enumerate((S.SUBMITTING, S.IN_DOUBT, S.SUBMITTED, S.STALLED, S.STORED, S.REJECTED)):
        in_state(ledger, state, order(f"SH{number}"), job=f"job-{number}")
    assert ledger.reserve(order("SH9", max_in_flight=4)) == Full(4, 4)
    assert isinstance(ledger.reserve(order("SH8", max_in_flight=4, account="other")), Reserved)
    assert isinstance(ledger.reserve(order("SH9", max_in_flight=5)), Reserved)


def test_two_doubts_stop_the_buying_at_their_account(desk: Desk) -> None:
    """`doubt_halt`: until one is resolved; another account goes on, and free work is not held up."""
    ledger = desk.begun()
    doubts = [in_state(ledger, S.IN_DOUBT, order(f"SH{number}")) for number in range(2)]
    assert isinstance(ledger.reserve(order("SH9")), Halted)
    reserved(ledger, order("SH8", account="other"))
    reserved(ledger, order("SH7", quote=Money(0)))
    ledger.accepted(doubts[0].intent_id, "job-1", None)
    reserved(ledger, order("SH9"))


def test_free_doubts_do_not_stop_the_buying(desk: Desk) -> None:
    """A killed animatic owes nothing."""
    ledger = desk.begun()
    for number in range(3):
        in_state(ledger, S.IN_DOUBT, order(f"SH{number}", quote=Money(0)))
    assert reserved(ledger, order("SH9")).state is S.SUBMITTING
    assert len(ledger.doubts()) == 3


def test_a_run_that_was_never_begun_buys_nothing(desk: Desk) -> None:
    """Order matters: approval first."""
    ledger = desk.open()
    with pytest.raises(Refused, match="never begun"):
        ledger.reserve(order())
    assert ledger.intents() == []


def test_a_run_id_cannot_be_used_for_another_plan(desk: Desk) -> None:
    """The same plan may go on under its run id; another digest may not."""
    ledger = desk.begun()
    ledger.end_run("run-1", 6)
    desk.begun("run-1", ledger=ledger)
    run = ledger.run("run-1")
    assert run is not None
    assert run.exit_code is None
    with pytest.raises(Refused, match="another plan"):
        desk.begun("run-1", ledger=ledger, digest="other")


def test_only_the_one_who_reserved_may_send(desk: Desk) -> None:
    """K6: another process with the same row in hand is told no."""
    ledger = desk.begun()
    one = reserved(ledger)
    assert ledger.still_ours(one.intent_id, 1)
    assert not ledger.still_ours(one.intent_id, 2)
    assert not desk.open().still_ours(one.intent_id, 1)


def test_nothing_is_sent_after_its_time(desk: Desk) -> None:
    """`not_after` is 30 s; a resend is renewed first, in a committed update that is told."""
    ledger = desk.begun()
    one = reserved(ledger)
    desk.clock.turn(30)
    assert not ledger.still_ours(one.intent_id, 1)
    renewed = ledger.renew(one.intent_id, 1)
    assert ledger.still_ours(one.intent_id, 1)
    assert (renewed.not_after - desk.clock.now()).total_seconds() == 30
    assert ledger.events(one.intent_id)[-1].kind == "renewed"


def test_a_stale_sender_can_neither_renew_nor_send(desk: Desk) -> None:
    """Recovery took the row over: the next epoch shuts the old sender out of every decision."""
    ledger = desk.begun()
    one = reserved(ledger)
    desk.clock.turn(61)
    other = desk.open()
    assert other.recover("other").doubts == (one.intent_id,)
    assert ledger.renew(one.intent_id, 1).state is S.IN_DOUBT
    assert not ledger.still_ours(one.intent_id, 1)
    assert not ledger.still_ours(one.intent_id, 2)
    assert ledger.renew(one.intent_id, 2).not_after == one.not_after
    assert ledger.rejected(one.intent_id, 1, kind="rate", reason="429", opens_breaker=False).state is S.IN_DOUBT
    assert usd(ledger.get(one.intent_id).reserved) == "1.43"


def test_a_doubt_begins_a_new_epoch(desk: Desk) -> None:
    """Whoever held the old one decides nothing more."""
    ledger = desk.begun()
    one = in_state(ledger, S.IN_DOUBT)
    assert one.epoch == 2
