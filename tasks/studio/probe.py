"""Looking into a clip: is it whole, how long is it really, and is there a picture in it."""

import math
from collections import Counter
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn, Self

import av
import numpy as np
from av.packet import Packet
from numpy.typing import NDArray
from PIL import Image

from tasks.studio.apart import apart
from tasks.studio.clips import Limits, OpenClip, open_clip
from tasks.studio.errors import ClipUnreadable

__all__ = ["Limits", "Probe", "first_frame", "probe_apart", "probe_clip"]

_SAMPLE_EVERY = 6
# Sound comes in many more packets than pictures: 47 a second of AAC at 48 kHz, up to 400 of short Opus ones.
_PACKETS_PER_FRAME = 20
_THUMB = (32, 32)
_BLACK_MEAN, _BLACK_BRIGHTEST = 5.0, 24.0
# Measured: coding noise moves a thumbnail by at most 2 levels, a running timecode by 12, a slow push in by 40.
_FROZEN_CHANGE = 4
_SILENCE_DB = -120.0


_LIMITS = Limits()


@dataclass(frozen=True)
class Probe:
    """What a clip really is.

    `seconds` is the length of the picture to the millisecond. `audio_rms_db` is the level over all samples in dBFS,
    -120 for digital silence, None without sound or when only the headers were read. `black` and `frozen` look at one
    frame in six, and are False when only the headers were read.
    """

    seconds: Decimal
    frames: int
    width: int
    height: int
    fps: Fraction
    video_codec: str
    pix_fmt: str
    has_audio: bool
    audio_codec: str | None
    audio_rms_db: float | None
    faststart: bool
    black: bool
    frozen: bool


def probe_clip(path: Path, *, full: bool = True, limits: Limits = _LIMITS) -> Probe:
    """Check and measure a local MP4; `full` decodes all of it, otherwise only the headers are read.

    Raises ClipUnreadable for a truncated, undecodable or oversized clip and for anything that is not MP4 video. A file
    in fragments that was cut between two of them is whole to any reader: compare `seconds` with what was ordered.
    """
    with open_clip(path, limits) as clip:
        return _Reading(path, clip, limits).read().probe() if full else _headers(path, clip)


def probe_facts(path: str) -> dict[str, Any]:
    """`probe_clip` for a process apart: the probe in JSON."""
    facts = asdict(probe_clip(Path(path)))
    return {**facts, "seconds": str(facts["seconds"]), "fps": str(facts["fps"])}


async def probe_apart(path: Path) -> Probe:
    """`probe_clip` on a stranger's bytes, where its decoder can take nobody along.

    Raises:
        ClipUnreadable: as `probe_clip` says, or where the decoder raised anything else.
        DecoderLost: where it died or hung over the clip.
    """
    facts = await apart("tasks.studio.probe:probe_facts", path, path=str(path))
    return Probe(**{**facts, "seconds": Decimal(facts["seconds"]), "fps": Fraction(facts["fps"])})


def first_frame(path: Path, at: float = 0.5) -> Image.Image:
    """The picture shown `at` seconds into a clip, as RGB; its last one where the clip is shorter."""
    with open_clip(path, _LIMITS) as clip:
        shown: av.VideoFrame | None = None
        tick = clip.video.time_base or Fraction(1)
        for frame in clip.container.decode(clip.video):
            if shown is not None and frame.pts is not None and frame.pts * tick > at:
                break
            shown = frame
        if shown is None:
            raise ClipUnreadable(path, "no frame can be decoded")
        return Image.fromarray(shown.to_ndarray(format="rgb24"))


def _headers(path: Path, clip: OpenClip) -> Probe:
    video = clip.video
    if not video.duration or video.time_base is None:
        raise ClipUnreadable(path, "its headers give no length")
    return _probe(clip, video.duration * video.time_base, video.frames)


def _probe(
    clip: OpenClip,
    seconds: Fraction,
    frames: int,
    *,
    rms: float | None = None,
    black: bool = False,
    frozen: bool = False,
) -> Probe:
    picture = clip.video.codec_context
    return Probe(
        seconds=(Decimal(round(seconds * 1000)) / 1000).quantize(Decimal("0.001")),
        frames=frames,
        width=picture.width,
        height=picture.height,
        fps=clip.video.average_rate or Fraction(frames) / seconds,
        video_codec=picture.codec.canonical_name,
        pix_fmt=str(picture.pix_fmt),
        has_audio=clip.audio is not None,
        audio_codec=None if clip.audio is None else clip.audio.codec_context.codec.canonical_name,
        audio_rms_db=rms,
        faststart=clip.layout.faststart,
        black=black,
        frozen=frozen,
    )


