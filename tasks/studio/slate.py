"""The slate: a strip over the foot of each frame with board, shot, take, timecode and prompt, and a full-frame card."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from tasks.studio.frames import Planes
from tasks.studio.lettering import Font, fitted, font, wrapped, writable

__all__ = ["Strip", "card", "timecode"]

_BLACK, _GREY, _WHITE, _NEUTRAL = 16, 205, 235, 128
_VEIL = 0.68
_FPS = 24


def timecode(frame: int) -> str:
    """HH:MM:SS:FF at 24 frames a second."""
    seconds, frames = divmod(frame, _FPS)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}:{frames:02}"


@dataclass(frozen=True, slots=True)
class _Layout:
    """Sizes in pixels, for one frame size."""

    width: int
    margin: int
    head: Font
    body: Font
    head_line: int
    body_line: int

    @classmethod
    def of(cls, size: tuple[int, int]) -> "_Layout":
        unit = max(size) / 1280
        return cls(
            width=size[0],
            margin=max(2, round(18 * unit)),
            head=font(25 * unit),
            body=font(21 * unit),
            head_line=max(8, round(33 * unit)),
            body_line=max(7, round(27 * unit)),
        )

    @property
    def inner(self) -> int:
        return self.width - 2 * self.margin


class Strip:
    """The strip of one beat; everything but the timecode is drawn once."""

    def __init__(self, size: tuple[int, int], *, board: str, shot: str, take: int, prompt: str) -> None:
        layout = _Layout.of(size)
        rows = wrapped(writable(prompt), layout.inner, layout.body, 3 if size[0] < size[1] else 2)
        height = 2 * round((layout.margin * 1.1 + layout.head_line + layout.body_line * len(rows)) / 2)
        self._top = max(0, size[1] - height)
        letters = _Letters((size[0], size[1] - self._top))
        clock_left = size[0] - layout.margin - round(layout.head.getlength(timecode(0)))
        baseline = round(layout.margin * 0.6) + layout.head_line // 2
        letters.spread(
            (layout.margin, baseline), _title(board, shot, take, clock_left - 2 * layout.margin, layout.head)
        )
        for number, row in enumerate(rows):
            y = round(layout.margin * 0.6) + layout.head_line + layout.body_line // 2 + number * layout.body_line
            letters.write((layout.margin, y), row, layout.body, _GREY)
        self._luma, self._alpha = letters.veiled()
        self._soft = self._alpha.resize((size[0] // 2, self._alpha.height // 2), Image.Resampling.BOX)
        self._clock = _Clock(layout.head, (clock_left, self._top + baseline))

    def stamp(self, picture: Planes, frame: int) -> None:
        """Lay the strip over the picture, with the timecode of that frame."""
        picture.y.paste(self._luma, (0, self._top), self._alpha)
        for chroma in (picture.u, picture.v):
            chroma.paste(_NEUTRAL, (0, self._top // 2), self._soft)
        self._clock.stamp(picture.y, frame)


def card(size: tuple[int, int], title: str, lines: Sequence[str]) -> Image.Image:
    """A dark full-frame card with a centred title and lines below it."""
    layout, width, height = _Layout.of(size), *size
    big, image = font(max(size) / 24), Image.new("RGB", size, (24, 26, 30))
    rows = [(row, big, (240, 240, 240)) for row in wrapped(writable(title), layout.inner, big, 2)]
    body = [row for line in lines[:8] for row in wrapped(writable(line), layout.inner, layout.head, 2)]
    rows += [(row, layout.head, (165, 170, 178)) for row in body]
    steps = [round(face.size * 1.5) for _, face, _ in rows]
    draw, y = ImageDraw.Draw(image), (height - sum(steps)) / 2
    for (row, face, colour), step in zip(rows, steps, strict=True):
        draw.text((width / 2, y + step / 2), row, colour, face, anchor="mm")
        y += step
    return image


def _title(board: str, shot: str, take: int, width: float, face: Font) -> list[tuple[str, Font, int]]:
    """Board, shot and take; where room is short the board gives way first."""
    name = f"{writable(shot)}   TK{take:02}"
    gap = face.getlength("   ")
    place = fitted(writable(board), width - face.getlength(name) - gap, face)
    shown = [(place, face, _GREY)] if place else []
    return [*shown, (fitted(name, width, face), face, _WHITE)]


class _Letters:
    """White and grey text, collected as coverage and brightness."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._cover, self._bright = Image.new("L", size, 0), Image.new("L", size, _BLACK)

    def write(self, at: tuple[float, float], text: str, face: Font, brightness: int) -> None:
        """Text that begins at x and is centred on y."""
        ImageDraw.Draw(self._cover).text(at, text, 255, face, anchor="lm")
        left, top, right, bottom = face.getbbox(text, anchor="lm")
        box = (int(at[0] + left) - 2, int(at[1] + top) - 2, int(at[0] + right) + 2, int(at[1] + bottom) + 2)
        self._bright.paste(brightness, box)

    def spread(self, at: tuple[float, float], parts: Sequence[tuple[str, Font, int]]) -> None:
        """Several pieces in one row."""
        x, y = at
        for text, face, brightness in parts:
            self.write((x, y), text, face, brightness)
            x += face.getlength(text + "   ")

    def veiled(self) -> tuple[Image.Image, Image.Image]:
        """Luma and alpha of the text on a half-transparent black veil."""
        cover = np.asarray(self._cover, np.float32) / np.float32(255)
        bright = np.asarray(self._bright, np.float32)
        alpha = 1 - np.float32(1 - _VEIL) * (1 - cover)
        luma = (np.float32(_VEIL) * (1 - cover) * _BLACK + cover * bright) / alpha
        return _grey(luma), _grey(alpha * 255)


class _Clock:
    """The running timecode: eleven glyphs, drawn once and pasted on each frame."""

    def __init__(self, face: Font, at: tuple[int, int]) -> None:
        self._left, middle = at
        ascent, descent = face.getmetrics()
        self._top = middle - (ascent + descent) // 2
        self._glyphs: dict[str, tuple[Image.Image, int]] = {}
        for char in "0123456789:":
            step = round(face.getlength(char))
            glyph = Image.new("L", (step + 2, ascent + descent), 0)
            ImageDraw.Draw(glyph).text((0, (ascent + descent) / 2), char, 255, face, anchor="lm")
            self._glyphs[char] = glyph, step

    def stamp(self, luma: Image.Image, frame: int) -> None:
        x = self._left
        for char in timecode(frame):
            glyph, step = self._glyphs[char]
            luma.paste(_WHITE, (x, self._top), glyph)
            x += step


def _grey(values: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Image.Image:
    return Image.fromarray(np.rint(values).astype(np.uint8))
