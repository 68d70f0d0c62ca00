"""Which paths a store takes: relative, inside the root, and the same on every system (S03)."""

import re

from tasks.errors import Terminal

__all__ = ["readable", "writable"]

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DEVICE = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\\]")


def writable(path: str) -> str:
    """`path` itself, when each part is a plain portable name; names of Windows devices and trailing dots are none.

    Raises:
        Terminal: for every other path.
    """
    parts = path.split("/")
    if all(_PART.fullmatch(part) and not part.endswith(".") and not _DEVICE.fullmatch(part) for part in parts):
        return path
    raise Terminal(f"{path!r} is not a path inside the store")


def readable(path: str) -> str:
    """`path` itself, when it stays inside the root; people's own names (spaces, other alphabets) are taken.

    Raises:
        Terminal: for an absolute path, an empty part, `.`, `..`, a backslash or a control character.
    """
    parts = path.split("/")
    if not _CONTROL.search(path) and all(part not in {"", ".", ".."} for part in parts):
        return path
    raise Terminal(f"{path!r} is not a path inside the store")
