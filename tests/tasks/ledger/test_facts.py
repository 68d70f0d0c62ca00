"""Facts are recorded whatever the lease, the state or the budget says: a job id that is thrown away is a lost clip."""

import pytest

from specs.money import Money
from tasks.errors import Refused
from tasks.ledger import Cap, IntentState, Reserved, Taken
from tests.tasks.ledger.desk import Desk, artifact, in_state, order, reserved, usd

S = IntentState


def test_F28_a_response_after_the_lease_was_lost_is_a_fact(desk: Desk) -> None:
    """The sender was paused, recovery put the row in doubt, and then the answer came."""
    ledger = desk.begun()
    one = reserved(ledger)
    desk.clock.turn(3600)
    desk.open().recover("another worker")
    one = ledger.accepted(one.intent_id, "job-1", Money.of("1.43"))
    assert (one.state, one.job_id, usd(one.reserved)) == (S.SUBMITTED, "job-1", "1.43")


def test_F27_a_callback_before_the_response_binds_once(desk: Desk) -> None:
    """The late response is a confirmation; an amount that it names is one more fact, and the last one counts."""
    ledger = desk.begun()
    one = reserved(ledger)
    first = ledger.accepted(one.intent_id, "job-1", None)
    late = ledger.accepted(one.intent_id, "job-1", Money.of("1.20"))
    assert (late.state, late.submitted_at, usd(late.amount)) == (S.SUBMITTED, first.submitted_at, "1.20")
    assert usd(ledger.accepted(one.intent_id, "job-1", Money.of("1.60")).reserved) == "1.60"
    assert len(ledger.intents()) == 1


def test_F20_the_same_job_for_two_intents_leaves_the_second_in_doubt(desk: Desk) -> None:
    """Both stay reserved, a person is told, and the job serves the first only."""
    ledger = desk.begun()
    first = in_state(ledger, S.SUBMITTED, order("SH010"))
    second = reserved(ledger, order("SH020"))
    second = ledger.accepted(second.intent_id, "job-1", None)
    assert (second.state, second.job_id, usd(second.reserved)) == (S.IN_DOUBT, None, "1.43")
    assert second.doubt_reason == f"duplicate job id: job-1 belongs to intent {first.intent_id}"
    assert [event.kind for event in ledger.alerts("run-1")] == ["duplicate-job"]
    assert ledger.get(first.intent_id) == first


def test_F20_job_ids_of_different_accounts_are_different_jobs(desk: Desk) -> None:
    """A rehearsal's `job-1` is not the provider's."""
    ledger = desk.begun()
    in_state(ledger, S.SUBMITTED, order("SH010"))
    other = in_state(ledger, S.SUBMITTED, order("SH020", account="stand-in"))
    assert other.state is S.SUBMITTED
    found = ledger.by_job("shortapi", "job-1", "main")
    assert found is not None
    assert found.shot == "SH010"


def test_F108_one_job_cannot_be_attached_to_two_doubts_through_two_spellings(desk: Desk) -> None:
    """A job is its account's, however the address is spelled; each is asked after where its own intent says."""
    ledger = desk.begun()
    spellings = ("https://api.example", "HTTPS://API.example:443/v2/")
    first, second = (in_state(ledger, S.IN_DOUBT, order(f"SH{at}", base_url=url)) for at, url in enumerate(spellings))
    ledger.attach(first.intent_id, "job-1", "ada", "seen", confirmed=True)
    with pytest.raises(Refused, match=f"job job-1 belongs to intent {first.intent_id}"):
        ledger.attach(second.intent_id, "job-1", "ada", "seen", confirmed=True)
    told = ledger.accepted(second.intent_id, "job-1", None)
    assert (told.state, told.job_id, told.base_url) == (S.IN_DOUBT, None, spellings[1])
    assert ledger.attach(second.intent_id, "job-2", "ada", "seen", confirmed=True).base_url == spellings[1]


def test_F20_a_used_job_id_does_not_revive_a_refused_intent(desk: Desk) -> None:
    """It is told, and nothing else changes."""
    ledger = desk.begun()
    in_state(ledger, S.SUBMITTED, order("SH010"))
    refused = in_state(ledger, S.REJECTED, order("SH020"))
    assert ledger.accepted(refused.intent_id, "job-1", None) == refused
    assert [event.kind for event in ledger.alerts("run-1")] == ["late-duplicate-job"]


