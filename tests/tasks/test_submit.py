"""Submit: what each answer to a create comes to, and how often it is sent."""

import json
from pathlib import Path

import pytest

from tasks.errors import Refused
from tasks.ledger import IntentState
from tests.proof.scripts import SCRIPTS
from tests.proof.truth import Script
from tests.tasks.stages import shooting

S = IntentState

DOUBTS = [
    ("F03", "create-lost-before"),
    ("F04", "create-lost-after"),
    ("F05", "create-closed-after"),
    ("F06", "create-reset-after"),
    ("F07", "create-cut"),
    *(("F08", f"http-{status}-after") for status in (500, 502, 503, 504)),
    *(("F09", f"http-{status}-before") for status in (500, 502, 503, 504)),
    *(("F10", f"http-{status}-{when}") for status in (408, 409, 301) for when in ("before", "after")),
    ("F15", "html-after"),
    ("F16", "json-cut"),
    ("F16", "empty-body"),
    *(("F17", f"id-{what}") for what in ("empty", "null", "number", "object", "missing")),
    ("F18", "unlisted-after"),
    ("F23", "create-timeout-after"),
    ("F26", "http-307-after"),
]


@pytest.mark.parametrize(("fault", "script"), DOUBTS)
def test_an_answer_that_says_nothing_certain_is_a_doubt(fault: str, script: str, tmp_path: Path) -> None:
    """One POST; the intent is IN_DOUBT with its whole price reserved, whether or not the provider accepted (F03 to F26)."""
    with shooting(SCRIPTS[script], tmp_path) as shoot:
        intent = shoot.submit()
        assert intent.state is S.IN_DOUBT
        assert intent.reserved == intent.quote
        assert len(shoot.stage.oracle.creates) == 1
        assert shoot.submit().intent_id == intent.intent_id
        assert len(shoot.stage.oracle.creates) == 1


@pytest.mark.parametrize("script", ["id-outside", "id-list", "contradiction", "json-cut-end"])
def test_F17_F19_an_odd_reply_is_believed_once_a_query_confirms_its_id(script: str, tmp_path: Path) -> None:
    """The candidate id is asked for with our key; only the query's answer makes it the job."""
    with shooting(SCRIPTS[script], tmp_path) as shoot:
        intent = shoot.submit()
        assert intent.state is S.SUBMITTED
        assert shoot.kinds(intent) == ["reserved", "doubted", "reply", "accepted"]
        assert len(shoot.stage.oracle.creates) == 1


def test_F20_the_job_id_of_another_shot_leaves_the_second_in_doubt(tmp_path: Path) -> None:
    """One job serves one shot; both prices stay reserved."""
    with shooting(SCRIPTS["id-of-another"], tmp_path) as shoot:
        first, second = shoot.submit(0), shoot.submit(1)
        assert (first.state, second.state) == (S.SUBMITTED, S.IN_DOUBT)
        assert "duplicate job id" in second.doubt_reason
        assert second.reserved == second.quote


@pytest.mark.parametrize("what", ["word", "negative", "nan", "huge", "comma", "currency"])
def test_F21_an_unusable_amount_never_breaks_an_accepted_job(what: str, tmp_path: Path) -> None:
    """The job stands at the quoted price, with a flag."""
    with shooting(SCRIPTS[f"amount-{what}"], tmp_path) as shoot:
        intent = shoot.submit()
        assert intent.state is S.SUBMITTED
        assert intent.amount is None
        assert intent.reserved == intent.quote


def test_F22_a_bill_far_above_the_quote_is_recorded_and_stops_further_creates(tmp_path: Path) -> None:
    """The full amount is booked; the next shot is refused before anything is sent."""
    with shooting(SCRIPTS["bill-30pct"], tmp_path) as shoot:
        intent = shoot.submit(0)
        assert intent.reserved.text == "0.5577"
        with pytest.raises(Refused, match="charged"):
            shoot.submit(1)
        assert len(shoot.stage.oracle.creates) == 1


