"""The inbox: storyboards dropped in a folder or bucket, each claimed once by its content and filed when it is done.

What Rushes keeps lies beside the drops: `_rushes/<claim>/` with the claim, its run and its end, and for people
`waiting/`, `processed/` and `rejected/`.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Literal

from specs.loader import MAX_BYTES
from tasks.errors import StorageConflict, Terminal
from tasks.storage import Missing, Store
from tasks.storage.names import writable

__all__ = ["SUFFIXES", "Claim", "Drop", "Folder", "Inbox", "Scene", "Submitted"]

SUFFIXES = {".yaml", ".yml", ".json", ".csv"}
DONE = ".done"
_STATE = "_rushes"
_CLAIM = re.compile(r"[0-9a-f]{64}-[1-9][0-9]{0,3}")
_NOT_PORTABLE = re.compile(r"[^A-Za-z0-9._-]+")
Folder = Literal["waiting", "processed", "rejected"]
_KEPT = {_STATE, "waiting", "processed", "rejected"}
_NOTE_BYTES = 1 << 16
_NOTES = {"claim": {"path"}, "run": {"flow_run_id", "attempt"}, "end": {"end"}}


@dataclass(frozen=True, slots=True)
class Drop:
    """A dropped storyboard as it was read: its path in the inbox, its bytes, those of its sidecar, and whether it is marked whole."""

    path: str
    text: bytes = field(repr=False)
    sidecar: bytes = field(repr=False)
    marked: bool

    @property
    def sha256(self) -> str:
        """The content with the folder that its stills lie in: the same text elsewhere is another board."""
        folder = str(PurePosixPath(self.path).parent)
        parts = (folder.encode(), self.text, self.sidecar)
        return hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).hexdigest()


@dataclass(frozen=True, slots=True)
class Claim:
    """One turn of one content; a board that was rejected or did not end well may be dropped again, which is the next turn."""

    sha256: str
    turn: int

    @property
    def name(self) -> str:
        """As parameters and idempotency keys carry it."""
        return f"{self.sha256}-{self.turn}"

    @classmethod
    def parse(cls, name: str) -> "Claim":
        """The claim of that name.

        Raises:
            Terminal: it is none.
        """
        if not _CLAIM.fullmatch(name):
            raise Terminal(f"{name[:80]!r} is no claim of a drop")
        sha256, _, turn = name.partition("-")
        return cls(sha256, int(turn))


@dataclass(frozen=True, slots=True)
class Submitted:
    """The flow run that works on a claim, and how many were started for it."""

    flow_run_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Scene:
    """One look at the inbox: storyboards by path, the marked ones among them, and claims without an end."""

    drops: tuple[str, ...]
    marked: frozenset[str]
    open: tuple[Claim, ...]


class Inbox:
    """Calls block: run them in a thread. Any number of processes may share an inbox."""

    def __init__(self, url: str) -> None:
        self.store = Store.open(url)

    def look(self) -> Scene:
        """Everything that may be a storyboard, and every claim that is under way."""
        names = self.store.list()
        found = set(names)
        drops = tuple(one for one in names if _is_drop(one))
        return Scene(drops, frozenset(one for one in drops if one + DONE in found), tuple(_open_claims(names)))

    def size(self, path: str) -> int | None:
        """Bytes of a dropped file, None when it is gone."""
        return self.store.size(path)

    def read(self, path: str, *, marked: bool = False) -> Drop:
        """The drop as it is now.

        Raises:
            Missing: it is gone.
            Terminal: larger than any storyboard, or not a name that can be read.
        """
        text = self.store.read(path, limit=MAX_BYTES)
        return Drop(path, text, self._sidecar(path), marked)

    def _sidecar(self, path: str) -> bytes:
        if not path.lower().endswith(".csv"):
            return b""
        try:
            return self.store.read(sidecar_of(path), limit=MAX_BYTES)
        except Missing:
            return b""

    def claim(self, drop: Drop, nonce: str) -> tuple[Claim, bool]:
        """The claim of this content, and whether it is ours: exactly one caller wins each turn.

        A content that ended well is never claimed again; one that did not opens its next turn.
        """
        claim = Claim(drop.sha256, 1)
        while (end := self.end(claim)) is not None and end != "processed":
            claim = Claim(drop.sha256, claim.turn + 1)
        if end is not None:
            return claim, False
        facts = {"path": drop.path, "nonce": nonce}
        self._keep(f"{claim.sha256}/board{_suffix(drop.path)}", drop.text)
        if drop.sidecar:
            self._keep(f"{claim.sha256}/board.board.yaml", drop.sidecar)
        try:
            self.store.put_once(_json(facts), _of(claim, "claim"))
        except StorageConflict:
            return claim, False
        return claim, True

    def _keep(self, path: str, text: bytes) -> None:
        self.store.put_once(text, f"{_STATE}/{path}")

    def claimed(self, claim: Claim) -> Drop:
        """What was claimed, from the inbox's own copy: later edits of the dropped file change nothing.

        Raises:
            Missing: there is no such claim.
        """
        path = str(self._note(_of(claim, "claim"))["path"])
        text = self.store.read(f"{_STATE}/{claim.sha256}/board{_suffix(path)}", limit=MAX_BYTES)
        drop = Drop(path, text, self._kept_sidecar(claim, path), marked=True)
        if drop.sha256 != claim.sha256:
            raise Terminal(f"the copy of {path} was changed")
        return drop

    def nonce(self, claim: Claim) -> str:
        """What tells this claim from one of the same content in another inbox."""
        return str(self._note(_of(claim, "claim")).get("nonce", ""))

    def _kept_sidecar(self, claim: Claim, path: str) -> bytes:
        if not path.lower().endswith(".csv"):
            return b""
        try:
            return self.store.read(f"{_STATE}/{claim.sha256}/board.board.yaml", limit=MAX_BYTES)
        except Missing:
            return b""

    def submitted(self, claim: Claim) -> Submitted | None:
        """The run that works on the claim, None before there is one."""
        try:
            facts = self._note(_of(claim, "run"))
        except Missing:
            return None
        return Submitted(str(facts["flow_run_id"]), facts["attempt"] if isinstance(facts["attempt"], int) else 1)

    def submit(self, claim: Claim, submitted: Submitted) -> None:
        """Record the run that works on the claim."""
        self.store.put(_json({"flow_run_id": submitted.flow_run_id, "attempt": submitted.attempt}), _of(claim, "run"))

    def end(self, claim: Claim) -> str | None:
        """How the turn ended, in one word; None while it is open."""
        try:
            return str(self._note(_of(claim, "end"))["end"])
        except Missing:
            return None

    def _note(self, path: str) -> Mapping[str, Any]:
        """One of our notes; whoever may write to the inbox may have put something else in its place."""
        text = self.store.read(path, limit=_NOTE_BYTES)
        try:
            facts = json.loads(text)
        except (ValueError, RecursionError):
            facts = None
        if not isinstance(facts, dict) or not _NOTES[PurePosixPath(path).stem] <= facts.keys():
            raise Terminal(f"{self.store.uri(path)} is not a note of Rushes")
        return facts

    def wait(self, claim: Claim, drop: Drop, words: str) -> None:
        """Lay the board into `waiting/` with what a person must decide, and take the dropped file away."""
        self._file("waiting", drop, claim, words.encode(), "approval.txt")
        self._take_away(drop)

    def finish(self, claim: Claim, drop: Drop, folder: Folder, note: bytes, kind: str, *, again: bool) -> str:
        """File the board with its note; `again`: the same content may be dropped for another turn. Where it lies now."""
        filed = self._file(folder, drop, claim, note, kind)
        end = "processed" if not again else f"{folder}, open to another turn"
        self.store.put_once(_json({"end": end, "filed": filed}), _of(claim, "end"))
        self._take_away(drop)
        for name in _names("waiting", drop.path, claim.sha256):
            self._remove_if(name, drop.text)
            self.store.remove(f"{name}.approval.txt")
        return filed

    def duplicate(self, claim: Claim, drop: Drop) -> None:
        """The same board dropped once more after it was rendered: filed with a word, and nothing else."""
        words = b"Dropped again, byte for byte; it was rendered before and is not rendered twice.\n"
        self._file("processed", drop, claim, words, "duplicate.txt")
        self._take_away(drop)

    def refuse(self, path: str, words: str) -> None:
        """Say in `rejected/` why a file is not taken; the file itself stays where it is."""
        self.store.put(words.encode(), f"{_names('rejected', path, '')[0]}.problems.txt", content_type="text/plain")

    def _file(self, folder: Folder, drop: Drop, claim: Claim, note: bytes, kind: str) -> str:
        filed = self._put_under_a_name(_names(folder, drop.path, claim.sha256), drop.text)
        self.store.put(note, f"{filed}.{kind}", content_type="text/plain; charset=utf-8")
        return filed

    def _put_under_a_name(self, names: Sequence[str], text: bytes) -> str:
        for name in names[:-1]:
            try:
                self.store.put_once(text, name)
            except StorageConflict:
                continue
            return name
        self.store.put_once(text, names[-1])
        return names[-1]

    def _take_away(self, drop: Drop) -> None:
        """Remove the dropped file with its mark and sidecar, unless it has become another one meanwhile."""
        if self._remove_if(drop.path, drop.text):
            self.store.remove(drop.path + DONE)
            if drop.sidecar:
                self._remove_if(sidecar_of(drop.path), drop.sidecar)

    def _remove_if(self, path: str, text: bytes) -> bool:
        try:
            same = self.store.read(path, limit=MAX_BYTES) == text
        except Terminal:
            return False
        if same:
            self.store.remove(path)
        return same


def sidecar_of(path: str) -> str:
    """`shots.board.yaml` beside `shots.csv`."""
    return f"{path[:-4]}.board.yaml"


def _is_drop(path: str) -> bool:
    parts = PurePosixPath(path).parts
    name = parts[-1].lower()
    hidden = any(part.startswith((".", "~")) for part in parts)
    return parts[0] not in _KEPT and not hidden and _suffix(path) in SUFFIXES and not name.endswith(".board.yaml")


def _suffix(path: str) -> str:
    return PurePosixPath(path).suffix.lower()


def _of(claim: Claim, what: str) -> str:
    return f"{_STATE}/{claim.sha256}/{claim.turn}/{what}.json"


def _open_claims(names: Sequence[str]) -> Iterator[Claim]:
    kept = [PurePosixPath(one).parts for one in names if one.startswith(f"{_STATE}/")]
    turns = {(parts[1], parts[2]): set[str]() for parts in kept if len(parts) == 4}
    for parts in kept:
        if len(parts) == 4:
            turns[parts[1], parts[2]].add(parts[3])
    for (sha256, turn), files in sorted(turns.items()):
        if "claim.json" in files and "end.json" not in files and _CLAIM.fullmatch(f"{sha256}-{turn}"):
            yield Claim.parse(f"{sha256}-{turn}")


def _names(folder: Folder, path: str, sha256: str) -> tuple[str, str]:
    """The plain name, and one that tells its content apart where another board has taken the plain one."""
    name = PurePosixPath(path).name
    stem, suffix = _NOT_PORTABLE.sub("_", PurePosixPath(name).stem).strip("._-")[:80] or "board", _suffix(path)
    try:
        plain = writable(f"{folder}/{stem}{suffix}")
    except Terminal:
        plain = f"{folder}/board-{stem}{suffix}"
    return plain, f"{folder}/{stem}-{sha256[:12]}{suffix}"


def _json(facts: Mapping[str, Any]) -> bytes:
    return json.dumps(facts, indent=2, sort_keys=True).encode()
