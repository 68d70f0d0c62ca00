"""The journal and the store of a life: each write is a point, and each fails as the script says."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.errors import SetupProblem, Transient
from tasks.ledger.journal import Journal
from tasks.storage.backend import Source
from tasks.storage.folder import Folder
from tests.proof.crashes import Life

__all__ = ["CrashingJournal", "LyingFolder"]


@dataclass(slots=True)
class CrashingJournal:
    """The journal with a point before each line, one in the middle of it, and one after.

    `sabotage` is what the script still breaks; `kept` is told each line that was kept.
    """

    journal: Journal
    life: Life
    sabotage: list[str]
    kept: Callable[[Mapping[str, Any]], None]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.journal, name)

    def append(self, line: Mapping[str, Any]) -> None:
        """Append, or die before, within or behind."""
        self.life("journal before")
        if self.sabotage and self.sabotage[0] == f"journal:{self.life.last}":
            self.sabotage.pop(0)
            raise OSError(28, "No space left on device")
        if len(self.life.trail) + 1 == self.life.ends_at:
            self.journal._write(b"\n" + json.dumps(dict(line)).encode()[:60])
        self.life("journal cut")
        self.journal.append(line)
        self.kept(line)
        self.life("journal after")


@dataclass(slots=True)
class LyingFolder:
    """A folder that fails as the script says; `next` names what happens to the next write of a sort."""

    folder: Folder
    life: Life
    next: Callable[[str], str]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.folder, name)

    def create(self, source: Source, path: str, content_type: str | None) -> None:
        """Write once, or not, or say not."""
        slip = ".order" in path
        kind = self.next("slip" if slip else "store")
        if not slip:
            self.life("K19 before the put")
        match kind:
            case "fail":
                raise Transient("the storage answers 503")
            case "denied":
                raise SetupProblem("the storage says 403")
            case "half":
                Path(self.folder.uri(path)).parent.mkdir(parents=True, exist_ok=True)
                Path(self.folder.uri(path)).with_name(".part-0123").write_bytes(b"half")
                raise Transient("no space left")
            case "cut":  # and it says that all is well
                final = Path(self.folder.uri(path))
                final.parent.mkdir(parents=True, exist_ok=True)
                content = source if isinstance(source, bytes) else source.read_bytes()
                final.write_bytes(content[: len(content) // 2])
                self.life("K19 after the put")
                return
            case _:
                pass
        self.folder.create(source, path, content_type)
        self.life("slip after the put" if slip else "K19 after the put")
        if kind == "fail-after":
            raise Transient("no answer, though it was written")
        if kind == "written-twice":
            raise FileExistsError(path)

    def replace(self, source: Source, path: str, content_type: str | None) -> None:
        """Write the receipt, what a slip tells now, or a take that was cut."""
        if path.endswith(".mp4"):
            self.life("K19 before it is mended")
            self.folder.replace(source, path, content_type)
            return
        slip = ".order" in path
        self.life("slip rewritten" if slip else "receipt")
        if self.next("rewrite" if slip else "receipt") == "fail":
            raise Transient("the storage answers 503")
        self.folder.replace(source, path, content_type)