@pytest.mark.parametrize("kind", ["refused-connection", "connect-timeout", "pool-timeout", "proxy"])
def test_F01_F02_what_never_left_is_sent_again_at_most_three_times(kind: str, tmp_path: Path) -> None:
    """Four tries, none of which reached the provider; then the money is given back."""
    with shooting(SCRIPTS[f"{kind}-for-long"], tmp_path) as shoot:
        intent = shoot.submit()
        assert intent.state is S.REJECTED
        assert intent.reserved.micros == 0
        assert shoot.stage.oracle.creates == []
        assert shoot.kinds(intent).count("definite-refusal") == 3


@pytest.mark.parametrize(("after", "least", "most"), [("2", 2, 3), ("soon", 1, 4), ("-5", 1, 4), ("", 1, 4)])
def test_F11_a_full_provider_is_asked_again_after_its_own_pause(
    after: str, least: float, most: float, tmp_path: Path
) -> None:
    """429 is definite: the same intent is sent again, no earlier than was asked."""
    with shooting(SCRIPTS[f"http-429-{after or 'bare'}"], tmp_path) as shoot:
        before = shoot.stage.time.ticks
        assert shoot.submit().state is S.SUBMITTED
        assert least <= shoot.stage.time.ticks - before <= most
        assert [create.accepted for create in shoot.stage.oracle.creates] == [False, True]


def test_F11_a_pause_of_minutes_is_waited_for_and_holds_no_money(tmp_path: Path) -> None:
    """The intent ends REJECTED, and the shot is bought by a later attempt."""
    with shooting(SCRIPTS["http-429-120"], tmp_path) as shoot:
        before = shoot.stage.time.ticks
        intent = shoot.submit()
        assert (intent.state, intent.attempt_no) == (S.SUBMITTED, 2)
        assert 120 <= shoot.stage.time.ticks - before <= 140


@pytest.mark.parametrize(("after", "until"), [("7200", "2026-03-01 14:"), ("1000000000", "2026-03-")])
def test_F106_a_retry_after_of_hours_holds_no_run(after: str, until: str, tmp_path: Path) -> None:
    """The shot is refused for now, with the time named and its money released; a later run buys it once."""
    with shooting(SCRIPTS[f"http-429-{after}"], tmp_path) as shoot:
        before = shoot.stage.time.ticks
        intent = shoot.submit()
        assert (intent.state, intent.reserved.micros) == (S.REJECTED, 0)
        assert intent.reason.startswith("refused for now")
        assert f"not before {until}" in intent.reason
        assert shoot.stage.time.ticks - before < 10
        assert shoot.submit().state is S.SUBMITTED
        assert [create.accepted for create in shoot.stage.oracle.creates] == [False, True]


def test_F106_a_queue_that_stays_full_is_waited_for_ten_minutes_in_all(tmp_path: Path) -> None:
    """However often it asks for a little more patience."""
    with shooting(Script("full", create=("http:429-120*",)), tmp_path) as shoot:
        before = shoot.stage.time.ticks
        assert shoot.submit().state is S.REJECTED
        assert 300 < shoot.stage.time.ticks - before <= 600


@pytest.mark.parametrize("script", ["http-400", "http-422", "invalid", "moderation"])
def test_F12_F39_a_refused_request_is_not_sent_again(script: str, tmp_path: Path) -> None:
    """REJECTED, its money released; the next shot goes on."""
    with shooting(SCRIPTS[script], tmp_path) as shoot:
        intent = shoot.submit(0)
        assert (intent.state, intent.reserved.micros) == (S.REJECTED, 0)
        assert len(shoot.stage.oracle.creates) == 1
        assert shoot.submit(1).state is S.SUBMITTED


