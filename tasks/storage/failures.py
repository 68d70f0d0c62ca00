"""Foreign storage errors, translated once: may it be tried again, or is the installation unable to do it?"""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tasks.errors import RushesError, SetupProblem, Transient
from tasks.storage.backend import Missing

__all__ = ["http_status", "translated"]

# The libraries behind s3fs, gcsfs and adlfs, whose exceptions are no OSError.
_FOREIGN = {"botocore", "aiobotocore", "aiohttp", "asyncio", "azure", "fsspec", "gcsfs", "google", "requests", "s3fs"}
_NO_KEY = ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "DefaultCredentialsError")
_UNUSABLE = {errno.EROFS, errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.ENAMETOOLONG, errno.EINVAL, errno.ELOOP}
_FULL = {errno.ENOSPC, errno.EDQUOT}
_BRIEF = 200


@contextmanager
def translated(uri: str) -> Iterator[None]:
    """Raise every storage failure as a `Missing`, `Transient` or `SetupProblem` that names `uri`; defects pass as they are.

    FileExistsError passes too: it is the answer of an exclusive create. Foreign texts may hold signed URLs, so queries
    are cut off and the original is not chained.
    """
    try:
        yield
    except (RushesError, FileExistsError):
        raise
    except Exception as error:
        if isinstance(error, OSError) or type(error).__module__.partition(".")[0] in _FOREIGN:
            raise _ours(error, uri) from None
        raise


def http_status(error: BaseException) -> int | None:
    """The HTTP status behind an error of s3fs, gcsfs or adlfs; None where there is none."""
    response: Any = getattr(error.__cause__, "response", None) or {}
    found = response.get("ResponseMetadata", {}).get("HTTPStatusCode") if isinstance(response, dict) else None
    found = found or getattr(error, "status_code", None) or getattr(error, "code", None)
    return int(str(found)) if str(found).isdigit() else None


def _ours(error: Exception, uri: str) -> RushesError:
    if isinstance(error, FileNotFoundError):
        return Missing(f"{uri}: nothing there")
    if isinstance(error, OSError) and error.errno in _FULL:
        return Transient(f"{uri}: no space left", "Free some space; nothing that is paid for is lost meanwhile.")
    return _unusable(error, uri) or Transient(f"{uri}: the storage failed ({_told(error)})")


def _unusable(error: Exception, uri: str) -> SetupProblem | None:
    told = _told(error)
    if type(error).__name__ in _NO_KEY:
        return SetupProblem(
            f"{uri}: no credentials for this storage ({told})", "Set them as for the storage's own tools."
        )
    if isinstance(error, PermissionError):
        return SetupProblem(
            f"{uri}: not allowed ({told})", "Give this account the right to list, read and write there."
        )
    if isinstance(error, NotADirectoryError | IsADirectoryError):
        return SetupProblem(f"{uri}: a file stands where a folder is needed, or the reverse")
    if isinstance(error, OSError) and error.errno in _UNUSABLE and http_status(error) not in {409, 412}:
        return SetupProblem(f"{uri}: the storage cannot do this ({told})", "`rushes doctor` tries it step by step.")
    return None


def _told(error: Exception) -> str:
    text = re.sub(r"\?\S+", "?...", " ".join(str(error).split()))
    return f"{type(error).__name__}: {text[:_BRIEF]}" if text else type(error).__name__
