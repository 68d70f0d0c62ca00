"""What replies said is booked the same by the one who read them and by whoever finds them in the journal."""

from typing import Any

import pytest

from specs.money import Money
from tasks.errors import Refused
from tasks.ledger import Answer, Cap, Intent, IntentState, Ledger
from tasks.providers import PROVIDERS
from tasks.providers.interface import Accepted, Failure, Kind, Reply
from tasks.submit import as_answer
from tests.proof.grammar import Said, replies
from tests.tasks.ledger.desk import Desk, credits_order, order, reserved

S = IntentState


def test_F90_an_amount_beside_no_id_is_reserved_and_given_back_with_the_doubt(desk: Desk) -> None:
    """The provider spoke of 1.287 for something: so much stays reserved until somebody knows."""
    ledger = desk.begun()
    intent = reserved(ledger)
    ledger.doubt(intent.intent_id, 1, "odd", Answer(200, "", amount=Money.of("4.29"), odd="odd"))
    assert ledger.get(intent.intent_id).reserved.text == "4.29"
    desk.clock.turn(7300)
    ledger.absent(intent.intent_id, "ada", "not there", "not there", 3660)
    assert ledger.get(intent.intent_id).reserved.micros == 0
    assert ledger.unconfirmed_bills() == []
    assert ledger.verify() == []


def test_F90_recovery_books_what_the_straight_way_books(sqlite_desk: Desk) -> None:
    """Each accepted or odd reply of the grammar, recorded as it comes, or found in the journal by the next process."""
    samples = [(said, answer) for said in replies(90, 2500) if (answer := _decoded(said)) is not None]
    accepted = [one for one in samples if isinstance(one[1], Accepted)]
    caps = (Cap("run", "", Money.of(1_000_000)),)
    ledger = sqlite_desk.begun()
    pairs: list[tuple[str, str]] = []
    for number, (said, answer) in enumerate([*accepted, *samples[:40]]):
        made = order if said.provider == "shortapi" else credits_order
        one, two = (
            reserved(ledger, made(f"SH{number}{way}", account=f"{number}{way}", board=way, caps=caps))
            for way in ("S", "J")
        )
        kept = as_answer(answer, Reply(said.status, said.headers, said.body, said.truncated))
        job = kept.job.job_id if kept.job else None
        ledger.journal_answer(two.intent_id, "0" * 64, job, kept)
        if isinstance(answer, Accepted):
            ledger.accepted(one.intent_id, answer.job_id, answer.amount, answer.amount_note, kept)
        else:
            ledger.doubt(one.intent_id, one.epoch, kept.odd, kept)
        pairs.append((one.intent_id, two.intent_id))
    ledger.close()
    ledger = sqlite_desk.open()
    ledger.recover("the next process")
    assert ledger.verify() == []
    for straight, found in pairs:
        assert _row(ledger, straight) == _row(ledger, found)
    assert len(accepted) > 10


def test_F90_lines_of_older_journals_are_still_replayed(desk: Desk) -> None:
    """They hold a job id and nothing else."""
    ledger = desk.begun()
    one = reserved(ledger)
    ledger.journal_answer(one.intent_id, "0" * 64, "job-1")
    desk.close()
    found = desk.open().get(one.intent_id)
    assert (found.state, found.job_id, found.reserved) == (S.SUBMITTED, "job-1", found.quote)


def _refused(ledger: Ledger, shot: str, text: str = "insufficient balance", code: str = "5") -> Intent:
    """A doubt that a plain refusal outside the map has left."""
    intent = reserved(ledger, order(shot, account=shot))
    return ledger.doubt(intent.intent_id, 1, f"code {code}: {text}", Answer(200, "{}", odd=text, code=code, text=text))


