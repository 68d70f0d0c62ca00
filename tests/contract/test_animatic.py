"""The animatic keeps the contract."""

from collections.abc import Mapping
from typing import Any, ClassVar

from tests.contract.suite import ProviderSuite


class TestAnimatic(ProviderSuite):
    """Beats carry the seconds."""

    name = "animatic"
    known_states: ClassVar[tuple[Any, ...]] = ("queued", "rendering", "done", "failed")

    @staticmethod
    def price_facts(body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Audio and seconds; nothing here has a price."""
        return {"audio": body["audio"], "seconds": sum(beat["seconds"] for beat in body["beats"])}

    @staticmethod
    def status_reply(status: object) -> object:
        """A query's answer with that status."""
        return {"id": "J-1", "status": status}
