"""Figures as ratios against a baseline in the same run, in CPU seconds: `make bench`. Nothing here passes or fails by time."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import pytest
import yaml
from PIL import Image

from specs.loader import load
from tasks.assemble.reel import ReelPart, make_reel
from tasks.studio.probe import probe_clip
from tasks.studio.render import Animatic, Beat, render_animatic

SHOTS = 10_000


def _cpu(work: Callable[[], object]) -> float:
    """CPU seconds of the whole process, the better of two runs."""

    def once() -> float:
        begun = time.process_time()
        work()
        return time.process_time() - begun

    return min(once(), once())


def _say(what: str, ours: float, baseline: float, against: str) -> None:
    print(f"\n{what}: {ours:.2f} CPU s, {ours / baseline:.2f} x {against} ({baseline:.2f} CPU s)")


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A still with detail everywhere."""
    path = tmp_path_factory.mktemp("bench") / "still.jpg"
    Image.effect_noise((1600, 900), 80).convert("RGB").save(path)
    return path


def _order(still: Path, seconds: int, *, shot: str = "SH010") -> Animatic:
    return Animatic(shot, 1, "BENCH", still, None, (Beat("Push in", seconds),), audio=False)


def bench_reading_ten_thousand_shots_against_plain_yaml() -> None:
    """Positions, the grammar and every rule, against the bare reading of the same text."""
    shot = "  - id: SH{:05d}\n    still: stills/rocket.jpg\n    prompt: Slow push in as the engines light\n    duration: 5\n"
    text = "rushes: 1\ntitle: Long\ncode: LONG\nshots:\n" + "".join(map(shot.format, range(SHOTS)))
    ours = _cpu(lambda: load(text.encode(), name="long.yaml"))
    plain = _cpu(lambda: yaml.load(text, yaml.CSafeLoader))
    _say(f"a board of {SHOTS} shots", ours, plain, "yaml.CSafeLoader")


def bench_an_animatic_against_encoding_one_held_frame(still: Path, tmp_path: Path) -> None:
    """A camera move with its slate, against x264 alone with the same settings on a picture that does not move."""
    ours = _cpu(lambda: render_animatic(_order(still, 5), tmp_path / "ours.mp4"))
    picture = Image.open(still).resize((1280, 720))

    def held() -> None:
        with av.open(str(tmp_path / "held.mp4"), "w") as container:
            stream = container.add_stream(
                "libx264", rate=24, options={"preset": "veryfast", "crf": "18", "threads": "1"}
            )
            stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
            frame = av.VideoFrame.from_image(picture)
            for number in range(5 * 24):
                frame.pts = number
                container.mux(stream.encode(frame))
            container.mux(stream.encode())

    _say("an animatic of 5 s at 720p", ours, _cpu(held), "encoding a held frame")


def bench_two_animatics_at_once_against_one_after_the_other(still: Path, tmp_path: Path) -> None:
    """Wall time: both cores work."""

    def both(workers: int) -> float:
        begun = time.monotonic()
        with ThreadPoolExecutor(workers) as pool:
            jobs = [
                pool.submit(render_animatic, _order(still, 3, shot=name), tmp_path / f"{name}{workers}.mp4")
                for name in ("SH010", "SH020")
            ]
            for job in jobs:
                job.result()
        return time.monotonic() - begun

    together, apart = both(2), both(1)
    print(f"\ntwo animatics: {together:.2f} s together, {together / apart:.2f} x {apart:.2f} s one after the other")


def bench_a_reel_against_rendering_its_parts(still: Path, tmp_path: Path) -> None:
    """Joining equal takes copies pictures; it costs a fraction of making them."""
    takes = [tmp_path / f"{number}.mp4" for number in range(4)]
    made = _cpu(lambda: [render_animatic(_order(still, 3, shot=take.stem), take) for take in takes])
    parts = [ReelPart(take.stem, 1, 3, take) for take in takes]
    joined = _cpu(lambda: make_reel(parts, tmp_path / "reel.mp4"))
    _say("a reel of four takes", joined, made, "rendering them")


def bench_probing_a_take_against_rendering_it(still: Path, tmp_path: Path) -> None:
    """The check that what came is what was ordered."""
    take = tmp_path / "take.mp4"
    made = _cpu(lambda: render_animatic(_order(still, 5), take))
    _say("probing a take of 5 s", _cpu(lambda: probe_clip(take)), made, "rendering it")
