"""Makes the pictures beside it, each with one trait or one flaw: `python tests/assets/stills/make.py`."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageDraw

HERE = Path(__file__).parent
PRIVATE = "GPS of the house"


def scene(width: int = 480, height: int = 320, mode: str = "RGB") -> Image.Image:
    """A gradient with a disc, so that turns and colours can be told."""
    image = Image.linear_gradient("L").resize((width, height))
    image = Image.merge("RGB", (image, image.transpose(Image.Transpose.ROTATE_180), Image.new("L", image.size, 90)))
    ImageDraw.Draw(image).ellipse((width // 8, height // 8, width // 3, height // 2), fill=(250, 220, 40))
    return image.convert(mode)


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    """The picture as a file of that format."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    """One PNG chunk (ISO 15948, 5.3)."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header promises that many grey pixels."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def exif(orientation: int) -> bytes:
    """EXIF with an orientation and a private remark."""
    block = Image.Exif()
    block[0x0112] = orientation
    block[0x010E] = PRIVATE
    return block.tobytes()


def main() -> None:
    """Write every file."""
    jpeg, png = encoded(scene(), "JPEG", quality=90), encoded(scene(), "PNG")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    profile = profile[:24] + bytes(12) + profile[36:]  # without its date
    frames = [scene(), scene().transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    files = {
        "plain.jpg": jpeg,
        "plain.png": png,
        "plain.webp": encoded(scene(), "WEBP", quality=90),
        "alpha.webp": encoded(scene(mode="RGBA"), "WEBP", lossless=True),
        "turned.jpg": encoded(scene(), "JPEG", quality=90, exif=exif(6)),
        "remarks.jpg": encoded(scene(), "JPEG", quality=90, exif=exif(1), comment=PRIVATE.encode()),
        "remarks.png": encoded(scene(), "PNG", exif=exif(1)),
        "inks.jpg": encoded(scene(mode="CMYK"), "JPEG", quality=90),
        "odd-profile.jpg": encoded(scene(), "JPEG", quality=90, icc_profile=profile),
        "palette.png": encoded(scene(mode="P"), "PNG"),
        "sixteen-bits.png": encoded(
            Image.fromarray(np.linspace(0, 65535, 480 * 320, dtype=np.uint16).reshape(320, 480)), "PNG"
        ),
        "phone-pictures.jpg": encoded(scene(), "MPO", save_all=True, append_images=[scene(240, 160)]),
        "truncated.jpg": jpeg[: len(jpeg) * 2 // 3],
        "truncated.png": png[: len(png) // 2],
        "flipped-bit.png": png[:2000] + bytes([png[2000] ^ 0x40]) + png[2001:],
        "empty.jpg": b"",
        "really-svg.jpg": b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        "really-html.png": b"<!DOCTYPE html><title>Sign in</title>",
        "really-json.jpg": b'{"error": "expired"}',
        "really-text.jpg": "Hügel bei Nacht".encode(),
        "really-gif.png": encoded(scene(60, 40), "GIF"),
        "really-lfs.jpg": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
        "zip-behind.jpg": jpeg + b"PK\x03\x04" + b"\0" * 40,
        "html-behind.png": png + b"<html><script>alert(1)</script>",
        "pdf-within.jpg": jpeg[:2] + b"\xff\xfe\x00\x0e%PDF-1.7 obj" + jpeg[2:],
        "animated.webp": encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:]),
        "animated.png": encoded(frames[0], "PNG", save_all=True, append_images=frames[1:]),
        "sixty-megapixels.png": bomb(10_000, 6_000),
        "bomb.png": bomb(60_000, 60_000),
    }
    for name, content in files.items():
        (HERE / name).write_bytes(content)


if __name__ == "__main__":
    main()
