"""The reel is as long as its parts, in step, and copied where that is possible."""

import hashlib
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import pytest

from tasks.assemble.footage import Unjoinable, inspect
from tasks.assemble.reel import ReelInfo, ReelPart, make_reel, reel_apart
from tasks.studio.apart import DecoderLost, now_apart
from tests.tasks.assemble.clips import foreign_clip, onsets, studio_clip


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three clips of the studio, one of them silent, and one of another make (30 fps, square, 44.1 kHz mono)."""
    room = tmp_path_factory.mktemp("clips")
    return {
        "loud": studio_clip(room / "loud.mp4", seconds=3, audio=True),
        "silent": studio_clip(room / "silent.mp4", seconds=4),
        "late": studio_clip(room / "late.mp4", seconds=5, audio=True),
        "foreign": foreign_clip(room / "foreign.mp4"),
    }


def reel(out: Path, *paths: Path | None) -> ReelInfo:
    """Join these; a gap is ordered with three seconds."""
    return make_reel([ReelPart(f"SH{n}", 1, 3, path, f"SH{n}", ("failed",)) for n, path in enumerate(paths)], out)


def pictures(path: Path) -> list[str]:
    """A digest of each decoded picture, in the order shown."""
    with av.open(str(path)) as container:
        return [hashlib.sha256(frame.to_ndarray().tobytes()).hexdigest() for frame in container.decode(video=0)]


def test_equal_clips_are_copied_picture_for_picture(tmp_path: Path, clips: dict[str, Path]) -> None:
    """No generation loss: the reel shows exactly the pictures of its takes."""
    made = reel(tmp_path / "reel.mp4", clips["loud"], clips["silent"], clips["late"])

    assert made.copied == 3
    assert pictures(made.path) == pictures(clips["loud"]) + pictures(clips["silent"]) + pictures(clips["late"])


def test_clips_of_another_make_are_copied_too_when_they_agree(tmp_path: Path, clips: dict[str, Path]) -> None:
    """B-frames and 30 fps are no obstacle."""
    made = reel(tmp_path / "reel.mp4", clips["foreign"], clips["foreign"])

    assert (made.copied, int(made.fps), made.frames) == (2, 30, 120)
    assert pictures(made.path) == pictures(clips["foreign"]) * 2


def test_a_clip_of_another_shape_is_encoded_to_the_commonest_size(tmp_path: Path, clips: dict[str, Path]) -> None:
    """It keeps its length at 24 fps and gets black bars; the others are still copied."""
    made = reel(tmp_path / "reel.mp4", clips["loud"], clips["foreign"], clips["late"])

    assert (made.width, made.height, int(made.fps), made.copied) == (320, 180, 24, 2)
    assert [span.frames for span in made.spans] == [72, 48, 120]
    with av.open(str(made.path)) as container:
        shown = list(container.decode(video=0))[80].to_ndarray(format="gray")
    assert shown[90, 10] < 20
    assert shown[90, 160] > 150


def test_a_missing_shot_is_a_slate_of_the_length_ordered(tmp_path: Path, clips: dict[str, Path]) -> None:
    """The reel keeps its rhythm at any level of completion."""
    made = reel(tmp_path / "reel.mp4", clips["loud"], None, clips["late"])

    assert [(span.start, span.frames, span.slate) for span in made.spans] == [
        (0, 72, False),
        (72, 72, True),
        (144, 120, False),
    ]


def test_a_reel_of_nothing_but_missing_shots_is_all_slates(tmp_path: Path) -> None:
    """Even a run that delivered nothing can be shown."""
    made = reel(tmp_path / "reel.mp4", None, None)

    assert (made.width, made.height, made.frames, made.audio) == (1280, 720, 144, False)


def test_a_clip_that_cannot_be_read_is_a_slate(tmp_path: Path, clips: dict[str, Path]) -> None:
    """One broken file does not take the reel away."""
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(clips["loud"].read_bytes()[:400])
    made = reel(tmp_path / "reel.mp4", clips["loud"], broken)

    assert [span.slate for span in made.spans] == [False, True]
    with pytest.raises(Unjoinable, match=r"broken\.mp4"):
        inspect(broken)


def test_sound_stays_in_step_over_silent_and_foreign_clips(tmp_path: Path, clips: dict[str, Path]) -> None:
    """Each beep is heard where its picture is, to a millisecond: encoder delay does not add up."""
    made = reel(
        tmp_path / "reel.mp4", clips["loud"], None, clips["foreign"], clips["silent"], clips["late"], clips["loud"]
    )

    assert onsets(made.path) == pytest.approx([1.0, 7.0, 15.0, 18.0], abs=0.001)


def test_silent_clips_make_a_silent_reel(tmp_path: Path, clips: dict[str, Path]) -> None:
    """No track of nothing."""
    made = reel(tmp_path / "reel.mp4", clips["silent"], None)

    assert not made.audio
    with av.open(str(made.path)) as container:
        assert not container.streams.audio


def test_equal_takes_give_equal_bytes(tmp_path: Path, clips: dict[str, Path]) -> None:
    """A rerun that reuses everything delivers the same reel, encoded parts included."""
    parts = (clips["loud"], clips["foreign"], None)

    assert reel(tmp_path / "a.mp4", *parts).path.read_bytes() == reel(tmp_path / "b.mp4", *parts).path.read_bytes()


def test_nothing_but_the_reel_is_left_in_its_folder(tmp_path: Path, clips: dict[str, Path]) -> None:
    """Drafts are cleared away."""
    reel(tmp_path / "reel.mp4", clips["loud"], None)

    assert [path.name for path in tmp_path.iterdir()] == ["reel.mp4"]


@pytest.mark.ffprobe
@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="needs Debian's ffmpeg")
@pytest.mark.parametrize(
    "names", [("loud", "silent", None, "late"), ("loud", "foreign", "late"), ("foreign", "foreign")], ids=str
)
def test_ffprobe_counts_as_many_frames_and_seconds_as_the_parts_have(
    tmp_path: Path, clips: dict[str, Path], names: tuple[str | None, ...]
) -> None:
    """An independent reader finds picture and sound of exactly the summed length, starting at zero."""
    made = reel(tmp_path / "reel.mp4", *(clips[name] if name else None for name in names))
    command = [
        "ffprobe",
        "-v",
        "error",
        "-count_frames",
        "-show_streams",
        "-show_format",
        "-of",
        "json",
        str(made.path),
    ]
    seen = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    video, audio = seen["streams"]

    assert int(video["nb_read_frames"]) == made.frames == sum(span.frames for span in made.spans)
    for track in (video, audio, seen["format"]):
        assert float(track["duration"]) == pytest.approx(float(made.seconds), abs=1e-4)
        assert float(track["start_time"]) == 0


def test_F85_a_reel_is_the_same_apart(tmp_path: Path, clips: dict[str, Path]) -> None:
    """The process apart writes the very bytes, and tells the same of them."""
    parts = [ReelPart("SH1", 1, 3, clips["loud"]), ReelPart("SH2", 1, 3, None, "SH2", ("failed",))]
    here, there = make_reel(parts, tmp_path / "here.mp4"), reel_apart(parts, tmp_path / "there.mp4")
    assert replace(there, path=here.path) == here
    assert there.path.read_bytes() == here.path.read_bytes()


def test_F85_a_clip_over_which_the_reel_dies_gets_a_slate(
    tmp_path: Path, clips: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other clips are in it."""
    killer = str(clips["foreign"])

    def dies(work: str, clip: Path, **facts: Any) -> Any:
        paths = [facts.get("path"), *(part["path"] for part in facts.get("parts", ()))]
        if killer in paths:
            raise DecoderLost(clip, "its decoder died")
        return now_apart(work, clip, **facts)

    monkeypatch.setattr("tasks.assemble.reel.now_apart", dies)
    parts = [ReelPart("SH1", 1, 3, clips["loud"]), ReelPart("SH2", 1, 3, clips["foreign"])]
    made = reel_apart(parts, tmp_path / "reel.mp4")
    assert [span.slate for span in made.spans] == [False, True]
