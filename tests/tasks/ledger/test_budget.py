"""Caps: never passed by a reservation, counted in every scope, and true whatever becomes of the money later."""

from decimal import Decimal

import pytest

from specs.money import Money
from tasks.ledger import BudgetRefused, Cap, IntentState, Ledger, Reserved
from tests.tasks.ledger.desk import Desk, artifact, credits_order, in_state, order, reserved, usd

S = IntentState
RUN = Cap("run", "", Money.of(100))


def _committed(ledger: Ledger, scope: str, key: str, unit: str = "USD") -> str:
    return next(usd(one.committed) for one in ledger.caps(scope, key) if one.committed.unit == unit)


@pytest.mark.parametrize(
    ("scope", "key"),
    [
        ("run", "run-1"),
        ("board", "LIFTOFF"),
        ("shot", "LIFTOFF/SH010_TK01"),
        ("day", "2026-03-01"),
        ("month", "2026-03"),
        ("provider", "shortapi"),
    ],
)
def test_each_scope_refuses_by_its_name_and_leaves_nothing_behind(desk: Desk, scope: str, key: str) -> None:
    """A cap a micro too low rolls everything back, the other buckets included."""
    ledger = desk.begun()
    tight = Cap(scope, "", Money(1_429_999))  # type: ignore[arg-type]
    refused = ledger.reserve(order(caps=(RUN, tight)))
    assert isinstance(refused, BudgetRefused)
    assert (refused.scope, refused.key, usd(refused.wanted), usd(refused.committed)) == (scope, key, "1.43", "0.00")
    assert (ledger.intents(), ledger.caps(), ledger.money()) == ([], [], [])
    enough = Cap(scope, "", Money(1_430_000))  # type: ignore[arg-type]
    assert isinstance(ledger.reserve(order(caps=(RUN, enough))), Reserved)
    assert _committed(ledger, scope, key) == "1.43"


def test_the_first_scope_in_order_is_the_one_named(desk: Desk) -> None:
    """Run, board, shot, day, month, provider: whatever the order in which the caps come."""
    nothing = Money(0)
    caps = tuple(Cap(scope, "", nothing) for scope in ("provider", "month", "board", "run"))
    refused = desk.begun().reserve(order(caps=caps))
    assert isinstance(refused, BudgetRefused)
    assert refused.scope == "run"


def test_the_caps_of_a_run_hold_for_every_order_of_it(desk: Desk) -> None:
    """Of a cap given twice the lower one counts."""
    ledger = desk.begun(caps=(Cap("run", "run-1", Money.of("2.00")),))
    reserved(ledger, order(caps=()))
    refused = ledger.reserve(order("SH020", caps=(RUN,)))
    assert isinstance(refused, BudgetRefused)
    assert refused.message == "the run cap of run-1 is 2.00 USD: 1.43 USD committed, 1.43 USD more wanted"


def test_S26_nothing_is_bought_without_a_run_cap(desk: Desk) -> None:
    """A run cap is mandatory; free work needs none."""
    ledger = desk.begun()
    refused = ledger.reserve(order(caps=(Cap("board", "", Money.of(100)),)))
    assert isinstance(refused, BudgetRefused)
    assert "no cap" in refused.message
    assert isinstance(ledger.reserve(order(caps=(), quote=Money(0))), Reserved)


def test_caps_of_other_providers_and_shots_do_not_apply(desk: Desk) -> None:
    """A cap that names another provider or shot is for its orders."""
    none = Money(0)
    caps = (RUN, Cap("provider", "sjinn", none), Cap("shot", "LIFTOFF/SH020", none))
    assert isinstance(desk.begun().reserve(order(caps=caps)), Reserved)


def test_F80_a_cap_in_another_currency_refuses(desk: Desk) -> None:
    """A cap in USD, a quote in credits and no rate: nothing says that it fits, so it does not."""
    ledger = desk.begun()
    refused = ledger.reserve(credits_order(rate=None))
    assert isinstance(refused, BudgetRefused)
    assert refused.message == "SH010: the run cap is in USD and sjinn-credits has no rate in USD"
    refused = ledger.reserve(order(caps=(RUN, Cap("board", "", Money.of(10, "sjinn-credits")))))
    assert isinstance(refused, BudgetRefused)
    assert refused.scope == "board"
    assert isinstance(
        ledger.reserve(credits_order(rate=None, caps=(Cap("run", "", Money.of(9999, "sjinn-credits")),))), Reserved
    )


