"""The store: what is put there is read back and compared before it counts, and is never overwritten by other bytes."""

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.request import url2pathname

from tasks.errors import RushesError, SetupProblem, StorageConflict, Terminal, Transient
from tasks.storage.backend import Backend, Content, Missing, Source, chunks, digest, opened
from tasks.storage.bucket import DIALECTS, Bucket
from tasks.storage.folder import Folder
from tasks.storage.names import readable, writable

__all__ = ["Put", "Store", "local_path"]

_TRIES = 4
_FIRST_PAUSE = 0.5
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Put:
    """Where bytes stand, proven by reading them back. `existed`: they were there already, or a lost reply hid our success."""

    uri: str
    sha256: str
    size: int
    existed: bool


class Store:
    """One root of any storage. Calls block: run them in a thread. Each failing call is tried 4 times over about 4 seconds.

    Raises:
        Transient: the storage failed for now; the source is untouched, so call again.
        SetupProblem: the storage cannot do it: rights, credentials, no such bucket.
        Missing: nothing stands at the path.
    """

    def __init__(self, backend: Backend, *, pause: Callable[[float], None] = time.sleep) -> None:
        self._backend = backend
        self._pause = pause

    @classmethod
    def open(
        cls, url: str, *, options: Mapping[str, Any] | None = None, pause: Callable[[float], None] = time.sleep
    ) -> Self:
        """A local folder (plain path or `file://`), `memory://`, `s3://`, `gs://` or `abfs://`; nothing is contacted yet.

        `options` go to the fsspec implementation; keys and endpoints otherwise come from the environment of the
        storage's own tools (`AWS_ENDPOINT_URL`, `GOOGLE_APPLICATION_CREDENTIALS`, ...) or from fsspec's configuration.

        Raises:
            SetupProblem: another protocol, a chained URL, a missing extra, or a file where the folder should be.
        """
        return cls(_backend(url, options or {}), pause=pause)

    def uri(self, path: str = "") -> str:
        """The full URL for reports; a plain absolute path for a local folder."""
        return self._backend.uri(path and readable(path))

    def put_once(self, source: Source, path: str, *, content_type: str | None = None, mend: bool = False) -> Put:
        """Publish `source` at a path that never changes again.

        With `mend`, what an earlier put of these very bytes left unfinished there (their beginning, or that and zeros) is
        put in full. Nothing else is ever written over.

        Raises:
            StorageConflict: other bytes stand there; they were left alone.
        """
        path, want = writable(path), _content(source)

        def holds() -> bool:
            if mend and self._unfinished(source, path, want):
                self._backend.replace(source, path, content_type)
                if self._content(path) != want:
                    raise Transient(f"{self.uri(path)}: the storage cuts what it is given")
            return self._holds(path, want)

        def attempt() -> Put:
            if holds():
                return Put(self.uri(path), want.sha256, want.size, existed=True)
            created = self._created(source, path, content_type)
            if not holds():
                raise Transient(f"{self.uri(path)}: written, but not there when read back")
            return Put(self.uri(path), want.sha256, want.size, existed=not created)

        return self._persist(attempt)

    def put(self, source: Source, path: str, *, content_type: str | None = None) -> Put:
        """Publish `source`, in place of what stands there; a reader sees the old bytes or the new ones."""
        path, want = writable(path), _content(source)

        def attempt() -> Put:
            existed = self._backend.size(path) is not None
            self._backend.replace(source, path, content_type)
            if self._content(path) != want:
                raise Transient(f"{self.uri(path)}: other bytes came back than were written")
            return Put(self.uri(path), want.sha256, want.size, existed)

        return self._persist(attempt)

    def read(self, path: str, *, limit: int) -> bytes:
        """The bytes at `path`; more than `limit` of them is a Terminal error."""
        path = readable(path)

        def attempt() -> bytes:
            with self._backend.open(path) as stream:
                return stream.read(limit + 1)

        content = self._persist(attempt)
        if len(content) > limit:
            raise Terminal(f"{self.uri(path)} is larger than {limit} bytes")
        return content

    def exists(self, path: str) -> bool:
        """Whether a file stands at `path` (a folder is none)."""
        path = readable(path)
        return self._persist(lambda: self._backend.size(path)) is not None

    def size(self, path: str) -> int | None:
        """Bytes of the file at `path`; None where none stands."""
        path = readable(path)
        return self._persist(lambda: self._backend.size(path))

    def remove(self, path: str) -> None:
        """Take away the file at `path`; nothing happens where none stands."""
        path = readable(path)
        try:
            self._persist(lambda: self._backend.remove(path))
        except Missing:
            return

    def fetch(self, path: str, to: Path) -> None:
        """Copy the bytes at `path` to the local file `to`, which appears whole or not at all."""
        path = readable(path)
        part = to.with_name(f".part-{secrets.token_hex(8)}")

        def attempt() -> None:
            with self._backend.open(path) as stream, part.open("wb") as copy:
                for piece in chunks(stream):
                    copy.write(piece)
            if part.stat().st_size != self._backend.size(path):
                raise Transient(f"{self.uri(path)}: cut short while it was read")

        try:
            self._persist(attempt)
            part.replace(to)
        finally:
            part.unlink(missing_ok=True)

    def sha256(self, path: str) -> str:
        """SHA-256 of the bytes at `path`, in hexadecimal, by reading them."""
        path = readable(path)
        return self._persist(lambda: self._content(path)).sha256

    def link(self, path: str, *, seconds: int) -> str | None:
        """A presigned link that lives `seconds` (a week at most); None where the storage has none."""
        return self._backend.link(readable(path), seconds)

    def probe(self) -> list[str]:
        """Write, read, and create exclusively, for real; what failed, in words. Empty when all is fine."""
        path = f"rushes-doctor-{secrets.token_hex(8)}.txt"
        problems: list[str] = []
        try:
            self.put_once(b"first", path)
            problems += self._overwrites(path)
            self._backend.remove(path)
        except RushesError as error:
            problems.append(" ".join(filter(None, (error.message, error.diagnostics()))))
        return problems

    def _overwrites(self, path: str) -> list[str]:
        if not self._created(b"second", path, None):
            return []
        return [f"{self.uri()}: an exclusive create overwrote an existing file; takes are not safe there"]

    def _holds(self, path: str, want: Content) -> bool:
        """Whether the path holds exactly `want`; False where nothing stands."""
        size = self._backend.size(path)
        if size is None:
            return False
        if size != want.size or self._content(path) != want:
            raise StorageConflict(f"{self.uri(path)} already holds other bytes; they were left alone")
        return True

    def _unfinished(self, source: Source, path: str, want: Content) -> bool:
        """Whether the path holds the beginning of `source` and nothing else, but for zeros that a crash leaves behind it."""
        size = self._backend.size(path)
        if size is None or size > want.size or (size == want.size and self._content(path) == want):
            return False
        zeros = False
        with self._backend.open(path) as there, opened(source) as ours:
            for piece in chunks(there):
                mine = ours.read(len(piece))
                if not zeros and piece == mine:
                    continue
                pairs = enumerate(zip(piece, mine, strict=False))
                same = 0 if zeros else next((at for at, (one, other) in pairs if one != other), len(mine))
                if any(piece[same:]):
                    return False
                zeros = True
        return True

    def _created(self, source: Source, path: str, content_type: str | None) -> bool:
        try:
            self._backend.create(source, path, content_type)
        except FileExistsError:
            return False
        return True

    def _content(self, path: str) -> Content:
        with self._backend.open(path) as stream:
            return digest(stream)

    def _persist(self, attempt: Callable[[], _T]) -> _T:
        """Try again after each Transient, 0.5, 1 and 2 seconds later."""
        for tried in range(_TRIES - 1):
            try:
                return attempt()
            except Transient:
                self._pause(_FIRST_PAUSE * 2**tried)
        return attempt()

    def list(self, prefix: str = "") -> list[str]:
        """Every file below the folder `prefix`, as sorted paths from the root; empty where nothing is."""
        prefix = prefix and readable(prefix.rstrip("/"))
        try:
            return self._persist(lambda: self._backend.list(prefix))
        except Missing:
            return []


def _content(source: Source) -> Content:
    with opened(source) as stream:
        return digest(stream)


def local_path(url: str) -> Path | None:
    """The path of a plain or `file://` address; None for an address elsewhere."""
    protocol, mark, rest = url.partition("://")
    if not mark:
        return Path(url)
    return Path(url2pathname(rest)) if protocol in {"file", "local"} else None


def _backend(url: str, options: Mapping[str, Any]) -> Backend:
    if "::" in url:
        raise SetupProblem(f"{url}: chained storage URLs are not taken")
    local = local_path(url)
    if local is not None:
        return Folder(local)
    protocol = url.partition("://")[0]
    if protocol in DIALECTS:
        return Bucket(url, options)
    known = ", ".join(["a folder", *(f"{name}://" for name in DIALECTS)])
    raise SetupProblem(f"{protocol}:// is no storage that Rushes writes to", f"Use one of: {known}.")
