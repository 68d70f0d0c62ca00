"""Small clips for the tests of reel, timeline and page: plain colours and a beep, in whatever shape a provider may choose."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tasks.studio.render import render_slate_clip


def studio_clip(out: Path, *, seconds: int = 3, size: tuple[int, int] = (320, 180), audio: bool = False) -> Path:
    """A clip as the local studio makes them; with `audio`, a beep of one frame sounds two seconds before the end."""
    render_slate_clip(
        out, width=size[0], height=size[1], seconds=seconds, title=out.stem, lines=("a test",), audio=audio
    )
    return out


def foreign_clip(
    out: Path,
    *,
    frames: int = 60,
    fps: int = 30,
    size: tuple[int, int] = (240, 240),
    rate: int | None = 44_100,
    shade: int = 200,
) -> Path:
    """A clip that somebody else's encoder made: other rate, shape and settings, with B-frames."""
    with av.open(str(out), "w", format="mp4") as container:
        video = container.add_stream(
            "libx264", rate=fps, options={"preset": "medium", "bf": "3", "x264-params": "log=0"}
        )
        video.codec_context.width, video.codec_context.height = size
        video.codec_context.pix_fmt = "yuv420p"
        audio = container.add_stream("aac", rate=rate, layout="mono") if rate else None
        for number in range(frames):
            picture = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), shade, np.uint8), format="rgb24")
            picture.pts = number
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
        if audio is not None and rate is not None:
            for piece in _beeps(rate, Fraction(frames, fps)):
                container.mux(audio.encode(piece))
            container.mux(audio.encode(None))
    return out


def _beeps(rate: int, seconds: Fraction) -> Iterator[av.AudioFrame]:
    """Silence but for 1 kHz from 1.0 s to 1.1 s."""
    moments = np.arange(round(seconds * rate)) / rate
    tone = np.where((moments >= 1.0) & (moments < 1.1), 0.5 * np.sin(2 * np.pi * 1000 * moments), 0)
    for start in range(0, len(tone), 1024):
        piece = av.AudioFrame.from_ndarray(tone[None, start : start + 1024].astype(np.float32), "fltp", "mono")
        piece.sample_rate, piece.pts = rate, start
        yield piece


def sound_of(path: Path) -> tuple[int, np.ndarray]:
    """The first channel as a player hears it, and its rate; priming and padding are cut as the file says."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        pieces = [frame.to_ndarray()[0] for frame in container.decode(stream)]
        return stream.rate, np.concatenate(pieces)


def onsets(path: Path, threshold: float = 0.05) -> list[float]:
    """Seconds at which a beep begins, after at least half a second without one."""
    rate, samples = sound_of(path)
    loud = np.flatnonzero(np.abs(samples) > threshold) / rate
    return [float(moment) for before, moment in zip([-1.0, *loud], loud, strict=False) if moment - before > 0.5]
