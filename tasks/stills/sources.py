"""Where a still's bytes come from: a path beside the spec, https, or storage; nothing else (S01, S04)."""

import asyncio
import difflib
import os
import posixpath
import re
import stat
from pathlib import Path

from tasks.errors import StillInvalid, Terminal, Transient
from tasks.http import Wire
from tasks.netguard import AddressRefused, AddressRules
from tasks.stills.picture import MAX_BYTES
from tasks.storage import Missing, Store
from tasks.storage.store import local_path

__all__ = ["read_still", "shown"]

_STORAGE = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_TRIES = 3
_PAUSE = 0.2  # seconds, doubled each time
_ALLOWED = "A still is a path beside the spec, or an https, s3, gs or abfs address."


async def read_still(address: str, *, base: str, rules: AddressRules, wire: Wire) -> bytes:
    """The bytes behind `address`, at most 50 MiB; a relative address stands beside the spec at `base`.

    Raises:
        StillInvalid: nothing there, not allowed, too large, or not to be had.
        SetupProblem: the storage that it names cannot be used at all.
    """
    scheme = _SCHEME.match(address)
    if _CONTROL.search(address) or "::" in address:
        raise StillInvalid(f"{address!r} is no address of a still", _ALLOWED)
    if scheme is None:
        return await _beside(address, base, rules)
    if scheme[1].lower() in {"https", "http"}:
        return await _fetched(address, rules, wire)
    if scheme[1] in _STORAGE and "://" in address:
        folder = _folder_of(base)
        if rules.confined and not posixpath.normpath(address).startswith(posixpath.normpath(folder) + "/"):
            raise StillInvalid(
                f"{shown(address)}: outside the folder of the spec", "A dropped spec brings its own stills."
            )
        folder, _, name = address.rpartition("/")
        return await asyncio.to_thread(_stored, folder, name, address)
    raise StillInvalid(f"{shown(address)}: addresses of the kind {scheme[1]}: are not read", _ALLOWED)


def shown(address: str) -> str:
    """The address without its query, which may be a signature (S09)."""
    return address.partition("?")[0]


def _folder_of(base: str) -> str:
    """The folder of a spec; a local folder, or a URL that ends in `/`, is one itself."""
    local = local_path(base)
    if local is None:
        return base.rstrip("/") if base.endswith("/") else base.rpartition("/")[0]
    return str(local if local.is_dir() else local.parent)


async def _beside(address: str, base: str, rules: AddressRules) -> bytes:
    folder = _folder_of(base)
    if local_path(folder) is not None:
        return await asyncio.to_thread(_read, Path(folder), address, rules)
    protocol, _, root = folder.partition("://")
    path = posixpath.normpath(posixpath.join(root, address))
    bucket = root.partition("/")[0]
    if address.startswith("/") or not path.startswith(f"{root if rules.confined else bucket}/"):
        raise StillInvalid(f"{address}: outside the {'folder' if rules.confined else 'bucket'} of the spec")
    return await asyncio.to_thread(
        _stored, f"{protocol}://{posixpath.dirname(path)}", posixpath.basename(path), address
    )


def _read(folder: Path, address: str, rules: AddressRules) -> bytes:
    file = folder / address
    if rules.confined and not Path(os.path.realpath(file)).is_relative_to(os.path.realpath(folder)):
        raise StillInvalid(f"{address}: outside the folder of the spec", "A dropped spec brings its own stills.")
    try:
        found = file.stat()
        if stat.S_ISDIR(found.st_mode):
            raise StillInvalid(f"{address} is a folder", _example(file))
        if not stat.S_ISREG(found.st_mode):
            raise StillInvalid(f"{address} is not a regular file")
        if found.st_size > MAX_BYTES:
            raise _too_large(address)
        return file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise StillInvalid(f"{address}: not found", _nearest(file)) from None
    except OSError as error:
        raise StillInvalid(f"{address}: cannot be read ({os.strerror(error.errno or 0)})") from None


def _nearest(file: Path) -> str:
    """The neighbour that was probably meant, or the folder that is not there."""
    if not file.parent.is_dir():
        return f"There is no folder {file.parent}."
    names = {one.name.lower(): one.name for one in file.parent.iterdir()}
    close = difflib.get_close_matches(file.name.lower(), names, n=1) or [
        lower for lower in sorted(names) if Path(lower).stem == file.stem.lower()
    ]
    return f'did you mean "{names[close[0]]}"?' if close else f"{file.parent} holds no such file."


def _example(folder: Path) -> str:
    pictures = sorted(one.name for one in folder.iterdir() if one.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp"})
    return f'Name a file in it, such as "{pictures[0]}".' if pictures else "Name a file."


def _stored(folder: str, name: str, address: str) -> bytes:
    try:
        return Store.open(folder).read(name, limit=MAX_BYTES)
    except Missing:
        raise StillInvalid(f"{shown(address)}: not found") from None
    except Transient as error:
        raise StillInvalid(f"{shown(address)}: could not be fetched ({error.message})") from None
    except Terminal as error:
        if type(error) is not Terminal:
            raise
        raise StillInvalid(f"{shown(address)}: {error.message}") from None


async def _fetched(address: str, rules: AddressRules, wire: Wire) -> bytes:
    for tried in range(_TRIES):
        try:
            return await _fetch(address, rules, wire)
        except AddressRefused as error:
            raise StillInvalid(f"{shown(address)}: {error.message}", error.hint) from None
        except Transient as error:
            if tried == _TRIES - 1:
                raise StillInvalid(f"{shown(address)}: could not be fetched ({error.message})") from None
        await asyncio.sleep(_PAUSE * 2**tried)
    raise AssertionError("the last try returns or raises")


async def _fetch(address: str, rules: AddressRules, wire: Wire) -> bytes:
    content = bytearray()
    async with wire.stream(address, {"Accept": "image/*", "Accept-Encoding": "identity"}, rules=rules) as stream:
        if stream.status == 429 or stream.status >= 500:
            raise Transient(f"its host answers {stream.status}")
        if stream.status != 200:
            words = {403: "not allowed", 404: "not found", 410: "gone"}.get(stream.status, "no picture")
            raise StillInvalid(f"{shown(address)}: {words} (its host answers {stream.status})")
        async for chunk in stream.chunks():
            content += chunk
            if len(content) > MAX_BYTES:
                raise _too_large(address)
    return bytes(content)


def _too_large(address: str) -> StillInvalid:
    return StillInvalid(f"{shown(address)}: larger than {MAX_BYTES >> 20} MiB", "Export it smaller.")
