"""Pictures that come out steady and in the right colours."""

from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tasks.studio.frames import Planes, Plate
from tasks.studio.moves import Move, plan_move
from tasks.studio.render import Animatic, Beat, render_animatic

MOVES = [
    "push in",
    "pull out",
    "pan left",
    "tilt up",
    "drift",
    "orbit",
    "truck right",
    "crane down",
    "follow",
    "handheld",
    "hold",
    "slow push in",
]
JITTER = 0.15


def _dots(width: int, height: int) -> tuple[Image.Image, list[tuple[float, float]]]:
    """Soft white dots on grey, clear of the slate, and their centres in pixels."""
    ys, xs = np.mgrid[0:height, 0:width] + 0.5
    picture = np.full((height, width), 60.0)
    step = height // 9
    places = [(width * 0.34 + 2 * step * i, height * 0.34 + step * j) for i in range(3) for j in range(3)]
    for x, y in places:
        picture += 170 * np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / (2 * (height / 140) ** 2))
    return Image.fromarray(picture.clip(0, 255).round().astype(np.uint8)).convert("RGB"), places


def _errors(
    frames: list[NDArray[np.uint8]], move: Move, places: list[tuple[float, float]], source: tuple[int, int]
) -> NDArray[np.float64]:
    """Seen minus ideal position of each dot in each frame, in pixels of the frame."""
    height, width = frames[0].shape
    radius = height // 22
    ys, xs = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    found = []
    for number, frame in enumerate(frames):
        left, top, right, _ = move.at(number / (len(frames) - 1), number / 24).box(*source)
        scale = width / (right - left)
        for x, y in places:
            want_x, want_y = (x - left) * scale - 0.5, (y - top) * scale - 0.5
            near_x, near_y = round(want_x), round(want_y)
            window = frame[near_y - radius : near_y + radius + 1, near_x - radius : near_x + radius + 1].astype(float)
            light = np.clip(window - np.percentile(window, 40) - 10, 0, None)
            light *= np.hypot(xs, ys) < radius
            found.append(
                ((light * xs).sum() / light.sum() + near_x - want_x, (light * ys).sum() / light.sum() + near_y - want_y)
            )
    return np.array(found)


@pytest.mark.parametrize("words", MOVES)
def test_dots_follow_the_ideal_path_of_each_move(words: str) -> None:
    """Painted frames are within 0.15 px rms of the eased path on both axes."""
    picture, places = _dots(640, 360)
    move = plan_move(words, 3)
    plate = Plate(picture, (640, 360), move.tightest)
    frames = [np.asarray(plate.shot(move.at(n / 71, n / 24)).y) for n in range(72)]
    assert np.sqrt((_errors(frames, move, places, picture.size) ** 2).mean(axis=0)).max() <= JITTER


@pytest.mark.parametrize("words", ["slow pan left", "slow push in", "handheld drift"])
def test_encoding_keeps_the_path_steady(words: str, tmp_path: Path) -> None:
    """The decoded film too is within 0.15 px rms: slow moves are not rounded to whole pixels or skipped blocks."""
    picture, places = _dots(640, 360)
    picture.save(tmp_path / "dots.png")
    order = Animatic("SH1", 1, "DOTS", tmp_path / "dots.png", None, (Beat(words, 3),), audio=False, long_side=640)
    render_animatic(order, tmp_path / "dots.mp4")
    with av.open(str(tmp_path / "dots.mp4")) as container:
        frames = [np.asarray(frame.to_ndarray(format="yuv420p")[:360], np.uint8) for frame in container.decode(video=0)]
    errors = _errors(frames, plan_move(words, 3), places, picture.size)
    assert np.sqrt((errors**2).mean(axis=0)).max() <= JITTER


@pytest.mark.parametrize("colour", [(200, 30, 30), (30, 160, 60), (40, 60, 200), (230, 230, 230), (12, 12, 12)])
def test_colours_survive(colour: tuple[int, int, int]) -> None:
    """BT.709 video levels: what a tagged player shows is what the still held."""
    frame = Planes.of(Image.new("RGB", (64, 48), colour)).video_frame(0)
    frame.colorspace = 1
    shown = frame.to_ndarray(format="rgb24", src_colorspace="ITU709")
    assert np.abs(shown.astype(int) - np.array(colour)).max() <= 3


def test_chroma_lies_where_the_luma_is() -> None:
    """The left-sited chroma of a red square on grey is centred on the square's luma to a quarter of a pixel."""
    picture = Image.new("RGB", (128, 128), (90, 90, 90))
    picture.paste((220, 40, 40), (40, 40, 88, 88))
    planes = Planes.of(picture)
    row_y = np.asarray(planes.y, float)[64] - np.asarray(planes.y, float)[0, 0]
    row_v = np.asarray(planes.v, float)[32] - 128
    centre_y = (row_y * np.arange(128)).sum() / row_y.sum()
    centre_v = (row_v * np.arange(64) * 2).sum() / row_v.sum()
    assert centre_v == pytest.approx(centre_y, abs=0.25)