def test_credits_are_counted_in_both_units_and_rounded_up(desk: Desk) -> None:
    """A third of a micro too much is too much."""
    ledger = desk.begun()
    third = credits_order(rate="0.0000000003", caps=(Cap("run", "", Money(0)),))
    refused = ledger.reserve(third)
    assert isinstance(refused, BudgetRefused)
    assert refused.wanted == Money(1)
    one = reserved(ledger, credits_order())
    assert _committed(ledger, "day", "2026-03-01", "sjinn-credits") == "1000 sjinn-credits"
    assert _committed(ledger, "day", "2026-03-01") == "1.00"
    assert one.in_usd(one.quote) == Money.of(1)
    assert one.rate == Decimal("0.001")


def test_what_is_spent_counts_before_anybody_sets_a_cap(desk: Desk) -> None:
    """A day cap set at noon knows of the morning."""
    ledger = desk.begun()
    for number in range(3):
        in_state(ledger, S.STORED, order(f"SH{number}"), job=f"job-{number}")
    assert usd(ledger.committed(Cap("day", "", Money.of(5)))) == "4.29"
    assert usd(ledger.committed(Cap("board", "LIFTOFF", Money.of(5)))) == "4.29"
    assert usd(ledger.committed(Cap("board", "UNKNOWN", Money.of(5)))) == "0.00"
    refused = ledger.reserve(order("SH9", caps=(RUN, Cap("day", "", Money.of(5)))))
    assert isinstance(refused, BudgetRefused)
    assert usd(refused.committed) == "4.29"


def test_money_stays_in_the_day_of_its_reservation(desk: Desk) -> None:
    """A doubt of yesterday does not free today's cap, and today's bill of it counts yesterday."""
    ledger = desk.begun()
    one = in_state(ledger, S.IN_DOUBT)
    desk.clock.turn(24 * 3600)
    ledger.accepted(one.intent_id, "job-1", Money.of("1.50"))
    ledger.succeeded(one.intent_id, ["https://files.example/1.mp4"], None)
    ledger.stored(one.intent_id, artifact(), Money.of("1.60"))
    assert _committed(ledger, "day", "2026-03-01") == "1.60"
    assert ledger.caps("day", "2026-03-02") == []
    assert usd(ledger.totals(day="2026-03-01").settled["USD"]) == "1.60"
    assert ledger.totals(day="2026-03-02").settled == {}


def test_the_day_is_that_of_utc(desk: Desk) -> None:
    """One time zone for all: a reservation a second before midnight UTC is yesterday's."""
    ledger = desk.begun()
    desk.clock.turn(12 * 3600 - 1)
    assert reserved(ledger).day == "2026-03-01"
    desk.clock.turn(1)
    assert reserved(ledger, order("SH020")).day == "2026-03-02"


def test_F80_a_cap_lowered_under_what_is_committed_only_stops_new_ones(desk: Desk) -> None:
    """Nothing is taken back; raising it again is a recorded fact."""
    ledger = desk.begun()
    one = in_state(ledger, S.SUBMITTED, order(caps=(Cap("run", "", Money.of(10)),)))
    assert isinstance(ledger.reserve(order("SH020", caps=(Cap("run", "", Money.of(1)),))), BudgetRefused)
    assert ledger.get(one.intent_id) == one
    reserved(ledger, order("SH020", caps=(Cap("run", "", Money.of(3)),)))
    reserved(ledger, order("SH030", caps=(Cap("run", "", Money.of(5)),)))
    kinds = [event.kind for event in ledger.events() if event.kind.startswith("cap-")]
    assert kinds == ["cap-lowered", "cap-raised"]


def test_F80_a_bucket_filled_to_the_last_micro_is_full(desk: Desk) -> None:
    """Two of $1.43 fit in $2.86, a third of a micro does not."""
    ledger = desk.begun(caps=(Cap("run", "", Money.of("2.86")),))
    reserved(ledger, order("SH1"))
    reserved(ledger, order("SH2"))
    assert isinstance(ledger.reserve(order("SH3", quote=Money(1))), BudgetRefused)


def test_F22_a_bill_above_the_quote_is_recorded_past_the_cap(desk: Desk) -> None:
    """A slightly dearer amount is a fact: booked in full, the cap is passed, and only that much."""
    ledger = desk.begun(caps=(Cap("run", "", Money.of("1.43")),))
    one = reserved(ledger)
    ledger.accepted(one.intent_id, "job-1", Money.of("1.45"))
    assert _committed(ledger, "run", "run-1") == "1.45"
    assert ledger.breaker_state("shortapi", "main") is None
    assert ledger.verify() == []


@pytest.mark.parametrize("amount", ["1.80", "1.86", "14300"])
def test_F22_a_bill_far_above_the_quote_stops_the_buying(desk: Desk, amount: str) -> None:
    """Above 1.25 times the quote the money breaker opens; the job itself goes on."""
    ledger = desk.begun()
    one = reserved(ledger)
    one = ledger.accepted(one.intent_id, "job-1", Money.of(amount))
    assert (one.state, usd(one.reserved)) == (S.SUBMITTED, usd(Money.of(amount)))
    breaker = ledger.breaker_state("shortapi", "main")
    assert breaker is not None
    assert (breaker.kind, breaker.is_open) == ("money", True)
    assert f"{usd(Money.of(amount))} USD for a quote of 1.43 USD" in breaker.reason
    assert [event.kind for event in ledger.alerts("run-1")] == ["breaker-opened"]


