"""F90: a bill that cannot be read is in front of a person wherever there is one: report, summary, doubts, plan and doctor."""

from pathlib import Path

import pytest

from specs.money import Money
from tasks.providers.interface import Snapshot
from tasks.providers.shortapi import ShortAPI
from tests.fixtures.till import till


async def test_F90_an_unreadable_bill_is_named_until_a_person_says_what_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 6 with the clip stored at its quote; `--billed` ends it."""
    decode = ShortAPI.decode_poll

    def silent(self: ShortAPI, *facts: object) -> object:
        answer = decode(self, *facts)  # type: ignore[arg-type]
        if isinstance(answer, Snapshot):
            object.__setattr__(answer, "cost", None)
        return answer

    monkeypatch.setattr(ShortAPI, "decode_poll", silent)
    with till(tmp_path, "amount-word@1") as here:
        board = here.board(shots=1)
        report = await here.render(board)
        listed, said = here.run("doubts", "--json"), here.run("doubts").out
        doctor = here.run("doctor").out
        again = here.run("render", str(board), "--yes", "--json")
        (intent,) = here.intents()
        confirmed = here.run("resolve", intent.intent_id, "--billed", "42.9")
        nothing = here.run("doubts")
    assert (report.exit_code, report.rows[0].state, report.rows[0].overbilled) == (6, "stored", True)
    assert "the provider's amount is no plain decimal: 'abc'" in report.rows[0].note
    assert any("'abc'" in notice for notice in report.notices)
    assert (listed.code, "'abc'" in listed.document[0]["reason"], "--billed AMOUNT" in said) == (6, True, True)
    assert "cannot be read" in doctor
    assert (again.code, "'abc'" in again.document["shots"][0]["note"]) == (6, True)
    assert (confirmed.code, nothing.code) == (0, 0)
    assert intent.billed == intent.quote != Money.of("42.9")
