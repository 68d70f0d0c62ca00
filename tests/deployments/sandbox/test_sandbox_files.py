"""Clips and the file host: real pictures, signed addresses, ranges, uploads, and what can go wrong on the way."""

import base64
import io
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest
from PIL import Image

from deployments.sandbox import FAULTS, Sandbox
from deployments.sandbox.clips import FLAWS, box_cut
from deployments.sandbox.faults.kinds import FileFault
from deployments.sandbox.shelf import PLAIN

WEB = httpx.Client(verify=PLAIN, headers={"Connection": "close"}, timeout=120)
"""On a fresh connection each time; loading certificates would cost 40 ms a client."""
PATIENCE, LONG = 0.3, 60.0
"""Seconds; short only where silence is what is promised, so that a busy machine changes no verdict."""
MEBI = 1024 * 1024


class Film:
    """A clip, decoded."""

    def __init__(self, data: bytes) -> None:
        with av.open(io.BytesIO(data), "r") as movie:
            self.kinds = [stream.type for stream in movie.streams]
            self.seconds = (movie.duration or 0) / av.time_base
            video = next(iter(movie.streams.video), None)
            self.rate = video.average_rate if video else None
            self.pix_fmt = video.pix_fmt if video else None
            self.codecs = [stream.codec_context.name for stream in movie.streams]
            self.pictures = [frame.to_ndarray(format="gray") for frame in movie.decode(video)] if video else []
        with av.open(io.BytesIO(data), "r") as movie:
            self.sound = [frame.to_ndarray() for frame in movie.decode(audio=0)] if "audio" in self.kinds else []

    @property
    def size(self) -> tuple[int, int]:
        height, width = self.pictures[0].shape
        return width, height

    @property
    def moves(self) -> bool:
        first, later = self.pictures[0].astype(int), self.pictures[len(self.pictures) // 3].astype(int)
        return float(np.abs(first - later).mean()) > 2

    @property
    def brightness(self) -> float:
        return float(np.mean([picture.mean() for picture in self.pictures]))

    @property
    def loudness(self) -> float:
        return max(float(np.abs(block).max()) for block in self.sound)


def film(customer: Any, **changes: Any) -> Film:
    """Buy a clip and look at it."""
    return Film(WEB.get(customer.clip_url(customer.buy(**changes).job_id)).content)


@pytest.mark.parametrize("seconds", ["3", "8"])
def test_a_clip_is_h264_of_the_ordered_length_with_24_frames_a_second(shortapi: Any, seconds: str) -> None:
    """Exactly 24 times the seconds, yuv420p, moving, not black, silent where no sound was ordered."""
    got = film(shortapi, duration=seconds)
    assert got.kinds == ["video"]
    assert got.codecs == ["h264"]
    assert got.pix_fmt == "yuv420p"
    assert got.rate == 24
    assert len(got.pictures) == 24 * int(seconds)
    assert got.seconds == int(seconds)
    assert got.size == (320, 180)
    assert got.moves
    assert got.brightness > 30


def test_a_clip_with_sound_has_an_audible_aac_track(shortapi: Any) -> None:
    """As long as the picture."""
    got = film(shortapi, generate_audio=True)
    assert got.codecs == ["h264", "aac"]
    assert got.loudness > 0.1
    assert got.seconds == pytest.approx(5, abs=0.05)


def test_a_clip_can_be_played_while_it_loads(shortapi: Any) -> None:
    """The index stands before the pictures."""
    data = WEB.get(shortapi.clip_url(shortapi.buy().job_id)).content
    assert 0 < data.index(b"moov") < box_cut(data)


def test_two_jobs_with_the_same_order_have_different_bytes(shortapi: Any) -> None:
    """So that a mix-up shows; the picture is the same."""
    urls = [shortapi.clip_url(shortapi.buy().job_id) for _ in range(2)]
    first, second = (WEB.get(url).content for url in urls)
    assert first != second
    assert np.array_equal(Film(first).pictures[50], Film(second).pictures[50])


def test_a_clip_shows_its_still_from_the_file_host(sjinn: Any, tmp_path: Path) -> None:
    """An uploaded still gives the clip its aspect and its picture."""
    Image.new("RGB", (400, 400), "white").save(tmp_path / "still.png")
    url = WEB.put(f"{sjinn.sandbox.url}/files/still.png", content=(tmp_path / "still.png").read_bytes()).json()["url"]
    white = film(sjinn, image=url)
    assert white.size == (320, 320)
    assert white.brightness > 180


def test_a_still_on_this_machine_is_fetched_and_must_be_an_image(shortapi: Any, tmp_path: Path) -> None:
    """Not found, or no image: refused as the provider would refuse it, before anything is accepted."""
    with Sandbox() as other:
        WEB.put(f"{other.url}/files/page.jpg", content=b"<!doctype html>")
        replies = [shortapi.create(image=f"{other.url}/files/{name}").json() for name in ("none.jpg", "page.jpg")]
        assert other.account().authorization_on_files is False
    assert [reply["code"] for reply in replies] == [1, 1]
    assert all("invalid image" in reply["info"] for reply in replies)


def test_the_orientation_of_a_still_counts(shortapi: Any) -> None:
    """A photograph that is stored lying on its side gives an upright clip."""
    exif = Image.Exif()
    exif[0x0112] = 6
    held = io.BytesIO()
    Image.new("RGB", (640, 360), "olive").save(held, "JPEG", exif=exif)
    assert film(shortapi, image=base64.b64encode(held.getvalue()).decode()).size == (180, 320)


FLAWED: dict[str, Callable[[Film], object]] = {
    "clip-short": lambda got: len(got.pictures) == 72,
    "clip-long": lambda got: len(got.pictures) == 192,
    "clip-turned": lambda got: got.size == (180, 320),
    "clip-tiny": lambda got: got.size == (32, 32),
    "clip-without-frames": lambda got: got.pictures == [],
    "clip-black": lambda got: got.brightness < 20 and not got.moves,
    "clip-frozen": lambda got: got.brightness > 30 and not got.moves,
    "clip-without-audio": lambda got: got.kinds == ["video"] and got.moves,
    "clip-mute": lambda got: got.kinds == ["video", "audio"] and got.loudness < 0.001,
}


def test_each_flaw_of_a_clip_has_a_fault_and_a_test() -> None:
    """Names of faults, flaws and expectations agree."""
    assert {name for name in FAULTS if name.startswith("clip-")} == set(FLAWED)
    assert len(FLAWS) == len(FLAWED)


@pytest.mark.parametrize("name", FLAWED)
def test_F58_a_flawed_clip_is_billed_in_full_and_has_just_that_flaw(name: str, shortapi: Any) -> None:
    """Every download of that job brings the same bytes."""
    shortapi.sandbox.fault(name)
    job = shortapi.buy(generate_audio=True)
    data, again = (WEB.get(shortapi.clip_url(job.job_id)).content for _ in range(2))
    assert data == again
    assert FLAWED[name](Film(data))
    assert str(shortapi.sandbox.account().total("USD").net) == "1.070"
    assert len(film(shortapi).pictures) == 120, "the next job is well"


def test_a_clip_is_served_in_ranges(shortapi: Any) -> None:
    """206 with the place, 416 past the end, the whole of it when the version differs."""
    url = shortapi.clip_url(shortapi.buy().job_id)
    whole = WEB.get(url)
    tail = WEB.get(url, headers={"Range": "bytes=1000-", "If-Range": whole.headers["etag"]})
    part = WEB.get(url, headers={"Range": "bytes=10-19"})
    last = WEB.get(url, headers={"Range": "bytes=-7"})
    assert (tail.status_code, tail.content) == (206, whole.content[1000:])
    assert (part.content, part.headers["content-range"]) == (whole.content[10:20], f"bytes 10-19/{len(whole.content)}")
    assert last.content == whole.content[-7:]
    assert WEB.get(url, headers={"Range": f"bytes={len(whole.content)}-"}).status_code == 416
    assert WEB.get(url, headers={"Range": "bytes=5-", "If-Range": '"other"'}).status_code == 200
    assert WEB.head(url).headers["content-length"] == str(len(whole.content))


def test_a_clip_needs_its_signature_and_no_key(shortapi: Any) -> None:
    """Without the signature 403; a key is noted in the account, as it has no business there."""
    url = shortapi.clip_url(shortapi.buy().job_id)
    assert WEB.get(url.partition("?")[0]).status_code == 403
    assert shortapi.sandbox.account().authorization_on_files is False
    WEB.get(url, headers={"Authorization": "Bearer canary-key-7f3a"})
    assert shortapi.sandbox.account().authorization_on_files is True


def test_an_address_can_expire(customer_of: Any) -> None:
    """With `url_seconds`; a query gives a fresh one."""
    with Sandbox(job_seconds=0, clock="manual", url_seconds=60) as running:
        shortapi = customer_of(running, "shortapi")
        job = shortapi.buy()
        old = shortapi.clip_url(job.job_id)
        running.advance(61)
        assert WEB.get(old).status_code == 403
        assert WEB.get(shortapi.clip_url(job.job_id)).status_code == 200


def test_there_is_no_clip_before_the_job_is_done(slow_sandbox: Sandbox, customer_of: Any) -> None:
    """404, whatever the signature."""
    job = customer_of(slow_sandbox, "shortapi").buy()
    assert WEB.get(f"{slow_sandbox.url}/files/clips/{job.job_id}.mp4?v=0&sig=x").status_code == 404


@pytest.mark.parametrize("name", ["../secret", "..", "a/b", ".hidden", "x\n", ""])
def test_S03_an_upload_has_a_plain_name(name: str, sandbox: Sandbox) -> None:
    """Anything else is refused or not there."""
    host, port = sandbox.url.removeprefix("http://").split(":")
    path = name.replace("\n", "%0A")
    with socket.create_connection((host, int(port)), timeout=60) as line:
        line.sendall(f"PUT /files/{path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx".encode())
        assert line.recv(100).startswith(b"HTTP/1.1 400")
    assert not any(
        path.name == "secret" and path.read_bytes() == b"x" for path in sandbox.account_path.parent.rglob("*")
    )


class Got:
    """One download as it went over the wire."""

    def __init__(self, url: str, patience: float = LONG) -> None:
        self.error, self.raw = "", bytearray()
        try:
            with WEB.stream("GET", url, timeout=patience) as reply:
                self.status, self.headers = reply.status_code, reply.headers
                for part in reply.iter_raw():
                    self.raw += part
                    if len(self.raw) > 8 * MEBI:
                        break
        except httpx.HTTPError as error:
            self.error = type(error).__name__


Check = Callable[[Got, bytes], object]


def _status(value: int) -> Check:
    return lambda got, _: got.status == value


def _to(address: str) -> Check:
    return lambda got, _: got.status == 302 and got.headers["location"] == address


def _poses(start: bytes, kind: str) -> Check:
    return lambda got, _: got.status == 200 and got.raw.startswith(start) and got.headers["content-type"] == kind


EXPECTED: dict[str, Check] = {
    "file-403": _status(403),
    "file-404": _status(404),
    "file-410": _status(410),
    "file-500": _status(500),
    "file-hang": lambda got, _: got.error == "ReadTimeout",
    "file-reset": lambda got, _: got.error == "ReadError",
    "file-cut-length": lambda got, whole: got.error == "RemoteProtocolError" and got.raw == whole[: len(whole) // 2],
    "file-cut-chunked": lambda got, _: got.error == "RemoteProtocolError",
    "file-cut-close": lambda got, whole: not got.error and got.raw == whole[: len(whole) // 2],
    "file-cut-box": lambda got, whole: not got.error and got.raw == whole[: box_cut(whole)],
    "file-length-small": lambda got, whole: len(got.raw) <= 1000 < len(whole),
    "file-length-huge": lambda got, _: got.headers["content-length"] == str(10**12) and got.error,
    "file-length-negative": lambda got, _: got.error == "RemoteProtocolError",
    "file-length-twice": lambda got, _: got.error == "RemoteProtocolError",
    "file-endless": lambda got, whole: len(got.raw) > 8 * MEBI and got.raw.startswith(whole),
    "file-gzip-bomb": lambda got, _: got.headers["content-encoding"] == "gzip" and len(got.raw) < 100_000,
    "file-wrong-type": lambda got, whole: got.raw == whole and got.headers["content-type"] == "text/plain",
    "file-html": _poses(b"<!doctype html>", "text/html; charset=utf-8"),
    "file-html-as-mp4": _poses(b"<!doctype html>", "video/mp4"),
    "file-json-as-mp4": _poses(b'{"error"', "video/mp4"),
    "file-image-as-mp4": _poses(b"\x89PNG", "video/mp4"),
    "file-empty": lambda got, _: got.status == 200 and got.raw == b"",
    "file-slow": lambda got, whole: got.raw == whole,
    "file-stalled": lambda got, whole: got.error == "ReadTimeout" and got.raw == whole[: len(whole) // 2],
    "file-to-metadata": _to("http://169.254.169.254/latest/meta-data/"),
    "file-to-file": _to("file:///etc/passwd"),
    "file-to-private": _to("http://10.0.0.1/clip.mp4"),
    "file-to-other-host": _to("https://cdn.example.org/clip.mp4"),
    "file-loop": lambda got, _: got.status == 307 and got.headers["location"] == "?again=1",
    "file-expired": _status(403),
}


def test_each_file_fault_has_an_expectation() -> None:
    """A fault that is added without one makes this fail."""
    assert {fault.name for fault in FAULTS.values() if isinstance(fault, FileFault)} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_file_fault_does_what_it_says_once(name: str, shortapi: Any) -> None:
    """The clip itself is well: fetched again, by a fresh address where the old one died, it is whole."""
    job = shortapi.buy()
    url = shortapi.clip_url(job.job_id)
    whole = WEB.get(url).content
    shortapi.sandbox.fault(name)
    assert EXPECTED[name](Got(url, PATIENCE if name in {"file-hang", "file-stalled"} else LONG), whole)
    again = WEB.get(url)
    assert (again.status_code == 403) is (name == "file-expired")
    assert WEB.get(shortapi.clip_url(job.job_id)).content == whole


def test_F60_following_the_loop_never_arrives(shortapi: Any) -> None:
    """However many redirects are allowed."""
    url = shortapi.clip_url(shortapi.buy().job_id)
    shortapi.sandbox.fault("file-loop")
    with httpx.Client(follow_redirects=True, max_redirects=10) as eager, pytest.raises(httpx.TooManyRedirects):
        eager.get(url)


def test_F55_a_cut_clip_can_be_completed_by_range(shortapi: Any) -> None:
    """The second half fits the first."""
    url = shortapi.clip_url(shortapi.buy().job_id)
    whole = WEB.get(url).content
    shortapi.sandbox.fault("file-cut-length")
    half = bytes(Got(url).raw)
    assert half + WEB.get(url, headers={"Range": f"bytes={len(half)}-"}).content == whole
