"""Publishing: what leaves the house, where it is served, and what is never handed to a provider."""

import asyncio
import dataclasses
import io
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image

from tasks.errors import SetupProblem, StillInvalid
from tasks.http import Wire
from tasks.netguard import AddressRules
from tasks.providers import PROVIDERS
from tasks.providers.interface import Caps
from tasks.publish import publish_still
from tasks.seams import SystemClock
from tasks.stills import Still, fetch_still
from tasks.stills.outgoing import Outgoing, outgoing
from tasks.storage import Store
from tests.fixtures.filehost import Answer, FileHost, file_host
from tests.fixtures.s3 import S3Server

PICTURES = Path(__file__).parents[1] / "assets" / "stills"
REMARK = b"GPS of the house"
OPEN = AddressRules(allow_private=True)
PUBLIC = AddressRules(allow_private=False)
CAPS = dataclasses.replace(PROVIDERS["shortapi"].caps, still_formats=("JPEG", "PNG"))


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


class House:
    """A house with a store, a cache, and perhaps a place to publish in."""

    def __init__(self, folder: Path, wire: Wire) -> None:
        self.folder, self.wire = folder, wire
        self.store = Store.open(str(folder / "store"))
        self.shelf = folder / "shelf"

    async def still(self, address: str) -> Still:
        """A fetched still, by file name or address."""
        cache = self.folder / "cache"
        return await fetch_still(address, base=f"{PICTURES}/board.yaml", cache=cache, rules=OPEN, wire=self.wire)

    async def publish(
        self,
        address: str,
        base: str | None = None,
        *,
        caps: Caps = CAPS,
        rules: AddressRules = OPEN,
        store: Store | None = None,
    ) -> str:
        """The address that a provider gets."""
        return await publish_still(
            await self.still(address),
            caps,
            store=store or self.store,
            publish_url=str(self.shelf) if base else None,
            public_base=base,
            seconds=86_400,
            rules=rules,
        )

    def published(self, url: str) -> bytes:
        """The bytes on the shelf that the address names."""
        return (self.shelf / url.rpartition("/")[2]).read_bytes()


@pytest.fixture
def house(tmp_path: Path, wire: Wire) -> House:
    """A house whose store is a local folder."""
    return House(tmp_path, wire)


BASE = "http://127.0.0.1:8765/files"


async def test_a_still_is_put_on_the_shelf_once(house: House) -> None:
    """Under the hash of its bytes, below the public base; a second publication is the same file and address."""
    first = await house.publish("plain.jpg", BASE)
    assert first == await house.publish("plain.jpg", f"{BASE}/")
    (file,) = house.shelf.iterdir()
    assert first == f"{BASE}/{file.name}"
    assert file.suffix == ".jpg"


async def ready(house: House, name: str, caps: Caps = CAPS) -> tuple[Outgoing, Image.Image]:
    """What is sent for a picture, as bytes and as a picture."""
    sent = await asyncio.to_thread(outgoing, await house.still(name), caps)
    return sent, Image.open(io.BytesIO(sent.content))


@pytest.mark.parametrize(
    "name", ["plain.jpg", "remarks.jpg", "phone-pictures.jpg", "plain.png", "remarks.png", "palette.png"]
)
async def test_S16_a_fit_picture_loses_its_metadata_and_nothing_else(house: House, name: str) -> None:
    """Not one pixel changes; no EXIF, no comment, no second picture of the phone is sent."""
    sent, image = await ready(house, name)
    with Image.open(PICTURES / name) as original:
        assert image.tobytes() == original.tobytes()
    assert REMARK not in sent.content
    assert not image.getexif()
    assert set(image.info) <= {
        "jfif",
        "jfif_version",
        "jfif_unit",
        "jfif_density",
        "dpi",
        "transparency",
        "gamma",
        "srgb",
    }
    assert getattr(image, "n_frames", 1) == 1
    assert len(sent.content) <= (PICTURES / name).stat().st_size


