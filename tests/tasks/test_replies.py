"""What a reply says of acceptance, ids and amounts: nothing of it is believed too early, and nothing is dropped."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from flows.collect import collect
from flows.doubts import open_questions
from specs.money import Money
from tasks.ledger import Answer, IntentState, Ledger, Named
from tasks.providers import PROVIDERS
from tasks.providers.amounts import read_amount
from tasks.providers.interface import Failure, Kind, Reply
from tasks.submit import as_answer
from tests.proof.grammar import judge
from tests.proof.scripts import SCRIPTS
from tests.tasks.stages import shooting

S = IntentState
ADDRESS = "https://files.example/1.mp4"


def test_F88_replies_from_the_grammar_mean_what_the_pages_say() -> None:
    """Outside a provider's map everything is a doubt, and no id and no amount of it is lost."""
    judged = judge(seed=88, many=3000)
    assert judged.wrong == []
    assert min(judged.counts[sort] for sort in ("doubt", "definite", "accepted")) > 20


@pytest.mark.parametrize("provider", ["shortapi", "sjinn"])
@pytest.mark.parametrize("text", ["accepted, 0.429 credits were deducted, processing", "insufficient balance"])
def test_F88_words_under_an_unknown_code_free_no_money(provider: str, text: str) -> None:
    """They are a doubt, whatever they say; only the second could be vouched for."""
    body = (
        {"code": 5, "info": text} if provider == "shortapi" else {"success": False, "error_code": 5, "errorMsg": text}
    )
    answer = PROVIDERS[provider].decode_submit(Reply(200, {}, json.dumps(body).encode()))
    assert isinstance(answer, Failure)
    assert answer.kind is Kind.AMBIGUOUS
    assert (answer.refusal is not None) == (text == "insufficient balance")


@pytest.mark.parametrize(
    "script", ["says-accepting-after", "sjinn-accepting-after", "says-refusing-after", "told-429", "sjinn-told-429"]
)
def test_F88_a_job_that_was_accepted_in_words_is_paid_once(script: str, tmp_path: Path) -> None:
    """One create, one charge, its whole price reserved; a second try sends nothing."""
    with shooting(SCRIPTS[script], tmp_path) as shoot:
        intent = shoot.submit()
        assert (intent.state, intent.reserved) == (S.IN_DOUBT, intent.quote)
        assert shoot.submit().intent_id == intent.intent_id
        assert [create.accepted for create in shoot.stage.oracle.creates] == [True]


@pytest.mark.parametrize("script", ["two-ids-list", "two-ids-twin", "two-ids-top", "sjinn-two-ids-top"])
def test_F89_both_jobs_of_one_reply_are_booked_and_collected(script: str, tmp_path: Path) -> None:
    """Each is confirmed by a query and has money of its own; both clips are stored."""
    with shooting(SCRIPTS[script], tmp_path) as shoot:
        shoot.stored()
        for _ in range(2):
            shoot.run(collect(shoot.production, "proof"))
            shoot.stage.time.turn(200)
        intents = shoot.production.ledger.intents()
        assert {one.job_id for one in intents} == set(shoot.stage.oracle.jobs)
        assert [(one.state, one.extra) for one in intents] == [(S.STORED, False), (S.STORED, True)]
        assert _booked(shoot.production.ledger) == sum(job.net for job in shoot.stage.oracle.jobs.values())


def test_F89_an_id_that_no_query_confirms_is_named_until_one_has_answered(tmp_path: Path) -> None:
    """`doubts` and `collect` name it while the provider does not know it yet; ten minutes later it is refuted."""
    with shooting(SCRIPTS["ok"], tmp_path) as shoot:
        ledger = shoot.production.ledger
        intent = shoot.submit()
        answer = Answer(200, "{}", Named(str(intent.job_id)), candidates=(Named("nobody", Money.of("0.5")),))
        ledger.accepted(intent.intent_id, str(intent.job_id), None, "", answer)
        assert [one.job_id for one in open_questions(ledger).unconfirmed[intent.intent_id]] == ["nobody"]
        (collected,) = shoot.run(collect(shoot.production, "proof"))
        assert collected.asked == ("nobody",)
        assert "nobody" in collected.line()
        shoot.stage.time.turn(700)
        shoot.run(collect(shoot.production, "proof"))
        assert not open_questions(ledger).unconfirmed


