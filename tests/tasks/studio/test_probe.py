"""Clips that strangers deliver: whole ones are measured, anything else is refused by name."""

import contextlib
import struct
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tasks.studio.clips import Limits
from tasks.studio.errors import ClipUnreadable
from tasks.studio.probe import first_frame, probe_clip


def _boxes(data: bytes) -> Iterator[tuple[str, int, int]]:
    position = 0
    while position < len(data):
        size, kind = struct.unpack(">I4s", data[position : position + 8])
        yield kind.decode(), position, position + size
        position += size


def _ends(data: bytes) -> dict[str, int]:
    return {kind: end for kind, _, end in _boxes(data)}


def _frame(picture: Image.Image) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(np.asarray(picture), format="rgb24")


def _film(path: Path, pictures: list[Image.Image], **options: str) -> Path:
    """Encode pictures as they are, without a slate."""
    with av.open(str(path), "w", format="mp4", container_options=options) as container:
        stream = container.add_stream("libx264", rate=24, options={"crf": "30"})
        stream.width, stream.height = pictures[0].size
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(_frame(picture)))
        container.mux(stream.encode(None))
    return path


def _grainy(count: int, level: int, grain: float) -> list[Image.Image]:
    rng = np.random.default_rng(3)
    base = rng.integers(0, 80, (90, 160, 3)) * (level > 0) + level
    noisy = (base + rng.normal(0, grain, (90, 160, 3)) for _ in range(count))
    return [Image.fromarray(picture.clip(0, 255).astype(np.uint8)) for picture in noisy]


def test_a_healthy_clip_is_measured(clip: Path) -> None:
    """Every fact of the probe."""
    probe = probe_clip(clip)
    assert (probe.seconds, probe.frames, probe.fps) == (Decimal("3.000"), 72, Fraction(24))
    assert (probe.width, probe.height, probe.pix_fmt) == (160, 90, "yuv420p")
    assert (probe.video_codec, probe.audio_codec, probe.has_audio) == ("h264", "aac", True)
    assert probe.audio_rms_db == pytest.approx(-41.3, abs=1)
    assert (probe.faststart, probe.black, probe.frozen) == (True, False, False)


def test_the_headers_alone_say_the_same(clip: Path) -> None:
    """Without decoding: the same facts, but no level of sound."""
    whole, headers = probe_clip(clip), probe_clip(clip, full=False)
    assert headers.audio_rms_db is None
    assert (headers.seconds, headers.frames, headers.width) == (whole.seconds, whole.frames, whole.width)


@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.3, 0.5, 0.8, 0.99, 0.9999])
def test_F55_a_truncated_clip_is_refused(share: float, clip: Path, tmp_path: Path) -> None:
    """Wherever the download broke off."""
    data = clip.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ClipUnreadable, match=r"cut\.mp4: "):
        probe_clip(tmp_path / "cut.mp4")


@pytest.mark.parametrize("box", ["ftyp", "moov", "free"])
def test_F55_a_clip_cut_between_two_boxes_is_refused(box: str, clip: Path, tmp_path: Path) -> None:
    """Each remaining box is whole, the index even promises all frames, but the media are not there."""
    data = clip.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: _ends(data)[box]])
    with pytest.raises(ClipUnreadable, match=r"cut short: there is no (moov|mdat) box"):
        probe_clip(tmp_path / "cut.mp4")


@pytest.mark.parametrize("kept", [8, 2000, 0.5, 0.98])
def test_F55_media_shorter_than_the_index_says_are_refused(kept: float, clip: Path, tmp_path: Path) -> None:
    """A media box that was closed early parses to its end and holds too few packets."""
    data = clip.read_bytes()
    begin, end = next((begin, end) for kind, begin, end in _boxes(data) if kind == "mdat")
    length = int((end - begin) * kept) if kept < 1 else int(kept)
    (tmp_path / "short.mp4").write_bytes(data[:begin] + struct.pack(">I", length) + data[begin + 4 : begin + length])
    with pytest.raises(ClipUnreadable):
        probe_clip(tmp_path / "short.mp4")


def test_F55_a_clip_without_its_index_is_refused(tmp_path: Path) -> None:
    """An index at the end is what a broken download loses first."""
    data = _film(tmp_path / "late.mp4", _grainy(24, 60, 0)).read_bytes()
    (tmp_path / "late.mp4").write_bytes(data[: _ends(data)["mdat"]])
    with pytest.raises(ClipUnreadable, match="cut short: there is no moov box"):
        probe_clip(tmp_path / "late.mp4")


