"""Amounts are facts: any number may come for one job, in any order and at any time; each is told, and the last one counts."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from specs.money import Money
from tasks.ledger import BudgetRefused, Cap, IntentState, Ledger, Reserved
from tests.tasks.ledger.desk import Desk, artifact, in_state, order, reserved, usd

S = IntentState
URLS = ["https://files.example/1.mp4"]


def _names(ledger: Ledger, intent_id: str) -> list[str]:
    return [event.payload["amount"] for event in ledger.events(intent_id) if event.kind in {"accepted", "amount"}]


def test_F86_amounts_that_change_again_and_again_are_each_recorded_and_the_last_one_counts(desk: Desk) -> None:
    """0.50 at create, then 0.45, 0.50, 0.45 from queries: none is refused, and the clip is billed at 0.45."""
    ledger = desk.begun()
    one = reserved(ledger, order(quote=Money.of("0.429")))
    ledger.accepted(one.intent_id, "job-1", Money.of("0.50"))
    for text in ("0.45", "0.50", "0.45", "0.45"):
        one = ledger.succeeded(one.intent_id, URLS, Money.of(text))
    assert _names(ledger, one.intent_id) == ["0.50 USD", "0.45 USD", "0.50 USD", "0.45 USD"]
    assert (usd(one.amount), usd(one.reserved)) == ("0.45", "0.50")
    one = ledger.stored(one.intent_id, artifact(), None)
    assert (usd(one.billed), usd(ledger.committed(Cap("board", "LIFTOFF", Money.of(9))))) == ("0.45", "0.45")


@pytest.mark.parametrize("state", [S.RESULT_HELD, S.STORED, S.FAILED_FINAL, S.SUPERSEDED])
def test_F86_an_amount_that_comes_after_the_bill_was_settled_settles_it_anew(desk: Desk, state: IntentState) -> None:
    """Up and down, as often as it changes; what is known already is no news, and not even an entry."""
    ledger = desk.begun()
    one = in_state(ledger, state)
    for text in ("1.60", "1.20", "1.60", "1.20"):
        one = ledger.named(one.intent_id, Money.of(text), "the provider's account")
        assert (one.state, usd(one.billed), usd(one.reserved)) == (state, text, "0.00")
    entries = len(ledger.money())
    assert ledger.named(one.intent_id, Money.of("1.20"), "the query").settled == Money.of("1.20")
    assert len(ledger.money()) == entries


def test_F86_a_bill_that_is_taken_back_lets_buying_go_on(desk: Desk) -> None:
    """An amount far too high stops the buying; once the provider names the right one, nobody has to confirm anything."""
    ledger = desk.begun(approved_by="person")
    one = in_state(ledger, S.SUBMITTED)
    ledger.named(one.intent_id, Money.of("14.30"), "the query")
    assert ledger.breaker_state("shortapi", "main") is not None
    one = ledger.named(one.intent_id, Money.of("1.43"), "the query")
    assert (ledger.breaker_state("shortapi", "main"), ledger.unconfirmed_bills()) == (None, [])
    assert usd(one.reserved) == "14.30", "it shrinks when it is settled"


def test_F86_a_bill_that_changes_after_a_person_confirmed_it_is_asked_about_again(desk: Desk) -> None:
    """A person's word is about the bill that was looked at."""
    ledger = desk.begun()
    one = in_state(ledger, S.STORED)
    ledger.named(one.intent_id, Money.of("3.00"), "the provider's account")
    ledger.settle(one.intent_id, Money.of("2.00"), "a credit note", "ada")
    assert ledger.named(one.intent_id, Money.of("3.00"), "the query").billed == Money.of("2.00"), "that was known"
    assert ledger.unconfirmed_bills() == []
    ledger.named(one.intent_id, Money.of("4.00"), "the query")
    assert [usd(asked.billed) for asked in ledger.unconfirmed_bills()] == ["4.00"]


def test_F86_what_no_database_takes_as_text_is_no_reason_to_lose_a_fact(desk: Desk) -> None:
    """NUL and lone surrogates in a provider's words are escaped."""
    ledger = desk.begun()
    one = in_state(ledger, S.SUCCEEDED)
    assert ledger.held(one.intent_id, "gone\0 \udc80").reason == r"gone\x00 \udc80"


