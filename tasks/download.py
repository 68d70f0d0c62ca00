"""Download: a paid result's bytes to a local file, whole, counted and hashed, or a named reason why not (K18)."""

import asyncio
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from tasks.errors import Terminal, Transient
from tasks.http import Stream, Wire
from tasks.netguard import AddressRefused, AddressRules
from tasks.seams import Clock
from tasks.sniff import VIDEO, kind

__all__ = ["RESERVE", "Downloaded", "Expired", "Undeliverable", "download"]

RESERVE = 256 << 20  # bytes that stay free on the disk
SECONDS = 1800.0  # for one call, however well it goes on
SLOWEST, SLOW_FOR = 32 << 10, 60.0  # bytes a second that a connection must bring on average after so many seconds
STALL = 30.0  # seconds without a byte
TRIES = 6
_FIRST_PAUSE = 1.0
_SNIFF = 16
_LOOK = 16 << 20  # bytes between two looks at the free space
_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)")


class Expired(Terminal):
    """The link answers 401, 403, 404 or 410: ask the provider for a fresh one."""


class Undeliverable(Terminal):
    """What the link leads to is no clip, too large, or at an address that is not fetched from."""


@dataclass(frozen=True, slots=True)
class Downloaded:
    """SHA-256 (hexadecimal) and size of the file, and the type that its host declared ("" where none)."""

    sha256: str
    size: int
    content_type: str


async def download(
    url: str,
    to: Path,
    *,
    wire: Wire,
    rules: AddressRules,
    max_bytes: int,
    clock: Clock,
    reserve: int = RESERVE,
    stall: float = STALL,
) -> Downloaded:
    """Fetch a clip to `to`, which appears whole and synced or not at all; a cut is resumed where it happened.

    Whole means: as long as the host said, and MP4 boxes to the last byte with `moov` and `mdat` among them. What the
    clip shows is not looked at. `stall` is in seconds, `reserve` and `max_bytes` in bytes.

    Raises:
        Expired: the link is no longer good; query again.
        Undeliverable: no clip, or not to be fetched; another try would be no use.
        Transient: the host or the disk failed 6 times over; try again later.
    """
    part = to.with_name(f"{to.name}.part-{secrets.token_hex(4)}")
    try:
        with part.open("xb+") as file:
            arriving = _Arriving(file, max_bytes, reserve, to.parent, clock.monotonic() + SECONDS)
            await _until_whole(url, arriving, wire, rules, clock, stall)
            await asyncio.to_thread(_sync, file)
        part.replace(to)
    except OSError as error:
        raise Transient(f"the download cannot be written: {os.strerror(error.errno or 0)}") from None
    finally:
        part.unlink(missing_ok=True)
    return Downloaded(arriving.sha.hexdigest(), arriving.size, arriving.content_type)


@dataclass(slots=True)
class _Arriving:
    """The file as far as it has come."""

    file: BinaryIO
    max_bytes: int
    reserve: int
    folder: Path
    give_up: float
    size: int = 0
    unlooked: int = _LOOK
    version: str = ""
    content_type: str = ""
    delimited: bool = False  # the host marked the end of the body, other than by closing
    confirmed: bool = False  # the host said that nothing lies behind what we have
    before: str = ""  # hash of an earlier, odd arrival
    head: bytes = b""
    sha: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def restart(self) -> None:
        """From byte 0 again."""
        self.file.seek(0)
        self.file.truncate()
        self.size, self.head, self.version, self.sha = 0, b"", "", hashlib.sha256()

    def take(self, chunk: bytes) -> None:
        """Count, look, and keep.

        Raises:
            Undeliverable: too many bytes, or the first ones are no clip's.
            Transient: the disk would run full.
        """
        if self.size + len(chunk) > self.max_bytes:
            raise Undeliverable(f"the result is larger than {self.max_bytes} bytes")
        if self.unlooked >= _LOOK:
            if shutil.disk_usage(self.folder).free < self.reserve:
                raise Transient("the disk is nearly full", "Free some space; the result stays paid and named.")
            self.unlooked = 0
        if len(self.head) < _SNIFF:
            self.head += chunk[: _SNIFF - len(self.head)]
            self.sniff()
        self.file.write(chunk)
        self.sha.update(chunk)
        self.size += len(chunk)
        self.unlooked += len(chunk)

    def described(self, headers: Mapping[str, str]) -> None:
        """Remember what a later request must know: the version of the file, and how its end is marked."""
        self.content_type = headers.get("content-type", self.content_type)
        etag = headers.get("etag", "")
        self.version = etag if etag.startswith('"') else headers.get("last-modified", "")
        self.delimited = "content-length" in headers or "transfer-encoding" in headers

    def doubt(self) -> Transient | None:
        """Why the file may be cut although no error came; None for a whole one.

        A file that its host gives twice over, or says is all there is, is taken even so: the probe will judge it.
        """
        self.sniff(finished=True)
        if self.confirmed or _ends_with_a_box(self.file, self.size):
            return None
        earlier, self.before = self.before, self.sha.hexdigest()
        if self.delimited and earlier == self.before:
            return None
        return Transient("the result ends in the middle of the video")

    def sniff(self, *, finished: bool = False) -> None:
        """Refuse what is no MP4 as soon as its first bytes say so."""
        if (finished or len(self.head) >= _SNIFF) and (found := kind(self.head)) != VIDEO:
            raise Undeliverable(f"the result is no video but {found}")


