"""Stills: fetched from where the spec says, known by their content, decoded once and kept."""

import asyncio
import hashlib
import json
import secrets
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

from tasks.http import Wire
from tasks.netguard import AddressRules
from tasks.stills.picture import MAX_BYTES, MAX_PIXELS, Picture, picture
from tasks.stills.sources import read_still, shown

__all__ = ["MAX_BYTES", "MAX_PIXELS", "Still", "fetch_still"]

# Shots share stills: whoever comes second to the same content waits for the first one's result.
_TURNS = tuple(threading.Lock() for _ in range(16))


@dataclass(frozen=True, slots=True)
class Still:
    """A usable still. `path` holds the original bytes, `size` of them, with that `sha256`.

    `format` is Pillow's name (JPEG, PNG, WEBP); width and height are pixels as a viewer shows them (EXIF applied).
    """

    address: str
    sha256: str
    path: Path
    format: str
    width: int
    height: int
    size: int


async def fetch_still(address: str, *, base: str, cache: Path, rules: AddressRules, wire: Wire) -> Still:
    """Fetch and probe one still; relative addresses stand beside the spec at `base` (its path or URL).

    The bytes are kept in the folder `cache` under their SHA-256, with what the probe found beside them.

    Raises:
        StillInvalid: not there, not allowed, not a whole JPEG, PNG or WEBP, or too large.
        SetupProblem: the storage that it names cannot be used at all.
    """
    content = await read_still(address, base=base, rules=rules, wire=wire)
    return await asyncio.to_thread(_kept, content, address, cache)


def _kept(content: bytes, address: str, cache: Path) -> Still:
    sha256 = hashlib.sha256(content).hexdigest()
    file = cache / sha256
    with _TURNS[int(sha256[0], 16)]:
        found = _known(file, len(content))
        if found is None:
            found = picture(content, shown(address))
            cache.mkdir(parents=True, exist_ok=True, mode=0o700)
            _write(file, content)
            _write(_sidecar(file), json.dumps(asdict(found)).encode())
    return Still(address, sha256, file, found.format, found.width, found.height, len(content))


def _sidecar(file: Path) -> Path:
    return file.with_name(f"{file.name}.json")


def _known(file: Path, size: int) -> Picture | None:
    """What an earlier probe of these bytes found; None where the copy or the note is absent or damaged."""
    try:
        note = json.loads(_sidecar(file).read_bytes())
        return Picture(**note) if file.stat().st_size == size else None
    except (OSError, ValueError, TypeError):
        return None


def _write(file: Path, content: bytes) -> None:
    part = file.with_name(f".part-{secrets.token_hex(8)}")
    try:
        part.write_bytes(content)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