@dataclass
class _Reading:
    """One pass over a whole clip, counting packets, frames and samples."""

    path: Path
    clip: OpenClip
    limits: Limits
    packets: Counter[int] = field(default_factory=Counter)
    shown: int = 0
    frames: int = 0
    begins: Fraction | None = None
    ends: Fraction = Fraction(0)
    thumbs: list[NDArray[np.uint8]] = field(default_factory=list)
    energy: float = 0.0
    samples: int = 0

    def read(self) -> Self:
        """Decode everything; raises ClipUnreadable where it does not last to its end."""
        streams = [self.clip.video] if self.clip.audio is None else [self.clip.video, self.clip.audio]
        for packet in self.clip.container.demux(*streams):
            self._count(packet)
            for frame in packet.decode():
                if isinstance(frame, av.VideoFrame):
                    self._see(frame)
                elif isinstance(frame, av.AudioFrame):
                    self._hear(frame)
        for stream in streams:
            counted = self.packets[stream.index]
            if counted == 0 or counted < stream.frames:
                self._fail(f"cut short: {counted} of {stream.frames} {stream.type} packets are there")
        if self.frames < max(1, self.shown):
            self._fail(f"only {self.frames} of its {self.shown} frames can be decoded")
        return self

    def probe(self) -> Probe:
        """The findings of `read`."""
        seconds = self.ends - (self.begins or Fraction(0))
        if seconds <= 0:
            self._fail("its pictures have no length")
        rms = None if self.clip.audio is None else _decibels(self.energy, self.samples)
        black, frozen = _black(self.thumbs), _frozen(self.thumbs)
        return _probe(self.clip, seconds, self.frames, rms=rms, black=black, frozen=frozen)

    def _count(self, packet: "Packet[Any]") -> None:
        # Each stream ends with an empty packet that only flushes its decoder.
        if packet.size == 0:
            return
        if packet.is_corrupt:
            self._fail("cut short: its media end in the middle of a packet")
        self.packets[packet.stream_index] += 1
        if self.packets[packet.stream_index] > _PACKETS_PER_FRAME * self.limits.frames:
            self._fail("more packets than a shot can have")
        # An edit list hides packets that only later frames refer to.
        if packet.stream_index == self.clip.video.index and packet.pts is not None and not packet.is_discard:
            begins = packet.pts * packet.time_base
            self.shown += 1
            self.begins = begins if self.begins is None else min(self.begins, begins)
            self.ends = max(self.ends, begins + (packet.duration or 0) * packet.time_base)

    def _see(self, frame: av.VideoFrame) -> None:
        if self.frames % _SAMPLE_EVERY == 0:
            small = frame.reformat(*_THUMB, format="gray", interpolation="AREA")
            self.thumbs.append(np.asarray(small.to_ndarray(), np.uint8))
        self.frames += 1
        pixels = frame.width * frame.height
        bounds = self.limits
        if pixels > bounds.pixels or self.frames > bounds.frames or self.frames * pixels > bounds.decoded:
            self._fail(f"{frame.width} x {frame.height}, {self.frames} frames and more: out of bounds")

    def _hear(self, frame: av.AudioFrame) -> None:
        heard = frame.to_ndarray()
        scale = 1.0 if heard.dtype.kind == "f" else float(np.iinfo(str(heard.dtype)).max)
        self.energy += float(np.sum((heard.astype(np.float64) / scale) ** 2))
        self.samples += heard.size

    def _fail(self, reason: str) -> NoReturn:
        raise ClipUnreadable(self.path, reason)


def _decibels(energy: float, samples: int) -> float:
    power = energy / samples if samples else 0.0
    return max(_SILENCE_DB, 10 * math.log10(power)) if power > 0 else _SILENCE_DB


def _black(thumbs: list[NDArray[np.uint8]]) -> bool:
    """Dark on average, and without even a small bright spot (half a percent of the picture), in every sample."""
    return all(
        float(thumb.mean()) < _BLACK_MEAN and float(np.percentile(thumb, 99.5)) < _BLACK_BRIGHTEST for thumb in thumbs
    )


def _frozen(thumbs: list[NDArray[np.uint8]]) -> bool:
    """No spot of the picture ever leaves the level it had in the first sample by more than coding noise."""
    first = thumbs[0].astype(np.int16)
    return len(thumbs) > 1 and all(int(np.abs(thumb - first).max()) <= _FROZEN_CHANGE for thumb in thumbs[1:])
