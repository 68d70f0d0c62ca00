"""The ledger's folder: private files only (S22), one name for each database, and locks that die with their process."""

import errno
import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.errors import SetupProblem

__all__ = ["Home", "Senders", "open_private", "private_folder"]


def open_private(path: Path, flags: int) -> int:
    """Open or create a file of ours with mode 0600, whatever the umask, and return its descriptor.

    Raises:
        SetupProblem: a symbolic link, or a file of another user, stands there.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise SetupProblem(
                f"{path} is a symbolic link", "The ledger follows none: put the file itself there."
            ) from None
        raise SetupProblem(
            f"{path} cannot be opened: {error.strerror}", "Check the folder's owner and free space."
        ) from None
    if stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o077:
        try:
            os.fchmod(descriptor, 0o600)
        except OSError:
            os.close(descriptor)
            raise SetupProblem(f"{path} belongs to another user", "Give it to the user that runs Rushes.") from None
    return descriptor


def private_folder(path: Path) -> Path:
    """Make `path` a folder of mode 0700 that is ours.

    Raises:
        SetupProblem: it is a symbolic link, no folder, another user's, or open to everybody (like /tmp).
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = path.lstat()
        if stat.S_ISLNK(facts.st_mode):
            raise SetupProblem(f"{path} is a symbolic link", "Set RUSHES_HOME to the folder that it points to.")
        if facts.st_mode & 0o002:
            raise SetupProblem(f"{path} is writable for everybody", "Set RUSHES_HOME to a folder of its own.")
        if facts.st_mode & 0o077:
            path.chmod(0o700)
    except OSError as error:
        raise SetupProblem(f"{path} cannot be made a private folder: {error.strerror}", "Set RUSHES_HOME.") from None
    return path


class Home:
    """The files beside one database: `<stem>.json` says that it existed, `.journal` and `.reserve` keep its answers."""

    def __init__(self, folder: Path, identity: str) -> None:
        self.folder = private_folder(folder)
        self.identity = identity
        digest = hashlib.sha256(identity.encode()).hexdigest()[:8]
        self.stem = "ledger" if identity == "sqlite:ledger.db" else f"ledger-{digest}"

    def file(self, suffix: str) -> Path:
        """`<stem><suffix>` in the folder."""
        return self.folder / f"{self.stem}{suffix}"

    def marker(self) -> dict[str, str] | None:
        """The ids of the ledger and of this home as last seen, None where no ledger ever was.

        Raises:
            SetupProblem: the marker is there but unreadable.
        """
        path = self.file(".json")
        if not os.path.lexists(path):
            return None
        with open(open_private(path, os.O_RDONLY), encoding="utf-8") as file:
            try:
                return {str(key): str(value) for key, value in json.load(file).items()}
            except (ValueError, AttributeError):
                raise SetupProblem(f"{path} is damaged", "Restore it from a backup together with the ledger.") from None

    def mark(self, facts: dict[str, str], *, durable: bool) -> None:
        """Write the marker whole or not at all."""
        path, temporary = self.file(".json"), self.file(".json.new")
        with open(open_private(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "w", encoding="utf-8") as file:
            json.dump(facts, file)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        temporary.replace(path)
        if durable:
            sync_folder(self.folder)

    @contextmanager
    def opening(self) -> Iterator[None]:
        """Only one process at a time creates, migrates or replays."""
        descriptor = open_private(self.file(".lock"), os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Make renames and new names in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Senders:
    """A lock file for each create that this process may have under way, free again when the process is gone.

    Transition 5 and recovery ask whether the sender of an intent still lives on this host.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, int] = {}

    def hold(self, intent_id: str) -> None:
        """Lock before the intent is committed."""
        private_folder(self._folder)
        descriptor = open_private(self._folder / intent_id, os.O_RDWR | os.O_CREAT)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        self._held[intent_id] = descriptor

    def release(self, intent_id: str) -> None:
        """Unlock once the outcome is committed."""
        descriptor = self._held.pop(intent_id, None)
        if descriptor is not None:
            (self._folder / intent_id).unlink(missing_ok=True)
            os.close(descriptor)

    def abandon(self, intent_id: str) -> None:
        """Unlock without an outcome; the file stays and tells that the sender is gone."""
        descriptor = self._held.pop(intent_id, None)
        if descriptor is not None:
            os.close(descriptor)

    def holds(self, intent_id: str) -> bool:
        """Whether this very process reserved the intent and has not ended it."""
        return intent_id in self._held

    def dead(self, intent_id: str) -> bool | None:
        """Whether the sender is gone for certain; None where this host cannot tell."""
        if intent_id in self._held:
            return False
        try:
            descriptor = os.open(self._folder / intent_id, os.O_RDWR | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
        return True

    def close(self) -> None:
        """Let go of every lock, as the end of the process would; the files stay and tell that the sender is gone."""
        while self._held:
            os.close(self._held.popitem()[1])