def test_F89_a_reply_of_thousands_of_ids_starts_few_queries(tmp_path: Path) -> None:
    """Six at a time, twenty-four in all."""
    with shooting(SCRIPTS["ok"], tmp_path) as shoot:
        many = tuple(Named(f"J-{number}") for number in range(24))
        intent = shoot.submit()
        shoot.production.ledger.accepted(intent.intent_id, str(intent.job_id), None, "", Answer(200, "", None, many))
        asked: list[str] = []
        call = shoot.production.wire.call

        async def counted(request: Any, **options: Any) -> Reply:
            asked.append(request.url)
            return await call(request, **options)

        shoot.production.wire.call = counted  # type: ignore[method-assign]
        shoot.run(collect(shoot.production, "proof"))
        assert len([one for one in asked if "J-" in one]) == 6


@pytest.mark.parametrize(
    ("sent", "worth"),
    [
        ("1.287", "1.287"),
        (" 1.287\n", "1.287"),
        (Decimal("1.287"), "1.287"),
        (2, "2.00"),
        ("1.2870000000", "1.287"),
        (Decimal("1.29e0"), "1.29"),
        ("0", "0.00"),
        ("42.9 USD", "42.90"),
        ("$42.9", "42.90"),
        ({"value": "42.9", "currency": "USD"}, "42.90"),
        ("99999999", "99999999.00"),
    ],
)
def test_F90_an_amount_is_read_exactly(sent: object, worth: str) -> None:
    """As text, padded or not, or as a JSON number; no float in between."""
    amount, note = read_amount(sent, "USD")
    assert amount is not None
    assert (amount.text, note) == (worth, "")


@pytest.mark.parametrize(
    "sent", ["-1", -1, "NaN", "1e3", "1,287", "1.287 EUR", "€1.287", "0.1234567", 10**12, True, [1], {}, "", None]
)
def test_F90_an_amount_that_cannot_be_used_says_why(sent: object) -> None:
    """Negative, too large, too fine, with a comma, in another currency, or no number at all."""
    amount, note = read_amount(sent, "USD")
    assert amount is None
    assert note.isprintable()
    assert note


@pytest.mark.parametrize("script", ["bill-3x", "odd-bill-3x"])
def test_F90_a_bill_of_three_times_the_quote_is_in_the_ledger(script: str, tmp_path: Path) -> None:
    """Also where an odd reply named it, a query confirmed the job, and nothing names the amount again."""
    with shooting(SCRIPTS[script], tmp_path) as shoot:
        intent = shoot.stored()
        assert (intent.state, intent.settled.text) == (S.STORED, "1.287")
        assert [one.intent_id for one in shoot.production.ledger.unconfirmed_bills()] == [intent.intent_id]


def test_F90_the_journal_keeps_ids_amounts_and_a_body_without_secrets(tmp_path: Path) -> None:
    """The line is all that is left of a reply when its reader dies."""
    with shooting(SCRIPTS["odd-bill-3x"], tmp_path, callback=True) as shoot:
        shoot.submit()
        text = (shoot.stage.home / "ledger.journal").read_text()
        [line] = [json.loads(one) for one in text.split("\n") if '"answer"' in one]
        (job,) = shoot.stage.oracle.jobs
        assert line["answer"]["candidates"] == [{"job_id": job, "amount": "1.287 USD", "note": ""}]
        assert '"amount": "1.287"' in line["answer"]["body"]
    key = "ak-0123456789abcdef0123456789abcdef"
    body = json.dumps({"info": key, "callback_url": "https:\\/\\/a.example\\/cb\\/01X\\/tok-canary"}).replace(
        "\\\\", "\\"
    )
    kept = as_answer(Failure(Kind.AMBIGUOUS, "odd"), Reply(200, {}, body.encode() + b"x" * 9000))
    assert key not in kept.body
    assert "tok-canary" not in kept.body
    assert len(kept.body) <= 4096


def _booked(ledger: Ledger) -> Decimal:
    return sum((one.reserved.amount + one.settled.amount for one in ledger.intents()), Decimal(0))
