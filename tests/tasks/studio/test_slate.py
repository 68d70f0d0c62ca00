"""The slate: legible, fitted, and never at a loss for a glyph."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tasks.studio.frames import Planes
from tasks.studio.lettering import fitted, font, wrapped, writable
from tasks.studio.slate import Strip, card, timecode

ODD = [
    "",
    " \n\t",
    "宇航员推进",
    "🚀👩‍🚀🇨🇭",
    "\ud800",
    "\x00\x1b[31m",
    "a" * 5000,
    "مرحبا",
    "\u202eesrever",
    "Z̸̡͝a̷l̶g̵o̴" * 40,
]


@pytest.mark.parametrize(
    ("frame", "shown"),
    [(0, "00:00:00:00"), (23, "00:00:00:23"), (24, "00:00:01:00"), (359, "00:00:14:23"), (24 * 3661, "01:01:01:00")],
)
def test_timecode_counts_at_24_frames(frame: int, shown: str) -> None:
    """HH:MM:SS:FF, non-drop."""
    assert timecode(frame) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("façade — “soft” light…", "facade - “soft” light..."),
        ("Łódź, Smørrebrød, Straße", "Lodz, Smorrebrod, Strasse"),
        ("zoom 2\N{MULTIPLICATION SIGN}\r\n\tnow", "zoom 2x now"),
        ("推 push 进去 in", "? push ? in"),
        ("a\ud800b", "a?b"),
    ],
)
def test_the_bundled_font_writes_what_it_can(text: str, shown: str) -> None:
    """Accents are dropped, foreign runs become one question mark, white space is evened out."""
    assert writable(text) == shown


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=300), st.integers(20, 400))
def test_any_text_fits_its_lines(text: str, width: int) -> None:
    """No row is wider than asked, and there are never more rows than asked."""
    face = font(12)
    rows = wrapped(writable(text), width, face, 2)
    assert len(rows) <= 2
    assert all(face.getlength(row) <= width for row in rows)


def test_a_long_prompt_ends_in_an_ellipsis() -> None:
    """What does not fit is cut with a sign."""
    assert fitted("Slow push in as the engines light", 100, font(12)).endswith("…")
    assert wrapped("word " * 200, 300, font(12), 2)[-1].endswith("…")


@pytest.mark.parametrize("size", [(1280, 720), (512, 1280), (160, 90), (64, 36)])
@pytest.mark.parametrize("prompt", ODD)
def test_no_prompt_breaks_the_slate(prompt: str, size: tuple[int, int]) -> None:
    """Scripts, emoji, control characters and lone surrogates are drawn or replaced at any size."""
    picture = Planes.of(Image.new("RGB", size, (90, 90, 90)))
    Strip(size, board=prompt or "B", shot="SQ010_SH020", take=1, prompt=prompt).stamp(picture, 0)
    assert picture.y.size == size


def test_the_strip_covers_only_the_foot_and_lets_the_picture_through() -> None:
    """The upper four fifths are untouched; below, white letters stand on a veil, not on a block."""
    plain = Planes.of(Image.new("RGB", (1280, 720), (200, 200, 200)))
    stamped = Planes(*(plane.copy() for plane in plain))
    Strip((1280, 720), board="LIFTOFF", shot="SH010", take=1, prompt="Slow push in").stamp(stamped, 0)
    before, after = np.asarray(plain.y), np.asarray(stamped.y)
    assert np.array_equal(before[:576], after[:576])
    assert after[-76:].max() > 225
    assert 60 < np.median(after[-76:]) < 120


def test_only_the_timecode_changes() -> None:
    """Between two frames nothing but the clock on the right is redrawn."""
    strip = Strip((1280, 720), board="LIFTOFF", shot="SH010", take=1, prompt="Slow push in")
    first, second = (Planes.of(Image.new("RGB", (1280, 720), (90, 90, 90))) for _ in range(2))
    strip.stamp(first, 0)
    strip.stamp(second, 24 * 12 + 11)
    changed = np.argwhere(np.asarray(first.y) != np.asarray(second.y))
    assert len(changed) > 50
    assert changed[:, 1].min() > 1000


def test_shot_and_take_outlive_a_long_board_name() -> None:
    """In a narrow frame the board's name is shortened, not the shot's."""
    narrow = (512, 1280)

    def drawn(board: str, take: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        picture = Planes.of(Image.new("RGB", narrow, (90, 90, 90)))
        Strip(narrow, board=board, shot="SQ010_SH020", take=take, prompt="").stamp(picture, 0)
        return np.asarray(picture.y)

    long = "A" * 32
    assert not np.array_equal(drawn(long, 1), drawn(long, 2))
    assert np.array_equal(drawn(long, 1), drawn(long + "B", 1))


def test_a_card_shows_its_words_within_the_frame() -> None:
    """Title and lines are drawn, even far too many of them."""
    lines = ["refused: the prompt was refused by the provider " * 4] * 30
    picture = np.asarray(card((320, 180), "SH020 missing", lines).convert("L"))
    assert picture.max() > 200
    assert max(picture[:, :2].max(), picture[:, -2:].max()) < 60
