"""ShortAPI keeps the contract."""

from collections.abc import Mapping
from typing import Any, ClassVar

from tests.contract.suite import ProviderSuite


class TestShortAPI(ProviderSuite):
    """`duration` is text, the switches are JSON booleans."""

    name = "shortapi"
    known_states: ClassVar[tuple[Any, ...]] = (0, 1, 2, "succeeded", "success", "completed", "failed", "error")

    @staticmethod
    def price_facts(body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Mode, audio, seconds and cuts."""
        args = body["args"]
        assert isinstance(args["duration"], str)
        assert isinstance(args["generate_audio"], bool)
        assert isinstance(args["multi_shot"], bool)
        seconds = int(args["duration"])
        assert sum(part["duration"] for part in args.get("multi_prompt", [])) in {0, seconds}
        return {"mode": args["mode"], "audio": args["generate_audio"], "seconds": seconds, "cuts": args["multi_shot"]}

    @staticmethod
    def status_reply(status: object) -> object:
        """A query's answer with that status."""
        return {"code": 0, "data": {"id": "J-1", "status": status}}
