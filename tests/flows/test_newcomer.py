"""What a newcomer ran into: ledgers that know less than the store, lost takes, money left unsaid, errors without words."""

import asyncio
import shutil
from pathlib import Path

import pytest

from flows.plan import Ask, make_plan
from flows.shooting import PlainSteps, shoot
from tasks.errors import Refused
from tasks.gate import Approval, Wish, gate
from tasks.ledger import IntentState
from tasks.shoot import check_ready
from tests.fixtures.boards import board
from tests.fixtures.command import ROOT, Installation
from tests.fixtures.till import till


async def test_F73_a_take_in_the_store_is_not_bought_by_a_ledger_that_never_heard_of_it(tmp_path: Path) -> None:
    """A fresh home beside a full store: refused before anything is sent, with the cure; the right home reuses."""
    with till(tmp_path) as here:
        board = here.board()
        await here.render(board)
        async with here.open() as production:
            check_ready(production, await make_plan(production, Ask(str(board))))
        shutil.move(tmp_path / "home", tmp_path / "right-home")
        async with here.open() as production:
            plan = await make_plan(production, Ask(str(board)))
            with pytest.raises(Refused, match="SH010 is there: the store holds this very take already"):
                check_ready(production, plan)
        assert len(here.truth.creates) == 1


async def test_F73_receipts_of_other_takes_and_damaged_ones_stand_in_nobodys_way(tmp_path: Path) -> None:
    """An edited shot with a raised take is bought; a file that is no receipt is passed over. Not raised, it is announced."""
    with till(tmp_path) as here:
        board = here.board()
        await here.render(board)
        (tmp_path / "store/TILL/shots/SH010/notes.json").write_text("{not json")
        shutil.move(tmp_path / "home", tmp_path / "right-home")
        board.write_text(board.read_text().replace("Push in 1", "Pan left"))
        async with here.open() as production:
            with pytest.raises(Refused, match="SH010 is there: the store holds this very take already"):
                check_ready(production, await make_plan(production, Ask(str(board))))
        board.write_text(board.read_text().replace("Pan left", "Pan left, take: 2"))
        async with here.open() as production:
            check_ready(production, await make_plan(production, Ask(str(board))))


def test_a_relative_ledger_is_refused_with_the_whole_path(tmp_path: Path) -> None:
    """Each folder would have a ledger of its own: exit 7, and nothing is made."""
    printed = Installation(tmp_path, {"RUSHES_LEDGER": "sqlite:///led.db"}).run("doubts")
    assert (printed.code, "sqlite:////" in printed.err) == (7, True)
    assert not (ROOT / "led.db").exists()


async def test_a_take_that_is_gone_from_the_store_is_put_back(tmp_path: Path) -> None:
    """The store was emptied, or is another one: the reuse delivers the take and its receipt again, and buys nothing."""
    with till(tmp_path) as here:
        board = here.board()
        first = await here.render(board)
        shutil.rmtree(tmp_path / "store")
        again = await here.render(board)
        assert len(here.truth.creates) == 1
    folder = tmp_path / "store/TILL/shots/SH010"
    assert sorted(one.name for one in folder.iterdir()) == ["SH010_TK01.json", "SH010_TK01.mp4"]
    assert (again.rows[0].state, again.rows[0].sha256) == ("stored", first.rows[0].sha256)


@pytest.mark.parametrize("keep_copy", [True, False])
async def test_I10_a_paid_take_that_is_lost_or_changed_is_never_called_stored(keep_copy: bool, tmp_path: Path) -> None:
    """Other bytes under its name, or no copy anywhere: held, exit 6, a sentence, a whole report, and nothing is bought."""
    with till(tmp_path) as here:
        board = here.board()
        await here.render(board)
        take = tmp_path / "store/TILL/shots/SH010/SH010_TK01.mp4"
        if keep_copy:
            take.write_bytes(b"junk")
        else:
            take.unlink()
            shutil.rmtree(tmp_path / "home/cache/clips")
        report = await here.render(board)
        assert len(here.truth.creates) == 1
    assert (report.rows[0].state, report.exit_code) == ("held", 6)
    assert "SH010_TK01.mp4 is" in report.rows[0].note
    cure = "delete it and render again" if keep_copy else "put it back, or raise `take:`"
    assert cure in report.rows[0].note


async def test_F38_money_of_a_failed_shot_is_said_in_its_run(tmp_path: Path) -> None:
    """Failed without a word about the bill: the report reserves what the ledger reserves, and the note says so."""
    with till(tmp_path) as here:
        here.sandbox.fault("failed-silent")
        report = await here.render(here.board())
        (intent,) = here.intents()
    assert report.rows[0].reserved == intent.reserved == intent.quote
    assert report.totals.reserved_usd == intent.quote.amount
    assert "0.429 USD stay reserved" in report.rows[0].note


def test_a_plan_above_its_cap_says_that_it_would_be_refused(tmp_path: Path) -> None:
    """The plan is printed, with a warning that names the cap; exit 0, for it is only a plan."""
    with till(tmp_path) as here:
        printed = here.run("plan", str(here.board(budget="{cap: 0.10 USD}")), "--json")
    assert printed.code == 0
    assert any("the board cap is 0.10 USD" in warning for warning in printed.document["warnings"])


def test_a_prefect_server_that_is_not_there_is_a_set_up_problem(tmp_path: Path) -> None:
    """Exit 7 and what to do, no traceback."""
    there = Installation(tmp_path, {"PREFECT_API_URL": "http://127.0.0.1:9/api"})
    printed = there.run("render", "specs/examples/liftoff.yaml")
    assert printed.code == 7, printed.err
    assert "unset PREFECT_API_URL" in printed.err
    assert "Traceback" not in printed.err


async def test_a_run_does_not_starve_behind_jobs_that_nobody_waits_for(tmp_path: Path) -> None:
    """An interrupted run's job holds the only slot and is done at the provider: the next run asks after it and goes on."""
    with till(tmp_path, more={"SHORTAPI_MAX_IN_FLIGHT": "1"}) as here:
        async with here.open() as production:
            plan = await make_plan(production, Ask(str(here.board())))
            approval = gate(plan, production.ledger, Wish(yes=True))
            assert isinstance(approval, Approval)
            waiting = asyncio.create_task(shoot(production, plan, approval, PlainSteps()))
            while not production.ledger.intents(states={IntentState.SUBMITTED}):  # noqa: ASYNC110 - a row sets no event
                await asyncio.sleep(0.01)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        other = here.board(prompt="Pan left").read_text().replace("code: TILL", "code: OTHER")
        report = await asyncio.wait_for(here.render(here.board(other)), 60)
        assert len(here.truth.creates) == 2
    assert [row.state for row in report.rows] == ["stored"]


def test_check_warns_of_a_still_that_is_not_beside_the_spec(tmp_path: Path) -> None:
    """Without --stills nothing is opened, but what is plainly missing is said, at its place."""
    (tmp_path / "board.yaml").write_text(board(code="GONE").replace("stills/red.jpg", "nowhere.jpg"))
    printed = Installation(tmp_path).run("check", str(tmp_path / "board.yaml"))
    assert printed.code == 0, printed.err
    assert "shots.0.still: there is no file nowhere.jpg beside the spec (warning)" in printed.out
