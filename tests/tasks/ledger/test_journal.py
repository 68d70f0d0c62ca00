"""The journal: what the database lost is found again, and a ledger that came back older than it does not buy."""

import pytest

from specs.money import Money
from tasks.ledger import Halted, IntentState, Reserved, Taken
from tests.tasks.ledger.desk import Desk, in_state, order, reserved, usd
from tests.tasks.ledger.test_opening import full_disk

S = IntentState


def test_an_answer_that_the_database_lost_is_applied_at_the_next_start(desk: Desk) -> None:
    """K11 without K13: the job is known, so the clip is not lost."""
    ledger = desk.begun()
    one = reserved(ledger)
    ledger.journal_answer(one.intent_id, "0" * 64, "job-1")
    desk.close()
    one = desk.open().get(one.intent_id)
    assert (one.state, one.job_id, usd(one.reserved)) == (S.SUBMITTED, "job-1", "1.43")
    desk.close()
    assert desk.open().get(one.intent_id) == one


def test_an_answer_of_a_living_sender_is_left_to_it(desk: Desk) -> None:
    """It may be about to call it a doubt; when it is gone the answer is taken."""
    ledger = desk.begun()
    one = reserved(ledger)
    ledger.journal_answer(one.intent_id, "0" * 64, "candidate")
    other = desk.open()
    assert other.get(one.intent_id).state is S.SUBMITTING
    assert other.recover("other").replayed == ()
    ledger.close()
    assert other.recover("other").replayed == (one.intent_id,)
    assert other.get(one.intent_id).job_id == "candidate"


def test_a_candidate_that_its_sender_did_not_believe_is_not_believed_later(desk: Desk) -> None:
    """F17: a job id in an odd reply stays a doubt until a query confirms it."""
    ledger = desk.begun()
    one = reserved(ledger)
    ledger.journal_answer(one.intent_id, "0" * 64, "candidate")
    ledger.doubt(one.intent_id, 1, "a refusal that carries a job id")
    desk.close()
    assert desk.open().get(one.intent_id).state is S.IN_DOUBT


def test_an_answer_that_comes_after_recovery_is_found_in_the_journal(desk: Desk) -> None:
    """F71: the sender slept past its lease, woke, wrote K11 and died."""
    ledger = desk.begun()
    one = reserved(ledger)
    desk.clock.turn(61)
    desk.open().recover("other")
    ledger.journal_answer(one.intent_id, "0" * 64, "job-1")
    desk.close()
    assert desk.open().get(one.intent_id).state is S.SUBMITTED


def test_an_answer_without_a_job_id_changes_nothing(desk: Desk) -> None:
    """It is kept for a person."""
    ledger = desk.begun()
    one = reserved(ledger)
    ledger.journal_answer(one.intent_id, "f" * 64, None)
    desk.close()
    assert desk.open().get(one.intent_id).state is S.SUBMITTING
    assert "f" * 64 in next(desk.home.glob("*.journal")).read_text()


def test_F63_on_a_full_disk_the_answer_goes_to_the_reserve_and_comes_back(sqlite_desk: Desk) -> None:
    """The journal's megabyte was set aside; the ledger says that it cannot write; the next start knows the job."""
    ledger = sqlite_desk.begun(ledger=sqlite_desk.open(durable=True))
    one, two = reserved(ledger), reserved(ledger, order("SH020"))
    journal = sqlite_desk.home / "ledger.journal"
    size = journal.stat().st_size
    with full_disk(journal):
        ledger.journal_answer(one.intent_id, "0" * 64, "job-1")
        ledger.journal_answer(two.intent_id, "0" * 64, "job-2")
        with pytest.raises(Exception, match="disk full"):
            ledger.accepted(one.intent_id, "job-1", None)
    assert (journal.stat().st_size, (sqlite_desk.home / "ledger.reserve").stat().st_size) == (size, 1 << 20)
    sqlite_desk.close()
    ledger = sqlite_desk.open(durable=True)
    assert [ledger.get(intent.intent_id).job_id for intent in (one, two)] == ["job-1", "job-2"]
    assert (sqlite_desk.home / "ledger.reserve").read_bytes() == bytes(1 << 20)
    assert ledger.verify() == []


def test_a_line_cut_by_a_crash_spoils_no_other(desk: Desk) -> None:
    """It was never acknowledged; what is appended behind it is read."""
    ledger = desk.begun()
    one = reserved(ledger)
    with next(desk.home.glob("*.journal")).open("ab") as file:
        file.write(b'\n{"intent_id": "01HQ", "job_')
    ledger.journal_answer(one.intent_id, "0" * 64, "job-1")
    desk.close()
    assert desk.open().get(one.intent_id).job_id == "job-1"


