"""F92: a cap that any bill passes is named with the amount over and the intents, until a person has settled it."""

import pytest

from specs.money import Money
from tasks.ledger import Cap, IntentState, Ledger
from tests.tasks.ledger.desk import Desk, artifact, credits_order, in_state, order, reserved, usd

S = IntentState
SCOPES = ("run", "board", "shot", "day", "month", "provider")
URLS = ["https://files.example/1.mp4"]


def _billed(ledger: Ledger, amount: str, shot: str = "SH010", limit: str = "1.43", scope: str = "board") -> str:
    """A shot under one cap besides the run's, stored and billed at `amount`."""
    caps = (Cap("run", "", Money.of(100)), Cap(scope, "", Money.of(limit)))  # type: ignore[arg-type]
    one = reserved(ledger, order(shot, caps=caps)).intent_id
    ledger.accepted(one, f"job of {shot}", Money.of(amount))
    ledger.succeeded(one, URLS, None)
    return ledger.stored(one, artifact(shot), None).intent_id


@pytest.mark.parametrize("scope", SCOPES)
def test_F92_a_bill_of_one_percent_more_names_the_cap_of_any_scope(desk: Desk, scope: str) -> None:
    """Which cap, how far over, by which intent; a cap in no danger is not named."""
    ledger = desk.begun()
    one = _billed(ledger, "1.4443", scope=scope)
    (passed,) = ledger.passed_caps()
    assert (passed.scope, usd(passed.committed - passed.limit)) == (scope, "0.0143")
    assert [intent.intent_id for intent in passed.intents] == [one]
    assert f"0.0143 USD over: SH010 TK01 ({one}, billed 1.4443 USD, quoted 1.43 USD)" in str(passed)
    assert ledger.verify() == []


def test_F92_a_bill_within_its_caps_passes_none(desk: Desk) -> None:
    """Dearer than quoted is recorded; only a cap that is passed needs a person."""
    ledger = desk.begun()
    _billed(ledger, "1.70", limit="1.70")
    assert ledger.passed_caps() == []


def test_F92_a_cap_is_passed_as_soon_as_the_amount_is_named(desk: Desk) -> None:
    """A job that still runs is named with what is booked for it."""
    ledger = desk.begun(caps=(Cap("run", "", Money.of("1.43")),))
    one = in_state(ledger, S.SUBMITTED)
    ledger.named(one.intent_id, Money.of("1.50"), "the query")
    assert "booked 1.50 USD, quoted 1.43 USD" in str(ledger.passed_caps()[0])


def test_F92_a_person_who_confirms_each_bill_ends_it(desk: Desk) -> None:
    """As long as one bill is unconfirmed it stays; what the provider says anew is asked about anew."""
    ledger = desk.begun()
    one, two = (_billed(ledger, "1.50", shot, limit="2.93") for shot in ("SH010", "SH020"))
    ledger.settle(one, Money.of("1.50"), "the account", "ada")
    assert [intent.intent_id for cap in ledger.passed_caps() for intent in cap.intents] == [two]
    ledger.settle(two, Money.of("1.50"), "the account", "ada")
    assert ledger.passed_caps() == []
    ledger.named(two, Money.of("1.60"), "the query")
    assert [intent.intent_id for cap in ledger.passed_caps() for intent in cap.intents] == [two]


def test_F92_a_bill_that_a_person_corrects_frees_the_cap(desk: Desk) -> None:
    """The provider gave it back: nothing is over any more."""
    ledger = desk.begun()
    ledger.settle(_billed(ledger, "1.50"), Money.of("1.43"), "a credit note", "ada")
    assert ledger.passed_caps() == []


def test_F92_a_raised_cap_ends_it(desk: Desk) -> None:
    """At once where the cap in force is known, and for good once a run has recorded it."""
    ledger = desk.begun()
    _billed(ledger, "1.50")
    raised = [Cap("board", "LIFTOFF", Money.of(2)), Cap("board", "OTHER", Money.of(1)), Cap("day", "", Money.of(1))]
    assert len(ledger.passed_caps([Cap("board", "OTHER", Money.of(9))])) == 1
    assert ledger.passed_caps(raised) == []
    assert len(ledger.passed_caps()) == 1
    ledger.raise_limits(raised)
    assert ledger.passed_caps() == []
    assert [event.kind for event in ledger.events("") if event.kind.startswith("cap-")] == ["cap-raised"]


def test_F92_a_day_cap_that_is_raised_ends_what_passed_it_yesterday(desk: Desk) -> None:
    """The setting holds for every day."""
    ledger = desk.begun()
    _billed(ledger, "1.50", scope="day")
    desk.clock.turn(24 * 3600)
    assert len(ledger.passed_caps([Cap("day", "", Money.of("1.43"))])) == 1
    assert ledger.passed_caps([Cap("day", "", Money.of(2))]) == []


def test_F80_a_cap_that_is_only_lowered_is_passed_by_nobody(desk: Desk) -> None:
    """It stops new purchases, and asks nobody anything."""
    ledger = desk.begun()
    _billed(ledger, "1.43", limit="9")
    reserved(ledger, order("SH020", quote=Money.of("0.10"), caps=(Cap("run", "", Money.of("9")),)))
    ledger.reserve(order("SH030", caps=(Cap("run", "", Money.of("1")), Cap("board", "", Money.of("1")))))
    assert ledger.passed_caps() == []


def test_F92_a_job_that_comes_to_light_late_names_the_cap_that_it_passes(desk: Desk) -> None:
    """Booked past the cap at its price: a person is told although no bill is above its quote."""
    ledger = desk.begun(caps=(Cap("run", "", Money.of("1.43")),))
    late = in_state(ledger, S.REJECTED)
    in_state(ledger, S.STORED, job="job-2")
    assert ledger.passed_caps() == []
    ledger.accepted(late.intent_id, "job-1", None)
    assert [intent.intent_id for cap in ledger.passed_caps() for intent in cap.intents] == [late.intent_id]


def test_F92_a_cap_in_usd_is_passed_by_credits_at_their_orders_rate(desk: Desk) -> None:
    """SJinn bills in credits; the cap is in USD."""
    ledger = desk.begun(caps=(Cap("run", "", Money.of("1.00")),))
    one = in_state(ledger, S.SUCCEEDED, credits_order())
    ledger.stored(one.intent_id, artifact(), Money.of(1010, "sjinn-credits"))
    assert [usd(cap.committed - cap.limit) for cap in ledger.passed_caps()] == ["0.01"]
