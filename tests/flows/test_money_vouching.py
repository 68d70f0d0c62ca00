"""A refusal that no page lists: a doubt, until a person has vouched for its whole text once; through the command line."""

from decimal import Decimal
from pathlib import Path

from tasks.ledger import IntentState
from tests.fixtures.till import till

S = IntentState
BOTH = "[shortapi, sjinn]"


async def test_F88_a_refusal_in_words_is_vouched_for_once_and_taken_back(tmp_path: Path) -> None:
    """Nothing is bought elsewhere before; afterwards the same reply passes the shot on, until the vouch is taken back."""
    with till(tmp_path, "shortapi/refused-credit*9") as here:
        assert (await here.render(here.board(provider=BOTH))).exit_code == 6
        assert here.truth.jobs == ()
        listed = here.run("doubts")
        (doubt,) = here.run("doubts", "--json").document
        without = here.run("resolve", doubt["intent"], "--vouch", "balance")
        vouched = here.run(
            "resolve", doubt["intent"], "--vouch", "balance", "--why", "the balance is the same", "--json"
        )
        held = here.run("doubts")
        assert (await here.render(here.board(provider=BOTH))).exit_code == 0
        (bought,) = here.truth.jobs
        back = here.run("resolve", doubt["intent"], "--unvouch", "--why", "one was billed after all")
        assert (await here.render(here.board(shots=2, provider=BOTH))).exit_code == 6
        states = [(one.provider, one.state) for one in here.intents()]
    assert "shortapi answered code 2, whole text 'insufficient credit'" in listed.out
    assert "--vouch" in listed.out
    assert doubt["reply"]["vouchable"] == "insufficient credit"
    assert (without.code, "--why" in without.err) == (4, True)
    assert (vouched.code, vouched.document["state"]) == (0, "REJECTED")
    assert (held.code, "vouched for by" in held.out, "--unvouch" in held.out) == (0, True, True)
    assert bought.billed == Decimal(600)
    assert back.code == 0
    assert states == [
        ("shortapi", S.REJECTED),
        ("shortapi", S.REJECTED),
        ("sjinn", S.STORED),
        ("shortapi", S.IN_DOUBT),
    ]


async def test_F88_an_acceptance_in_words_is_shown_whole_and_nobody_can_vouch_for_it(tmp_path: Path) -> None:
    """Its reply is printed, so that a person sees what the provider said."""
    with till(tmp_path, "http-502-after") as here:
        await here.render(here.board())
        (doubt,) = here.run("doubts", "--json").document
        refused = here.run("resolve", doubt["intent"], "--vouch", "balance", "--why", "looked")
        listed = here.run("doubts")
    assert refused.code == 4
    assert "no plain refusal" in refused.err
    assert "shortapi answered HTTP 502" in listed.out