@pytest.mark.parametrize("rest", [b"\0", b"\0\0\0\x08", b"</html>\n", b"\0" * 4000])
def test_bytes_after_the_last_box_are_refused(rest: bytes, clip: Path, tmp_path: Path) -> None:
    """The container parses to its end, or it is not what was sent."""
    (tmp_path / "more.mp4").write_bytes(clip.read_bytes() + rest)
    with pytest.raises(ClipUnreadable):
        probe_clip(tmp_path / "more.mp4")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<!DOCTYPE html><title>Sign in</title>",
        b'{"error": "expired"}',
        b"\xff\xd8\xff\xe0\x00\x10JFIF",
        b"\x1aE\xdf\xa3\x01\x00\x00\x00\x00\x00\x00\x1f",
        b"\0\0\0\0",
        b"\0\0\0\x10ftypisom\0\0\0\0",
        b"\0\0\0\x01ftyp\0\0\0\0\0\0\0\x02",
    ],
)
def test_F57_what_is_no_video_is_refused(data: bytes, tmp_path: Path) -> None:
    """Empty files, pages, JSON, pictures, other containers and lone headers."""
    (tmp_path / "clip.mp4").write_bytes(data)
    with pytest.raises(ClipUnreadable):
        probe_clip(tmp_path / "clip.mp4")


@pytest.mark.parametrize(
    "script",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nfile://{clip}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile '{clip}'\n",
        "<MPD><BaseURL>file://{clip}</BaseURL></MPD>",
        "v=0\nm=video 5004 RTP/AVP 96\nc=IN IP4 127.0.0.1\n",
    ],
)
def test_S18_a_playlist_opens_no_other_file(script: str, clip: Path, tmp_path: Path) -> None:
    """HLS, concat, DASH and SDP scripts are refused even where they name a healthy clip."""
    (tmp_path / "clip.mp4").write_text(script.format(clip=clip))
    for read in (probe_clip, first_frame):
        with pytest.raises(ClipUnreadable, match="not an MP4 file"):
            read(tmp_path / "clip.mp4")


@pytest.mark.parametrize("name", ["concat:a.mp4", "http:x.mp4", "-i.mp4", "clip%03d.mp4", "a|b.mp4"])
def test_S18_a_path_is_only_ever_a_path(name: str, clip: Path, tmp_path: Path) -> None:
    """Names that FFmpeg could read as a protocol, an option or a pattern are files like any other."""
    (tmp_path / name).write_bytes(clip.read_bytes())
    assert probe_clip(tmp_path / name).frames == 72


@pytest.mark.parametrize(
    "limits", [Limits(bytes=1000), Limits(frames=71), Limits(pixels=160 * 90 - 1), Limits(decoded=160 * 90 * 71)]
)
def test_S18_a_clip_beyond_the_bounds_is_refused(limits: Limits, clip: Path) -> None:
    """Bytes, frames, picture size and decoded pixels in all have an end."""
    with pytest.raises(ClipUnreadable):
        probe_clip(clip, limits=limits)


def test_S18_an_index_that_claims_gigabytes_is_refused(clip: Path, tmp_path: Path) -> None:
    """A sparse file cannot make the demuxer take a huge index into memory."""
    with (tmp_path / "huge.mp4").open("wb") as file:
        file.write(clip.read_bytes()[: _ends(clip.read_bytes())["ftyp"]])
        file.write(struct.pack(">I4s", 100 * 1024**2, b"moov"))
        file.truncate(file.tell() - 8 + 100 * 1024**2)
    with pytest.raises(ClipUnreadable, match="its index claims"):
        probe_clip(tmp_path / "huge.mp4")


def test_S18_scrambled_clips_are_read_or_refused(clip: Path, tmp_path: Path) -> None:
    """Random damage never raises anything but ClipUnreadable."""
    data, rng = clip.read_bytes(), np.random.default_rng(18)
    for _ in range(60):
        damaged = bytearray(data)
        for place in rng.integers(0, 6000, int(rng.integers(1, 30))):
            damaged[place] = int(rng.integers(0, 256))
        (tmp_path / "damaged.mp4").write_bytes(damaged)
        with contextlib.suppress(ClipUnreadable):
            probe_clip(tmp_path / "damaged.mp4")


