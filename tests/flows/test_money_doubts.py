"""Doubts, decisions, late results and what they cost, through the command line."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.gate import Wish
from tasks.ledger import IntentState
from tests.fixtures.till import paid_board, till

LOST = "http-502-after"


async def test_F08_a_doubt_is_listed_with_its_money_and_attached_by_its_job_id(tmp_path: Path) -> None:
    """Listed, confirmed by a query, collected; the provider was paid once, and each command says what it did."""
    with till(tmp_path, LOST) as here:
        assert (await here.render(here.board())).exit_code == 6
        listed = here.run("doubts", "--json")
        (doubt,) = listed.document
        spent = here.run("costs", "--json").document
        (job,) = here.truth.jobs
        attached = here.run("resolve", doubt["intent"], "--job-id", job.job_id, "--json")
        again = here.run("resolve", doubt["intent"], "--job-id", job.job_id)
        collected = here.run("collect", "--json")
        nothing = here.run("collect")
        account = here.truth
        assert here.intents()[0].state is IntentState.STORED
    assert (listed.code, doubt["reserved"], doubt["unit"], doubt["provider"]) == (6, "0.429", "USD", "shortapi")
    assert (spent["totals"]["in_doubt_usd"], spent["totals"]["reserved_usd"]) == ("0.429", "0.00")
    assert (attached.code, attached.document["state"], again.code) == (0, "SUBMITTED", 0)
    assert (collected.code, collected.document["intents"][0]["is"]) == (0, "STORED")
    assert (nothing.code, "nothing is open" in nothing.out) == (0, True)
    assert len(account.creates) == 1


async def test_F108_one_job_is_not_attached_to_two_doubts_through_two_spellings_of_its_address(tmp_path: Path) -> None:
    """The second doubt is refused the first one's job; given its own, both paid clips are fetched."""
    with till(tmp_path, LOST, f"{LOST}@2") as here:
        await here.render(here.board(shots=1))
        spelled = here.sandbox.shortapi_url.replace("127.0.0.1", "LOCALHOST") + "/"
        other = replace(here, more={"SHORTAPI_BASE_URL": spelled})
        await other.render(here.board(shots=2))
        first, second = here.intents()
        one, two = (job.job_id for job in here.truth.jobs)
        attached = here.run("resolve", first.intent_id, "--job-id", one)
        refused = here.run("resolve", second.intent_id, "--job-id", one)
        own = here.run("resolve", second.intent_id, "--job-id", two)
        collected = here.run("collect", "--json")
    assert first.base_url != second.base_url
    assert (attached.code, refused.code, own.code) == (0, 4, 0), refused.err
    assert first.intent_id in refused.err
    assert [one["is"] for one in collected.document["intents"]] == ["STORED", "STORED"]


async def test_F81_a_decision_that_cannot_be_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    """A job that nobody knows, a job of another shot, absence said too early, an intent that there is not."""
    with till(tmp_path) as here:
        await here.render(here.board(shots=1))
        here.sandbox.fault(LOST)
        await here.render(here.board(shots=2))
        stored, doubt = here.intents()
        unknown = here.run("resolve", doubt.intent_id, "--job-id", "no-such-job")
        used = here.run("resolve", doubt.intent_id, "--job-id", stored.job_id or "")
        early = here.run("resolve", doubt.intent_id, "--absent")
        finished = here.run("resolve", stored.intent_id, "--write-off")
        nobody = here.run("resolve", "01JDNOBODY", "--write-off")
        assert here.intents()[1] == doubt
    assert (unknown.code, "does not confirm" in unknown.err) == (7, True)
    assert (used.code, stored.intent_id in used.err) == (4, True)
    assert (early.code, "too early" in early.err) == (4, True)
    assert (finished.code, "cannot be written off" in finished.err) == (4, True)
    assert nobody.code == 4
    assert not any("Traceback" in one.err for one in (unknown, used, early, finished, nobody))


