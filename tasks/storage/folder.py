"""A local folder: written beside the final name, synced, then linked into place."""

import errno
import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from tasks.errors import SetupProblem
from tasks.storage.backend import Source, chunks, opened
from tasks.storage.failures import translated

__all__ = ["Folder"]

_TEMPORARY = ".part-"
# File systems without hard links (FAT, some network mounts) answer one of these.
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}


class Folder:
    """Files below `root`; a file shows up under its name whole and synced, or not at all, whatever dies on the way."""

    def __init__(self, root: Path) -> None:
        self._root = root.expanduser().absolute()
        if self._root.exists() and not self._root.is_dir():
            raise SetupProblem(f"{self._root} is a file; the store needs a folder")

    def uri(self, path: str) -> str:
        """The plain absolute path."""
        return str(self._root / path) if path else str(self._root)

    def create(self, source: Source, path: str, content_type: str | None) -> None:  # noqa: ARG002 (files have no type)
        """Write once."""
        with translated(self.uri(path)):
            final = self._inside(path)
            with _written_beside(source, final) as ready:
                _publish(ready, final)

    def replace(self, source: Source, path: str, content_type: str | None) -> None:  # noqa: ARG002
        """Write, over what is there."""
        with translated(self.uri(path)):
            final = self._inside(path)
            with _written_beside(source, final) as ready:
                ready.replace(final)
                sync_folder(final.parent)

    def size(self, path: str) -> int | None:
        """Bytes, or None where no file stands."""
        with translated(self.uri(path)):
            final = self._inside(path)
            return final.stat().st_size if final.is_file() else None

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        """The file's bytes."""
        with translated(self.uri(path)), self._inside(path).open("rb") as stream:
            yield stream

    def list(self, prefix: str) -> list[str]:
        """Every finished file below the folder `prefix`, sorted."""
        with translated(self.uri(prefix)):
            top = self._inside(prefix) if prefix else self._root
            files = (file for file in top.rglob("*") if file.is_file() and not file.name.startswith(_TEMPORARY))
            return sorted(file.relative_to(self._root).as_posix() for file in files)

    def remove(self, path: str) -> None:
        """Delete one file."""
        with translated(self.uri(path)):
            self._inside(path).unlink()

    def link(self, path: str, seconds: int) -> str | None:  # noqa: ARG002
        """None: a folder serves no links."""
        return None

    def _inside(self, path: str) -> Path:
        """The full path; a symbolic link in it must not lead outside the root."""
        final = self._root / path
        if not final.parent.resolve().is_relative_to(self._root.resolve()) or (
            final.is_symlink() and not final.resolve().is_relative_to(self._root.resolve())
        ):
            raise SetupProblem(f"{final} leads outside the store through a symbolic link")
        return final


@contextmanager
def _written_beside(source: Source, final: Path) -> Iterator[Path]:
    """A synced copy in the final folder, so that no rename crosses devices; gone again when the block ends."""
    _make_folder(final.parent)
    part = final.parent / f"{_TEMPORARY}{secrets.token_hex(8)}"
    try:
        with opened(source) as stream, part.open("xb") as copy:
            for piece in chunks(stream):
                copy.write(piece)
            copy.flush()
            os.fsync(copy.fileno())
        yield part
    finally:
        with suppress(FileNotFoundError):
            part.unlink()


def _publish(ready: Path, final: Path) -> None:
    try:
        os.link(ready, final)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        rename_once(ready, final)
    sync_folder(final.parent)


def rename_once(ready: Path, final: Path) -> None:
    """Rename unless `final` exists, where hard links do not: under a lock on the folder that dies with its process.

    Raises:
        FileExistsError: something stands at `final`; it was left alone.
    """
    with _descriptor(final.parent) as folder:
        fcntl.flock(folder, fcntl.LOCK_EX)
        if os.path.lexists(final):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(final))
        ready.rename(final)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` survive a power loss."""
    with _descriptor(folder) as descriptor:
        os.fsync(descriptor)


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    try:
        folder.mkdir(exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from None
    sync_folder(folder.parent)


@contextmanager
def _descriptor(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
