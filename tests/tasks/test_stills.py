"""Stills: where they may come from, what counts as one, and that each content is decoded once."""

import hashlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tasks.errors import StillInvalid
from tasks.http import Wire
from tasks.netguard import AddressRules
from tasks.seams import SystemClock
from tasks.stills import Still, fetch_still
from tasks.storage import Store
from tests.fixtures.filehost import Answer, FileHost, file_host
from tests.fixtures.s3 import S3Server

PICTURES = Path(__file__).parents[1] / "assets" / "stills"
OPEN = AddressRules(allow_private=True)
PUBLIC = AddressRules(allow_private=False)
DROPPED = AddressRules(allow_private=True, confined=True)


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    """The HTTP layer, as in production."""
    wire = Wire(clock=SystemClock())
    yield wire
    await wire.close()


@pytest.fixture
async def host() -> AsyncIterator[FileHost]:
    """A file host on loopback."""
    async with file_host() as host:
        yield host


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """A spec with the pictures in `stills/` beside it, and one picture above it."""
    folder = tmp_path / "boards" / "liftoff"
    shutil.copytree(PICTURES, folder / "stills")
    shutil.copy(PICTURES / "plain.jpg", tmp_path / "boards" / "shared.jpg")
    spec = folder / "liftoff.yaml"
    spec.write_text("rushes: 1")
    return spec


class Fetch:
    """`fetch_still` for one spec, with one cache."""

    def __init__(self, wire: Wire, spec: Path, cache: Path) -> None:
        self.wire, self.spec, self.cache = wire, str(spec), cache

    async def __call__(self, address: str, rules: AddressRules = PUBLIC, base: str | None = None) -> Still:
        return await fetch_still(address, base=base or self.spec, cache=self.cache, rules=rules, wire=self.wire)


@pytest.fixture
def fetch(wire: Wire, board: Path, tmp_path: Path) -> Fetch:
    """Fetches for the board."""
    return Fetch(wire, board, tmp_path / "cache")


async def test_a_still_beside_the_spec_is_fetched_and_kept(fetch: Fetch) -> None:
    """Its bytes are kept as they are, under their hash."""
    still = await fetch("stills/plain.jpg")
    content = (PICTURES / "plain.jpg").read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    assert still == Still("stills/plain.jpg", sha256, fetch.cache / sha256, "JPEG", 480, 320, len(content))
    assert still.path.read_bytes() == content


@pytest.mark.parametrize("name", ["plain.png", "plain.webp", "alpha.webp", "palette.png", "inks.jpg", "sixteen-bits.png",
                                  "odd-profile.jpg", "remarks.jpg", "remarks.png", "phone-pictures.jpg"])  # fmt: skip
async def test_every_ordinary_picture_is_a_still(fetch: Fetch, name: str) -> None:
    """Palettes, transparency, CMYK, 16 bits, profiles, remarks and a phone's second picture are no reason to refuse."""
    still = await fetch(f"stills/{name}")
    assert still.format == {".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP"}[Path(name).suffix]
    assert (still.width, still.height) == (480, 320)


async def test_S16_width_and_height_are_those_that_a_viewer_sees(fetch: Fetch) -> None:
    """EXIF says that the camera was turned: 480 x 320 stored pixels are 320 x 480."""
    still = await fetch("stills/turned.jpg")
    assert (still.width, still.height) == (320, 480)


FLAWED = {
    "truncated.jpg": "broken or cut short",
    "truncated.png": "broken or cut short",
    "flipped-bit.png": "broken or cut short",
    "empty.jpg": "not a picture but an empty file",
    "really-svg.jpg": "not a picture but SVG",
    "really-html.png": "not a picture but HTML",
    "really-json.jpg": "not a picture but JSON",
    "really-text.jpg": "not a picture but text",
    "really-gif.png": "not a picture but a GIF",
    "really-lfs.jpg": "not a picture but a Git LFS pointer",
    "zip-behind.jpg": "a JPEG with a ZIP archive hidden in it",
    "html-behind.png": "a PNG with HTML hidden in it",
    "pdf-within.jpg": "a JPEG with a PDF hidden in it",
    "animated.webp": "an animated WEBP",
    "animated.png": "an animated PNG",
    "sixty-megapixels.png": "10000 x 6000 pixels, more than 50 megapixels",
    "bomb.png": "more than 50 megapixels",
}


@pytest.mark.parametrize("name", FLAWED)
async def test_S16_S17_a_flawed_picture_is_refused_for_what_it_is(fetch: Fetch, name: str) -> None:
    """By content, whatever its name says; the error names the file and keeps nothing in the cache."""
    with pytest.raises(StillInvalid) as caught:
        await fetch(f"stills/{name}")
    assert str(caught.value).startswith(f"stills/{name}: {FLAWED[name]}")
    assert not fetch.cache.exists()