async def test_F81_a_write_off_counts_in_full_once_and_the_shot_is_not_bought_again(tmp_path: Path) -> None:
    """Said twice it is done once; no doubt is left, and only a new take would buy the shot."""
    with till(tmp_path, LOST) as here:
        board = here.board()
        await here.render(board)
        (doubt,) = here.intents()
        codes = [here.run("resolve", doubt.intent_id, "--write-off").code for _ in range(2)]
        listed = here.run("doubts")
        again = await here.render(board)
        (settled,) = here.intents()
    assert codes == [0, 0]
    assert (listed.code, "no doubts" in listed.out) == (0, True)
    assert (settled.state, settled.settled.text) == (IntentState.ABANDONED, "0.429")
    assert again.rows[0].action == "skip"


@pytest.mark.parametrize("words", [[], ["--absent", "--write-off"], ["--job-id", "x", "--absent"]])
def test_a_decision_is_one_of_three(words: list[str], tmp_path: Path) -> None:
    """Anything else is a mistake of usage."""
    with till(tmp_path) as here:
        printed = here.run("resolve", "01JD", *words)
    assert (printed.code, "exactly one of" in printed.err) == (2, True)


async def test_F57_a_held_result_is_collected_once_the_host_hands_it_out(tmp_path: Path) -> None:
    """Held is exit 6 from `collect` too, until it is stored; the money is settled meanwhile."""
    with till(tmp_path, "file-html*400") as here:
        assert (await here.render(here.board())).rows[0].state == "held"
        spent = here.run("costs", "--by", "shot", "--json").document
        here.sandbox.clear_faults()
        stored = here.run("collect", "--json")
    assert spent["lines"][0] | {"shot": "TILL/SH010", "settled": "0.429", "reserved": "0.00"} == spent["lines"][0]
    assert (stored.code, stored.document["intents"][0]["was"]) == (0, "RESULT_HELD")
    assert stored.document["intents"][0]["is"] == "STORED"


async def test_F35_a_stalled_job_stays_open_for_collect(tmp_path: Path) -> None:
    """Asked after, not bought again, exit 6."""
    with till(tmp_path, "stuck", more={"RUSHES_POLL_SECONDS": ""}) as here:
        await here.render(here.board())
        printed = here.run("collect", "--json")
        account = here.truth
    (open_still,) = printed.document["intents"]
    assert (printed.code, open_still["was"]) == (6, "STALLED")
    assert open_still["is"] in {"STALLED", "SUBMITTED"}, "the provider still says that it runs"
    assert len(account.creates) == 1


async def test_costs_are_written_for_spreadsheets_and_people(tmp_path: Path) -> None:
    """CSV, Parquet and the page hold the same sums as the document, whatever the orders were refused for."""
    with till(tmp_path, "http-400@2", more={"SHORTAPI_MAX_IN_FLIGHT": "1"}) as here:
        await here.render(here.board(shots=3))
        names = [tmp_path / f"costs.{kind}" for kind in ("csv", "parquet", "html")]
        files = [word for path in names for word in (f"--{path.suffix[1:]}", str(path))]
        printed = here.run("costs", "--by", "provider", *files, "--json")
        later = here.run("costs", "--since", "2999-01-01", "--json")
    assert printed.code == 0, printed.err
    (line,) = printed.document["lines"]
    assert (line["provider"], line["orders"], line["quoted"], line["settled"]) == ("shortapi", 2, "0.858", "0.858")
    with names[0].open(encoding="utf-8", newline="") as file:
        assert [row["settled"] for row in csv.DictReader(file)] == ["0.858"]
    assert names[1].read_bytes().startswith(b"PAR1")
    assert b"<svg" in names[2].read_bytes()
    assert later.document["lines"] == []


@pytest.mark.parametrize("words", [["--by", "week"], ["--since", "yesterday"]])
def test_costs_by_a_grouping_or_a_day_that_there_is_not(words: list[str], tmp_path: Path) -> None:
    """A mistake of usage."""
    with till(tmp_path) as here:
        assert here.run("costs", *words).code == 2


