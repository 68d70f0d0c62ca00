"""Encoding: frames and sound into one MP4 whose bytes depend on nothing but them."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from tasks.studio.sound import RATE, sound_frames

__all__ = ["FPS", "write_clip"]

FPS = 24
_BT709 = 1
_LIMITED = 1


def write_clip(out: Path, size: tuple[int, int], frames: Iterable[av.VideoFrame], sound_seconds: float | None) -> None:
    """Write H.264 (yuv420p, 24 fps, index first) to `out`, with an AAC track of that length unless it is None."""
    # bitexact leaves out creation time and library versions; x264 itself is told its thread count in `_video`.
    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    with av.open(str(out), "w", format="mp4", container_options=options) as container:
        video = _video(container, size)
        audio = None if sound_seconds is None else _audio(container)
        pieces = iter(()) if sound_seconds is None else sound_frames(sound_seconds)
        for number, frame in enumerate(frames):
            container.mux(video.encode(frame))
            if audio is not None:
                _catch_up(container, audio, pieces, Fraction(number + 1, FPS))
        container.mux(video.encode(None))
        if audio is not None:
            _catch_up(container, audio, pieces, None)
            container.mux(audio.encode(None))


def _video(container: OutputContainer, size: tuple[int, int]) -> VideoStream:
    # The number of threads changes x264's output, so it is fixed; the two cores are used by painting frames meanwhile.
    options = {"preset": "veryfast", "crf": "18", "g": "48", "flags": "+bitexact+cgop"}
    options["x264-params"] = "cpu-independent=1"
    stream = container.add_stream("libx264", rate=FPS, options=options)
    context: VideoCodecContext = stream.codec_context
    context.thread_count = 1
    context.width, context.height = size
    context.pix_fmt = "yuv420p"
    context.color_primaries = context.color_trc = context.colorspace = _BT709
    context.color_range = _LIMITED
    return stream


def _audio(container: OutputContainer) -> AudioStream:
    return container.add_stream("aac", rate=RATE, layout="stereo", options={"b": "128k", "flags": "+bitexact"})


def _catch_up(
    container: OutputContainer, audio: AudioStream, pieces: Iterator[av.AudioFrame], until: Fraction | None
) -> None:
    """Write the sound that belongs before that second, so that the two tracks lie interleaved in the file."""
    for piece in pieces:
        container.mux(audio.encode(piece))
        if until is not None and piece.pts is not None and Fraction(piece.pts, RATE) >= until:
            return
