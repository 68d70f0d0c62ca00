"""The second memory of the ledger: an append-only file that gets each reservation and each answer to a create, fsynced.

A line that the database lost (a failed write, an older backup) is found again at the next start. Where the disk is full,
lines go into a megabyte that was set aside when the journal was made (F63). Each line has a newline before and after it,
so that one which was cut by a crash spoils no other.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tasks.ledger.files import open_private

__all__ = ["RESERVE", "Journal"]

RESERVE = 1 << 20


class Journal:
    """One journal with its reserve; `durable=False` leaves out fsync and the reserve."""

    def __init__(self, path: Path, reserve: Path, *, durable: bool) -> None:
        self._reserve = reserve
        self._durable = durable
        self._descriptor = open_private(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        if durable:
            _set_aside(reserve)

    @property
    def size(self) -> int:
        """Bytes in the main file."""
        return os.fstat(self._descriptor).st_size

    def append(self, line: Mapping[str, Any]) -> None:
        """Keep `line` before returning.

        Raises:
            OSError: neither the journal nor its reserve could take it.
        """
        text = b"\n%s\n" % json.dumps(line, sort_keys=True, separators=(",", ":")).encode()
        try:
            self._write(text)
        except OSError:
            if not self._durable:
                raise
            self._write_reserve(text)

    def _write(self, text: bytes) -> None:
        if os.write(self._descriptor, text) != len(text):
            raise OSError("the disk is full")
        if self._durable:
            os.fsync(self._descriptor)

    def _write_reserve(self, text: bytes) -> None:
        descriptor = open_private(self._reserve, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            used = len(_used(descriptor))
            if used + len(text) > RESERVE:
                raise OSError("the journal's reserve is full")
            written = os.pwrite(descriptor, text, used)
            os.fsync(descriptor)
            if written != len(text):
                raise OSError("the journal's reserve cannot be written")
        finally:
            os.close(descriptor)

    def read(self, start: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """Every whole line from byte `start` on, with the byte where it begins; lines of the reserve come last, at `size`."""
        text = os.pread(self._descriptor, max(0, self.size - start), start)
        yield from _lines(text, start)
        yield from ((self.size, line) for _, line in _lines(self._reserved(), 0))

    def _reserved(self) -> bytes:
        if not self._reserve.exists():
            return b""
        descriptor = open_private(self._reserve, os.O_RDONLY)
        try:
            return _used(descriptor)
        finally:
            os.close(descriptor)

    def drain(self) -> None:
        """Move the reserve's lines into the main file, if that has room again."""
        if not self._reserved():
            return
        descriptor = open_private(self._reserve, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            used = _used(descriptor)
            self._write(used)
            os.pwrite(descriptor, bytes(len(used)), 0)
            os.fsync(descriptor)
        except OSError:
            return  # still full: the lines stay where they are and are read from there
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Give the descriptor back; everything appended is already kept."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _set_aside(path: Path) -> None:
    """Fill the reserve with zeros once: blocks that are written later without asking the disk for more."""
    descriptor = open_private(path, os.O_RDWR | os.O_CREAT)
    try:
        missing = RESERVE - os.fstat(descriptor).st_size
        if missing > 0:
            os.pwrite(descriptor, bytes(missing), RESERVE - missing)
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _used(descriptor: int) -> bytes:
    return os.pread(descriptor, RESERVE, 0).rstrip(b"\0")


def _lines(text: bytes, start: int) -> Iterator[tuple[int, dict[str, Any]]]:
    place = start
    for line in text.split(b"\n"):
        if (parsed := _parsed(line)) is not None:
            yield place, parsed
        place += len(line) + 1


def _parsed(line: bytes) -> dict[str, Any] | None:
    """The line's object; None for one that a crash cut before it was acknowledged, so that nothing rests on it."""
    try:
        parsed = json.loads(line) if line.startswith(b"{") else None
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None
