"""The preference list: who is planned for a shot, and who is asked where the first one definitely refuses."""

from decimal import Decimal
from pathlib import Path

import pytest

from tasks.gate import Wish
from tasks.ledger import IntentState
from tests.fixtures.till import paid_board, till

BOTH = "[shortapi, sjinn]"


@pytest.mark.parametrize("fault", ["http-402", "http-401", "http-403"])
async def test_F14_a_shot_refused_for_the_provider_s_own_reasons_is_bought_once_at_the_next(
    fault: str, tmp_path: Path
) -> None:
    """The refusal stays in the ledger with its money released; the second provider bills the one clip."""
    with till(tmp_path, f"shortapi/{fault}*9") as here:
        report = await here.render(here.board(provider=BOTH))
        account, intents = here.truth, here.intents()
    assert report.exit_code == 0
    assert [(one.provider, one.state, one.reserved.micros) for one in intents] == [
        ("shortapi", IntentState.REJECTED, 0),
        ("sjinn", IntentState.STORED, 0),
    ]
    assert (len(account.of("shortapi")), len(account.of("sjinn"))) == (0, 1)
    assert intents[1].settled.amount == account.of("sjinn")[0].billed == Decimal(600)


async def test_the_change_of_provider_is_told_in_the_report_and_in_the_ledger(tmp_path: Path) -> None:
    """Who refused, why, and who was asked instead."""
    with till(tmp_path, "shortapi/http-402*9") as here:
        report = await here.render(here.board(provider=BOTH))
        with here.ledger() as ledger:
            refused, bought = ledger.intents()
            kinds = [event.kind for event in ledger.events(refused.intent_id)]
            reserved = next(event for event in ledger.events(bought.intent_id) if event.kind == "reserved")
    assert (report.rows[0].provider, report.rows[0].state) == ("sjinn", "stored")
    assert "shortapi refused (" in report.rows[0].note
    assert "so sjinn was asked" in report.rows[0].note
    assert "failover" in kinds
    assert "so sjinn was asked" in str(reserved.payload["reason"])


@pytest.mark.parametrize("fault", ["http-400", "http-404", "http-422", "refused-model", "moderation-input"])
async def test_F12_F39_what_is_wrong_with_the_shot_never_goes_to_another_provider(fault: str, tmp_path: Path) -> None:
    """An invalid or moderated request is refused, not taken to a laxer house."""
    with till(tmp_path, f"shortapi/{fault}*9") as here:
        report = await here.render(here.board(provider=BOTH))
        account = here.truth
    assert report.rows[0].state == "failed"
    assert {create.provider for create in account.creates} == {"shortapi"}
    assert not account.jobs


@pytest.mark.parametrize("fault", ["http-502-after", "close-before", "id-missing", "http-500-before"])
async def test_F08_doubt_never_goes_to_another_provider(fault: str, tmp_path: Path) -> None:
    """Nobody knows whether the first one took it."""
    with till(tmp_path, f"shortapi/{fault}*9") as here:
        report = await here.render(here.board(provider=BOTH))
        account = here.truth
    assert report.rows[0].state in {"in_doubt", "stored"}
    assert {create.provider for create in account.creates} == {"shortapi"}


@pytest.mark.parametrize("fault", ["failed-refunded", "failed-billed", "stuck", "query-404"])
async def test_F36_a_job_that_was_accepted_never_goes_to_another_provider(fault: str, tmp_path: Path) -> None:
    """Failed, stalled or lost from sight: all that is after acceptance."""
    with till(tmp_path, f"shortapi/{fault}*9") as here:
        await here.render(here.board(provider=BOTH))
        account = here.truth
    assert {create.provider for create in account.creates} == {"shortapi"}


async def test_a_dearer_provider_is_not_asked(tmp_path: Path) -> None:
    """What was approved for the shot is the most that it may cost anywhere."""
    with till(tmp_path, "shortapi/http-402*9", more={"SJINN_USD_PER_CREDIT": "0.001"}) as here:
        report = await here.render(here.board(provider=BOTH))
        account = here.truth
    assert report.rows[0].state == "failed"
    assert "sjinn not asked: 600 sjinn-credits are more than the 0.429 USD that were approved" in report.rows[0].note
    assert {create.provider for create in account.creates} == {"shortapi"}


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"SJINN_USD_PER_CREDIT": ""}, "cannot be held against the 0.429 USD that were approved"),
        ({"SJINN_API_KEY": ""}, "sjinn not asked: it has no key"),
    ],
)
async def test_a_provider_without_a_rate_or_a_key_is_not_asked(
    more: dict[str, str], reason: str, tmp_path: Path
) -> None:
    """The report says what is missing."""
    with till(tmp_path, "shortapi/http-402*9", more=more) as here:
        report = await here.render(here.board(provider=BOTH))
        account = here.truth
    assert reason in report.rows[0].note
    assert not account.of("sjinn")


async def test_another_model_is_never_the_substitute(tmp_path: Path) -> None:
    """The free animatic is another model: it is no take of the shot that was ordered."""
    with till(tmp_path, "shortapi/http-402*9") as here:
        report = await here.render(here.board(provider="[shortapi, animatic]"))
    assert (report.rows[0].provider, report.rows[0].state) == ("shortapi", "failed")
    assert "animatic not asked: it has another model" in report.rows[0].note


async def test_F14_shots_that_were_not_sent_are_refused_not_sent_elsewhere(tmp_path: Path) -> None:
    """An open breaker is no definite refusal of the shot: those wait for a person."""
    with till(tmp_path, "shortapi/http-402*9", more={"SHORTAPI_MAX_IN_FLIGHT": "1"}) as here:
        report = await here.render(here.board(provider=BOTH, shots=3))
        account = here.truth
    assert [row.state for row in report.rows] == ["stored", "refused", "refused"]
    assert len([create for create in account.creates if create.provider == "shortapi"]) == 1
    assert (len(account.jobs), report.exit_code) == (1, 4)


async def test_a_second_run_reuses_the_substitute_s_take(tmp_path: Path) -> None:
    """The take is of the same model and request, whoever sold it."""
    with till(tmp_path, "shortapi/http-402") as here:
        board = here.board(provider=BOTH)
        await here.render(board)
        second = await here.render(board, wish=Wish(yes=True))
        account = here.truth
    assert [(row.action, row.provider) for row in second.rows] == [("reuse", "sjinn")]
    assert len(account.jobs) == 1


def test_the_first_listed_provider_that_fits_makes_each_shot(tmp_path: Path) -> None:
    """SJinn takes no negative prompt: that shot is planned at ShortAPI, and the plan says why."""
    with till(tmp_path) as here:
        text = paid_board(provider="[sjinn, shortapi]", shots=2)
        board = here.board(text.replace("prompt: Push in 2}", "prompt: Push in 2, negative_prompt: text}"))
        plan = here.run("plan", str(board), "--json").document
    assert [shot["provider"] for shot in plan["shots"]] == ["sjinn", "shortapi"]
    assert [shot["alternatives"] for shot in plan["shots"]] == [["shortapi"], []]
    assert any(warning.startswith("SH020: sjinn passed over") for warning in plan["warnings"])