@pytest.mark.parametrize("text", ["0", "0.10"])
def test_F91_an_amount_below_the_quote_frees_no_cap_before_the_bill_is_settled(desk: Desk, text: str) -> None:
    """Named at the create or by a query: the second shot is refused until the first is billed."""
    ledger = desk.begun(caps=(Cap("day", "", Money.of("1.60")),))
    one = reserved(ledger)
    ledger.accepted(one.intent_id, "job-1", Money.of(text))
    assert isinstance(ledger.reserve(order("SH020")), BudgetRefused)
    one = ledger.succeeded(one.intent_id, URLS, Money.of(text))
    assert isinstance(ledger.reserve(order("SH020")), BudgetRefused)
    assert (usd(one.reserved), usd(ledger.totals().reserved_usd)) == ("1.43", "1.43")
    one = ledger.stored(one.intent_id, artifact(), None)
    assert one.billed == Money.of(text)
    assert isinstance(ledger.reserve(order("SH020")), Reserved)


def test_F91_nothing_at_the_create_is_no_bill(desk: Desk) -> None:
    """A paid job for 0 is told to a person and billed at its quote, unless the job's own end says 0 as well."""
    ledger = desk.begun()
    one = reserved(ledger)
    ledger.accepted(one.intent_id, "job-1", Money(0))
    assert [event.kind for event in ledger.alerts("run-1")] == ["amount-not-believed"]
    ledger.succeeded(one.intent_id, URLS, None)
    assert usd(ledger.stored(one.intent_id, artifact(), None).billed) == "1.43"


AMOUNTS = st.sampled_from(["0", "0.01", "0.45", "0.50", "1.43", "1.44", "1.79", "20", "1000000"])
Fact = Callable[[Ledger, str, Money], object]
FACTS: dict[str, Fact] = {
    "create": lambda ledger, one, amount: ledger.accepted(one, "job-1", amount),
    "no amount": lambda ledger, one, _: ledger.accepted(one, "job-1", None),
    "another job": lambda ledger, one, amount: ledger.accepted(one, "job-2", amount),
    "query": lambda ledger, one, amount: ledger.succeeded(one, URLS, amount),
    "account": lambda ledger, one, amount: ledger.named(one, amount, "the provider's account"),
    "other unit": lambda ledger, one, amount: ledger.named(one, Money(amount.micros, "sjinn-credits"), "a query"),
    "below nothing": lambda ledger, one, amount: ledger.named(one, Money(-1 - amount.micros), "a query"),
    "failed": lambda ledger, one, _: ledger.failed(one, "no\0", refunded=None),
    "billed failure": lambda ledger, one, _: ledger.failed(one, "no", refunded=False),
    "refunded": lambda ledger, one, _: ledger.failed(one, "no", refunded=True),
    "stalled": lambda ledger, one, _: ledger.stalled(one, "slow"),
    "held": lambda ledger, one, _: ledger.held(one, "gone"),
    "stored": lambda ledger, one, amount: ledger.stored(one, artifact(), amount),
    "stored at the price": lambda ledger, one, _: ledger.stored(one, artifact(), None),
    "refused": lambda ledger, one, _: ledger.rejected(one, 1, kind="rate", reason="429", opens_breaker=False),
    "doubted": lambda ledger, one, _: ledger.doubt(one, 1, "timed out"),
    "a day": lambda ledger, _one, _amount: ledger.settle_failed(),
}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(facts=st.lists(st.tuples(st.sampled_from(sorted(FACTS)), AMOUNTS), max_size=12))
def test_F86_no_sequence_of_facts_ever_raises_or_loses_money(facts: list[tuple[str, str]]) -> None:
    """Whatever the provider says in whatever order, the ledger takes it, stays sound, and bills what was named last."""
    with tempfile.TemporaryDirectory() as folder:
        desk = Desk(f"sqlite:///{folder}/home/ledger.db", Path(folder) / "home")
        ledger = desk.begun()
        one = reserved(ledger).intent_id
        for kind, text in facts:
            before = ledger.get(one)
            FACTS[kind](ledger, one, Money.of(text))
            assert ledger.verify() == []
            after = ledger.get(one)
            if before.billed is None and after.billed is None and after.job_id:
                assert before.reserved + before.settled <= after.reserved + after.settled, "it only grows"
            if after.billed is not None and after.amount is not None and after.billed.micros:
                assert after.billed == after.amount
        desk.close()