def test_a_clip_with_sound_only_is_refused(tmp_path: Path) -> None:
    """There must be a picture."""
    with av.open(str(tmp_path / "song.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=48000, layout="mono")
        tone = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.float32), format="fltp", layout="mono")
        tone.sample_rate = 48000
        container.mux(stream.encode(tone))
        container.mux(stream.encode(None))
    with pytest.raises(ClipUnreadable, match="no video"):
        probe_clip(tmp_path / "song.mp4")


def test_an_unexpected_codec_is_refused(tmp_path: Path) -> None:
    """Only codecs that providers deliver have a decoder here."""
    with av.open(str(tmp_path / "old.mp4"), "w") as container:
        stream = container.add_stream("mpeg1video", rate=24)
        stream.width, stream.height, stream.pix_fmt = 160, 90, "yuv420p"
        container.mux(stream.encode(_frame(Image.new("RGB", (160, 90)))))
        container.mux(stream.encode(None))
    with pytest.raises(ClipUnreadable, match="its video codec is mpeg1video"):
        probe_clip(tmp_path / "old.mp4")


def test_F58_a_black_clip_is_measured_and_flagged(tmp_path: Path) -> None:
    """Paid for, so no error: `black` tells, even with a little noise."""
    probe = probe_clip(_film(tmp_path / "black.mp4", _grainy(30, 0, 2)))
    assert (probe.black, probe.frames) == (True, 30)


def test_F58_a_night_sky_is_not_black(tmp_path: Path) -> None:
    """A dark picture with bright places in it is a picture."""
    sky = Image.new("RGB", (160, 90), (2, 2, 6))
    sky.paste((250, 250, 240), (20, 20, 40, 40))
    assert not probe_clip(_film(tmp_path / "sky.mp4", [sky] * 24)).black


def test_F58_a_frozen_clip_is_flagged_in_spite_of_grain(tmp_path: Path) -> None:
    """Noise of film and coding is no movement."""
    probe = probe_clip(_film(tmp_path / "frozen.mp4", _grainy(48, 60, 3)))
    assert (probe.frozen, probe.black) == (True, False)


def test_F58_one_moving_corner_is_not_frozen(tmp_path: Path) -> None:
    """A small thing that moves is enough."""
    pictures = _grainy(48, 60, 0)
    for number, picture in enumerate(pictures):
        picture.paste((255, 255, 255), (2 * number, 10, 2 * number + 12, 22))
    assert not probe_clip(_film(tmp_path / "moving.mp4", pictures)).frozen


def test_an_index_at_the_end_is_seen(tmp_path: Path) -> None:
    """`faststart` is about the order of the boxes."""
    assert not probe_clip(_film(tmp_path / "late.mp4", _grainy(12, 60, 0))).faststart
    assert probe_clip(_film(tmp_path / "early.mp4", _grainy(12, 60, 0), movflags="+faststart")).faststart


def test_a_clip_in_fragments_is_read_to_its_end(tmp_path: Path) -> None:
    """Streaming MP4 has no packet counts in its index; its frames are counted all the same."""
    path = _film(tmp_path / "pieces.mp4", _grainy(48, 60, 0), movflags="frag_keyframe+empty_moov+default_base_moof")
    assert (probe_clip(path).frames, probe_clip(path).seconds) == (48, Decimal(2))


def test_digital_silence_has_a_floor(tmp_path: Path) -> None:
    """A silent track reads -120 dBFS, which is still a number."""
    with av.open(str(tmp_path / "mute.mp4"), "w") as container:
        video, audio = container.add_stream("libx264", rate=24), container.add_stream("aac", rate=48000, layout="mono")
        video.width, video.height, video.pix_fmt = 160, 90, "yuv420p"
        for picture in _grainy(24, 60, 0):
            container.mux(video.encode(_frame(picture)))
        for start in range(0, 48000, 1000):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1000), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 48000, start
            container.mux(audio.encode(frame))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    assert probe_clip(tmp_path / "mute.mp4").audio_rms_db == -120


def test_a_missing_file_is_not_a_bad_clip(tmp_path: Path) -> None:
    """The disk's answer passes through: it says nothing about what was delivered."""
    with pytest.raises(FileNotFoundError):
        probe_clip(tmp_path / "none.mp4")