async def test_S16_a_turned_picture_is_sent_upright(house: House) -> None:
    """Providers do not read EXIF: the pixels are turned, the remark is gone."""
    sent, image = await ready(house, "turned.jpg")
    assert (image.format, image.size) == ("JPEG", (320, 480))
    assert REMARK not in sent.content
    yellow = image.getpixel((320 - 320 // 4, 480 // 4))
    assert isinstance(yellow, tuple)
    assert yellow[0] > 200 > yellow[2]


@pytest.mark.parametrize(
    ("name", "form", "mode"),
    [
        ("plain.webp", "JPEG", "RGB"),
        ("alpha.webp", "JPEG", "RGB"),
        ("inks.jpg", "JPEG", "RGB"),
        ("odd-profile.jpg", "JPEG", "RGB"),
        ("sixteen-bits.png", "PNG", "RGB"),
    ],
)
async def test_what_a_provider_may_misread_is_converted(house: House, name: str, form: str, mode: str) -> None:
    """WebP, printing inks, foreign colour profiles and 16 bits become a plain JPEG or PNG of the same size."""
    _sent, image = await ready(house, name)
    assert (image.format, image.mode, image.size) == (form, mode, (480, 320))
    assert "icc_profile" not in image.info


async def test_sixteen_bits_keep_their_range(house: House) -> None:
    """Black stays black and white stays white."""
    _sent, image = await ready(house, "sixteen-bits.png")
    assert image.convert("L").getextrema() == (0, 255)


async def test_only_a_picture_over_the_limit_is_shrunk(house: House) -> None:
    """Quality gives way first, then size, down to the provider's smallest side; the shape stays."""
    whole = (await ready(house, "inks.jpg"))[0]
    lighter, image = await ready(house, "inks.jpg", dataclasses.replace(CAPS, still_bytes_max=len(whole.content) - 1))
    assert (len(lighter.content) < len(whole.content), image.size) == (True, (480, 320))
    tiny = dataclasses.replace(CAPS, still_bytes_max=4000, still_side_min=100)
    smaller, image = await ready(house, "inks.jpg", tiny)
    assert len(smaller.content) <= 4000
    assert 100 <= min(image.size) < 320
    assert abs(image.width / image.height - 1.5) < 0.02


async def test_a_heavy_png_becomes_a_jpeg(house: House, tmp_path: Path) -> None:
    """Over the limit without loss, a PNG is sent as a JPEG of the same size."""
    grain = tmp_path / "grain.png"
    Image.effect_noise((480, 320), 30).save(grain)
    limit = grain.stat().st_size - 1000
    _sent, image = await ready(house, str(grain), dataclasses.replace(CAPS, still_bytes_max=limit))
    assert (image.format, image.size) == ("JPEG", (480, 320))


async def test_a_picture_that_cannot_fit_is_invalid(house: House) -> None:
    """The limits are named."""
    with pytest.raises(StillInvalid, match="takes 500 bytes and 300 pixels"):
        await ready(house, "plain.jpg", dataclasses.replace(CAPS, still_bytes_max=500))


async def test_the_bytes_are_the_same_each_time(house: House) -> None:
    """One still, one address, in this process or the next."""
    for name in ("plain.webp", "turned.jpg", "sixteen-bits.png"):
        assert (await ready(house, name))[0] == (await ready(house, name))[0]


async def test_nowhere_to_serve_from_names_the_two_settings(house: House) -> None:
    """A local folder signs no links: the error says what would help."""
    with pytest.raises(SetupProblem, match="nothing here can serve it") as caught:
        await house.publish("plain.jpg")
    assert {"RUSHES_PUBLISH", "RUSHES_PUBLISH_BASE"} <= set(caught.value.diagnostics().replace(";", " ").split())
    assert house.store.list() == []


async def test_a_shelf_without_a_base_names_the_missing_setting(house: House) -> None:
    """A folder to publish in is not enough."""
    with pytest.raises(SetupProblem, match="RUSHES_PUBLISH_BASE is not set"):
        await publish_still(
            await house.still("plain.jpg"),
            CAPS,
            store=house.store,
            publish_url=str(house.shelf),
            public_base=None,
            seconds=60,
            rules=OPEN,
        )


@pytest.mark.parametrize(
    "base",
    ["http://127.0.0.1:8765/files", "https://10.1.2.3/x", "https://[::1]/x", "http://169.254.169.254/x", "file:///x"],
)
async def test_S01_a_private_base_is_refused(house: House, base: str) -> None:
    """No provider can fetch from there; nothing is put on the shelf."""
    with pytest.raises(SetupProblem, match="RUSHES_PUBLISH_BASE"):
        await house.publish("plain.jpg", base, rules=PUBLIC)
    assert not house.shelf.exists()


async def test_S01_loopback_is_fine_for_a_rehearsal_but_metadata_never_is(house: House) -> None:
    """With private addresses allowed, a sandbox on this machine fetches from it."""
    assert (await house.publish("plain.jpg", BASE)).startswith(BASE)
    with pytest.raises(SetupProblem, match="never fetched from"):
        await house.publish("plain.jpg", "http://169.254.169.254/files")


async def test_a_public_still_that_fits_keeps_its_own_address(house: House, host: FileHost) -> None:
    """It needs no copy, even where there is nowhere to publish."""
    address = host.offer("/a.jpg", Answer((PICTURES / "plain.jpg").read_bytes()))
    assert await house.publish(address) == address


async def test_a_public_still_that_does_not_fit_is_converted(house: House, host: FileHost) -> None:
    """A turned or WebP picture is published upright as a JPEG."""
    for name in ("turned.jpg", "plain.webp", "odd-profile.jpg"):
        address = host.offer(f"/{name}", Answer((PICTURES / name).read_bytes()))
        assert (await house.publish(address, BASE)).startswith(BASE)


async def test_an_address_that_may_run_out_is_published_where_that_is_possible(house: House, host: FileHost) -> None:
    """A signed link lives shorter than a queue may be."""
    address = host.offer("/a.jpg", Answer((PICTURES / "plain.jpg").read_bytes())) + "?Expires=1"
    assert (await house.publish(address, BASE)).startswith(BASE)
    assert await house.publish(address) == address


async def test_S01_a_private_still_address_is_not_sent_to_a_provider(house: House, host: FileHost) -> None:
    """Even where it could be fetched when it was looked at."""
    address = host.offer("/a.jpg", Answer((PICTURES / "plain.jpg").read_bytes()))
    with pytest.raises(StillInvalid, match="private address"):
        await house.publish(address, rules=PUBLIC)


@pytest.mark.s3
async def test_a_store_that_signs_links_serves_the_still(house: House, s3_server: S3Server, s3_url: str) -> None:
    """The link lives as long as asked, needs no key, and gives the stripped bytes with their type."""
    store = Store.open(s3_url, options=s3_server.options())
    url = await house.publish("remarks.jpg", store=store)
    assert parse_qs(urlsplit(url).query)["X-Amz-Expires"] == ["86400"]
    async with house.wire.stream(url, {}, rules=OPEN) as reply:
        content = b"".join([chunk async for chunk in reply.chunks()])
    assert (reply.headers["content-type"], REMARK in content) == ("image/jpeg", False)
    assert Image.open(io.BytesIO(content)).size == (480, 320)
    assert [path.partition("/")[0] for path in store.list()] == ["published"]
    with pytest.raises(SetupProblem, match="the storage's endpoint"):
        await house.publish("remarks.jpg", store=store, rules=PUBLIC)
