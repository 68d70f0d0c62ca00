"""F89: every charge that the provider's own account shows for a job is booked, and a second one is told to a person."""

from dataclasses import replace
from pathlib import Path

import pytest

from specs.money import Money
from tasks.ledger import IntentState
from tests.proof.scripts import SCRIPTS
from tests.proof.truth import Script
from tests.tasks.stages import Shoot, shooting

PRICE = "600 sjinn-credits"
TWICE = "1200 sjinn-credits"


def _alerts(shoot: Shoot) -> list[str]:
    events = shoot.production.ledger.alerts("run-1")
    return [str(event.payload.get("message")) for event in events if event.kind == "alert"]


def test_F89_two_charges_for_one_task_are_both_booked(tmp_path: Path) -> None:
    """The clip is stored at what the account was charged in all, and a person hears of it once."""
    with shooting(SCRIPTS["sjinn-charged-twice"], tmp_path) as shoot:
        intent = shoot.stored()
        shoot.collect()
        assert (str(intent.quote), str(intent.billed)) == (PRICE, TWICE)
        assert shoot.production.ledger.get(intent.intent_id) == replace(intent, slip_state="STORED")
        told = f"sjinn lists 2 charges for job {intent.job_id}: {PRICE} + {PRICE}"
        assert _alerts(shoot) == [told]
        assert [one.intent_id for one in shoot.production.ledger.unconfirmed_bills()] == [intent.intent_id]


def test_F89_rows_of_two_tasks_under_one_number_are_two_charges(tmp_path: Path) -> None:
    """The number of a row tells it from the others of its task alone."""
    with shooting(Script("two", provider="sjinn", shots=2), tmp_path) as shoot:
        both = [shoot.wait(shoot.submit(shot)) for shot in range(2)]
        assert [str(shoot.store(intent).amount) for intent in both] == [PRICE, PRICE]


def test_F89_a_second_charge_that_is_listed_after_the_clip_was_stored_is_booked(tmp_path: Path) -> None:
    """`collect` looks at the account again for a day."""
    with shooting(SCRIPTS["sjinn-ok"], tmp_path) as shoot:
        intent = shoot.stored()
        assert str(intent.billed) == PRICE
        (job,) = shoot.stage.oracle.jobs.values()
        job.charged_twice, job.billed = True, 2 * job.billed
        shoot.collect()
        assert str(shoot.production.ledger.get(intent.intent_id).billed) == TWICE


@pytest.mark.parametrize("script", ["sjinn-failed", "sjinn-failed-charged-twice"])
def test_F89_the_charges_of_a_failed_job_are_its_bill(script: str, tmp_path: Path) -> None:
    """What the account shows is settled after a day, not the quote."""
    with shooting(SCRIPTS[script], tmp_path) as shoot:
        intent = shoot.wait(shoot.submit())
        assert intent.state is IntentState.FAILED_UNSETTLED
        shoot.stage.time.turn(90_000)
        shoot.collect()
        settled = shoot.production.ledger.get(intent.intent_id)
        assert (settled.state, str(settled.billed)) == (
            IntentState.FAILED_FINAL,
            TWICE if "twice" in script else PRICE,
        )


def test_F89_a_charge_that_cannot_be_read_is_told_and_the_quote_stands(tmp_path: Path) -> None:
    """A part of a sum is no sum."""
    with shooting(SCRIPTS["sjinn-ok"], tmp_path) as shoot:
        intent = shoot.wait(shoot.submit())
        (job,) = shoot.stage.oracle.jobs.values()
        job.charged_twice, job.billed = True, -job.billed
        intent = shoot.store(intent)
        assert str(intent.billed) == PRICE
        assert "an amount that cannot be read" in _alerts(shoot)[0]
        shoot.collect()
        assert [one.intent_id for one in shoot.production.ledger.unconfirmed_bills()] == [intent.intent_id]
        assert shoot.kinds(intent).count("amount-unusable") == 1, "once, however often it is listed"


def test_F89_what_a_person_has_settled_is_not_settled_anew_from_the_list(tmp_path: Path) -> None:
    """A refund does not stand in the list of charges; who settles a bill has looked at the account."""
    with shooting(SCRIPTS["sjinn-failed"], tmp_path) as shoot:
        intent = shoot.wait(shoot.submit())
        shoot.production.ledger.settle(intent.intent_id, Money(0, "sjinn-credits"), "refunded", "ada")
        shoot.collect()
        assert shoot.production.ledger.get(intent.intent_id).settled.micros == 0
