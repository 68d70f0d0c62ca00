"""The contact sheet: every shot of the run at a glance, on one JPEG."""

import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageOps

from tasks.assemble.posters import jpeg, poster
from tasks.assemble.words import STATES
from tasks.rows import Row, RunReport, iso, without_secrets
from tasks.studio.lettering import fitted, font, wrapped, writable

__all__ = ["make_contact_sheet"]

_CELL, _GAP, _MARGIN, _HEAD, _CAPTION = 360, 24, 40, 96, 84
_GROUND, _FRAME, _PALE, _GREY, _AMBER = "#16181b", "#24272c", "#f0f0ee", "#a2a6ad", "#e3a52f"


def make_contact_sheet(report: RunReport, out: Path) -> None:
    """Write a JPEG with a picture from the middle of each take over its name, take, seconds and state.

    A shot without a clip is drawn as a slate that says why. The sheet has at most six columns.
    """
    pictures = [poster(row) for row in report.rows]
    columns = max(1, min(6, math.ceil(math.sqrt(len(report.rows) * 1.2))))
    box = (_CELL, _box_height([picture for picture in pictures if picture]))
    pitch = (_CELL + _GAP, box[1] + _CAPTION)
    width = max(2 * _MARGIN + columns * pitch[0] - _GAP, 2 * _MARGIN + 2 * _CELL)
    sheet = Image.new("RGB", (width, _HEAD + _MARGIN + math.ceil(len(report.rows) / columns) * pitch[1]), _GROUND)
    _head(sheet, report)
    for number, (row, picture) in enumerate(zip(report.rows, pictures, strict=True)):
        at = (_MARGIN + number % columns * pitch[0], _HEAD + number // columns * pitch[1])
        sheet.paste(_framed(picture, box) if picture else _slate(row, box), at)
        _caption(sheet, row, (at[0], at[1] + box[1] + 10))
    draft = out.with_name(f".{out.name}")
    draft.write_bytes(jpeg(sheet, max(sheet.size)))
    draft.replace(out)


def _box_height(pictures: Sequence[Image.Image]) -> int:
    """Upright boards get upright boxes; mixed ones the shape in the middle."""
    shapes = sorted(picture.height / picture.width for picture in pictures)
    shape = shapes[len(shapes) // 2] if shapes else 9 / 16
    return round(_CELL * min(max(shape, 9 / 16), 16 / 9))


def _head(sheet: Image.Image, report: RunReport) -> None:
    draw, room = ImageDraw.Draw(sheet), sheet.width - 2 * _MARGIN
    stored = sum(row.state == "stored" for row in report.rows)
    moment = (iso(report.finished_at) or "")[:16].replace("T", " ")
    facts = [f"{stored} of {len(report.rows)} shots stored", report.board, f"{moment} UTC", f"run {report.run_id}"]
    line = " \u00b7 ".join(["REHEARSAL", *facts] if report.rehearsal else facts)
    big, small = font(34), font(20)
    draw.text((_MARGIN, 36), fitted(writable(report.title), room, big), _PALE, big, anchor="lm")
    draw.text((_MARGIN, 70), fitted(writable(line), room, small), _GREY, small, anchor="lm")


def _framed(picture: Image.Image, box: tuple[int, int]) -> Image.Image:
    frame, small = Image.new("RGB", box, _FRAME), ImageOps.contain(picture.convert("RGB"), box)
    frame.paste(small, ((box[0] - small.width) // 2, (box[1] - small.height) // 2))
    return frame


def _slate(row: Row, box: tuple[int, int]) -> Image.Image:
    """Clapper stripes, the state, and the reason as far as it fits."""
    frame, word = Image.new("RGB", box, _FRAME), STATES[row.state]
    draw = ImageDraw.Draw(frame)
    for left in range(-40, box[0], 48):
        draw.polygon([(left, 26), (left + 24, 26), (left + 50, 0), (left + 26, 0)], "#3a3e45")
    big, small = font(34), font(19)
    draw.text((box[0] / 2, 66), word.label.upper(), word.colour, big, anchor="mm")
    for number, line in enumerate(wrapped(writable(without_secrets(row.note)), box[0] - 40, small, 3)):
        draw.text((box[0] / 2, 108 + 27 * number), line, _GREY, small, anchor="mm")
    return frame


def _caption(sheet: Image.Image, row: Row, at: tuple[int, int]) -> None:
    draw, word = ImageDraw.Draw(sheet), STATES[row.state]
    big, small, (left, top) = font(24), font(20), at
    draw.text((left, top + 12), fitted(writable(row.shot), _CELL - 130, big), _PALE, big, anchor="lm")
    draw.text((left + _CELL, top + 12), f"TK{row.take:02d}   {row.seconds} s", _PALE, small, anchor="rm")
    draw.ellipse((left + 1, top + 33, left + 13, top + 45), word.colour)
    state = f"{word.label}, reused" if row.action == "reuse" and row.state == "stored" else word.label
    draw.text((left + 22, top + 39), state, word.colour, small, anchor="lm")
    if row.suspect:
        draw.text((left + _CELL, top + 39), "SUSPECT", _AMBER, small, anchor="rm")
