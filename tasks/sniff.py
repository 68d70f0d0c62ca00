"""What bytes really are, whatever they are called (S17)."""

__all__ = ["VIDEO", "behind", "jpeg_end", "kind"]

VIDEO = "an MP4 or QuickTime video"

_HEAD = 1024
_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF8", "a GIF"),
    (b"BM", "a BMP image"),
    (b"II*\0", "a TIFF image"),
    (b"MM\0*", "a TIFF image"),
    (b"8BPS", "a Photoshop file"),
    (b"v/1\x01", "an OpenEXR image"),
    (b"\0\0\x01\0", "an icon"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL image"),
    (b"%PDF-", "a PDF"),
    (b"%!PS", "PostScript"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (b"OggS", "an Ogg file"),
    (b"ID3", "an MP3"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself"),
)
_MARKUP = ((b"<svg", "SVG"), (b"<!doctype html", "HTML"), (b"<html", "HTML"), (b"<script", "HTML"), (b"<?php", "PHP"))
_FOREIGN = (*_MARKUP, (b"%pdf-", "a PDF"), (b"pk\x03\x04", "a ZIP archive"))
_BOXES = {b"ftyp", b"styp", b"moov", b"mdat", b"free", b"skip", b"wide"}
_BRANDS = {b"avif": "an AVIF image", b"heic": "a HEIC image", b"heix": "a HEIC image", b"mif1": "a HEIC image"}


def kind(content: bytes) -> str:
    """`JPEG`, `PNG` or `WEBP`; for everything else a name for people, such as `SVG` or `a ZIP archive`."""
    if not content:
        return "an empty file"
    if content[:4] == b"RIFF":
        return {b"WEBP": "WEBP", b"WAVE": "a WAV sound", b"AVI ": "an AVI video"}.get(content[8:12], "a RIFF file")
    if content[4:8] in _BOXES:
        return _BRANDS.get(content[8:12], VIDEO)
    for magic, name in _MAGIC:
        if content.startswith(magic):
            return name
    return _text(content[:_HEAD])


def behind(content: bytes, form: str) -> str | None:
    """The other file that a JPEG, PNG or WEBP carries behind its end or within its first kilobyte; None for none.

    Pictures of phones end in further pictures or clips: those pass.
    """
    tail = content[_END[form](content) :].lstrip(b"\0\r\n\t ")[:_HEAD].lower()
    for magic, name in _FOREIGN:
        if magic in tail:
            return name
    return "a PDF" if b"%PDF-" in content[:_HEAD] else None


def _text(head: bytes) -> str:
    lower = head.lstrip(b"\xef\xbb\xbf\r\n\t ").lower()
    for mark, name in _MARKUP:
        if mark in lower:
            return name
    if lower.startswith((b"{", b"[")):
        return "JSON"
    if lower.startswith(b"<"):
        return "XML"
    try:
        head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:
            return "a file of an unknown kind"
    return "text" if b"\0" not in head else "a file of an unknown kind"


def jpeg_end(content: bytes) -> int:
    """Behind the first End Of Image (ITU T.81, B.1): segments carry lengths, entropy-coded data stuffs each 0xFF."""
    at = 2
    while (at := content.find(b"\xff", at)) >= 0 and at + 4 <= len(content):
        marker = content[at + 1]
        if marker == 0xD9:
            return at + 2
        if marker in {0x00, 0x01, 0xFF} or 0xD0 <= marker <= 0xD8:
            at += 1 if marker == 0xFF else 2
        else:
            at += 2 + int.from_bytes(content[at + 2 : at + 4])
    return len(content)


def _png_end(content: bytes) -> int:
    at = 8
    while at + 12 <= len(content):
        name = content[at + 4 : at + 8]
        at += 12 + int.from_bytes(content[at : at + 4])
        if name == b"IEND":
            return at
    return len(content)


def _webp_end(content: bytes) -> int:
    return 8 + int.from_bytes(content[4:8], "little")


_END = {"JPEG": jpeg_end, "PNG": _png_end, "WEBP": _webp_end}
