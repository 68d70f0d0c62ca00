"""Store: a paid clip reaches its final name whole and once, or is held by name."""

import hashlib
import json
from pathlib import Path

import pytest

from tasks.ledger import IntentState
from tests.proof.movies import clip
from tests.proof.scripts import SCRIPTS
from tests.tasks.stages import Shoot, shooting

S = IntentState


def _path(shoot: Shoot, path: str) -> Path:
    return shoot.stage.files / path


@pytest.mark.parametrize(
    "script",
    [
        *(f"file-{kind}" for kind in (403, 404, 410, 500, 503, "lost", "break", "cut-closed", "garbage")),
        "no-urls",
        "store-fail",
        "store-fail-after",
        "store-written-twice",
        "store-half",
    ],
)
def test_F54_F55_F66_a_clip_that_comes_badly_is_fetched_or_put_again(script: str, tmp_path: Path) -> None:
    """In the end the final name holds exactly the provider's bytes, and the money is settled."""
    with shooting(SCRIPTS[script], tmp_path) as shoot:
        intent = shoot.stored()
        if intent.state is S.RESULT_HELD:  # the provider named no link: collect asks again
            assert script == "no-urls"
            return
        assert intent.state is S.STORED
        assert intent.artifact is not None
        whole = clip(str(intent.job_id))
        assert _path(shoot, intent.artifact.path).read_bytes() == whole
        assert intent.artifact.sha256 == hashlib.sha256(whole).hexdigest()
        assert intent.settled == intent.quote


@pytest.mark.parametrize("script", ["file-html", "file-json", "file-empty", "file-metadata", "file-410-for-ever"])
def test_F54_F57_F60_what_is_no_clip_is_held_and_stays_paid(script: str, tmp_path: Path) -> None:
    """RESULT_HELD: settled, named, and nothing under the final name."""
    with shooting(SCRIPTS[script], tmp_path) as shoot:
        intent = shoot.stored()
        assert intent.state is S.RESULT_HELD
        assert intent.settled == intent.quote
        assert intent.reason
        assert not list(shoot.stage.files.rglob("*.mp4"))


def test_F58_a_clip_of_another_length_is_kept_flagged_and_not_bought_again(tmp_path: Path) -> None:
    """It is paid for: suspect, not failed."""
    with shooting(SCRIPTS["file-short"], tmp_path) as shoot:
        intent = shoot.stored()
        assert intent.state is S.STORED
        assert intent.artifact is not None
        assert "1 s delivered, 3 s ordered" in intent.artifact.suspect
        assert shoot.submit().intent_id == intent.intent_id


def test_F61_storing_twice_publishes_once(tmp_path: Path) -> None:
    """The second worker finds the same bytes and changes nothing."""
    with shooting(SCRIPTS["ok"], tmp_path) as shoot:
        done = shoot.wait(shoot.submit())
        first, second = shoot.store(done), shoot.store(done)
        assert first.artifact == second.artifact
        assert len(list(shoot.stage.files.rglob("*.mp4"))) == 1


def test_F67_a_name_that_is_taken_is_left_alone(tmp_path: Path) -> None:
    """The take goes beside it under its hash, with an alert."""
    with shooting(SCRIPTS["store-foreign"], tmp_path) as shoot:
        intent = shoot.stored()
        assert intent.state is S.STORED
        assert intent.artifact is not None
        assert intent.artifact.path.endswith(f"_TK01-{intent.artifact.sha256[:12]}.mp4")
        assert _path(shoot, "PROOF/shots/SH010/SH010_TK01.mp4").read_bytes() == b"somebody else's bytes"
        assert "alert" in shoot.kinds(intent)


def test_the_receipt_says_what_was_asked_and_paid_without_signed_links(tmp_path: Path) -> None:
    """S09: the bucket is read by more people than the ledger."""
    with shooting(SCRIPTS["ok"], tmp_path) as shoot:
        intent = shoot.stored()
        text = _path(shoot, "PROOF/shots/SH010/SH010_TK01.json").read_text()
        receipt = json.loads(text)
        assert (receipt["job_id"], receipt["billed"], receipt["unit"]) == (intent.job_id, "0.429", "USD")
        assert "sig=secret" not in text