@pytest.mark.parametrize("script", ["http-401", "http-402", "http-403", "no-credit", "bad-key"])
def test_F13_F14_a_refused_key_or_empty_account_stops_the_run(script: str, tmp_path: Path) -> None:
    """No other shot of the run is sent; a later run may try."""
    with shooting(SCRIPTS[script], tmp_path) as shoot:
        assert shoot.submit(0).state is S.REJECTED
        with pytest.raises(Refused, match="stopped"):
            shoot.submit(1)
        assert len(shoot.stage.oracle.creates) == 1
        shoot.begin("run-2")
        assert shoot.submit(1, "run-2").state is S.SUBMITTED


def test_F28_the_answer_that_comes_after_the_lease_is_a_fact(tmp_path: Path) -> None:
    """Another process put the intent in doubt meanwhile; the job id is recorded all the same."""
    with shooting(SCRIPTS["asleep-at-K10"], tmp_path) as shoot:
        intent = shoot.submit()
        assert intent.state is S.SUBMITTED
        assert shoot.kinds(intent) == ["reserved", "recovered", "accepted"]


def test_F71_a_sender_that_slept_past_its_lease_sends_nothing(tmp_path: Path) -> None:
    """Between reservation and POST the lease is asked for again."""
    with shooting(SCRIPTS["asleep-at-K5"], tmp_path) as shoot:
        assert shoot.submit().state is S.IN_DOUBT
        assert shoot.stage.oracle.creates == []


def test_F63_a_full_disk_after_acceptance_forgets_no_job(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The journal takes no line and the ledger is locked for a while: the job is said aloud, and recorded in the end."""
    with shooting(SCRIPTS["journal-full-and-locked"], tmp_path) as shoot:
        intent = shoot.submit()
        assert intent.state is S.SUBMITTED
        assert intent.job_id
        assert intent.job_id in caplog.text


def test_F62_F65_a_ledger_or_journal_that_cannot_be_written_sends_nothing(tmp_path: Path) -> None:
    """Fail closed: no reservation on record, no POST."""
    for script in (Script("locked-for-good", ledger=("K2:",) * 60), SCRIPTS["journal-full-before"]):
        with shooting(script, tmp_path / script.name) as shoot:
            with pytest.raises(Exception, match=r"cannot be|disk full"):
                shoot.submit()
            assert shoot.stage.oracle.creates == []


def test_F17_the_journal_names_an_unconfirmed_id_as_a_candidate_only(tmp_path: Path) -> None:
    """Recovery believes the journal's job: an odd reply's id stands apart from it."""
    with shooting(Script("odd", create=("id:number",)), tmp_path) as shoot:
        shoot.submit()
        [line] = [
            json.loads(one) for one in (shoot.stage.home / "ledger.journal").read_text().split("\n") if "answer" in one
        ]
        assert (line["job_id"], line["answer"]["job"]) == (None, None)
        assert [one["job_id"] for one in line["answer"]["candidates"]] == ["7"]


def test_F77_a_create_that_was_cut_off_is_taken_up_by_the_same_process(tmp_path: Path) -> None:
    """A process whose loop has ended can render again: it finds a doubt, and does not wait for itself for ever."""
    with shooting(SCRIPTS["http-429-2"], tmp_path) as shoot:
        shoot.cut_off(0.5)
        shoot.production.ledger.heartbeat("proof")
        shoot.production.ledger.recover("again")
        assert shoot.submit().state is S.IN_DOUBT
        assert len(shoot.stage.oracle.creates) == 1


def test_F96_nothing_is_sent_again_for_a_run_that_is_being_ended(tmp_path: Path) -> None:
    """Refused for now; the run ends during the pause before the next try: rejected at once, the money free, one request."""
    with shooting(SCRIPTS["http-429-2"], tmp_path) as shoot:
        assert shoot.ended(0.5) == 0
        (intent,) = shoot.production.ledger.intents()
        assert intent.state is S.REJECTED
        assert intent.reserved.micros == 0
        assert len(shoot.stage.oracle.creates) == 1
