"""Disks: how much room is left, and how one that takes nothing more is told from one that is damaged."""

import errno
import os
import resource
import shutil
import tempfile
from pathlib import Path

__all__ = ["FULL", "ROOM", "device", "free_bytes", "is_full", "trouble"]

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Nothing more fits: the disk, the user's share of it, or the size that a process may give a file."""
ROOM = "Make room there, then run this again: what is paid is kept, `rushes collect` fetches the rest."
_TRIAL = 64 << 10


def is_full(error: BaseException | None) -> bool:
    """Whether the operating system says that nothing more fits."""
    return isinstance(error, OSError) and error.errno in FULL


def _standing(path: Path) -> Path:
    place = path.expanduser().absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    return place


def free_bytes(path: Path) -> int:
    """Bytes that we may still write where `path` is, or will be."""
    return shutil.disk_usage(_standing(path)).free


def device(path: Path) -> int:
    """Which file system `path` is on, or will be."""
    return _standing(path).stat().st_dev


def trouble(path: Path) -> OSError | None:
    """What keeps the folder of `path` from taking a little more, found by trying; None where nothing does."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    largest = max((one.stat().st_size for one in path.parent.glob(f"{path.name}*")), default=0)
    if limit != resource.RLIM_INFINITY and largest + _TRIAL > limit:
        return OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    try:
        with tempfile.TemporaryFile(dir=path.parent) as trial:
            trial.write(bytes(_TRIAL))
            trial.flush()
            os.fsync(trial.fileno())
    except OSError as error:
        return error
    return None
