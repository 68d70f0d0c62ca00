"""Object storage through fsspec: s3, gcs, Azure, and the memory that tests use."""

import mimetypes
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, cast

import fsspec

from tasks.errors import SetupProblem, Transient
from tasks.storage.backend import Source
from tasks.storage.failures import http_status, translated

__all__ = ["DIALECTS", "Bucket", "Dialect"]

# One PutObject is atomic; the parts of a multipart upload become one object only when it is completed.
_PART_BYTES = 32 << 20
_WEEK = 7 * 24 * 3600
_MEMORY = threading.Lock()


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one fsspec implementation is opened and told a content type; `extra` is the extra of Rushes that installs it."""

    extra: str
    options: Mapping[str, Any]
    typed: Callable[[str], dict[str, Any]]
    chunked: bool = False


_S3 = Dialect(
    "s3",
    {
        "use_listings_cache": False,
        # The store looks before it sends again: a blind resend of an exclusive create would turn our own success into
        # "exists". Version 2 signatures, boto's default for links, are refused by buckets made since mid-2020.
        "config_kwargs": {"retries": {"max_attempts": 0}, "signature_version": "s3v4"},
    },
    lambda kind: {"ContentType": kind},
    chunked=True,
)
_GCS = Dialect("gcs", {"use_listings_cache": False}, lambda kind: {"content_type": kind})
_AZURE = Dialect("azure", {"use_listings_cache": False}, lambda kind: {"content_settings": {"content_type": kind}})
_IN_MEMORY = Dialect("", {}, lambda _kind: {})

DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {
        "s3": _S3,
        "s3a": _S3,
        "gs": _GCS,
        "gcs": _GCS,
        "abfs": _AZURE,
        "abfss": _AZURE,
        "az": _AZURE,
        "memory": _IN_MEMORY,
    }
)


class Bucket:
    """Objects below a prefix. Nothing is cached: each question is asked of the storage."""

    def __init__(self, url: str, options: Mapping[str, Any], *, part_bytes: int = _PART_BYTES) -> None:
        protocol = url.partition("://")[0]
        self._dialect = DIALECTS[protocol]
        self._url = url.rstrip("/") if protocol != "memory" else f"memory://{url.partition('://')[2].strip('/')}"
        self._part_bytes = part_bytes
        self._fs, self._root = _opened(self._url, self._dialect, options)

    def uri(self, path: str) -> str:
        """The full URL."""
        return f"{self._url}/{path}" if path else self._url

    def create(self, source: Source, path: str, content_type: str | None) -> None:
        """Write once: `If-None-Match: *` on s3, a generation match on gcs, a lease-free blob create on Azure."""
        with translated(self.uri(path)):
            try:
                self._send(source, path, content_type, mode="create")
            except OSError as error:
                # Some servers answer 412 without the field that s3fs maps to FileExistsError; 409: two creates met.
                if http_status(error) == 412:
                    raise FileExistsError(self.uri(path)) from None
                if http_status(error) == 409:
                    raise Transient(f"{self.uri(path)}: another writer is at it") from None
                raise

    def replace(self, source: Source, path: str, content_type: str | None) -> None:
        """Write, over what is there; readers see the old or the new object."""
        with translated(self.uri(path)):
            self._send(source, path, content_type, mode="overwrite")

    def size(self, path: str) -> int | None:
        """Bytes, or None where no object stands."""
        with translated(self.uri(path)):
            try:
                info = self._fs.info(self._full(path))
            except FileNotFoundError:
                return None
            return int(info["size"]) if info["type"] == "file" else None

    @contextmanager
    def open(self, path: str) -> Iterator[BinaryIO]:
        """The object's bytes, read ahead in blocks."""
        with translated(self.uri(path)), self._fs.open(self._full(path), "rb") as stream:
            yield cast("BinaryIO", stream)

    def list(self, prefix: str) -> list[str]:
        """Every object below `prefix`, sorted."""
        with translated(self.uri(prefix)):
            found = self._fs.find(self._full(prefix) if prefix else self._root, detail=True)
            # Some servers list the folders that a deleted object leaves behind.
            files = (name for name, info in found.items() if info["type"] == "file" and not name.endswith("/"))
            return sorted(one[len(self._root) :].lstrip("/") for one in files if one.rstrip("/") != self._root)

    def remove(self, path: str) -> None:
        """Delete one object."""
        with translated(self.uri(path)):
            self._fs.rm_file(self._full(path))

    def link(self, path: str, seconds: int) -> str | None:
        """A presigned URL that lives `seconds`, a week at most (s3's own limit).

        It ends earlier where the credentials do. None where the storage or the credentials sign nothing.
        """
        with translated(self.uri(path)):
            try:
                return str(self._fs.sign(self._full(path), expiration=min(seconds, _WEEK)))
            except (NotImplementedError, AttributeError, ValueError):
                # gcs without a private key: AttributeError; Azure without an account key: ValueError.
                return None

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _send(self, source: Source, path: str, content_type: str | None, *, mode: str) -> None:
        try:
            self._transfer(source, path, content_type or _guessed(path), mode)
        except FileNotFoundError:
            raise SetupProblem(f"{self._url}: no such bucket or container") from None

    def _transfer(self, source: Source, path: str, kind: str, mode: str) -> None:
        extra = self._dialect.typed(kind) | ({"chunksize": self._part_bytes} if self._dialect.chunked else {})
        if isinstance(source, Path) and self._dialect is not _IN_MEMORY:
            self._fs.put_file(str(source), self._full(path), mode=mode, **extra)
            return
        content = source.read_bytes() if isinstance(source, Path) else source
        with _MEMORY:
            self._fs.pipe_file(self._full(path), content, mode=mode, **extra)


def _guessed(path: str) -> str:
    return mimetypes.guess_type(path)[0] or "application/octet-stream"


def _opened(url: str, dialect: Dialect, options: Mapping[str, Any]) -> tuple[Any, str]:
    try:
        fs, root = fsspec.url_to_fs(url, **{**dialect.options, **options})
    except ImportError:
        tip = f'pip install "rushes[{dialect.extra}]"'
        raise SetupProblem(f"{url}: this storage needs the extra {dialect.extra!r}", tip) from None
    except (ValueError, OSError) as error:
        raise SetupProblem(f"{url}: not a usable storage ({type(error).__name__}: {error})") from None
    return fs, str(root).rstrip("/")