@pytest.mark.parametrize("state", [S.REJECTED, S.CANCELLED, S.ABANDONED])
def test_a_job_for_a_closed_intent_is_booked_past_the_cap_and_collected(desk: Desk, state: IntentState) -> None:
    """The money is owed although the cap is used up by now; the row lives again and a person is told."""
    ledger = desk.begun(caps=(Cap("run", "", Money.of("1.43")),))
    one = in_state(ledger, state)
    if state is not S.ABANDONED:
        reserved(ledger, order("SH020"))
    one = ledger.accepted(one.intent_id, "late-job", None)
    assert (one.state, one.job_id, one.extra) == (S.SUBMITTED, "late-job", False)
    assert usd(one.reserved + one.settled) == "1.43"
    assert [event.kind for event in ledger.alerts("run-1")] == ["late-acceptance"]
    ledger.succeeded(one.intent_id, ["https://files.example/1.mp4"], None)
    one = ledger.stored(one.intent_id, artifact(), None)
    assert (one.state, usd(one.billed)) == (S.STORED, "1.43")


def test_a_late_job_does_not_take_the_shot_from_its_second_purchase(desk: Desk) -> None:
    """Both jobs are owed and both clips are collected; the second purchase keeps the shot."""
    ledger = desk.begun()
    first = in_state(ledger, S.REJECTED)
    second = in_state(ledger, S.SUBMITTED, job="job-2")
    first = ledger.accepted(first.intent_id, "job-1", None)
    assert (first.state, first.extra, second.extra) == (S.SUBMITTED, True, False)
    assert usd(ledger.totals().reserved["USD"]) == "2.86"
    for one in (first, second):
        ledger.succeeded(one.intent_id, ["https://files.example/1.mp4"], None)
        assert ledger.stored(one.intent_id, artifact(one.intent_id), None).state is S.STORED
    found = ledger.find("key of SH010")
    assert found is not None
    assert found.intent_id == second.intent_id


def test_a_late_job_is_not_bought_again_when_the_second_purchase_fails(desk: Desk) -> None:
    """The row beside the holder counts once nobody holds the shot."""
    ledger = desk.begun()
    first = in_state(ledger, S.REJECTED)
    second = reserved(ledger)
    ledger.accepted(first.intent_id, "job-1", None)
    ledger.rejected(second.intent_id, 1, kind="invalid", reason="no", opens_breaker=False)
    taken = ledger.reserve(order())
    assert isinstance(taken, Taken)
    assert taken.intent.intent_id == first.intent_id


def test_F53_a_second_job_of_one_intent_gets_an_intent_of_its_own(desk: Desk) -> None:
    """The first confirmed job wins; the second is a double accept: booked, collected under a take of its own, told."""
    ledger = desk.begun()
    first = in_state(ledger, S.SUBMITTED)
    second = ledger.accepted(first.intent_id, "job-2", Money.of("1.50"))
    assert second.intent_id != first.intent_id
    assert (second.state, second.job_id, second.take, second.extra) == (S.SUBMITTED, "job-2", 2, True)
    assert usd(second.reserved) == "1.50"
    assert ledger.get(first.intent_id).job_id == "job-1"
    assert {event.kind for event in ledger.alerts("run-1")} == {"double-accept"}
    again = ledger.accepted(second.intent_id, "job-2", None)
    assert again.intent_id == second.intent_id
    ledger.succeeded(second.intent_id, ["https://files.example/2.mp4"], None)
    assert ledger.stored(second.intent_id, artifact(), None).state is S.STORED
    assert ledger.takes("LIFTOFF", "SH010") == [1, 2]


@pytest.mark.parametrize("state", [S.FAILED_UNSETTLED, S.FAILED_FINAL])
def test_F34_a_success_after_a_failure_is_collected(desk: Desk, state: IntentState) -> None:
    """It is paid: the price is booked again where it was given back, and the clip is fetched."""
    ledger = desk.begun()
    one = in_state(ledger, S.SUBMITTED)
    ledger.failed(one.intent_id, "failed", refunded=state is S.FAILED_FINAL)
    one = ledger.succeeded(one.intent_id, ["https://files.example/1.mp4"], None)
    assert (one.state, usd(one.reserved)) == (S.SUCCEEDED, "1.43")
    one = ledger.stored(one.intent_id, artifact(), None)
    assert (one.state, usd(one.billed), usd(one.reserved)) == (S.STORED, "1.43", "0.00")