async def test_a_retake_is_bought_recorded_and_used_from_then_on(tmp_path: Path) -> None:
    """The old take gives way with the reason; a plain render afterwards buys nothing and shows the new take."""
    with till(tmp_path) as here:
        board = here.board()
        await here.render(board)
        refused = here.run("retake", str(board), "SH010", "--reason", "the horizon tilts")
        report = await here.retake(board, "the horizon tilts")
        twice = await here.retake(board, "the horizon tilts")
        after = await here.render(board)
        old, new = here.intents()
        with here.ledger() as ledger:
            reasons = [str(event.payload.get("reason")) for event in ledger.events(new.intent_id)]
        account = here.truth
    assert (refused.code, "need approval" in refused.err) == (4, True)
    assert (report.rows[0].take, report.rows[0].state) == (2, "stored")
    assert (old.state, new.state) == (IntentState.SUPERSEDED, IntentState.STORED)
    assert any("the horizon tilts" in reason for reason in reasons)
    assert [(row.action, row.take) for row in after.rows] == [("reuse", 2)]
    assert [(row.action, row.take) for row in twice.rows] == [("reuse", 2)], "the same reason asks for no third take"
    assert len(account.jobs) == 2


def test_a_retake_of_a_shot_that_there_is_not_is_refused(tmp_path: Path) -> None:
    """Named, exit 4."""
    with till(tmp_path) as here:
        printed = here.run("retake", str(here.board()), "SH999", "--reason", "x", "--yes")
    assert (printed.code, "SH999" in printed.err) == (4, True)


async def test_F79_an_edited_shot_that_was_paid_is_refused_by_the_names_of_its_changes(tmp_path: Path) -> None:
    """Until the take is raised; then it is bought anew beside the old file."""
    with till(tmp_path) as here:
        text = paid_board()
        await here.render(here.board(text))
        edited = text.replace("Push in 1", "Push out 1").replace("duration: 3", "duration: 4")
        shot = here.run("plan", str(here.board(edited)), "--json").document["shots"][0]
        refused = await here.render(here.board(edited))
        raised = await here.render(here.board(edited.replace("Push out 1}", "Push out 1, take: 2}")))
        account = here.truth
    assert (shot["action"], shot["usd"]) == ("held", "0.00")
    assert "another prompt, duration" in shot["note"]
    assert (refused.exit_code, refused.rows[0].state) == (4, "refused")
    assert (raised.rows[0].state, raised.rows[0].take, len(account.jobs)) == ("stored", 2, 2)
    assert (tmp_path / "store/TILL/shots/SH010/SH010_TK01.mp4").exists()


async def test_F22_a_bill_far_above_its_quote_stops_buying_until_a_person_approves(tmp_path: Path) -> None:
    """Exit 6 though the take is stored; an automatic run is refused, a person's run goes on."""
    generous = "{cap: 40.00 USD, auto_approve: 9.00 USD}"
    with till(tmp_path, "overbill-30pct") as here:
        first = await here.render(here.board(shots=1, budget=generous))
        automatic = await here.render(here.board(shots=2, budget=generous), wish=Wish())
        creates = len(here.truth.creates)
        approved = await here.render(here.board(shots=2, budget=generous), wish=Wish(yes=True))
        listed = json.loads(here.run("costs", "--json").out)
        account = here.truth
    assert (first.exit_code, first.rows[0].state) == (6, "stored")
    assert "billed 0.5577 USD, quoted 0.429 USD" in first.rows[0].note
    assert (automatic.rows[1].state, creates) == ("refused", 1)
    assert "a person approves" in automatic.rows[1].note
    assert approved.rows[1].state == "stored"
    assert listed["totals"]["settled_usd"] == f"{account.total('USD').net:f}"


async def test_F35_a_run_does_not_wait_for_slots_that_doubts_and_stalled_jobs_keep(tmp_path: Path) -> None:
    """The shot is refused with the reason, nothing is sent for it, and the run comes to its end."""
    with till(tmp_path, LOST, more={"SHORTAPI_MAX_IN_FLIGHT": "1"}) as here:
        report = await here.render(here.board(shots=2))
        account = here.truth
    assert [row.state for row in report.rows] == ["in_doubt", "refused"]
    assert "stalled or in doubt" in report.rows[1].note
    assert (report.exit_code, len(account.creates)) == (6, 1)
