"""Bills far above their quotes, failures that nobody settled, and what two renders at once say of one purchase."""

import asyncio
from pathlib import Path

import pytest

from tasks.ledger import IntentState
from tests.fixtures.till import paid_board, till

OVERBILLED = "overbill-30pct"


async def test_F22_an_overbilled_shot_is_named_until_a_person_confirms_its_bill(tmp_path: Path) -> None:
    """Report, doubts, plan and doctor name it with its cure; once it is confirmed nothing asks again and buying goes on."""
    with till(tmp_path, f"{OVERBILLED}@1", more={"SHORTAPI_MAX_IN_FLIGHT": "1"}) as here:
        board = here.board(shots=3)
        first = await here.render(board)
        listed = here.run("doubts", "--json")
        said = here.run("doubts").out
        planned = here.run("plan", str(board))
        doctor = here.run("doctor").out
        stored = next(one for one in here.intents() if one.state is IntentState.STORED)
        confirmed = here.run("resolve", stored.intent_id, "--billed", (stored.billed or stored.quote).text)
        nothing = here.run("doubts")
        again = await here.render(board)
        account = here.truth
    assert [row.state for row in first.rows] == ["stored", "refused", "refused"]
    assert (first.exit_code, first.rows[0].overbilled) == (6, True)
    (question,) = listed.document
    assert (listed.code, question["intent"], question["quoted"]) == (6, stored.intent_id, "0.429")
    assert "--billed AMOUNT" in said
    assert "SH010" in planned.out.partition("warning ")[2]
    assert "charged" in next(line for line in doctor.splitlines() if line.startswith("problem  shortapi"))
    assert confirmed.code == 0, confirmed.err
    assert confirmed.out.splitlines()[0].startswith("TILL SH010 TK01 is STORED: ")
    assert (nothing.code, "no doubts" in nothing.out) == (0, True)
    assert (again.exit_code, [row.action for row in again.rows]) == (0, ["reuse", "create", "create"])
    assert len(account.creates) == 3


async def test_F22_a_run_that_a_person_approves_sends_one_shot_until_its_bill_is_known(tmp_path: Path) -> None:
    """An acceptance says nothing about the price: a second bill that is too high stops the same run at one job."""
    with till(tmp_path, f"{OVERBILLED}*2") as here:
        board = here.board(shots=1)
        await here.render(board)
        board = here.board(shots=5)
        again = await here.render(board)
        account = here.truth
    assert len(account.creates) == 2
    assert again.exit_code == 6
    assert [row.state for row in again.rows].count("refused") == 3


async def test_F37_a_failure_that_nobody_settled_is_listed_and_settled_by_a_person(tmp_path: Path) -> None:
    """It needs nobody, since it counts as spent after a day; who knows better may say what it cost."""
    with till(tmp_path, "failed-silent") as here:
        report = await here.render(here.board())
        (failed,) = here.intents()
        listed = here.run("doubts")
        settled = here.run("resolve", failed.intent_id, "--billed", "0", "--json")
        wrong = here.run("resolve", failed.intent_id, "--billed", "0.10 credits")
        (after,) = here.intents()
    assert (report.exit_code, failed.state) == (5, IntentState.FAILED_UNSETTLED)
    assert listed.code == 0
    assert failed.intent_id in listed.out
    assert settled.document["state"] == "FAILED_FINAL"
    assert (wrong.code, "billed in USD" in wrong.err) == (4, True)
    assert (after.settled.micros, after.reserved.micros) == (0, 0)


async def test_F36_a_failure_without_a_bill_is_not_bought_again_unasked(tmp_path: Path) -> None:
    """The plan says what the render will do about it: nothing, until a new take is asked for."""
    with till(tmp_path, "failed-refunded") as here:
        board = here.board()
        await here.render(board)
        (planned,) = here.run("plan", str(board), "--json").document["shots"]
        again = await here.render(board)
        retaken = await here.retake(board, "it failed")
        account = here.truth
    assert (planned["action"], planned["usd"]) == ("held", "0.00")
    assert "failed, and not billed; `rushes retake`" in planned["note"]
    assert (again.exit_code, again.rows[0].action, again.rows[0].state) == (5, "skip", "failed")
    assert (retaken.exit_code, retaken.rows[0].state, len(account.creates)) == (0, "stored", 2)


async def test_F36_the_new_take_of_a_failed_shot_is_the_one_that_later_renders_show(tmp_path: Path) -> None:
    """A plain render reuses the retake, and another reason asks for a third take only when a person gives it."""
    with till(tmp_path, "failed-refunded") as here:
        board = here.board()
        await here.render(board)
        await here.retake(board, "it failed")
        (planned,) = here.run("plan", str(board), "--json").document["shots"]
        again = await here.render(board)
        account = here.truth
    assert (planned["action"], planned["take"]) == ("reuse", 2)
    assert (again.exit_code, again.rows[0].action, again.rows[0].take) == (0, "reuse", 2)
    assert len(account.creates) == 2