def test_F22_a_bill_that_comes_at_the_end_counts_as_well(desk: Desk) -> None:
    """The provider named no amount, the credit ledger did."""
    ledger = desk.begun()
    one = in_state(ledger, S.SUCCEEDED)
    one = ledger.stored(one.intent_id, artifact(), Money.of("2.00"))
    assert (one.state, usd(one.billed)) == (S.STORED, "2.00")
    breaker = ledger.breaker_state("shortapi", "main")
    assert breaker is not None
    assert breaker.kind == "money"


def test_F21_an_amount_in_another_unit_never_breaks_an_accepted_job(desk: Desk) -> None:
    """Settled at the quote, and flagged."""
    ledger = desk.begun()
    one = in_state(ledger, S.SUBMITTING)
    one = ledger.accepted(one.intent_id, "job-1", Money.of(5, "sjinn-credits"), "amount in another unit")
    assert (one.state, one.amount, usd(one.reserved)) == (S.SUBMITTED, None, "1.43")
    assert {"amount-unusable", "breaker-opened"} == {event.kind for event in ledger.alerts("run-1")}
    ledger.succeeded(one.intent_id, ["https://files.example/1.mp4"], None)
    assert usd(ledger.stored(one.intent_id, artifact(), None).billed) == "1.43"


@pytest.mark.parametrize(("refunded", "committed"), [(True, "0.00"), (None, "1.43"), (False, "1.43")])
def test_F36_F37_F38_a_failure_counts_until_it_is_known_to_be_refunded(
    desk: Desk, refunded: bool | None, committed: str
) -> None:
    """Refunded: settled at 0. Billed or unknown: still counted in full."""
    ledger = desk.begun()
    one = in_state(ledger, S.SUBMITTED)
    ledger.failed(one.intent_id, "generation failed", refunded=refunded)
    assert _committed(ledger, "run", "run-1") == committed


def test_totals_keep_doubt_reserved_and_settled_apart(desk: Desk) -> None:
    """A blocked budget explains itself, in each unit and in USD."""
    ledger = desk.begun()
    in_state(ledger, S.IN_DOUBT, order("SH1"))
    in_state(ledger, S.SUBMITTED, order("SH2"), job="job-2")
    in_state(ledger, S.STORED, order("SH3"), job="job-3")
    in_state(ledger, S.SUBMITTED, credits_order("SH4"), job="job-4")
    in_state(ledger, S.REJECTED, order("SH5"))
    totals = ledger.totals(run_id="run-1")
    assert totals.reserved == {"USD": Money.of("1.43"), "sjinn-credits": Money.of(1000, "sjinn-credits")}
    assert (usd(totals.in_doubt["USD"]), usd(totals.settled["USD"])) == ("1.43", "1.43")
    assert (usd(totals.reserved_usd), usd(totals.quoted_usd)) == ("2.43", "6.72")
    assert ledger.totals(provider="sjinn").quoted == {"sjinn-credits": Money.of(1000, "sjinn-credits")}


@pytest.mark.parametrize("scope", ["run", "board", "day", "month"])
def test_F93_the_reservation_itself_counts_what_has_no_rate(desk: Desk, scope: str) -> None:
    """No plan is asked: 1000 credits without a rate and 1000 at 0.001 are two dollars in every bucket, and three in no cap of 2.50."""
    ledger = desk.begun()
    key = {"board": "LIFTOFF"}.get(scope, "")
    ample = (Cap("run", "", Money.of(9999, "sjinn-credits")),)
    tight = (*ample, Cap(scope, key, Money.of("2.50")))  # type: ignore[arg-type]
    reserved(ledger, credits_order("SH010", rate=None, caps=ample))
    reserved(ledger, credits_order("SH020", caps=tight))
    third = ledger.reserve(credits_order("SH030", caps=tight))
    other = ledger.reserve(order("SH040", caps=(Cap("run", "", Money.of(100)), Cap(scope, key, Money.of("90.00")))))  # type: ignore[arg-type]
    assert isinstance(third, BudgetRefused)
    assert "2.00 USD committed, 1.00 USD more wanted" in third.message
    assert isinstance(other, BudgetRefused)
    assert "1000 sjinn-credits were ordered without a rate in USD (LIFTOFF SH010 TK01)" in other.message
    assert len(ledger.intents()) == 2
    assert ledger.verify() == []