async def test_the_same_content_is_the_same_still_and_is_decoded_once(fetch: Fetch) -> None:
    """Two addresses, one hash, one kept file; the second fetch reads the note of the first."""
    first, second = await fetch("stills/plain.jpg"), await fetch("../shared.jpg")
    assert (first.sha256, first.path) == (second.sha256, second.path)
    note = fetch.cache / f"{first.sha256}.json"
    note.write_text('{"format": "JPEG", "width": 1, "height": 2}')
    again = await fetch("stills/plain.jpg")
    assert (again.width, again.height) == (1, 2)


async def test_a_damaged_cache_is_made_again(fetch: Fetch) -> None:
    """A note that cannot be read, or a copy of another size, is not trusted."""
    still = await fetch("stills/plain.jpg")
    (fetch.cache / f"{still.sha256}.json").write_text("{")
    still.path.write_bytes(b"short")
    assert await fetch("stills/plain.jpg") == still
    assert still.path.read_bytes() == (PICTURES / "plain.jpg").read_bytes()


@pytest.mark.parametrize(
    ("address", "message", "hint"),
    [
        ("stills/plian.jpg", "not found", 'did you mean "plain.jpg"?'),
        ("stills/PLAIN.JPG", "not found", 'did you mean "plain.jpg"?'),
        ("stills/turned.jpeg", "not found", 'did you mean "turned.jpg"?'),
        ("stills/zebra.tif", "not found", "holds no such file"),
        ("pictures/plain.jpg", "not found", "There is no folder"),
        ("stills", "is a folder", 'such as "alpha.webp"'),
        ("stills/plain.jpg/x", "not found", "There is no folder"),
        ("", "is a folder", "Name a file"),
    ],
)
async def test_a_wrong_path_says_what_was_probably_meant(fetch: Fetch, address: str, message: str, hint: str) -> None:
    """The neighbours of the missing file are looked at."""
    with pytest.raises(StillInvalid, match=message) as caught:
        await fetch(address)
    assert hint in caught.value.diagnostics()


async def test_a_pipe_or_a_device_is_not_read(fetch: Fetch) -> None:
    """Reading it could wait for ever."""
    with pytest.raises(StillInvalid, match="not a regular file"):
        await fetch("/dev/zero")


async def test_a_huge_file_is_refused_before_it_is_read(fetch: Fetch, board: Path) -> None:
    """More than 50 MiB."""
    with (board.parent / "stills" / "huge.jpg").open("wb") as file:
        file.truncate((50 << 20) + 1)
    with pytest.raises(StillInvalid, match="larger than 50 MiB"):
        await fetch("stills/huge.jpg")


async def test_S04_a_person_may_point_above_the_spec_but_a_drop_may_not(
    fetch: Fetch, board: Path, tmp_path: Path
) -> None:
    """A dropped spec reads what lies below it: no `..`, no absolute path, no link out."""
    (board.parent / "link.jpg").symlink_to(tmp_path / "boards" / "shared.jpg")
    outside = ["../shared.jpg", str(tmp_path / "boards" / "shared.jpg"), "link.jpg", "stills/../../shared.jpg"]
    for address in outside:
        assert (await fetch(address)).format == "JPEG"
        with pytest.raises(StillInvalid, match="outside the folder of the spec"):
            await fetch(address, DROPPED)
    assert (await fetch("stills/plain.jpg", DROPPED)).format == "JPEG"


@pytest.mark.parametrize(
    "address",
    ["file:///etc/passwd", "file:/etc/passwd", "FILE:///x.jpg", "data:image/png;base64,AAAA", "ftp://h/x.jpg",
     "zip::s3://b/x.zip", "simplecache::https://h/x.jpg", "local:///etc/passwd", "github://a:b@/x.jpg", "a\nb.jpg",
     "memory://x/y.jpg", "s3:/bucket/x.jpg", "javascript:alert(1)", "x\0.jpg"],
)  # fmt: skip
async def test_S01_S04_other_kinds_of_address_are_refused(fetch: Fetch, address: str) -> None:
    """The hint says which kinds are read."""
    with pytest.raises(StillInvalid) as caught:
        await fetch(address, OPEN)
    assert "an https, s3, gs or abfs address" in caught.value.diagnostics()


async def test_a_still_of_a_spec_in_a_store_stands_beside_it(fetch: Fetch) -> None:
    """Relative to the spec's folder in the same storage; `..` only where a person gave the spec."""
    store = Store.open("memory://inbox-stills")
    for path in ("boards/stills/plain.jpg", "shared.png"):
        store.put((PICTURES / "plain.jpg").read_bytes(), path)
    spec = "memory://inbox-stills/boards/liftoff.yaml"
    assert (await fetch("stills/plain.jpg", DROPPED, spec)).width == 480
    assert (await fetch("../shared.png", PUBLIC, spec)).width == 480
    for address in ("../shared.png", "../../other/x.jpg", "/boards/stills/plain.jpg"):
        with pytest.raises(StillInvalid, match="outside the"):
            await fetch(address, DROPPED, spec)
    with pytest.raises(StillInvalid, match="outside the bucket"):
        await fetch("../../other/x.jpg", PUBLIC, spec)
    with pytest.raises(StillInvalid, match=r"stills/none\.jpg: not found"):
        await fetch("stills/none.jpg", DROPPED, spec)


