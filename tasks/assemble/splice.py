"""Joining clips: pictures are copied packet by packet, sound becomes one new track.

AAC frames of 1024 samples do not end where pictures do, and every AAC file begins with encoder delay, so copied sound
would drift and click at each cut. Decoded, laid at its place and encoded once, it stays in step to the sample.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.video.frame import PictureType
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tasks.assemble.footage import Footage, opened
from tasks.studio.encode import FPS, write_clip

__all__ = ["RATE", "conform", "splice"]

RATE = 48_000
# bitexact leaves out times and library versions; 0 lets the muxer wait for the other track instead of giving up on it.
_WRITE = {"movflags": "+faststart", "fflags": "+bitexact", "max_interleave_delta": "0"}


def conform(footage: Footage, size: tuple[int, int], out: Path) -> None:
    """Encode the pictures again at 24 fps and that size, with black bars where the shape differs; sound is left out."""
    with opened(footage.path) as container:
        write_clip(out, size, _at_24(container, footage, size), None)


def splice(pictures: Sequence[Footage], sounds: Sequence[Footage], out: Path) -> None:
    """Join clips of one signature; the n-th of `sounds` is heard with the n-th of `pictures`, silence where it has none.

    The track of sound is left out when all are silent. Equal input gives equal bytes.
    """
    with av.open(str(out), "w", format="mp4", container_options=_WRITE) as container:
        with opened(pictures[0].path) as first:
            video = container.add_stream_from_template(first.streams.video[0])
        audio = _track(container) if any(sound.audio for sound in sounds) else None
        begin = Fraction(0)
        for picture, sound in zip(pictures, sounds, strict=True):
            _copy(picture, container, video, begin)
            if audio is not None:
                samples = _sample(begin + picture.seconds) - _sample(begin)
                container.mux(audio.encode(_frame(_heard(sound, samples), _sample(begin))))
            begin += picture.seconds
        if audio is not None:
            container.mux(audio.encode(None))


def _at_24(container: InputContainer, footage: Footage, size: tuple[int, int]) -> Iterator[av.VideoFrame]:
    """At each 24th of a second the newest picture, so that the length stays and motion keeps its speed."""
    pictures = _fitted(container, footage, size)
    held = following = next(pictures, None)
    for number in range(max(1, round(footage.seconds * FPS))):
        while following is not None and following[0] <= Fraction(number, FPS):
            held, following = following, next(pictures, None)
        if held is not None:
            frame = held[1]
            # A kept picture type would force the encoder's choice of key frames.
            frame.pts, frame.time_base, frame.pict_type = number, Fraction(1, FPS), PictureType.NONE
            yield frame


def _fitted(
    container: InputContainer, footage: Footage, size: tuple[int, int]
) -> Iterator[tuple[Fraction, av.VideoFrame]]:
    """The decoded pictures with their moments in seconds from the start, scaled to fit and padded."""
    width, height = size
    graph = av.filter.Graph()
    graph.link_nodes(
        graph.add_buffer(template=container.streams.video[0]),
        graph.add("scale", "trunc(iw*sar/2)*2:ih"),
        graph.add("scale", f"{width}:{height}:force_original_aspect_ratio=decrease:force_divisible_by=2"),
        graph.add("pad", f"{width}:{height}:(ow-iw)/2:(oh-ih)/2"),
        graph.add("setsar", "1"),
        graph.add("format", "yuv420p"),
        graph.add("buffersink"),
    ).configure()
    for frame in container.decode(video=0):
        if frame.pts is not None and frame.time_base is not None:
            graph.vpush(frame)
            yield frame.pts * frame.time_base - footage.start, graph.vpull()


def _copy(picture: Footage, container: OutputContainer, video: VideoStream, begin: Fraction) -> None:
    with opened(picture.path) as source:
        stream = source.streams.video[0]
        assert stream.time_base is not None
        shift = int((begin - picture.start) / stream.time_base)
        for packet in source.demux(stream):
            if packet.size and packet.pts is not None and packet.dts is not None:
                packet.pts += shift
                packet.dts += shift
                packet.stream = video
                container.mux(packet)


def _track(container: OutputContainer) -> AudioStream:
    return container.add_stream("aac", rate=RATE, layout="stereo", options={"b": "160k", "flags": "+bitexact"})


def _sample(moment: Fraction) -> int:
    return round(moment * RATE)


def _frame(samples: NDArray[np.float32], at: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
    frame.sample_rate, frame.pts, frame.time_base = RATE, at, Fraction(1, RATE)
    return frame


def _heard(sound: Footage, count: int) -> NDArray[np.float32]:
    """Two channels of exactly `count` samples, laid where they are heard beside the clip's pictures."""
    heard = np.zeros((2, count), np.float32)
    if not sound.audio:
        return heard
    resampler = av.AudioResampler(format="fltp", layout="stereo", rate=RATE)
    at: int | None = None
    with opened(sound.path) as source:
        for frame in source.decode(audio=0):
            if at is None:
                start = frame.pts * frame.time_base if frame.pts is not None and frame.time_base else sound.start
                at = _sample(start - sound.start)
            for piece in resampler.resample(frame):
                at = _lay(piece, heard, at)
        for piece in resampler.resample(None):
            at = _lay(piece, heard, at or 0)
    return heard


def _lay(piece: av.AudioFrame, heard: NDArray[np.float32], at: int) -> int:
    """Copy the part of a piece that falls into the clip; the place after it is returned."""
    after = at + piece.samples
    first, last = max(0, at), min(heard.shape[1], after)
    if first < last:
        heard[:, first:last] = piece.to_ndarray()[:, first - at : last - at]
    return after
