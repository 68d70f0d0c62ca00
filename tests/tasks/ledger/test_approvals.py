"""An approval is one row with what was spent under it, and a run permits reservations for as long as it is open."""

from typing import Any

import pytest

from specs.money import Money
from tasks.ledger import Approval, BudgetRefused, Cap, Closed, IntentState, Ledger, Reserved
from tasks.ledger.books import bucket_keys
from tasks.ledger.record import COLUMNS, Record
from tests.tasks.ledger.desk import PRICE, Desk, artifact, credits_order, in_state, order, reserved, usd

S = IntentState
ONE = Approval("person", "digest 1", (PRICE,), "approval-1", "LIFTOFF", "1" * 64, "{}")


def begun(desk: Desk, ledger: Ledger, run_id: str, approval: Approval = ONE, **facts: Any) -> None:
    """A run under the approval."""
    recorded = ledger.approve(approval)
    facts = {"approved_by": recorded.by, "approval": recorded.reason, "approval_id": recorded.approval_id, **facts}
    desk.begun(run_id, ledger=ledger, **facts)


def uncapped(shot: str = "SH010", run_id: str = "run-1", **changes: Any) -> Any:
    """An order that brings no cap of its own."""
    return order(shot, run_id=run_id, caps=(), **changes)


def test_F102_runs_under_one_approval_share_what_it_allows(desk: Desk) -> None:
    """Room for one shot: the second run is refused by what the first one has reserved, settled or left in doubt."""
    ledger = desk.open()
    begun(desk, ledger, "run-1")
    begun(desk, ledger, "run-2")
    reserved(ledger, uncapped())
    stop = ledger.reserve(uncapped("SH020", "run-2"))
    assert isinstance(stop, BudgetRefused)
    assert (stop.scope, usd(stop.committed)) == ("approval", "1.43")
    assert stop.message.startswith("the cap of this approval is 1.43 USD: 1.43 USD committed")
    assert ledger.verify() == []


@pytest.mark.parametrize(
    ("state", "free"), [(S.REJECTED, True), (S.CANCELLED, True), (S.STORED, False), (S.IN_DOUBT, False)]
)
def test_F102_released_money_is_free_and_settled_money_is_not(desk: Desk, state: IntentState, free: bool) -> None:
    """Whatever an attempt has come to decides what the next one may spend."""
    ledger = desk.open()
    begun(desk, ledger, "run-1")
    in_state(ledger, state, uncapped())
    begun(desk, ledger, "run-2")
    assert isinstance(ledger.reserve(uncapped("SH020", "run-2")), Reserved) == free
    assert ledger.verify() == []


def test_F102_both_providers_count_in_usd_under_one_approval(desk: Desk) -> None:
    """1000 credits at 0.001 are 1.00 USD of an approval for 2.43: one shot more in USD fits, no second."""
    ledger = desk.open()
    begun(desk, ledger, "run-1", Approval("person", "--yes", (Money.of("2.43"),)))
    reserved(ledger, credits_order(caps=()))
    reserved(ledger, uncapped("SH020"))
    assert isinstance(ledger.reserve(credits_order("SH030", caps=())), BudgetRefused)


def test_F102_an_approval_that_is_recorded_keeps_its_cap(desk: Desk) -> None:
    """Approved again under the same name with more: the row says what it said; without a name each is a new one."""
    ledger = desk.open()
    first = ledger.approve(ONE)
    again = ledger.approve(Approval("person", "greedy", (Money.of(99),), "approval-1", attempt_of="flow-run"))
    assert (again.caps, again.reason, again.attempt_of) == (first.caps, first.reason, "flow-run")
    plain = Approval("person", "--yes", (PRICE,))
    assert len({ledger.approve(plain).approval_id for _ in range(3)}) == 3


def test_an_approval_is_found_by_the_first_digits_of_its_digest_or_by_the_attempt(desk: Desk) -> None:
    """Only those that a digest names; the newest attempt's one."""
    ledger = desk.open()
    digest = "3f8a1c0de9b24" + "0" * 51
    ledger.approve(Approval("person", "digest", (PRICE,), digest, digest=digest))
    ledger.approve(Approval("person", "form", (PRICE,), f"flow-run:{digest[:16]}", digest="4" * 64))
    found = ledger.approval(digest=digest[:12])
    assert found is not None
    assert found.approval_id == digest
    assert ledger.approval(digest="3f8a1c0de9b25") is None
    begun(desk, ledger, "run-1", attempt_of="flow-run-1")
    begun(desk, ledger, "run-2", Approval("auto", "rule", (), "approval-2"), attempt_of="flow-run-1")
    newest = ledger.approval(attempt_of="flow-run-1")
    assert newest is not None
    assert newest.approval_id == "approval-2"


