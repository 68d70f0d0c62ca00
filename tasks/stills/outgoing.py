"""A still as it leaves the house: JPEG or PNG in sRGB, upright, without metadata, as small as the provider wants it."""

import io
from dataclasses import dataclass

from PIL import Image, ImageCms, ImageOps

from tasks.errors import StillInvalid
from tasks.providers.interface import Caps
from tasks.sniff import jpeg_end
from tasks.stills import Still
from tasks.stills.picture import FORMATS, decoding, orientation

__all__ = ["Outgoing", "goes_as_it_is", "outgoing"]

_PLAIN = {"JPEG": {"RGB", "L"}, "PNG": {"RGB", "RGBA", "L", "LA", "P", "1"}, "WEBP": {"RGB", "RGBA"}}
_PNG_KEPT = {b"IHDR", b"PLTE", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"IDAT", b"IEND"}
_QUALITIES = (95, 90, 85)
_SHRINK = 0.85
_SIXTEEN = ("I", "I;16", "I;16B", "I;16L")


@dataclass(frozen=True, slots=True)
class Outgoing:
    """The bytes to publish: the same for the same still and limits."""

    content: bytes
    suffix: str
    content_type: str


def goes_as_it_is(still: Still, caps: Caps) -> bool:
    """Whether the provider can use the original bytes: format, size, upright, and in colours that every reader agrees on."""
    return still.format in caps.still_formats and still.size <= caps.still_bytes_max and _is_plain(still)


def outgoing(still: Still, caps: Caps) -> Outgoing:
    """Strip, convert only where needed, and shrink only over the provider's limit. Takes CPU: run it in a thread.

    Raises:
        StillInvalid: when it does not fit the limit at the smallest size that the provider takes.
    """
    strip = {"JPEG": _stripped_jpeg, "PNG": _stripped_png}.get(still.format)
    if strip is not None and _is_plain(still):
        content = strip(still.path.read_bytes())
        if len(content) <= caps.still_bytes_max:
            return _as(content, still.format)
    with decoding(still.address), Image.open(still.path, formats=FORMATS) as image:
        upright = _srgb(ImageOps.exif_transpose(image))
    if still.format == "PNG" or upright.mode == "RGBA":
        content = _encoded(upright, "PNG")
        if len(content) <= caps.still_bytes_max:
            return _as(content, "PNG")
    return _as(_small_jpeg(_opaque(upright), still, caps), "JPEG")


def _as(content: bytes, form: str) -> Outgoing:
    return Outgoing(content, {"JPEG": ".jpg", "PNG": ".png"}[form], f"image/{form.lower()}")


def _is_plain(still: Still) -> bool:
    with decoding(still.address), Image.open(still.path, formats=FORMATS) as image:
        sixteen = still.format == "PNG" and _bit_depth(still) == 16
        return image.mode in _PLAIN[still.format] and not sixteen and orientation(image) == 1 and _has_srgb(image)


def _bit_depth(still: Still) -> int:
    """Of a PNG (ISO 15948, 11.2.2): Pillow shows 16-bit colours as 8-bit ones."""
    with still.path.open("rb") as file:
        return file.read(25)[24]


def _has_srgb(image: Image.Image) -> bool:
    """Whether readers that ignore profiles see the right colours."""
    profile = image.info.get("icc_profile")
    if not profile:
        return True
    try:
        return "srgb" in ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile))).lower()
    except (ImageCms.PyCMSError, OSError):
        return False


def _srgb(image: Image.Image) -> Image.Image:
    """RGB, or RGBA where something shines through; a profile that does not fit the picture is passed over."""
    if image.mode in _SIXTEEN:
        image = image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    clear = image.has_transparency_data
    profile = image.info.get("icc_profile")
    if profile and image.mode in {"RGB", "RGBA", "CMYK", "L"}:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            image = (
                ImageCms.profileToProfile(
                    image, source, ImageCms.createProfile("sRGB"), outputMode="RGBA" if image.mode == "RGBA" else "RGB"
                )
                or image
            )
        except (ImageCms.PyCMSError, OSError):
            pass
    image = image.convert("RGBA" if clear else "RGB")
    image.info.clear()
    if clear and image.getchannel("A").getextrema() == (255, 255):
        return image.convert("RGB")
    return image


def _opaque(image: Image.Image) -> Image.Image:
    """Over black, as a screen without a picture is."""
    if image.mode != "RGBA":
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, "black"), image).convert("RGB")


def _small_jpeg(image: Image.Image, still: Still, caps: Caps) -> bytes:
    for quality in _QUALITIES:
        content = _encoded(image, "JPEG", quality=quality)
        if len(content) <= caps.still_bytes_max:
            return content
    while min(image.size) * _SHRINK >= caps.still_side_min:
        image = image.resize((round(image.width * _SHRINK), round(image.height * _SHRINK)), Image.Resampling.LANCZOS)
        content = _encoded(image, "JPEG", quality=_QUALITIES[-1])
        if len(content) <= caps.still_bytes_max:
            return content
    limit = f"{caps.provider} takes {caps.still_bytes_max} bytes and {caps.still_side_min} pixels a side at least"
    raise StillInvalid(f"{still.address}: cannot be made small enough; {limit}")


def _encoded(image: Image.Image, form: str, *, quality: int = 95) -> bytes:
    file = io.BytesIO()
    if form == "JPEG":
        image.save(file, form, quality=quality, subsampling=0, optimize=True)
    else:
        image.save(file, form)
    return file.getvalue()


def _stripped_jpeg(content: bytes) -> bytes:
    """Without comments and application segments, JFIF's and Adobe's colour marks excepted; the picture data is untouched."""
    kept, at = [content[:2]], 2
    while content[at] == 0xFF and (marker := content[at + 1]) != 0xDA:
        length = 2 + int.from_bytes(content[at + 2 : at + 4]) if marker != 0xFF else 1
        segment = content[at : at + length]
        if not (0xE0 <= marker <= 0xEF or marker in {0xFE, 0xFF}) or segment[4:9] in {b"JFIF\0", b"Adobe"}:
            kept.append(segment)
        at += length
    return b"".join([*kept, content[at : jpeg_end(content)]])


def _stripped_png(content: bytes) -> bytes:
    """The chunks that make the picture and its colours, unchanged."""
    kept, at = [content[:8]], 8
    while at + 12 <= len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4])
        if content[at + 4 : at + 8] in _PNG_KEPT:
            kept.append(content[at:end])
        at = end
    return b"".join(kept)
