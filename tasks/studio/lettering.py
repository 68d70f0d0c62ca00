"""Text for slates: the font that Pillow carries, and only the characters that it can write."""

import re
import unicodedata
from bisect import bisect_right
from functools import cache

from PIL import ImageFont

__all__ = ["Font", "fitted", "font", "wrapped", "writable"]

Font = ImageFont.FreeTypeFont

# What Unicode does not take apart into a letter and an accent.
_SPELLED = str.maketrans(
    {"ß": "ss", "ø": "o", "Ø": "O", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D"}
    | {"þ": "th", "ð": "d", "•": "·", "→": "->", "←": "<-", "€": "EUR", "£": "GBP"}
    | {"\N{MULTIPLICATION SIGN}": "x", "\N{LATIN SMALL LETTER DOTLESS I}": "i", "\N{MINUS SIGN}": "-"}
)
# What a category of characters is written as, where not as itself; accents and joiners are left out.
_CLASSES = dict.fromkeys(("Mn", "Me", "Cf"), "") | dict.fromkeys(("Cc", "Zs", "Zl", "Zp"), " ") | {"Pd": "-"}
# Longer prompts never fit on a slate; the cap keeps a hostile one from costing time.
_LONGEST = 600


def font(pixels: float) -> Font:
    """Pillow's bundled font at that size, the same on every machine."""
    loaded = ImageFont.load_default(size=max(6.0, pixels))
    if not isinstance(loaded, ImageFont.FreeTypeFont):
        raise TypeError("this Pillow was built without FreeType")
    return loaded


def writable(text: str) -> str:
    """The text as the font can write it: accents dropped, each run of unknown characters as one question mark."""
    plain = unicodedata.normalize("NFKD", text[:_LONGEST].translate(_SPELLED))
    spaced = "".join(_CLASSES.get(unicodedata.category(char), char) for char in plain)
    known = "".join(char if char in _known() else "\0" for char in spaced)
    return " ".join(re.sub("\0+", "?", known).split())


def fitted(text: str, width: float, font: Font) -> str:
    """The text, shortened with an ellipsis until it is at most `width` pixels wide."""
    if font.getlength(text) <= width:
        return text
    room = width - font.getlength("…")
    kept = bisect_right(range(len(text)), room, key=lambda count: font.getlength(text[:count])) - 1
    return text[:kept].rstrip() + "…" if kept > 0 else ""


def wrapped(text: str, width: float, font: Font, lines: int) -> list[str]:
    """The text broken at spaces into at most that many lines, the last one shortened where it does not fit."""
    words, rows = text.split(), list[str]()
    while words and len(rows) < lines - 1:
        taken = 1
        while taken < len(words) and font.getlength(" ".join(words[: taken + 1])) <= width:
            taken += 1
        rows.append(fitted(" ".join(words[:taken]), width, font))
        words = words[taken:]
    return [*rows, fitted(" ".join(words), width, font)] if words else rows


@cache
def _known() -> frozenset[str]:
    """Characters of the basic Latin and punctuation blocks that the font has a glyph of its own for."""
    face = font(16)
    blank = bytes(face.getmask("\uffff"))
    candidates = map(chr, (*range(0x20, 0x7F), *range(0xA1, 0x100), *range(0x2010, 0x2050)))
    return frozenset(char for char in candidates if char == " " or bytes(face.getmask(char)) != blank)
