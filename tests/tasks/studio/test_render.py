"""Whole animatics: exact length, the right picture at the right time, and the same bytes every time."""

import itertools
import json
import pickle
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from tasks.studio.errors import ClipUnreadable, RenderCancelled, StillUnreadable, StudioError
from tasks.studio.probe import first_frame, probe_clip
from tasks.studio.render import Animatic, Beat, render_animatic, render_slate_clip

Film = Callable[..., Path]
Order = Callable[..., Animatic]


def _lumas(path: Path) -> list[NDArray[np.int16]]:
    """The luma of each frame above the slate."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    return [frame[: frame.shape[0] * 3 // 4].astype(np.int16) for frame in frames]


def _change(first: NDArray[np.int16], second: NDArray[np.int16]) -> float:
    return float(np.abs(first - second).mean())


@pytest.mark.parametrize("seconds", range(3, 16))
@pytest.mark.parametrize("audio", [False, True])
def test_the_clip_is_as_long_as_ordered_to_the_frame(seconds: int, audio: bool, film: Film) -> None:
    """24 frames for each second from 3 to 15, H.264 yuv420p with the index first, and sound only when paid for."""
    probe = probe_clip(film("Pan left", seconds, audio=audio, long_side=64))
    assert (probe.frames, probe.seconds, probe.fps) == (24 * seconds, Decimal(seconds), Fraction(24))
    assert (probe.video_codec, probe.pix_fmt, probe.faststart) == ("h264", "yuv420p", True)
    assert (probe.has_audio, probe.audio_codec) == ((True, "aac") if audio else (False, None))
    assert not probe.black
    assert not probe.frozen


@pytest.mark.parametrize("size", [(90, 160), (100, 100), (64, 160), (160, 64), (157, 99)])
def test_the_picture_keeps_the_aspect_of_the_still(size: tuple[int, int], film: Film, tmp_path: Path) -> None:
    """The long side is as asked, both sides even, and the aspect within a pixel."""
    Image.effect_noise(size, 80).save(tmp_path / "still.png")
    probe = probe_clip(film(still=tmp_path / "still.png", long_side=160))
    assert max(probe.width, probe.height) == 160
    assert (probe.width % 2, probe.height % 2) == (0, 0)
    assert min(probe.width, probe.height) == pytest.approx(160 * min(size) / max(size), abs=1)


def test_equal_orders_give_equal_bytes(order: Order, other_still: Path, tmp_path: Path) -> None:
    """With sound, an end still and cuts; alone, and while another film is made in the next thread."""
    beats = (Beat("pan left", 2), Beat("handheld push in", 2))
    same = order(beats=beats, audio=True, end_still=other_still)

    def made(name: str) -> bytes:
        render_animatic(same, tmp_path / name)
        return (tmp_path / name).read_bytes()

    alone = made("alone.mp4")
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(made, ["left.mp4", "right.mp4"])) == [alone, alone]


@pytest.mark.parametrize(
    "change",
    [{"prompt": "Pan right"}, {"shot": "SH011"}, {"take": 2}, {"board": "OTHER"}, {"audio": True}, {"seconds": 4}],
)
def test_every_fact_of_the_order_shows_in_the_bytes(change: dict[str, object], film: Film) -> None:
    """Nothing that the order says is ignored."""
    assert film(**change).read_bytes() != film().read_bytes()


def test_the_file_tells_nothing_of_when_and_where(clip: Path) -> None:
    """No creation time, no path, no library version of the muxer."""
    with av.open(str(clip)) as container:
        assert not {"creation_time", "encoder", "comment"} & set(container.metadata)
        assert all("creation_time" not in stream.metadata for stream in container.streams)
    assert str(clip.parent).encode() not in clip.read_bytes()


def test_a_shot_without_cuts_never_jumps(film: Film) -> None:
    """The largest step between two frames is of the size of the usual one."""
    lumas = _lumas(film("Pan left", 3))
    steps = [_change(a, b) for a, b in itertools.pairwise(lumas)]
    assert max(steps) < 4 * float(np.median(steps)) + 1


def test_each_cut_is_a_hard_one_at_its_frame(film: Film) -> None:
    """The picture jumps where a beat begins, and only there."""
    beats = (Beat("Drift across the field", 2), Beat("Push into the spiral", 3), Beat("Hold", 1))
    lumas = _lumas(film(beats=beats))
    steps = [_change(a, b) for a, b in itertools.pairwise(lumas)]
    assert sorted(np.argsort(steps)[-2:] + 1) == [48, 120]
    assert len(lumas) == 144


def test_the_end_still_dissolves_in_and_stays(film: Film, other_still: Path) -> None:
    """Nothing of it before the last two fifths, all of it at the end, ever nearer in between."""
    lumas = _lumas(film("Hold", 5, end_still=other_still))
    height, width = lumas[0].shape[0] * 4 // 3, lumas[0].shape[1]
    wanted = ImageOps.fit(Image.open(other_still).convert("L"), (width, height), Image.Resampling.LANCZOS)
    target = np.asarray(wanted)[: lumas[0].shape[0]].astype(np.int16)
    away = [_change(luma, target) for luma in lumas]
    assert max(away[:72]) - min(away[:72]) < 1
    assert all(later < earlier + 0.5 for earlier, later in itertools.pairwise(away[72:]))
    assert max(away[-6:]) < 4 < away[71] / 4


def test_a_short_shot_still_dissolves_for_a_second(film: Film, other_still: Path) -> None:
    """With a last cut of one second the dissolve takes that second and not more."""
    lumas = _lumas(film(beats=(Beat("Hold", 2), Beat("Hold", 1)), end_still=other_still))
    assert _change(lumas[0], lumas[47]) < 1
    assert _change(lumas[48], lumas[71]) > 4


def test_progress_rises_to_one(order: Order, tmp_path: Path) -> None:
    """One report for each second of film."""
    heard: list[float] = []
    render_animatic(order(seconds=4, long_side=64), tmp_path / "clip.mp4", progress=heard.append)
    assert heard == [0.25, 0.5, 0.75, 1.0]


def test_cancelling_leaves_nothing_behind(order: Order, tmp_path: Path) -> None:
    """The caller's wish is heard within a second of film, and no half clip stays."""
    answers = iter([False, True])
    with pytest.raises(RenderCancelled):
        render_animatic(order(seconds=15), tmp_path / "clip.mp4", cancelled=lambda: next(answers))
    assert list(tmp_path.iterdir()) == []


