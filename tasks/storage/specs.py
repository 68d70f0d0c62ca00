"""Reading a storyboard from where a person, a schedule or a drop says it is."""

from pathlib import Path

from tasks.errors import SetupProblem, Terminal
from tasks.storage.failures import translated
from tasks.storage.store import Store, local_path

__all__ = ["read_spec"]


def read_spec(url: str, *, limit: int = 1 << 20) -> bytes:
    """The bytes of a storyboard at a local path or a storage URL, at most `limit` of them (1 MiB).

    Raises:
        Missing: no file there.
        Terminal: a larger file.
        SetupProblem: a folder, a protocol that is no storage, or one that cannot be reached.
    """
    local = local_path(url)
    if local is not None:
        return _read(local, limit)
    folder, _, name = url.rpartition("/")
    if not name:
        raise SetupProblem(f"{url} is a folder; name the storyboard file in it")
    return Store.open(folder).read(name, limit=limit)


def _read(file: Path, limit: int) -> bytes:
    with translated(str(file)), file.expanduser().open("rb") as stream:
        content = stream.read(limit + 1)
    if len(content) > limit:
        raise Terminal(f"{file} is larger than {limit} bytes")
    return content
