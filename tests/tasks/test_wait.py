"""Wait: a poll that fails never fails the job, and patience has its limits."""

from pathlib import Path

import pytest

from tasks.ledger import IntentState
from tasks.wait import next_poll
from tests.proof.scripts import SCRIPTS
from tests.proof.truth import Script
from tests.tasks.stages import shooting

S = IntentState
BAD_POLLS = [
    *(("F31", f"query-{kind}") for kind in (500, 502, 503, 429, "lost", "closed", "reset", "html", "cut")),
    *(("F43", f"query-{status}") for status in (401, 403)),
    ("F30", "query-404"),
    ("F30", "query-no-data"),
    ("F42", "query-other-job"),
    *(("F32", kind) for kind in ("null-status", "word-status")),
    ("F33", "backwards"),
]


@pytest.mark.parametrize(("fault", "script"), BAD_POLLS)
def test_a_bad_poll_changes_nothing(fault: str, script: str, tmp_path: Path) -> None:
    """The job is asked after again until it is done (F30 to F33, F42, F43)."""
    with shooting(SCRIPTS[script], tmp_path) as shoot:
        assert shoot.wait(shoot.submit()).state is S.SUCCEEDED


def test_F30_a_job_that_stays_unknown_is_stalled_and_never_bought_again(tmp_path: Path) -> None:
    """Not before ten minutes and five tries; its money stays reserved."""
    with shooting(Script("unknown", query=("404*",)), tmp_path) as shoot:
        intent = shoot.wait(shoot.submit())
        assert intent.state is S.STALLED
        assert intent.reserved == intent.quote
        assert shoot.stage.time.ticks > 1000 + 600
        assert shoot.submit().intent_id == intent.intent_id
        assert len(shoot.stage.oracle.creates) == 1


def test_F35_a_job_without_end_is_stalled_after_45_minutes(tmp_path: Path) -> None:
    """Our deadline is no failure: the reservation stays and nothing is sent again."""
    with shooting(SCRIPTS["stuck"], tmp_path) as shoot:
        intent = shoot.wait(shoot.submit())
        assert intent.state is S.STALLED
        assert intent.reserved == intent.quote
        assert shoot.submit().intent_id == intent.intent_id
        assert len(shoot.stage.oracle.creates) == 1


@pytest.mark.parametrize(
    ("fault", "script", "state", "left"),
    [
        ("F36", "failed-refunded", S.FAILED_FINAL, 0),
        ("F37", "failed-billed", S.FAILED_UNSETTLED, 429_000),
        ("F38", "failed-silent", S.FAILED_UNSETTLED, 429_000),
        ("F40", "moderated", S.FAILED_UNSETTLED, 429_000),
    ],
)
def test_a_failed_job_counts_as_spent_unless_it_was_refunded(
    fault: str, script: str, state: IntentState, left: int, tmp_path: Path
) -> None:
    """Only the provider's own word gives the money back (F36 to F38, F40)."""
    with shooting(SCRIPTS[script], tmp_path) as shoot:
        intent = shoot.wait(shoot.submit())
        assert intent.state is state
        assert intent.reserved.micros + intent.settled.micros == left
        assert intent.moderated == (script == "moderated")


def test_polls_come_no_earlier_than_a_job_can_be_done() -> None:
    """Half of the shortest usual time first, then ever rarer, at most a minute apart."""
    assert next_poll(0, (120, 480)) == 60
    assert next_poll(100, (120, 480)) == 10
    assert next_poll(5000, (120, 480)) == 60
