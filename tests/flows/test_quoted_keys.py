"""A provider that quotes our key back, in every form and at every turn: it reaches no file, no document and no log."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path

import pytest

from flows.collect import collect
from flows.doubts import question_json, questions_now
from flows.plan import Ask, make_plan, plan_json
from flows.shooting import PlainSteps, shoot
from tasks.deliver import deliver
from tasks.gate import Approval, Wish, gate
from tasks.hints import note_hint
from tasks.ledger import IntentState
from tasks.report import result_json, summary_markdown
from tasks.settings import Settings
from tests.faults.rehearsal import Rehearsal
from tests.fixtures.quoting import board, forms, quoting, traces

KEY = "sk-canary/7d+51=e0c1-ac"


@dataclass(frozen=True)
class Quoted(Rehearsal):
    """An installation that gives callback addresses to a provider that quotes."""

    def settings(self) -> Settings:
        """The key, the address that it goes to, and a callback address whose path is a secret of its own."""
        return Settings.load(
            {
                "RUSHES_HOME": str(self.folder / "home"),
                "RUSHES_STORE": str(self.folder / "store"),
                "SHORTAPI_BASE_URL": self.sandbox.shortapi_url,
                "SHORTAPI_KEY": KEY,
                "SJINN_BASE_URL": self.sandbox.sjinn_url,
                "SJINN_API_KEY": KEY,
                "SJINN_USD_PER_CREDIT": "0.001",
                "RUSHES_POLL_SECONDS": "0.2",
                "RUSHES_CALLBACK_URL": "https://rushes.example",
            }
        )


@pytest.mark.parametrize("provider", ["shortapi", "sjinn"])
async def test_F99_a_key_that_is_quoted_back_in_any_form_is_nowhere_afterwards(
    tmp_path: Path, provider: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Refusals, odd replies, failures, result links, redirects, headers and callbacks; both dialects, the same search."""
    caplog.set_level(logging.DEBUG)
    with quoting(KEY) as theirs:
        here = Quoted(tmp_path, theirs, provider)  # type: ignore[arg-type]
        spec = here.write_board("")
        spec.write_text(board(provider, tmp_path / "still.jpg"))
        async with here.open() as production:
            plan = await make_plan(production, Ask(str(spec)))
            approval = gate(plan, production.ledger, Wish(yes=True))
            assert isinstance(approval, Approval)
            report = await shoot(production, plan, approval, PlainSteps())
            deliver(production, plan, report, plan_json(plan))
            doubt = production.ledger.intents(states={IntentState.IN_DOUBT})[0]
            for form in forms(KEY).values():
                note_hint(production, doubt.intent_id, json.dumps({"job_id": form, "data": form}).encode())
            collected = await collect(production, "test")
            said = [json.dumps(result_json(report)), summary_markdown(report), *(one.line() for one in collected)]
            said += [json.dumps(question_json(questions_now(production.settings))), caplog.text]
            assert production.ledger.verify() == []
        states = {row.state for row in report.rows}
        secrets = [KEY, *theirs.secrets[:3]]
    assert len(theirs.prompts) == len(plan.shots), "every form was quoted"
    assert {"failed", "in_doubt", "held"} <= states
    assert any("[redacted]" in one for one in said)
    written = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path != spec}
    assert {"ledger.db", "costs.csv", "report.html"} <= {path.name for path in written}
    lowered, spoken = {path: content.lower() for path, content in written.items()}, "\n".join(said).lower()
    for trace in (trace for secret in secrets for trace in traces(secret)):
        assert [path for path, content in lowered.items() if trace.lower() in content] == [], trace
        assert trace.decode().lower() not in spoken, trace
