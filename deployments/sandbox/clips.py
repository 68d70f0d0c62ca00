"""Real clips of the ordered length: H.264, 24 frames a second, yuv420p, faststart, AAC when sound was ordered.

The picture is the start still with a light that wanders over it, so it moves and is never black. Each distinct clip is
rendered once a process. What a job gets ends in a `free` box with its id: players skip it, hashes tell jobs apart.
"""

import functools
import io
import struct
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps

__all__ = ["FLAWS", "FPS", "Clip", "aspect_size", "box_cut", "png", "render", "sealed"]

FPS = 24
RATE = 44_100
FLAWS = ("black", "frozen", "soundless", "mute", "short", "long", "turned", "tiny", "empty")

Picture = NDArray[np.uint8]
_rendering = threading.Lock()


@dataclass(frozen=True, slots=True)
class Clip:
    """What to render. `flaw` is one of FLAWS or nothing; `still` is a local image file or nothing."""

    width: int
    height: int
    seconds: int
    audio: bool
    flaw: str = ""
    still: str = ""


def render(clip: Clip) -> bytes:
    """The clip as an MP4 file."""
    with _rendering:
        return _render(clip)


def sealed(movie: bytes, job_id: str) -> bytes:
    """The movie with the job's id in a box that players skip."""
    mark = job_id.encode()
    return movie + struct.pack(">I", 8 + len(mark)) + b"free" + mark


def box_cut(movie: bytes) -> int:
    """Where the pictures begin: a file cut here is a chain of whole boxes that promises a film and has none."""
    at = 0
    while at + 8 <= len(movie):
        size, kind = struct.unpack(">I4s", movie[at : at + 8])
        if kind == b"mdat":
            return at
        at += size
    raise ValueError("no mdat box")


@functools.lru_cache(maxsize=512)
def _render(clip: Clip) -> bytes:
    with tempfile.TemporaryDirectory(prefix="rushes-sandbox-") as folder:
        path = Path(folder, "clip.mp4")
        with av.open(str(path), "w", options={"movflags": "+faststart"}) as movie:
            _fill(movie, _flawed(clip))
        return path.read_bytes()


def _flawed(clip: Clip) -> Clip:
    width, height, seconds = clip.width, clip.height, clip.seconds
    match clip.flaw:
        case "turned":
            width, height = (height, width) if width != height else (width, width // 4 * 2)
        case "tiny":
            width, height = 32, 32
        case "short":
            seconds = max(1, seconds - 2)
        case "long":
            seconds += 3
        case _:
            pass
    audio = clip.audio and clip.flaw != "soundless"
    return Clip(width, height, seconds, audio, clip.flaw, clip.still)


def _fill(movie: OutputContainer, clip: Clip) -> None:
    picture = movie.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "crf": "30", "threads": "1"})
    picture.width, picture.height, picture.pix_fmt = clip.width, clip.height, "yuv420p"
    picture.gop_size = FPS
    sound = movie.add_stream("aac", rate=RATE, layout="mono") if clip.audio else None
    movie.start_encoding()
    if clip.flaw != "empty":
        _add_pictures(movie, picture, clip)
    if sound is not None:
        _add_sound(movie, sound, clip)


def _add_pictures(movie: OutputContainer, stream: VideoStream, clip: Clip) -> None:
    for number, pixels in enumerate(_pictures(clip)):
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts, frame.time_base = number, Fraction(1, FPS)
        movie.mux(stream.encode(frame))
    movie.mux(stream.encode(None))


def _pictures(clip: Clip) -> Iterator[Picture]:
    scene, light = _scene(clip), _light(clip)
    for number in range(clip.seconds * FPS):
        match clip.flaw:
            case "black":
                yield np.zeros_like(scene)
            case "frozen":
                yield scene + light
            case _:
                yield scene + np.roll(light, number * clip.width // (2 * FPS), axis=1)


def _scene(clip: Clip) -> Picture:
    """The still at three quarters of its brightness, signed, so that nobody takes it for a delivery."""
    size = (clip.width, clip.height)
    if clip.still:
        with Image.open(clip.still) as still:
            image = ImageOps.exif_transpose(still).convert("RGB").resize(size)
    else:
        image = Image.linear_gradient("L").resize(size).convert("RGB")
    ImageDraw.Draw(image).text((6, 4), "SANDBOX", fill="white")
    return (np.asarray(image, np.uint16) * 3 // 4).astype(np.uint8)


def _light(clip: Clip) -> Picture:
    """A bright column, up to a quarter of the range, that fades to both sides."""
    across = np.abs(np.linspace(-1, 1, clip.width))
    column = (16 + 47 * np.clip(1 - 3 * across, 0, 1)).astype(np.uint8)
    return np.broadcast_to(column[None, :, None], (clip.height, clip.width, 3)).copy()


def _add_sound(movie: OutputContainer, stream: AudioStream, clip: Clip) -> None:
    at = np.arange(clip.seconds * RATE) / RATE
    wave = 0.25 * np.sin(2 * np.pi * (220 + 40 * np.floor(at)) * at) * (clip.flaw != "mute")
    for start in range(0, len(wave), 1024):
        block = wave[start : start + 1024].astype(np.float32)[None, :]
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
        movie.mux(stream.encode(frame))
    movie.mux(stream.encode(None))


def aspect_size(width: int, height: int, long_side: int) -> tuple[int, int]:
    """Even sides of that aspect, the longer one `long_side`."""
    scale = long_side / max(width, height)
    return max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2)


def png() -> bytes:
    """A small picture, for whoever serves one in place of a film."""
    held = io.BytesIO()
    Image.linear_gradient("L").save(held, "PNG")
    return held.getvalue()