def test_F104_nothing_is_reserved_for_a_run_that_has_ended_and_what_was_sent_goes_on(desk: Desk) -> None:
    """By nobody, its own process included; its job is stored all the same."""
    ledger = desk.open()
    begun(desk, ledger, "run-1", Approval("person", "--yes", (Money.of(40),)), owner="worker-1")
    sent = in_state(ledger, S.SUBMITTED, uncapped())
    ledger.end_run("run-1", 130)
    for owner in ("worker-1", "worker-2"):
        stop = ledger.reserve(uncapped("SH020", owner=owner))
        assert isinstance(stop, Closed)
        assert "run-1 has ended" in stop.reason
    ledger.succeeded(sent.intent_id, ["https://files.example/1.mp4"], None)
    assert ledger.stored(sent.intent_id, artifact(), None).state is S.STORED


def test_F104_what_is_reserved_and_not_yet_sent_is_not_sent_once_the_run_has_ended(desk: Desk) -> None:
    """The last look before the request leaves asks again whether the run is open."""
    ledger = desk.open()
    begun(desk, ledger, "run-1", owner="worker-1")
    one = reserved(ledger, uncapped())
    assert ledger.still_ours(one.intent_id, one.epoch)
    ledger.end_run("run-1", 130)
    assert not ledger.still_ours(one.intent_id, one.epoch)


def test_F104_a_render_that_died_closes_by_its_heartbeat_and_one_that_slept_goes_on(desk: Desk) -> None:
    """While the holder beats, a part buys; a minute without, the part does not; the holder itself wakes up as if nothing were."""
    ledger = desk.open()
    begun(desk, ledger, "run-1", Approval("person", "--yes", (Money.of(40),)), owner="render")
    for _ in range(4):
        desk.clock.turn(50)
        ledger.heartbeat("render")
    reserved(ledger, uncapped(owner="part"))
    desk.clock.turn(61)
    stop = ledger.reserve(uncapped("SH020", owner="part"))
    assert isinstance(stop, Closed)
    assert "lost the process that held it" in stop.reason
    assert ledger.closed("run-1", "part")
    reserved(ledger, uncapped("SH030", owner="render"))
    ledger.heartbeat("part")
    assert ledger.closed("run-1", "part")
    ledger.heartbeat("render")
    reserved(ledger, uncapped("SH020", owner="part"))


def test_F104_a_new_attempt_ends_the_earlier_ones_of_its_flow_run_alone(desk: Desk) -> None:
    """The old process may wake up and finds its run over; runs of other flow runs and runs by hand stay open."""
    ledger = desk.open()
    wide = Approval("person", "--yes", (Money.of(40),), "wide")
    for run_id, flow_run in (("run-1", "a"), ("run-2", "b"), ("run-3", ""), ("run-4", ""), ("run-5", "a")):
        begun(desk, ledger, run_id, wide, owner=f"render of {run_id}", attempt_of=flow_run)
    open_ones = [run for run in (f"run-{n}" for n in range(1, 6)) if not ledger.closed(run, f"render of {run}")]
    assert open_ones == ["run-2", "run-3", "run-4", "run-5"]
    ledger.heartbeat("render of run-1")
    assert isinstance(ledger.reserve(uncapped(run_id="run-1", owner="render of run-1")), Closed)


def test_F97_the_day_of_unapproved_runs_counts_them_all_and_nothing_that_a_person_approved(desk: Desk) -> None:
    """Two automatic runs share 2.00; the person's run neither fills that nor is held to it; the next day is empty."""
    ledger, day = desk.open(), (Cap("auto", "", Money.of("2.00")),)
    for number, by in ((1, "auto"), (2, "auto"), (3, "person")):
        begun(desk, ledger, f"run-{number}", Approval(by, "", (Money.of(40),), f"approval-{number}"), caps=day)  # type: ignore[arg-type]
    reserved(ledger, uncapped("SH030", "run-3"))
    reserved(ledger, uncapped("SH010", "run-1"))
    stop = ledger.reserve(uncapped("SH020", "run-2"))
    assert isinstance(stop, BudgetRefused)
    assert "RUSHES_AUTO_DAY_CAP" in stop.message
    assert usd(ledger.committed(day[0])) == "1.43"
    reserved(ledger, uncapped("SH040", "run-3"))
    desk.clock.turn(24 * 3600)
    reserved(ledger, uncapped("SH020", "run-2"))
    assert ledger.verify() == []


def test_a_purchase_of_a_journal_before_approvals_books_to_no_bucket_of_one() -> None:
    """What recovery makes again from such a line names no approval."""
    old: dict[str, Any] = dict.fromkeys(COLUMNS[1:], "") | {"take": 1}
    for name in ("approval_id", "approved_by"):
        del old[name]
    assert bucket_keys(Record(seq=0, **old)).keys() == {"run", "board", "shot", "day", "month", "provider"}
