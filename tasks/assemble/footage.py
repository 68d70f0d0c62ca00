"""What a local clip consists of, read packet by packet without decoding, as far as joining clips depends on it."""

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
from av.container import InputContainer

__all__ = ["Footage", "Unjoinable", "inspect", "opened"]

_READ = {"protocol_whitelist": "file", "enable_drefs": "0"}


def opened(path: Path) -> InputContainer:
    """A local MP4 for reading; what it may refer to on the disk or in the network is not followed."""
    return av.open(str(path), format="mov", options=_READ)


class Unjoinable(Exception):
    """A file that has no usable pictures: not a clip, cut off, or empty."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path.name}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Footage:
    """One clip: `frames` pictures over `seconds`, the first one at `start` seconds of the file's own clock.

    `even` says that the pictures are equally long and all shown; `signature` is all that a decoder is set up with, so
    even clips of one signature play on from each other without being encoded again.
    """

    path: Path
    width: int
    height: int
    frames: int
    start: Fraction
    seconds: Fraction
    even: bool
    signature: tuple[object, ...]
    audio: bool

    @property
    def fps(self) -> Fraction:
        """Pictures per second."""
        return self.frames / self.seconds


def inspect(path: Path) -> Footage:
    """Read the clip's tables and packets.

    Raises:
        Unjoinable: for a file without pictures, or one that FFmpeg cannot read to its end.
    """
    try:
        with opened(path) as container:
            if not container.streams.video:
                raise Unjoinable(path, "has no pictures")
            return _footage(path, container, audio=bool(container.streams.audio))
    except av.error.FFmpegError as error:
        raise Unjoinable(path, error.strerror or "cannot be read") from error


def _footage(path: Path, container: InputContainer, *, audio: bool) -> Footage:
    stream = container.streams.video[0]
    packets = [packet for packet in container.demux(stream) if packet.size and packet.pts is not None]
    shown = sorted((packet.pts or 0, packet.duration or 0) for packet in packets if not packet.is_discard)
    if not shown or stream.time_base is None:
        raise Unjoinable(path, "has no pictures")
    moments = [pts for pts, _ in shown]
    steps = {after - before for before, after in pairwise(moments)}
    step = min(steps, default=shown[0][1])
    context = stream.codec_context
    even = len(shown) == len(packets) and len(steps) <= 1 and step > 0 and packets[0].is_keyframe
    span = moments[-1] - moments[0] + (step if even else max(shown[-1][1], step))
    if span <= 0:
        raise Unjoinable(path, "has no length")
    return Footage(
        path=path,
        width=context.width,
        height=context.height,
        frames=len(shown),
        start=moments[0] * stream.time_base,
        seconds=span * stream.time_base,
        even=even,
        signature=(context.name, context.extradata, context.pix_fmt, stream.time_base, step),
        audio=audio,
    )
