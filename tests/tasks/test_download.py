"""Downloads against a host that breaks HTTP in one way at a time (F54-F60, S01, S19, S21)."""

import asyncio
import datetime as dt
import hashlib
import pickle
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tasks.download import Downloaded, Expired, Undeliverable, download
from tasks.errors import RushesError, Transient
from tasks.http import Wire
from tasks.netguard import AddressRules
from tests.fixtures.filehost import Answer, FileHost, file_host


def box(name: bytes, content: bytes) -> bytes:
    """One MP4 box."""
    return struct.pack(">I4s", len(content) + 8, name) + content


CLIP = box(b"ftyp", b"isom\0\0\0\1isommp42") + box(b"moov", b"index" * 40) + box(b"mdat", bytes(range(256)) * 400)
ETAG = {"ETag": '"v1"', "Content-Type": "video/mp4"}


class QuickClock:
    """Time that only sleeping moves, and sleeping takes none."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> dt.datetime:
        """The first of the year."""
        return dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

    def monotonic(self) -> float:
        """The sum of all sleeps."""
        return sum(self.slept)

    async def sleep(self, seconds: float) -> None:
        """Note it."""
        self.slept.append(seconds)
        await asyncio.sleep(0)


@pytest.fixture
async def host() -> AsyncIterator[FileHost]:
    """A file host on loopback."""
    async with file_host() as host:
        yield host


class Fetch:
    """`download` to one file, as production calls it."""

    def __init__(self, folder: Path) -> None:
        self.to = folder / "SH010.mp4"
        self.clock = QuickClock()

    async def __call__(
        self, url: str, *, private: bool = True, max_bytes: int = 1 << 20, reserve: int = 0
    ) -> Downloaded:
        wire = Wire(clock=self.clock)
        rules = AddressRules(allow_private=private)
        try:
            return await download(
                url, self.to, wire=wire, rules=rules, max_bytes=max_bytes, clock=self.clock, reserve=reserve, stall=0.3
            )
        finally:
            await wire.close()

    def nothing_left(self) -> bool:
        """Neither the file nor a working file."""
        return list(self.to.parent.iterdir()) == []


@pytest.fixture
def fetch(tmp_path: Path) -> Fetch:
    """Downloads into an empty folder."""
    folder = tmp_path / "downloads"
    folder.mkdir()
    return Fetch(folder)


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
async def test_a_clip_arrives_whole(fetch: Fetch, host: FileHost, framing: str) -> None:
    """However its end is marked; with its hash, its size and the declared type, and no working file beside it."""
    url = host.offer("/a.mp4", Answer(CLIP, headers=ETAG, framing=framing))  # type: ignore[arg-type]
    assert await fetch(url) == Downloaded(hashlib.sha256(CLIP).hexdigest(), len(CLIP), "video/mp4")
    assert fetch.to.read_bytes() == CLIP
    assert list(fetch.to.parent.iterdir()) == [fetch.to]
    assert len(host.asked) == 1


async def test_S21_the_file_host_sees_no_credentials(fetch: Fetch, host: FileHost) -> None:
    """No key, no cookie, no compression asked for."""
    await fetch(host.offer("/a.mp4", Answer(CLIP)) + "?X-Amz-Signature=1")
    (asked,) = host.asked
    assert {"authorization", "cookie", "x-api-key"}.isdisjoint(asked.headers)
    assert asked.headers["accept-encoding"] == "identity"
    assert asked.path == "/a.mp4?X-Amz-Signature=1"


@pytest.mark.parametrize("status", [401, 403, 404, 410])
async def test_F54_an_expired_link_asks_for_a_fresh_one(fetch: Fetch, host: FileHost, status: int) -> None:
    """One request, then Expired; nothing is left behind."""
    with pytest.raises(Expired, match=str(status)):
        await fetch(host.offer("/a.mp4", Answer(b"gone", status)))
    assert len(host.asked) == 1
    assert fetch.nothing_left()


async def test_F54_a_link_may_expire_in_the_middle(fetch: Fetch, host: FileHost) -> None:
    """The cut is resumed, and the resumed link is no longer good."""
    with pytest.raises(Expired):
        await fetch(host.offer("/a.mp4", Answer(CLIP, sent=5000), Answer(status=403)))
    assert fetch.nothing_left()


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest.mark.parametrize("cut", [8, 21, 5000, len(CLIP) - 1])
async def test_F55_a_cut_body_is_resumed_where_it_was_cut(fetch: Fetch, host: FileHost, framing: str, cut: int) -> None:
    """A short length, cut chunks and a silent close are all seen; the rest comes by Range, and the hash is that of all."""
    url = host.offer("/a.mp4", Answer(CLIP, headers=ETAG, framing=framing, sent=cut), Answer(CLIP, headers=ETAG))  # type: ignore[arg-type]
    got = await fetch(url)
    assert (got.sha256, fetch.to.read_bytes()) == (hashlib.sha256(CLIP).hexdigest(), CLIP)
    if cut >= 21:
        assert host.ranges() == [None, f"bytes={cut}-"]
        assert host.asked[1].headers["if-range"] == '"v1"'


async def test_F55_a_host_without_ranges_is_asked_from_the_start(fetch: Fetch, host: FileHost) -> None:
    """A 200 to a Range request replaces what came before."""
    url = host.offer("/a.mp4", Answer(CLIP, sent=5000), Answer(CLIP, ranges=False))
    assert (await fetch(url)).size == len(CLIP)
    assert fetch.to.read_bytes() == CLIP


@pytest.mark.parametrize("boxes", [1, 2])
async def test_F55_a_cut_at_a_box_boundary_is_seen(fetch: Fetch, host: FileHost, boxes: int) -> None:
    """A valid prefix, closed without a word: the picture data is missing, so more is asked for."""
    cut = CLIP.index(b"moov") - 4 if boxes == 1 else CLIP.index(b"mdat") - 4
    url = host.offer("/a.mp4", Answer(CLIP, framing="close", sent=cut), Answer(CLIP))
    assert (await fetch(url)).size == len(CLIP)


async def test_F55_a_host_that_always_cuts_is_given_up(fetch: Fetch, host: FileHost) -> None:
    """Six tries with growing pauses, then Transient: the result stays paid and named, and nothing half is left."""
    with pytest.raises(Transient):
        await fetch(host.offer("/a.mp4", Answer(CLIP, framing="close", sent=5000, ranges=False)))
    assert len(host.asked) == 6
    assert fetch.clock.slept == [1, 2, 4, 8, 16]
    assert fetch.nothing_left()


async def test_F55_a_file_that_changed_is_fetched_from_the_start(fetch: Fetch, host: FileHost) -> None:
    """A resumption at another place than was asked for is thrown away with all that came before."""
    wrong = Answer(CLIP, 206, headers={"Content-Range": f"bytes 3-{len(CLIP)}/{len(CLIP)}"})
    url = host.offer("/a.mp4", Answer(CLIP, sent=5000), wrong, Answer(CLIP))
    await fetch(url)
    assert fetch.to.read_bytes() == CLIP
    assert host.ranges() == [None, "bytes=5000-", None]


async def test_F55_an_odd_file_that_is_all_there_is_is_handed_on(fetch: Fetch, host: FileHost) -> None:
    """The host says that nothing lies behind it, or gives the same bytes twice: it is paid for, and the probe judges it."""
    odd = CLIP + b"\xff\xff\xff\xffjunk"
    for ranges in (True, False):
        got = await fetch(host.offer("/a.mp4", Answer(odd, ranges=ranges)))
        assert got.sha256 == hashlib.sha256(odd).hexdigest()


async def test_F56_a_length_that_is_too_small_is_not_believed(fetch: Fetch, host: FileHost) -> None:
    """The body goes on behind its declared length: the rest is asked for."""
    url = host.offer("/a.mp4", Answer(CLIP, lengths=("5000",)), Answer(CLIP))
    assert (await fetch(url)).size == len(CLIP)
    assert host.ranges() == [None, "bytes=5000-"]


@pytest.mark.parametrize(
    "lengths", [(str(10**15),), ("-1",), ("5000", str(len(CLIP))), ("many",), (str(10**40),)], ids=str
)
async def test_F56_a_lying_length_ends_in_a_named_failure(
    fetch: Fetch, host: FileHost, lengths: tuple[str, ...]
) -> None:
    """Huge, negative, doubled or no number: never stored, never a full disk."""
    with pytest.raises(Transient):
        await fetch(host.offer("/a.mp4", Answer(CLIP, lengths=lengths, ranges=False)))
    assert fetch.nothing_left()


async def test_F56_a_lying_length_may_be_a_bad_moment(fetch: Fetch, host: FileHost) -> None:
    """The next answer is an honest one."""
    url = host.offer("/a.mp4", Answer(CLIP, lengths=("-1",)), Answer(CLIP, lengths=("1", "2")), Answer(CLIP))
    assert (await fetch(url)).size == len(CLIP)


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
async def test_F56_S19_bytes_are_counted(fetch: Fetch, host: FileHost, framing: str) -> None:
    """One byte over the cap and the rest is not taken."""
    url = host.offer("/a.mp4", Answer(CLIP, framing=framing))  # type: ignore[arg-type]
    with pytest.raises(Undeliverable, match="larger than"):
        await fetch(url, max_bytes=len(CLIP) - 1)
    assert fetch.nothing_left()
    assert (await fetch(url, max_bytes=len(CLIP))).size == len(CLIP)


async def test_F64_S19_a_nearly_full_disk_is_not_filled(fetch: Fetch, host: FileHost) -> None:
    """Below the reserve nothing is written; it may be tried again when there is room."""
    url = host.offer("/a.mp4", Answer(CLIP))
    with pytest.raises(Transient, match="nearly full"):
        await fetch(url, reserve=1 << 60)
    assert fetch.nothing_left()
    assert (await fetch(url)).size == len(CLIP)


WRONG = {
    "HTML": b"<!DOCTYPE html><title>Sign in</title>",
    "JSON": b'{"error": "expired"}',
    "XML": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    "JPEG": b"\xff\xd8\xff\xe0" + b"x" * 5000,
    "PNG": b"\x89PNG\r\n\x1a\n" + b"x" * 5000,
    "an AVIF image": box(b"ftyp", b"avif\0\0\0\0avifmif1"),
    "a gzip archive": b"\x1f\x8b\x08" + b"x" * 5000,
    "an empty file": b"",
    "a Matroska or WebM video": b"\x1aE\xdf\xa3" + b"x" * 100,
    "text": b"not yet",
    "a file of an unknown kind": b"\0" * 5000,
}


@pytest.mark.parametrize("name", WRONG)
async def test_F57_what_is_no_clip_is_refused_for_what_it_is(fetch: Fetch, host: FileHost, name: str) -> None:
    """By its first bytes, although it is declared as video/mp4; asked for once."""
    url = host.offer("/a.mp4", Answer(WRONG[name], headers={"Content-Type": "video/mp4"}))
    with pytest.raises(Undeliverable, match=f"no video but {name}"):
        await fetch(url)
    assert len(host.asked) == 1
    assert fetch.nothing_left()


async def test_F57_a_clip_declared_as_anything_is_taken(fetch: Fetch, host: FileHost) -> None:
    """File hosts often say application/octet-stream."""
    url = host.offer("/a.mp4", Answer(CLIP, headers={"Content-Type": "binary/octet-stream"}))
    assert (await fetch(url)).content_type == "binary/octet-stream"


async def test_F59_a_stalled_host_is_left_and_resumed(fetch: Fetch, host: FileHost) -> None:
    """No byte for the stall time: the connection is dropped and the rest asked for."""
    url = host.offer("/a.mp4", Answer(CLIP, headers=ETAG, sent=5000, stall=True), Answer(CLIP, headers=ETAG))
    assert (await fetch(url)).size == len(CLIP)
    assert host.ranges() == [None, "bytes=5000-"]


async def test_F59_one_stalled_host_does_not_hold_up_another_clip(host: FileHost, tmp_path: Path) -> None:
    """Two downloads at once: the second finishes while the first still waits for its stalled host."""
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    slow, quick = Fetch(tmp_path / "1"), Fetch(tmp_path / "2")
    stalled = asyncio.create_task(slow(host.offer("/slow.mp4", Answer(CLIP, sent=5000, stall=True), Answer(CLIP))))
    await quick(host.offer("/quick.mp4", Answer(CLIP)))
    assert not stalled.done()
    assert (await stalled).size == len(CLIP)


async def test_F59_a_busy_host_is_asked_again(fetch: Fetch, host: FileHost) -> None:
    """429 and 5xx say nothing about the result."""
    url = host.offer("/a.mp4", Answer(status=503), Answer(status=429), Answer(CLIP))
    assert (await fetch(url)).size == len(CLIP)


@pytest.mark.parametrize(
    "target",
    ["http://169.254.169.254/latest/meta-data/", "file:///etc/passwd", "ftp://127.0.0.1/a.mp4", "data:video/mp4,x",
     "http://2852039166/", "http://0xA9FEA9FE/", "http://[::ffff:169.254.169.254]/",
     "http://user:pass@127.0.0.1/a.mp4", "http://0.0.0.0/", "http:// /"],
)  # fmt: skip
async def test_F60_S01_a_redirect_to_a_forbidden_address_is_refused(fetch: Fetch, host: FileHost, target: str) -> None:
    """Not followed, even where private addresses are allowed."""
    url = host.offer("/a.mp4", Answer(status=302, headers={"Location": target}))
    with pytest.raises(Undeliverable, match="the result's address"):
        await fetch(url)
    assert len(host.asked) == 1
    assert fetch.nothing_left()


async def test_F60_S01_a_redirect_that_cannot_be_read_is_not_followed(fetch: Fetch, host: FileHost) -> None:
    """An address in octal numbers counts as no answer."""
    with pytest.raises(Transient):
        await fetch(host.offer("/a.mp4", Answer(status=302, headers={"Location": "http://0251.0376.0251.0376/"})))
    assert fetch.nothing_left()


async def test_F60_S01_private_addresses_need_the_setting(fetch: Fetch, host: FileHost) -> None:
    """A result on loopback or in a private network is not fetched, and its host sees no request."""
    url = host.offer("/a.mp4", Answer(CLIP))
    for address in (url, "https://10.0.0.1/a.mp4", "https://[::1]/a.mp4", "http://203.0.113.5/a.mp4"):
        with pytest.raises(Undeliverable):
            await fetch(address, private=False)
    assert host.asked == []


async def test_F60_S21_a_redirect_to_another_file_host_is_followed_without_credentials(
    host: FileHost, fetch: Fetch
) -> None:
    """Three hops at most."""
    async with file_host() as other:
        final = other.offer("/b.mp4", Answer(CLIP))
        url = host.offer("/a.mp4", Answer(status=302, headers={"Location": final}))
        assert (await fetch(url)).size == len(CLIP)
        assert "authorization" not in other.asked[0].headers
    loop = host.offer("/loop.mp4", Answer(status=302, headers={"Location": "/loop.mp4"}))
    with pytest.raises(Undeliverable, match="redirects"):
        await fetch(loop)


async def test_a_host_that_is_not_there_is_transient(fetch: Fetch) -> None:
    """Connection refused: six tries."""
    async with file_host() as gone:
        url = f"{gone.url}/a.mp4"
    with pytest.raises(Transient, match="cannot be reached"):
        await fetch(url)
    assert len(fetch.clock.slept) == 5


async def test_F61_two_downloads_of_one_result_do_not_disturb_each_other(host: FileHost, fetch: Fetch) -> None:
    """Each has a working file of its own; the last one in place holds the same bytes."""
    url = host.offer("/a.mp4", Answer(CLIP))
    first, second = await asyncio.gather(fetch(url), fetch(url))
    assert first == second
    assert list(fetch.to.parent.iterdir()) == [fetch.to]


async def test_F77_a_cancelled_download_leaves_nothing(host: FileHost, fetch: Fetch) -> None:
    """Cancelled in the middle of the body."""
    url = host.offer("/a.mp4", Answer(CLIP, sent=5000, stall=True))
    task = asyncio.create_task(fetch(url))
    while not host.asked:  # noqa: ASYNC110 - another thread's account
        await asyncio.sleep(0.01)
    done, _pending = await asyncio.wait({task}, timeout=0.1)
    assert not done
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert fetch.nothing_left()


async def test_F64_a_folder_that_cannot_be_written_is_transient(fetch: Fetch, host: FileHost) -> None:
    """The paid result stays where it is until there is a place for it."""
    fetch.to = fetch.to.parent / "missing" / "SH010.mp4"
    with pytest.raises(Transient, match="cannot be written"):
        await fetch(host.offer("/a.mp4", Answer(CLIP)))


@pytest.mark.parametrize("kind", [Expired, Undeliverable])
def test_the_errors_cross_process_borders(kind: type[RushesError]) -> None:
    """Message and hint survive pickling."""
    again = pickle.loads(pickle.dumps(kind("why", "what next")))
    assert (type(again), str(again), again.diagnostics()) == (kind, "why", "what next")


class Crawling(QuickClock):
    """Between any two looks at it 100 seconds have passed."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0

    def monotonic(self) -> float:
        """Later and later."""
        self.looks += 1
        return 100.0 * self.looks


async def test_F106_a_link_that_trickles_is_left_to_the_next_try(fetch: Fetch, host: FileHost) -> None:
    """Nobody sits before it for an hour, and it is not begun again at once."""
    url = host.offer("/a.mp4", Answer(CLIP, headers=ETAG))
    fetch.clock = Crawling()
    with pytest.raises(Transient, match="trickles"):
        await fetch(url)
    assert (len(host.asked), fetch.nothing_left()) == (1, True)