def test_F33_a_status_that_goes_backwards_changes_nothing(desk: Desk) -> None:
    """Failed or stalled after success: told, not believed."""
    ledger = desk.begun()
    one = in_state(ledger, S.SUCCEEDED)
    ledger.failed(one.intent_id, "failed", refunded=True)
    ledger.stalled(one.intent_id, "slow")
    assert ledger.get(one.intent_id).state is S.SUCCEEDED
    assert [event.kind for event in ledger.events(one.intent_id)][-2:] == ["late-failure", "late-stall"]


def test_F61_two_workers_that_store_the_same_clip_settle_it_once(desk: Desk) -> None:
    """The loser changes nothing; other bytes for the same job are told to a person."""
    ledger = desk.begun()
    one = in_state(ledger, S.STORED)
    before = len(ledger.money())
    assert desk.open().stored(one.intent_id, artifact(), Money.of("1.00")) == one
    assert ledger.alerts("run-1") == []
    assert ledger.stored(one.intent_id, artifact("b" * 64), None) == one
    assert [event.kind for event in ledger.alerts("run-1")] == ["late-artifact"]
    assert len(ledger.money()) == before


def test_a_clip_that_was_superseded_while_held_is_kept_when_it_comes(desk: Desk) -> None:
    """It is paid for: recorded beside the newer take, which keeps the shot."""
    ledger = desk.begun()
    old = in_state(ledger, S.RESULT_HELD)
    new = reserved(ledger, order(shot_key="take 2", take=2, supersede=True, reason="cannot be fetched"))
    old = ledger.stored(old.intent_id, artifact(), None)
    assert (old.state, old.artifact) == (S.SUPERSEDED, artifact())
    assert ledger.live_for_shot("LIFTOFF", "SH010", "kling-3.0") == new
    reused = ledger.find("key of SH010")
    assert reused is not None
    assert reused.intent_id == old.intent_id


def test_F71_facts_of_a_stale_worker_survive_everything_that_happened_meanwhile(desk: Desk) -> None:
    """Doubt, absence declared too early by a wrong person, a second purchase: the job id is still recorded."""
    ledger = desk.begun()
    stale = desk.open()
    one = reserved(stale)
    desk.clock.turn(7200)
    ledger.recover("other")
    stale.close()
    ledger.absent(one.intent_id, "ada", "not on the dashboard", "dashboard, 14:00", horizon_seconds=3600)
    second = ledger.reserve(order())
    assert isinstance(second, Reserved)
    one = ledger.accepted(one.intent_id, "job-1", None)
    assert (one.state, one.extra) == (S.SUBMITTED, True)


def test_notes_and_callbacks_are_kept_with_their_intent(desk: Desk) -> None:
    """An event a note; `alert` needs a person's eye."""
    ledger = desk.begun()
    one = reserved(ledger)
    ledger.note(one.intent_id, "callback", {"job_id": "job-1"}, actor="callback")
    ledger.note(one.intent_id, "alert", {"message": "the path holds other bytes"})
    kinds = [(event.kind, event.actor, event.alert) for event in ledger.events(one.intent_id)][1:]
    assert kinds == [("callback", "callback", False), ("alert", "machine", True)]


def test_I6_the_facts_alone_tell_the_same_story(desk: Desk) -> None:
    """State, job and money of every intent follow from events and entries."""
    ledger = desk.begun()
    for number, state in enumerate(S):
        in_state(ledger, state, order(f"SH{number}", account=str(number)), job=f"job-{number}")
    rows = {one.intent_id: one for one in ledger.intents()}
    told = ledger.replay()
    assert told.keys() == rows.keys()
    for name, fact in told.items():
        row = rows[name]
        assert (fact.state, fact.job_id) == (row.state, row.job_id)
        assert (fact.reserved, fact.settled) == (row.reserved.micros, row.settled.micros)
