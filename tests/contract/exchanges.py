"""The recorded exchanges under tests/assets/wire: one file a request body or reply, with what must be made of it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from specs.money import Money
from tasks.providers.interface import Accepted, Failure, Reply, Snapshot

__all__ = ["WIRE", "Exchange", "exchanges"]

WIRE = Path(__file__).parents[1] / "assets" / "wire"


@dataclass(frozen=True)
class Exchange:
    """A file of the folder: `submit.*` and `poll.*` hold a reply and what it means, `create.*` a shot and its body."""

    path: Path

    @property
    def document(self) -> dict[str, Any]:
        """The file."""
        loaded: dict[str, Any] = json.loads(self.path.read_text(encoding="utf-8"))
        return loaded

    @property
    def reply(self) -> Reply:
        """The reply as the wire would hand it over."""
        document = self.document
        body = document["text"].encode() if "text" in document else json.dumps(document["body"]).encode()
        return Reply(document["status"], document.get("headers", {}), body, truncated=document.get("truncated", False))

    def check(self, answer: Accepted | Failure | Snapshot) -> None:
        """Compare an answer with every fact that the file expects; `*` stands for any text."""
        expected = dict(self.document["expect"])
        assert type(answer).__name__ == expected.pop("is"), answer
        found = {name: _comparable(getattr(answer, name)) for name in expected}
        assert found == {
            name: found[name] if value == "*" and found[name] else value for name, value in expected.items()
        }


def exchanges(provider: str, kind: str) -> list[Exchange]:
    """The provider's files of one kind: create, submit or poll."""
    return [Exchange(path) for path in sorted((WIRE / provider).glob(f"{kind}.*.json"))]


def _comparable(value: object) -> object:
    if isinstance(value, Money):
        return str(value)
    if isinstance(value, Accepted):
        return value.job_id if value.amount is None else f"{value.job_id} at {value.amount}"
    return [_comparable(one) for one in value] if isinstance(value, tuple) else value