def test_F88_a_vouch_settles_every_doubt_with_the_same_refusal_and_no_other(desk: Desk) -> None:
    """Provider, code and whole text must be the same; the money comes back, and who decided why is on record."""
    ledger = desk.begun()
    one, two = _refused(ledger, "SH010"), _refused(ledger, "SH020")
    others = [_refused(ledger, "SH030", code="6"), _refused(ledger, "SH040", text="insufficient balance!")]
    settled = ledger.vouch(one.intent_id, "balance", "ada", "the balance did not change")
    again = ledger.vouch(one.intent_id, "balance", "ada", "the balance did not change")
    assert settled.state is again.state is ledger.get(two.intent_id).state is S.REJECTED
    assert [ledger.get(other.intent_id).state for other in others] == [S.IN_DOUBT, S.IN_DOUBT]
    assert ledger.get(two.intent_id).reserved.micros == 0
    assert "ada vouched" in ledger.get(two.intent_id).reason
    [vouch] = ledger.vouches()
    assert (vouch.code, vouch.text, vouch.kind, vouch.who, vouch.why) == (
        "5",
        "insufficient balance",
        "balance",
        "ada",
        "the balance did not change",
    )
    assert ledger.vouched("shortapi", "5", "insufficient balance") == "balance"
    assert ledger.vouched("sjinn", "5", "insufficient balance") == ""
    assert [event.actor for event in ledger.events(two.intent_id) if event.kind == "rejected"] == ["ada"]


def test_F88_a_vouch_is_taken_back(desk: Desk) -> None:
    """Later refusals are doubts again; what was settled stays settled."""
    ledger = desk.begun()
    one = _refused(ledger, "SH010")
    ledger.vouch(one.intent_id, "balance", "ada", "the balance did not change")
    ledger.take_back_vouch(one.intent_id, "bob", "one of them was billed after all")
    assert ledger.vouches() == []
    assert ledger.vouched("shortapi", "5", "insufficient balance") == ""
    assert ledger.get(one.intent_id).state is S.REJECTED
    assert _refused(ledger, "SH020").state is S.IN_DOUBT


def test_F88_a_vouched_refusal_that_only_the_journal_has_is_settled_by_recovery(desk: Desk) -> None:
    """The person's word holds for the reply, whoever reads it."""
    ledger = desk.begun()
    ledger.vouch(_refused(ledger, "SH010").intent_id, "balance", "ada", "the balance did not change")
    lost = reserved(ledger, order("SH020"))
    said = Answer(200, "{}", odd="code 5", code="5", text="insufficient balance")
    ledger.journal_answer(lost.intent_id, "0" * 64, None, said)
    desk.close()
    assert desk.open().get(lost.intent_id).state is S.REJECTED


def test_F88_nobody_vouches_for_what_is_no_plain_refusal(desk: Desk) -> None:
    """No reply, a reply that speaks of acceptance, a callback that came, or no reason given."""
    ledger = desk.begun()
    silent = ledger.doubt(reserved(ledger).intent_id, 1, "no answer")
    odd = reserved(ledger, order("SH020", account="b"))
    ledger.doubt(odd.intent_id, 1, "odd", Answer(200, "{}", odd="it says accepted", code="5"))
    called = _refused(ledger, "SH030")
    ledger.note(called.intent_id, "callback", {"candidates": ["job-7"]})
    plain = _refused(ledger, "SH040")
    for intent in (silent.intent_id, odd.intent_id, called.intent_id):
        with pytest.raises(Refused):
            ledger.vouch(intent, "balance", "ada", "looked")
    with pytest.raises(Refused, match="who and why"):
        ledger.vouch(plain.intent_id, "balance", "ada", " ")
    ledger.vouch(plain.intent_id, "balance", "ada", "looked")
    assert ledger.get(called.intent_id).state is S.IN_DOUBT


def _decoded(said: Said) -> Accepted | Failure | None:
    """What production reads; None for a definite refusal, after which the same intent may be sent again."""
    answer = PROVIDERS[said.provider].decode_submit(Reply(said.status, said.headers, said.body, said.truncated))
    return answer if isinstance(answer, Accepted) or answer.kind is Kind.AMBIGUOUS else None


def _row(ledger: Ledger, intent_id: str) -> dict[str, Any]:
    """What must be equal, whoever booked it: all but names and times."""
    intent: Intent = ledger.get(intent_id)
    entries = [(one["kind"], one["amount"]) for one in ledger.money() if one["intent_id"] == intent_id]
    told = [event.payload for event in ledger.events(intent_id) if event.kind == "reply"]
    names = ("state", "job_id", "amount", "reserved", "settled", "billed", "doubt_reason", "reason", "extra", "urls")
    return {**{name: getattr(intent, name) for name in names}, "money": entries, "reply": told}
