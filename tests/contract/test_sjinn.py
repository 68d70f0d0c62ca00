"""SJinn keeps the contract."""

from collections.abc import Mapping
from typing import Any, ClassVar

from tests.contract.suite import ProviderSuite


class TestSJinn(ProviderSuite):
    """`duration` is a number; there is no audio switch to send."""

    name = "sjinn"
    known_states: ClassVar[tuple[Any, ...]] = (
        0,
        1,
        "created",
        "pending",
        "completed",
        "failed",
        "cancelled",
        "deleted",
    )

    @staticmethod
    def price_facts(body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Mode, seconds and cuts."""
        tool = body["input"]
        assert type(tool["duration"]) is int
        assert isinstance(tool["multi_shot"], bool)
        mode = {"standard": "std", "pro": "pro"}[tool["model_mode"]]
        return {"mode": mode, "seconds": tool["duration"], "cuts": tool["multi_shot"]}

    @staticmethod
    def status_reply(status: object) -> object:
        """A query's answer with that status."""
        return {"success": True, "errorMsg": "", "error_code": 0, "data": {"task_id": "J-1", "status": status}}
