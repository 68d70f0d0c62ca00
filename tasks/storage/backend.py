"""What a store needs from a place that holds bytes."""

import hashlib
import io
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from tasks.errors import Terminal

__all__ = ["Backend", "Content", "Missing", "Source", "chunks", "digest", "opened"]

Source = Path | bytes
_CHUNK = 1 << 20


class Missing(Terminal):
    """Nothing stands at that path."""


@dataclass(frozen=True, slots=True)
class Content:
    """What bytes are: their SHA-256 in hexadecimal and how many there are."""

    sha256: str
    size: int


class Backend(Protocol):
    """Paths are relative, with `/`, and already checked.

    `create` raises FileExistsError and leaves what is there alone; no method ever shows a half-written file at `path`.
    Every other failure is a `Missing`, `Transient` or `SetupProblem`.
    """

    def uri(self, path: str) -> str: ...
    def create(self, source: Source, path: str, content_type: str | None) -> None: ...
    def replace(self, source: Source, path: str, content_type: str | None) -> None: ...
    def size(self, path: str) -> int | None: ...
    def open(self, path: str) -> AbstractContextManager[BinaryIO]: ...
    def list(self, prefix: str) -> list[str]: ...
    def remove(self, path: str) -> None: ...
    def link(self, path: str, seconds: int) -> str | None: ...


def opened(source: Source) -> BinaryIO:
    """The bytes of `source` as a stream to be closed by the caller."""
    return io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")


def chunks(stream: BinaryIO) -> Iterator[bytes]:
    """The stream in pieces of at most 1 MiB."""
    while piece := stream.read(_CHUNK):
        yield piece


def digest(stream: BinaryIO) -> Content:
    """SHA-256 and size of everything left in the stream."""
    sha, size = hashlib.sha256(), 0
    for piece in chunks(stream):
        sha.update(piece)
        size += len(piece)
    return Content(sha.hexdigest(), size)