async def _until_whole(
    url: str, arriving: _Arriving, wire: Wire, rules: AddressRules, clock: Clock, stall: float
) -> None:
    for tried in range(TRIES):
        try:
            await _fetch(url, arriving, wire, rules, clock, stall)
            failure = arriving.doubt()
        except AddressRefused as error:
            raise Undeliverable(f"the result's address: {error.message}", error.hint) from None
        except Transient as error:
            failure = error
        if failure is None:
            return
        if tried == TRIES - 1 or clock.monotonic() >= arriving.give_up:
            raise failure
        await clock.sleep(_FIRST_PAUSE * 2**tried)


async def _fetch(url: str, arriving: _Arriving, wire: Wire, rules: AddressRules, clock: Clock, stall: float) -> None:
    async with wire.stream(url, _asking(arriving), rules=rules, stall=stall) as stream:
        if not _accepted(stream, arriving):
            return
        began, before = clock.monotonic(), arriving.size
        async for chunk in stream.chunks():
            arriving.take(chunk)
            passed = clock.monotonic() - began
            if passed > SLOW_FOR and arriving.size - before < SLOWEST * passed:
                arriving.give_up = clock.monotonic()  # nobody waits behind a trickle: the next try goes on
                raise Transient(f"the download trickles: {arriving.size - before} bytes in {passed:.0f} seconds")
            if clock.monotonic() >= arriving.give_up:
                raise Transient(f"the download took more than {SECONDS:.0f} seconds")


def _asking(arriving: _Arriving) -> Mapping[str, str]:
    headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
    if arriving.size:
        headers["Range"] = f"bytes={arriving.size}-"
        if arriving.version:
            headers["If-Range"] = arriving.version
    return headers


def _accepted(stream: Stream, arriving: _Arriving) -> bool:
    """Whether the body is to be read: from the start for 200, from where we are for a 206 that says so."""
    _raise_for(stream.status)
    if stream.status == 416:
        arriving.confirmed = stream.headers.get("content-range") == f"bytes */{arriving.size}"
        if arriving.confirmed:
            return False
        arriving.restart()
        raise Transient("the result is shorter than it was")
    resumed = _RANGE.fullmatch(stream.headers.get("content-range", "")) if stream.status == 206 else None
    if stream.status == 206 and (resumed is None or int(resumed[1]) != arriving.size):
        arriving.restart()
        raise Transient("the host resumed at another place than was asked for")
    if stream.status == 200:
        arriving.restart()
    arriving.described(stream.headers)
    return True


def _raise_for(status: int) -> None:
    if status in {200, 206, 416}:
        return
    if status in {401, 403, 404, 410}:
        raise Expired(f"the result's link is no longer good (its host answers {status})")
    if status in {408, 425, 429} or status >= 500:
        raise Transient(f"the result's host answers {status}")
    raise Undeliverable(f"the result's host answers {status}")


def _ends_with_a_box(file: BinaryIO, size: int) -> bool:
    """Whether MP4 boxes (ISO/IEC 14496-12, 4.2) fill the file exactly, with the picture's index and data among them."""
    at, seen = 0, set()
    while at + 8 <= size:
        file.seek(at)
        header = file.read(16)
        length, name = int.from_bytes(header[:4]), header[4:8]
        length = {0: size - at, 1: int.from_bytes(header[8:16])}.get(length, length)
        if length < 8:
            break
        seen.add(name)
        at += length
    file.seek(size)
    return at == size and {b"moov", b"mdat"} <= seen


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
