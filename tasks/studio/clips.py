"""Opening a clip that a stranger delivered.

The file is handed to the MP4 demuxer alone, as an open file: no other format is guessed, no protocol is resolved, and
nothing that the clip refers to is opened. Codecs, size and picture are checked before a frame is decoded.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import av
from av.audio.stream import AudioStream
from av.codec.context import CodecContext
from av.container import InputContainer
from av.video.stream import VideoStream

from tasks.studio.boxes import Layout, read_layout
from tasks.studio.errors import ClipUnreadable

__all__ = ["Limits", "OpenClip", "open_clip"]

_VIDEO_CODECS = frozenset({"h264", "hevc", "av1", "vp9", "mpeg4"})
_AUDIO_CODECS = frozenset({"aac", "mp3", "opus", "flac", "alac", "ac3", "eac3", "pcm_s16le", "pcm_s16be", "pcm_s24le"})


@dataclass(frozen=True, slots=True)
class Limits:
    """What a clip may be at most; `pixels` per frame, `decoded` pixels in all."""

    bytes: int = 2 * 1024**3
    frames: int = 20_000
    pixels: int = 10_000_000
    decoded: int = 20_000_000_000


_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class OpenClip:
    """A clip whose headers are in order; `audio` is its first sound, if any."""

    container: InputContainer
    video: VideoStream
    audio: AudioStream | None
    layout: Layout


@contextmanager
def open_clip(path: Path, limits: Limits) -> Iterator[OpenClip]:
    """Open a local MP4 for decoding, and translate whatever the decoder says inside the block into ClipUnreadable."""
    length = path.stat().st_size
    if length > limits.bytes:
        raise ClipUnreadable(path, f"{length} bytes are more than a shot can be")
    with path.open("rb") as file:
        layout = read_layout(path, file, length)
        file.seek(0)
        options = {"protocol_whitelist": "file", "enable_drefs": "0", "max_pixels": str(limits.pixels)}
        try:
            with av.open(
                file,
                "r",
                format="mov",
                options=options,
                metadata_errors="replace",
                buffer_size=1 << 18,
                io_open=_refuse_other_files,
            ) as container:
                video, audio = _streams(path, container, limits)
                yield OpenClip(container, video, audio, layout)
        except av.FFmpegError as error:
            raise ClipUnreadable(path, f"not a decodable MP4: {error.strerror}") from error


def _refuse_other_files(url: str, _flags: int, _options: dict[str, str]) -> NoReturn:
    raise PermissionError(f"a clip may not open {url!r}")


def _streams(path: Path, container: InputContainer, limits: Limits) -> tuple[VideoStream, AudioStream | None]:
    if not container.streams.video:
        raise ClipUnreadable(path, "no video in it")
    video = container.streams.video[0]
    audio = container.streams.audio[0] if container.streams.audio else None
    _check_codec(path, "video", video.codec_context, _VIDEO_CODECS)
    if audio is not None:
        _check_codec(path, "audio", audio.codec_context, _AUDIO_CODECS)
    width, height = video.codec_context.width, video.codec_context.height
    if not 0 < width * height <= limits.pixels or video.frames > limits.frames:
        raise ClipUnreadable(path, f"{width} x {height}, {video.frames} frames: out of bounds")
    video.codec_context.options = {"max_pixels": str(limits.pixels)}
    video.thread_type, video.codec_context.thread_count = "AUTO", 2
    return video, audio


def _check_codec(path: Path, kind: str, context: CodecContext | None, known: frozenset[str]) -> None:
    """Refuse a codec that is not known, or that this FFmpeg has no decoder for (its context is None)."""
    name = "unknown" if context is None else context.codec.canonical_name
    if name not in known:
        raise ClipUnreadable(path, f"its {kind} codec is {name}, not one of {', '.join(sorted(known))}")
