"""Opening stills that strangers chose: format, size and shape are checked on the header, before a pixel is decoded."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from tasks.studio.errors import StillUnreadable

__all__ = ["FORMATS", "MAX_PIXELS", "frame_size", "open_still"]

FORMATS = ("JPEG", "PNG", "WEBP")
MAX_PIXELS = 50_000_000
_NARROWEST, _WIDEST = 0.4, 2.5


def open_still(path: Path, *, long_side: int) -> Image.Image:
    """The still as upright, opaque RGB, decoded at no more than about twice `long_side` where the format can.

    Raises StillUnreadable for anything but a whole JPEG, PNG or WebP of at most 50 MP with an aspect of 0.4 to 2.5.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            _check_header(path, image)
            image.draft("RGB", (2 * long_side, 2 * long_side))
            image.load()
            return _opaque(ImageOps.exif_transpose(image))
    except StillUnreadable:
        raise
    # Pillow's decoders raise whatever a broken file makes them stumble over.
    except Exception as error:
        raise StillUnreadable(path, f"not a whole JPEG, PNG or WebP picture ({type(error).__name__})") from error


def frame_size(image: Image.Image, long_side: int) -> tuple[int, int]:
    """Width and height of the video for a still: its aspect, `long_side` on the longer side, both even."""
    scale = long_side / max(image.size)
    width, height = (max(2, 2 * round(side * scale / 2)) for side in image.size)
    return width, height


def _check_header(path: Path, image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise StillUnreadable(path, f"{width} x {height} is more than {MAX_PIXELS // 1_000_000} megapixels")
    if not _NARROWEST <= width / height <= _WIDEST:
        raise StillUnreadable(path, f"{width} x {height} is narrower than 1:2.5 or wider than 2.5:1")


def _opaque(image: Image.Image) -> Image.Image:
    """Flatten alpha onto white, the paper under ink that was drawn on nothing; 16-bit grey keeps its high byte."""
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    paper = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(paper, image.convert("RGBA")).convert("RGB")
