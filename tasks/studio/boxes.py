"""The outermost boxes of an MP4 (ISO 14496-12, 4.2): enough to see a cut file before any demuxer touches it."""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tasks.studio.errors import ClipUnreadable

__all__ = ["Layout", "read_layout"]

_MOST_BOXES = 100_000
_LARGEST_INDEX = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Layout:
    """Whether the index stands before the pictures, and whether the file comes in fragments."""

    faststart: bool
    fragmented: bool


def read_layout(path: Path, file: BinaryIO, length: int) -> Layout:
    """Walk the outer boxes of a file of `length` bytes.

    Raises ClipUnreadable unless they tile it exactly, begin with `ftyp`, and hold an index (`moov`) and media (`mdat`).
    """
    order: list[bytes] = []
    position = 0
    while position < length:
        kind, size = _header(path, file, position, length)
        if not order and kind != b"ftyp":
            raise ClipUnreadable(path, "not an MP4 file: it does not begin with an ftyp box")
        if not kind.replace(b"\xa9", b"c").isalnum():
            raise ClipUnreadable(path, f"{length - position} bytes follow the last whole box")
        if kind == b"moov" and size > _LARGEST_INDEX:
            raise ClipUnreadable(path, f"its index claims {size} bytes")
        if position + size > length:
            raise ClipUnreadable(path, f"cut short: {position + size - length} bytes are missing from {_name(kind)}")
        order.append(kind)
        position += size
        if len(order) > _MOST_BOXES:
            raise ClipUnreadable(path, f"more than {_MOST_BOXES} boxes")
    if not order:
        raise ClipUnreadable(path, "empty")
    for needed in (b"moov", b"mdat"):
        if needed not in order:
            raise ClipUnreadable(path, f"cut short: there is no {_name(needed)} box")
    return Layout(faststart=order.index(b"moov") < order.index(b"mdat"), fragmented=b"moof" in order)


def _header(path: Path, file: BinaryIO, position: int, length: int) -> tuple[bytes, int]:
    """Type and whole size of the box there; a size of 0 means "to the end of the file"."""
    file.seek(position)
    head = file.read(16)
    if len(head) < 8:
        raise ClipUnreadable(path, f"{len(head)} bytes follow the last whole box")
    size, kind = struct.unpack(">I4s", head[:8])
    least = 8
    if size == 1 and len(head) == 16:
        (size,), least = struct.unpack(">Q", head[8:]), 16
    elif size == 0:
        size = length - position
    if size < least:
        raise ClipUnreadable(path, f"no box can be {size} bytes long")
    return kind, size


def _name(kind: bytes) -> str:
    return kind.decode("ascii", "backslashreplace")
