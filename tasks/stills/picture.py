"""Reading a picture that somebody else made: header first, then all of it, never more than it may be (S16)."""

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import Image

from tasks.errors import StillInvalid
from tasks.sniff import behind, kind

__all__ = ["FORMATS", "MAX_BYTES", "MAX_PIXELS", "Picture", "decoding", "orientation", "picture"]

MAX_BYTES = 50 << 20
MAX_PIXELS = 50_000_000
FORMATS = ("JPEG", "PNG", "WEBP")
_ORIENTATION = 0x0112
_TURNED = {5, 6, 7, 8}
# One decode of 50 MP takes about 200 MB.
_DECODES = threading.BoundedSemaphore(2)

# Pillow only warns where a picture is a bomb. The filter is set once: changing filters for a while is not thread-safe.
warnings.simplefilter("error", Image.DecompressionBombWarning)


@dataclass(frozen=True, slots=True)
class Picture:
    """Pillow's name of the format, and width and height in pixels as a viewer shows them (EXIF orientation applied)."""

    format: str
    width: int
    height: int


def picture(content: bytes, address: str) -> Picture:
    """Decode all of `content` once and say what it is; `address` names it in errors. Takes CPU: run it in a thread.

    Raises:
        StillInvalid: not a JPEG, PNG or WEBP by content, a polyglot, animated, too many pixels, or cut short.
    """
    form = _form(content, address)
    with decoding(address):
        size, turn = _header(content, address)
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            image.verify()
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            # A JPEG decoder reads all data for a small picture too, in an eighth of the time and memory.
            image.draft(image.mode, (1, 1))
            image.load()
    width, height = size[::-1] if turn in _TURNED else size
    return Picture(form, width, height)


@contextmanager
def decoding(address: str) -> Iterator[None]:
    """At most two decodes at a time, and every failure of Pillow as a StillInvalid that names `address`."""
    with _DECODES:
        try:
            yield
        except StillInvalid:
            raise
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            raise StillInvalid(f"{address}: more than {MAX_PIXELS // 1_000_000} megapixels", _SMALLER) from None
        # Pillow's decoders raise whatever their parsers meet in broken data.
        except Exception as error:  # noqa: BLE001
            reason = " ".join(str(error).split()) or type(error).__name__
            raise StillInvalid(
                f"{address}: broken or cut short ({reason})", "Export or copy the picture again."
            ) from None


_SMALLER = "Scale it down; providers take 1080 to 2160 pixels."


def _form(content: bytes, address: str) -> str:
    form = kind(content)
    if form not in FORMATS:
        raise StillInvalid(f"{address}: not a picture but {form}", "Stills are JPEG, PNG or WEBP.")
    hidden = behind(content, form)
    if hidden:
        raise StillInvalid(f"{address}: a {form} with {hidden} hidden in it", "Export the picture again.")
    return form


def _header(content: bytes, address: str) -> tuple[tuple[int, int], int]:
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            found = f"{width} x {height} pixels"
            raise StillInvalid(f"{address}: {found}, more than {MAX_PIXELS // 1_000_000} megapixels", _SMALLER)
        # A phone's JPEG may hold further pictures (MPO): its first one is the still.
        if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
            raise StillInvalid(f"{address}: an animated {image.format}", "Export one frame of it.")
        return image.size, orientation(image)


def orientation(image: Image.Image) -> int:
    """EXIF's orientation, 1 to 8; 1, upright, where there is none."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except (OSError, SyntaxError, TypeError, ValueError):  # broken EXIF leaves the picture as it is
        return 1
