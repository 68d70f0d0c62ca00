"""F90: a bill that a provider names is booked or asked about, whatever it is written like and wherever it stands."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from specs.money import Money
from tasks.ledger import IntentState
from tasks.providers.interface import Accepted, Handle, Reply, Snapshot
from tasks.providers.shortapi import ShortAPI
from tasks.providers.sjinn import SJinn
from tests.proof.truth import Script
from tests.proof.wires import AMOUNTS
from tests.tasks.stages import Shoot, shooting

UNUSABLE = "the provider's amount"
READ: dict[str, dict[str, Any]] = {
    "a word beside it": {"credit": "42.9 USD"},
    "an object": {"credit": {"v": "42.9"}},
    "an object with its currency": {"amount": {"value": "42.9", "currency": "USD"}},
    "other keys": {"cost": "42.9", "charged": "42.9"},
    "many": {"credits": 42},
    "beside another": {"credit": "0.429", "amount": "42.9"},
    "total": {"amount": "0.429", "total": "42.9", "price": "42.9"},
    "above the cap of a board": {"amount": "99999999"},
}
UNREAD: dict[str, dict[str, Any]] = {
    "word": {"credit": "abc"},
    "currency": {"amount": "42.9", "currency": "EUR"},
    "beside": {"credit": "0.429", "total": "42.9 EUR"},
    "list": {"cost": ["42.9"]},
    "beyond all": {"amount": "9999999999999"},
}


def _polled(data: dict[str, Any], top: dict[str, Any] | None = None) -> Snapshot:
    body = {"code": 0, "data": {"id": "J-1", "status": 2, **data}, **(top or {})}
    handle = Handle("shortapi", "m", "https://a.example", "main", "J-1")
    answer = ShortAPI().decode_poll(handle, Reply(200, {}, json.dumps(body).encode()))
    assert isinstance(answer, Snapshot)
    return answer


def _created(data: dict[str, Any]) -> Accepted:
    body = {"code": 0, "data": {"job_id": "J-1", **data}}
    answer = ShortAPI().decode_submit(Reply(200, {}, json.dumps(body).encode()))
    assert isinstance(answer, Accepted)
    return answer


@pytest.mark.parametrize("name", sorted(READ))
def test_F90_create_and_query_read_the_same_bills(name: str) -> None:
    """The largest that a reply names counts, in both replies alike."""
    worth = {"many": 42, "above the cap of a board": 99_999_999}.get(name)
    wanted = Money.of("42.9") if worth is None else Money(worth * 1_000_000)
    polled, created = _polled(READ[name]), _created(READ[name])
    assert (polled.cost, created.amount) == (wanted, wanted)
    assert UNUSABLE not in polled.cost_note + created.amount_note
    assert ("several" in polled.cost_note) is (name in {"beside another", "total"})


@pytest.mark.parametrize("name", sorted(UNREAD))
def test_F90_a_bill_that_cannot_be_read_says_so_in_both_replies(name: str) -> None:
    """Also where another amount beside it can be read."""
    assert UNUSABLE in _polled(UNREAD[name]).cost_note
    assert UNUSABLE in _created(UNREAD[name]).amount_note


def test_F90_a_bill_beside_the_data_counts_and_none_is_no_question() -> None:
    """Flags, balances and times are no bills."""
    assert _polled({}, {"credit": "42.9"}).cost == Money.of("42.9")
    silent = _polled({"charged": True, "balance": "12", "total_time": 40, "credit": None, "amount": ""})
    assert (silent.cost, silent.cost_note) == (None, "")


@pytest.mark.parametrize(("sent", "worth"), [(600, 600), ("600 credits", 600), ("many", None)])
def test_F90_sjinn_bills_in_a_query_are_read(sent: object, worth: int | None) -> None:
    """`cost_credits`, which only its account lists so far."""
    body = {"success": True, "data": {"task_id": "T", "status": 1, "cost_credits": sent}}
    handle = Handle("sjinn", "m", "https://a.example", "main", "T")
    answer = SJinn().decode_poll(handle, Reply(200, {}, json.dumps(body).encode()))
    assert isinstance(answer, Snapshot)
    assert answer.cost == (None if worth is None else Money.of(worth, "sjinn-credits"))
    assert (UNUSABLE in answer.cost_note) is (worth is None)


def _asked(shoot: Shoot) -> list[str]:
    return [one.intent_id for one in shoot.production.ledger.unconfirmed_bills()]


@pytest.mark.parametrize("where", ["create", "query"])
def test_F90_a_bill_that_cannot_be_read_waits_for_a_person(where: str, tmp_path: Path) -> None:
    """The clip is stored at its quote, buying stops, each poll tells it once; the person's word ends it for good."""
    script = {
        "create": Script("unread", create=("amount:word",), query=("silent*",)),
        "query": Script("unread", query=("credit:abc*",)),
    }[where]
    with shooting(script, tmp_path) as shoot:
        intent, ledger = shoot.stored(), shoot.production.ledger
        assert (intent.state, str(intent.billed)) == (IntentState.STORED, str(intent.quote))
        assert (_asked(shoot), shoot.kinds(intent).count("amount-unusable")) == ([intent.intent_id], 1)
        assert ledger.unread_bill(intent.intent_id).endswith("'abc'")
        breaker = ledger.breaker_state("shortapi", intent.account)
        assert breaker is not None
        assert "cannot be read" in breaker.reason
        ledger.settle(intent.intent_id, intent.quote, "the account", "ada")
        assert (_asked(shoot), ledger.breaker_state("shortapi", intent.account)) == ([], None)
        ledger.named(intent.intent_id, None, "the query", ledger.unread_bill(intent.intent_id))
        assert _asked(shoot) == [], "that was known"
        ledger.named(intent.intent_id, None, "the query", f"{UNUSABLE} is no plain decimal: 'xyz'")
        assert _asked(shoot) == [intent.intent_id]


@pytest.mark.parametrize("what", sorted(AMOUNTS))
def test_F90_a_readable_bill_of_the_query_answers_for_the_create(what: str, tmp_path: Path) -> None:
    """The last word counts: nobody is asked any more."""
    with shooting(Script("answered", create=(f"amount:{what}",)), tmp_path) as shoot:
        intent = shoot.stored()
        assert (_asked(shoot), str(intent.billed)) == ([], str(intent.quote))
        assert shoot.production.ledger.breaker_state("shortapi", intent.account) is None


def test_F90_a_reply_without_an_amount_is_no_question(tmp_path: Path) -> None:
    """By documentation or by omission: the quote stands."""
    with shooting(Script("silent", create=("amount-missing",), query=("silent*",)), tmp_path) as shoot:
        shoot.stored()
        assert _asked(shoot) == []
        assert shoot.production.ledger.alerts("run-1") == []


@pytest.mark.parametrize("credit", ["42.9", "abc"])
def test_F90_the_query_that_heals_a_held_clip_books_its_bill(credit: str, tmp_path: Path) -> None:
    """The clip was held at the quote; the later query names another price, or one that cannot be read."""
    script = Script("healed", query=("no-urls*",))
    with shooting(script, tmp_path) as shoot:
        held = shoot.stored()
        assert (held.state, str(held.billed)) == (IntentState.RESULT_HELD, str(held.quote))
        shoot.stage.oracle.script = replace(script, query=(f"credit:{credit}*",))
        shoot.stage.time.turn(90_000)
        shoot.collect()
        healed = shoot.production.ledger.get(held.intent_id)
        assert healed.state is IntentState.STORED
        assert str(healed.billed) == ("42.90 USD" if credit == "42.9" else str(held.quote))
        assert _asked(shoot) == [held.intent_id]