def test_a_bad_still_leaves_nothing_behind(order: Order, tmp_path: Path) -> None:
    """A broken end still is found before a frame is filmed."""
    (tmp_path / "end.png").write_bytes(b"GIF89a")
    with pytest.raises(StillUnreadable, match=r"end\.png"):
        render_animatic(order(end_still=tmp_path / "end.png"), tmp_path / "clip.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["end.png"]


def test_a_failing_callback_is_not_swallowed(order: Order, tmp_path: Path) -> None:
    """What `progress` raises reaches the caller, and the half clip is gone."""

    def burst(_share: float) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        render_animatic(order(), tmp_path / "clip.mp4", progress=burst)
    assert not (tmp_path / "clip.mp4").exists()


def test_the_slate_clip_stands_in_for_a_shot(clip: Path, tmp_path: Path) -> None:
    """Its length, tracks and codec headers equal an animatic's, so that both join without encoding again."""
    out = tmp_path / "missing.mp4"
    render_slate_clip(out, width=160, height=90, seconds=2.5, title="SH020", lines=["in doubt"], audio=True)
    probe = probe_clip(out)
    assert (probe.frames, probe.seconds, probe.has_audio) == (60, Decimal("2.5"), True)
    with av.open(str(out)) as ours, av.open(str(clip)) as animatic:
        for mine, its in zip(ours.streams, animatic.streams, strict=True):
            assert mine.codec_context.extradata == its.codec_context.extradata
            assert mine.time_base == its.time_base


def test_the_thumbnail_shows_the_moment_asked_for(film: Film, other_still: Path) -> None:
    """The end still stands at the end, the still at the start; beyond the end is the last frame."""
    path = film("Hold", 3, end_still=other_still)
    start, end, beyond = (np.asarray(first_frame(path, at), int) for at in (0.5, 2.97, 99))
    assert np.abs(start - end).mean() > 8
    assert np.array_equal(end, beyond)


def test_colours_are_those_of_the_still(film: Film, tmp_path: Path) -> None:
    """A red still is a red film."""
    Image.new("RGB", (160, 90), (200, 40, 30)).save(tmp_path / "red.png")
    shown = np.asarray(first_frame(film("Hold", still=tmp_path / "red.png")), int)[:50]
    assert np.abs(shown - np.array([200, 40, 30])).max() <= 6


@pytest.mark.parametrize("kind", [StillUnreadable, ClipUnreadable, RenderCancelled])
def test_errors_cross_process_borders(kind: type[StudioError]) -> None:
    """Pickled and back, an error still names its file and its reason."""
    error = pickle.loads(pickle.dumps(kind(Path("a/b.png"), "broken")))
    assert (type(error), str(error), error.path) == (kind, "b.png: broken", Path("a/b.png"))


@pytest.mark.ffprobe
@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="needs Debian's ffmpeg")
@pytest.mark.parametrize("audio", [False, True])
def test_ffprobe_agrees(audio: bool, film: Film) -> None:
    """An independent reader sees the ordered length in the container and in the picture, and standard colours."""
    command = ["ffprobe", "-v", "error", "-count_frames", "-show_format", "-show_streams", "-of", "json"]
    path = film("Pan left", 7, audio=audio)
    answer = subprocess.run([*command, str(path)], capture_output=True, check=True, text=True)
    seen = json.loads(answer.stdout)
    assert answer.stderr == ""
    assert float(seen["format"]["duration"]) == pytest.approx(7, abs=1 / 24)
    video, *sounds = seen["streams"]
    assert (video["nb_read_frames"], float(video["duration"]), video["r_frame_rate"]) == ("168", 7, "24/1")
    assert (video["color_space"], video["color_range"], video["field_order"]) == ("bt709", "tv", "progressive")
    assert [(sound["codec_name"], sound["sample_rate"], sound["channels"]) for sound in sounds] == [
        ("aac", "48000", 2)
    ] * audio
    assert all(float(sound["start_time"]) == 0 for sound in sounds)