async def test_F81_a_doubt_that_was_written_off_is_not_turned_into_a_purchase_by_a_bill_of_nothing(
    tmp_path: Path,
) -> None:
    """Without a job nobody can know its bill, and what was written off is bought anew by a retake alone."""
    with till(tmp_path, "http-502-after") as here:
        board = here.board()
        await here.render(board)
        (doubt,) = here.intents()
        here.run("resolve", doubt.intent_id, "--write-off")
        refused = here.run("resolve", doubt.intent_id, "--billed", "0")
        again = await here.render(board)
        (job,) = here.truth.jobs
        attached = here.run("resolve", doubt.intent_id, "--job-id", job.job_id)
        account = here.truth
    assert (refused.code, "no job of" in refused.err) == (4, True)
    assert again.rows[0].action == "skip"
    assert "written off" in again.rows[0].note
    assert attached.code == 0
    assert len(account.creates) == 1


async def test_F67_a_damaged_take_names_the_copy_that_is_there(tmp_path: Path) -> None:
    """Nothing needs to be bought: the advice is to delete the file, and then it is put back."""
    with till(tmp_path) as here:
        board = here.board()
        await here.render(board)
        clip = tmp_path / "store/TILL/shots/SH010/SH010_TK01.mp4"
        clip.write_bytes(b"")
        damaged = await here.render(board)
        clip.unlink()
        mended = await here.render(board)
    assert (damaged.exit_code, damaged.rows[0].state) == (6, "held")
    assert "delete it and render again" in damaged.rows[0].note
    assert (mended.exit_code, clip.stat().st_size > 1000) == (0, True)


async def test_F74_of_two_renders_at_once_only_one_says_that_it_bought(tmp_path: Path) -> None:
    """The other one waited for the same purchase; its report takes no credit for the money."""
    with till(tmp_path) as here:
        board = here.board(shots=2)
        reports = await asyncio.gather(here.render(board), here.render(board))
        account = here.truth
    actions = [row.action for report in reports for row in report.rows]
    assert len(account.creates) == actions.count("create") == 2
    assert sum(report.totals.created for report in reports) == 2


async def test_F68_an_interrupted_retake_goes_on_when_it_is_asked_for_again(tmp_path: Path) -> None:
    """The same reason binds to the take that is under way: it is fetched, and nothing more is bought."""
    with till(tmp_path) as here:
        board = here.board()
        await here.render(board)
        first = asyncio.create_task(here.retake(board, "too dark"))
        while len(here.truth.jobs) < 2:  # noqa: ASYNC110 - the sandbox is another thread
            await asyncio.sleep(0.02)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        again = await here.retake(board, "too dark")
        account = here.truth
    assert (again.exit_code, again.rows[0].state, again.rows[0].take) == (0, "stored", 2)
    assert len(account.creates) == 2


async def test_F13_a_key_that_is_not_taken_and_a_provider_that_is_not_there_are_set_up(tmp_path: Path) -> None:
    """Exit 7 each: nothing is wrong with the shots, and nothing was bought."""
    with till(tmp_path, "http-401") as here:
        refused = await here.render(here.board())
        assert not here.truth.jobs
    (tmp_path / "away").mkdir()
    with till(tmp_path / "away", more={"SHORTAPI_BASE_URL": "http://127.0.0.1:9"}) as there:
        away = await there.render(there.board())
    assert (refused.exit_code, away.exit_code) == (7, 7)
    assert [row.state for row in (*refused.rows, *away.rows)] == ["failed", "failed"]


@pytest.mark.parametrize(
    ("key", "cure"), [("  ", "Set SHORTAPI_KEY"), ("sk-1\nsk-2", "SHORTAPI_KEY: a key is one word")]
)
def test_a_key_that_is_none_is_named_before_anything_is_sent(key: str, cure: str, tmp_path: Path) -> None:
    """Blank, or pasted with a line break in it: exit 7, and the key is not shown."""
    with till(tmp_path, more={"SHORTAPI_KEY": key}) as here:
        printed = here.run("render", str(here.board()), "--yes")
        assert not here.truth.creates
    assert (printed.code, cure in printed.err, "sk-2" in printed.err) == (7, True, False), printed.err


async def test_F65_a_local_render_that_could_not_be_kept_is_no_doubt_and_is_done_again(tmp_path: Path) -> None:
    """Nothing was bought, so nobody is asked: once the folder can be written the same command renders the shot."""
    with till(tmp_path) as here:
        board = here.board(paid_board(provider="animatic", budget=""))
        (tmp_path / "home").mkdir()
        (tmp_path / "home" / "animatic").write_text("in the way")
        failed = await here.render(board)
        (tmp_path / "home" / "animatic").unlink()
        again = await here.render(board)
    assert (failed.exit_code, failed.rows[0].state) == (5, "failed")
    assert "cannot be written" in failed.rows[0].note
    assert (again.exit_code, again.rows[0].state, again.rows[0].action) == (0, "stored", "create")