@pytest.mark.s3
async def test_S04_a_still_comes_from_s3_and_a_drop_stays_in_its_own_folder(
    fetch: Fetch, s3_server: S3Server, s3_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another bucket or prefix is open to a person's spec only."""
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    Store.open(s3_url).put(PICTURES / "plain.jpg", "boards/plain.jpg")
    address = f"{s3_url}/boards/plain.jpg"
    assert (await fetch(address)).sha256 == hashlib.sha256((PICTURES / "plain.jpg").read_bytes()).hexdigest()
    assert (await fetch(address, DROPPED, f"{s3_url}/boards/liftoff.yaml")).width == 480
    for base in (f"{s3_url}/other/liftoff.yaml", "s3://elsewhere/liftoff.yaml", f"{s3_url}/boards/sub/liftoff.yaml"):
        with pytest.raises(StillInvalid, match="outside the folder of the spec"):
            await fetch(address, DROPPED, base)
    with pytest.raises(StillInvalid, match="outside the folder of the spec"):
        await fetch(f"{s3_url}/boards/../other/x.jpg", DROPPED, f"{s3_url}/boards/liftoff.yaml")
    with pytest.raises(StillInvalid, match=r"none\.jpg: not found"):
        await fetch(f"{s3_url}/boards/none.jpg")


async def test_S21_a_still_is_fetched_over_http_without_credentials(fetch: Fetch, host: FileHost) -> None:
    """The host sees no key and no cookie; the content decides, not the declared type."""
    address = host.offer("/a.png", Answer((PICTURES / "plain.jpg").read_bytes(), headers={"Content-Type": "image/gif"}))
    still = await fetch(address, OPEN)
    assert (still.format, still.address) == ("JPEG", address)
    assert {"authorization", "cookie"}.isdisjoint(host.asked[0].headers)


async def test_S01_a_private_address_in_a_spec_is_refused(fetch: Fetch, host: FileHost) -> None:
    """Nothing is sent there unless the settings allow it; the metadata service is never asked."""
    address = host.offer("/a.jpg", Answer((PICTURES / "plain.jpg").read_bytes()))
    with pytest.raises(StillInvalid, match="private address") as caught:
        await fetch(address)
    assert "RUSHES_ALLOW_PRIVATE_URLS" in caught.value.diagnostics()
    with pytest.raises(StillInvalid, match="never fetched from"):
        await fetch("http://169.254.169.254/latest/meta-data/x.jpg", OPEN)
    assert host.asked == []


async def test_S01_a_redirect_to_the_metadata_service_is_refused(fetch: Fetch, host: FileHost) -> None:
    """Each redirect is looked at again."""
    address = host.offer("/a.jpg", Answer(status=302, headers={"Location": "http://169.254.169.254/x.jpg"}))
    with pytest.raises(StillInvalid, match="never fetched from"):
        await fetch(address, OPEN)


@pytest.mark.parametrize(
    ("status", "message"), [(404, "not found"), (403, "not allowed"), (410, "gone"), (204, "no picture")]
)
async def test_a_host_that_has_no_picture_is_quoted(fetch: Fetch, host: FileHost, status: int, message: str) -> None:
    """The query of the address, which may be a signature, is not shown."""
    address = host.offer("/a.jpg", Answer(status=status)) + "?sig=secret"
    with pytest.raises(StillInvalid, match=message) as caught:
        await fetch(address, OPEN)
    assert "secret" not in str(caught.value)


async def test_a_bad_moment_of_the_host_is_tried_again(fetch: Fetch, host: FileHost) -> None:
    """A 503 and a cut body, then the picture."""
    content = (PICTURES / "plain.jpg").read_bytes()
    address = host.offer("/a.jpg", Answer(status=503), Answer(content, sent=100), Answer(content))
    assert (await fetch(address, OPEN)).size == len(content)
    assert len(host.asked) == 3


async def test_a_host_that_only_fails_is_named(fetch: Fetch, host: FileHost) -> None:
    """Three tries, then the shot is invalid."""
    address = host.offer("/a.jpg", Answer(status=500))
    with pytest.raises(StillInvalid, match="could not be fetched"):
        await fetch(address, OPEN)
    assert len(host.asked) == 3


async def test_S19_a_still_without_end_is_cut_off(fetch: Fetch, host: FileHost) -> None:
    """Bytes are counted, whatever the declared length."""
    address = host.offer("/a.jpg", Answer(b"\xff\xd8\xff" + b"x" * (51 << 20), framing="close"))
    with pytest.raises(StillInvalid, match="larger than 50 MiB"):
        await fetch(address, OPEN)