def test_F73_a_ledger_from_an_older_backup_buys_nothing_until_it_is_recovered(desk: Desk) -> None:
    """Its lost purchases are made again from the journal, with their money, as jobs or as doubts; none is repeated."""
    ledger = desk.begun()
    kept = in_state(ledger, S.STORED, order("SH010"))
    copy = desk.backup()
    ledger = desk.open()
    job = in_state(ledger, S.STORED, order("SH020"), job="job-2")
    ledger.journal_answer(job.intent_id, "0" * 64, "job-2")
    lost = in_state(ledger, S.SUBMITTING, order("SH030"))
    desk.restore(copy)

    ledger = desk.open()
    assert ledger.halted() == "the ledger is older than its journal: 2 purchases are missing"
    assert isinstance(ledger.reserve(order("SH040")), Halted)
    assert isinstance(ledger.reserve(order("SH010")), Taken)
    found = ledger.recover("worker-2")
    assert (set(found.recreated), found.replayed, found.halted) == (
        {job.intent_id, lost.intent_id},
        (job.intent_id,),
        "",
    )
    assert (ledger.get(job.intent_id).state, ledger.get(job.intent_id).job_id) == (S.SUBMITTED, "job-2")
    assert ledger.get(lost.intent_id).state is S.IN_DOUBT
    assert ledger.get(lost.intent_id).request_json == lost.request_json
    assert usd(ledger.totals().settled["USD"] + ledger.totals().reserved["USD"]) == "2.86"
    for shot in ("SH010", "SH020", "SH030"):
        assert isinstance(ledger.reserve(order(shot)), Taken)
    assert isinstance(ledger.reserve(order("SH040")), Reserved)
    assert ledger.get(kept.intent_id) == kept


def test_F73_recovery_is_told_to_every_process_on_the_ledger(desk: Desk) -> None:
    """RECOVERY is in the database: a second process that sees nothing wrong itself stops too."""
    ledger = desk.begun()
    copy = desk.backup()
    ledger = desk.open()
    in_state(ledger, S.SUBMITTED)
    desk.restore(copy)
    desk.open()
    assert isinstance(desk.open().reserve(order("SH020")), Halted)
    waiting = desk.open()
    waiting.recover("worker-2")
    assert isinstance(desk.open().reserve(order("SH020")), Reserved)


def test_F73_a_lost_purchase_comes_back_beside_the_attempt_before_it(desk: Desk) -> None:
    """The backup knows a first attempt as live that had been refused since: both rows are there, one holds the shot."""
    ledger = desk.begun()
    first = reserved(ledger)
    copy = desk.backup()
    ledger = desk.open()
    ledger.rejected(first.intent_id, 1, kind="rate", reason="429", opens_breaker=False)
    second = reserved(ledger)
    desk.restore(copy)
    ledger = desk.open()
    found = ledger.recover("worker-2")
    assert (found.recreated, found.doubts) == ((second.intent_id,), (first.intent_id,))
    assert [(one.attempt_no, one.extra) for one in ledger.intents()] == [(1, False), (2, True)]
    assert usd(ledger.totals().in_doubt["USD"]) == "2.86"


@pytest.mark.parametrize("loss", ["removed", "shortened"])
def test_F73_a_ledger_whose_journal_lost_lines_waits_for_a_person(desk: Desk, loss: str) -> None:
    """Nothing can tell what is missing, so nobody but a person can vouch for it."""
    ledger = desk.begun()
    reserved(ledger)
    desk.close()
    desk.open()
    desk.close()
    journal = next(desk.home.glob("*.journal"))
    journal.unlink()
    if loss == "shortened":
        journal.write_bytes(b"")
        journal.chmod(0o600)
    ledger = desk.open()
    assert ledger.recover("worker-2").halted == "its journal has lost lines"
    assert isinstance(ledger.reserve(order("SH020")), Halted)
    ledger.reconcile("ada", "the dashboard shows one job, which is in the ledger")
    assert isinstance(ledger.reserve(order("SH020")), Reserved)
    desk.close()
    assert desk.open().halted() == ""


def test_F73_another_ledger_in_the_place_of_this_one_waits_for_a_person(sqlite_desk: Desk) -> None:
    """Somebody copied a ledger over: its purchases are others."""
    in_state(sqlite_desk.begun(), S.STORED)
    sqlite_desk.close()
    other = Desk(f"sqlite:///{sqlite_desk.home.parent}/other/ledger.db", sqlite_desk.home.parent / "other")
    in_state(other.begun(), S.STORED)
    sqlite_desk.restore(other.backup())
    ledger = sqlite_desk.open()
    assert "another ledger stands where" in ledger.halted()
    assert isinstance(ledger.reserve(order("SH020")), Halted)


def test_F73_a_copied_database_without_its_journal_waits_for_a_person(sqlite_desk: Desk) -> None:
    """A backup on a new machine: how old it is cannot be told."""
    in_state(sqlite_desk.begun(), S.STORED)
    sqlite_desk.close()
    for suffix in (".json", ".journal"):
        (sqlite_desk.home / f"ledger{suffix}").unlink()
    ledger = sqlite_desk.open()
    assert ledger.halted() == "it was written from another folder, whose journal is not here"
    ledger.reconcile("ada", "moved to a new machine with everything")
    assert ledger.reserve(order("SH020", quote=Money(0))) != Halted("")
    assert ledger.halted() == ""


def test_what_was_read_once_is_not_read_again(desk: Desk) -> None:
    """A start reads the journal from where the ledger is known to hold it."""
    ledger = desk.begun()
    one = in_state(ledger, S.SUBMITTED)
    ledger.journal_answer(one.intent_id, "0" * 64, "job-1")
    desk.close()
    desk.open()
    desk.close()
    journal = next(desk.home.glob("*.journal"))
    text = journal.read_bytes()
    journal.write_bytes(b"\n" * len(text))
    assert desk.open().halted() == ""
