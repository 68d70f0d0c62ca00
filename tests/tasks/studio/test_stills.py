"""Stills of strangers: what is opened, how, and what is refused before it costs anything."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks.studio.errors import StillUnreadable
from tasks.studio.stills import frame_size, open_still


@pytest.mark.parametrize(
    ("size", "frame"),
    [
        ((1920, 1080), (1280, 720)),
        ((1080, 1920), (720, 1280)),
        ((640, 427), (1280, 854)),
        ((512, 512), (1280, 1280)),
        ((1000, 400), (1280, 512)),
        ((401, 1000), (514, 1280)),
    ],
)
def test_the_frame_keeps_the_aspect_with_even_sides(size: tuple[int, int], frame: tuple[int, int]) -> None:
    """1280 on the long side, whatever the still's size."""
    assert frame_size(Image.new("RGB", size), 1280) == frame


def test_a_sideways_photograph_stands_upright(tmp_path: Path) -> None:
    """EXIF orientation is applied."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (60, 40)).save(tmp_path / "phone.jpg", exif=exif)
    assert open_still(tmp_path / "phone.jpg", long_side=64).size == (40, 60)


@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_transparency_becomes_paper(suffix: str, tmp_path: Path) -> None:
    """Alpha is flattened onto white."""
    Image.new("RGBA", (40, 40), (0, 0, 0, 0)).save(tmp_path / f"ink.{suffix}")
    picture = open_still(tmp_path / f"ink.{suffix}", long_side=64)
    assert (picture.mode, picture.getpixel((20, 20))) == ("RGB", (255, 255, 255))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK"])
def test_every_common_mode_opens_as_rgb(mode: str, tmp_path: Path) -> None:
    """Grey, indexed and print stills are fine."""
    path = tmp_path / ("still.jpg" if mode == "CMYK" else "still.png")
    Image.new("RGB", (40, 30), (255, 255, 255)).convert(mode).save(path)
    assert open_still(path, long_side=64).convert("L").getpixel((3, 3)) == pytest.approx(255, abs=2)


def test_sixteen_bit_grey_keeps_its_range(tmp_path: Path) -> None:
    """A 16-bit still does not clip to white."""
    Image.fromarray(np.full((30, 40), 0x8000, np.uint16)).save(tmp_path / "deep.png")
    assert open_still(tmp_path / "deep.png", long_side=64).getpixel((3, 3)) == (128, 128, 128)


def test_a_large_photograph_is_not_decoded_in_full(tmp_path: Path) -> None:
    """A JPEG is decoded at about twice the size that the film needs."""
    Image.new("RGB", (4000, 3000)).save(tmp_path / "big.jpg")
    assert max(open_still(tmp_path / "big.jpg", long_side=640).size) <= 2000


def test_a_bomb_is_refused_on_its_header(tmp_path: Path) -> None:
    """56 megapixels in a few kilobytes are never decoded."""
    Image.new("1", (8000, 7000)).save(tmp_path / "bomb.png")
    with pytest.raises(StillUnreadable, match=r"bomb\.png: 8000 x 7000 is more than 50 megapixels"):
        open_still(tmp_path / "bomb.png", long_side=64)


@pytest.mark.parametrize("size", [(300, 100), (100, 300)])
def test_an_extreme_aspect_is_refused(size: tuple[int, int], tmp_path: Path) -> None:
    """Banners are no stills."""
    Image.new("RGB", size).save(tmp_path / "banner.png")
    with pytest.raises(StillUnreadable, match=r"2\.5"):
        open_still(tmp_path / "banner.png", long_side=64)


@pytest.mark.parametrize("suffix", ["gif", "bmp", "tiff", "ico"])
def test_other_formats_are_refused(suffix: str, tmp_path: Path) -> None:
    """Only JPEG, PNG and WebP have a decoder here, whatever the name says."""
    Image.new("RGB", (40, 40)).save(tmp_path / f"still.{suffix}")
    (tmp_path / f"still.{suffix}").rename(tmp_path / "still.png")
    with pytest.raises(StillUnreadable):
        open_still(tmp_path / "still.png", long_side=64)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_half_a_picture_is_refused(suffix: str, still: Path, tmp_path: Path) -> None:
    """A truncated still is not filmed with a grey lower half."""
    Image.open(still).save(tmp_path / f"whole.{suffix}")
    data = (tmp_path / f"whole.{suffix}").read_bytes()
    (tmp_path / "half").write_bytes(data[: len(data) // 2])
    with pytest.raises(StillUnreadable, match="not a whole JPEG, PNG or WebP"):
        open_still(tmp_path / "half", long_side=64)


@pytest.mark.parametrize("data", [b"", b"<html>", b"%!PS-Adobe-3.0", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"])
def test_what_is_no_picture_is_refused(data: bytes, tmp_path: Path) -> None:
    """Empty files, pages, PostScript and lone signatures."""
    (tmp_path / "still.png").write_bytes(data)
    with pytest.raises(StillUnreadable):
        open_still(tmp_path / "still.png", long_side=64)


def test_a_missing_still_is_a_still_problem(tmp_path: Path) -> None:
    """A path that is not there is reported like any other still that cannot be read."""
    with pytest.raises(StillUnreadable, match="FileNotFoundError"):
        open_still(tmp_path / "none.png", long_side=64)
