"""The wire dialect of SJinn for kling3-image-to-video-api.

Source: sjinn.ai/docs/api/tool/kling3-image-to-video; the shapes of queries follow public clients. Its page promises that a
duration out of range is clamped without a word, so it is, and the clamped one is billed. Fractions of a second and words
are left open there; the sandbox refuses them.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from deployments.sandbox.orders import Job, Order, Refused, State
from deployments.sandbox.wire import Reply, Request, json_reply

__all__ = [
    "CREATE",
    "ID_KEY",
    "INVALID",
    "NAME",
    "QUERY",
    "TASK_TYPE",
    "TOOL",
    "UNIT",
    "accepted",
    "asked",
    "balance",
    "price",
    "read_order",
    "refused",
    "snapshot",
    "unauthorized",
    "unknown",
    "usage",
]

NAME = "sjinn"
UNIT = "credits"
CREATE = ("POST", "/api/un-api/create_tool_task")
QUERY = ("POST", "/api/un-api/query_tool_task_status")
ID_KEY = "task_id"
INVALID = 400
TOOL = "kling3-image-to-video-api"
TASK_TYPE = f"tool_{TOOL}"
CREDITS_PER_SECOND = {False: Decimal(200), True: Decimal(300)}
"""Key: pro."""
KNOWN = frozenset({"prompt", "image", "duration", "multi_shot", "model_mode", "tail_image_url"})


def price(order: Order) -> Decimal:
    """Credits for the whole clip."""
    return CREDITS_PER_SECOND[order.pro] * order.seconds


def read_order(body: Any) -> Order:
    """The order in a create body.

    Raises:
        Refused: the page says that the field is wrong, or a required one is missing.
    """
    if not isinstance(body, dict):
        raise _invalid("request body is invalid")
    if body.get("tool_type") != TOOL:
        raise _invalid("tool_type is invalid" if body.get("tool_type") else "tool_type is required")
    given = body.get("input")
    if not isinstance(given, dict):
        raise _invalid("input is required")
    prompt = _required(given, "prompt")
    image = _address(_required(given, "image"), "image")
    if given.get("tail_image_url") is not None:
        _address(given["tail_image_url"], "tail_image_url")
    mode = given.get("model_mode", "standard")
    if mode not in {"standard", "pro"}:
        raise _invalid("model_mode is invalid")
    multi_shot = given.get("multi_shot", True)
    if not isinstance(multi_shot, bool):
        raise _invalid("multi_shot is invalid")
    return Order(
        seconds=_seconds(given.get("duration", 5)),
        pro=mode == "pro",
        audio=False,
        multi_shot=multi_shot,
        prompt=prompt,
        image=image,
        ignored=tuple(sorted({*given} - KNOWN) + sorted({*body} - {"tool_type", "input"})),
    )


def _invalid(text: str) -> Refused:
    return Refused(text, code=INVALID)


def _required(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not value.strip():
        raise _invalid(f"{name} is required")
    return value


def _address(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value.startswith(("http://", "https://")):
        raise _invalid(f"{name} is invalid")
    return value


def _seconds(value: Any) -> int:
    try:
        number = Decimal(str(value).strip()) if isinstance(value, int | float | str) else Decimal("NaN")
    except InvalidOperation:
        number = Decimal("NaN")
    if isinstance(value, bool) or not number.is_finite() or number != number.to_integral_value():
        raise _invalid("duration is invalid")
    return int(min(max(number, Decimal(3)), Decimal(15)))


def refused(refusal: Refused) -> Reply:
    """A refusal as it goes over the wire."""
    body = {"success": False, "errorMsg": refusal.text, "error_code": refusal.code}
    return json_reply(body, refusal.status)


def unauthorized() -> Reply:
    """The answer to a missing or wrong key."""
    return refused(Refused("unauthorized", code=401))


def _success(data: Mapping[str, Any]) -> dict[str, Any]:
    return {"success": True, "errorMsg": "", "error_code": 0, "data": dict(data)}


def accepted(job: Job) -> dict[str, Any]:
    """The envelope that tells of a new task."""
    return _success({"task_id": job.job_id})


def asked(request: Request) -> str:
    """The task id in a query, from the body or (one client) the address; empty where there is none."""
    if request.method == "GET":
        return request.query.get("task_id", "")
    body = request.json()
    value = body.get("task_id") if isinstance(body, dict) else None
    return value if isinstance(value, str) else ""


def unknown() -> Reply:
    """The answer to a query of a task that does not exist."""
    return refused(Refused("not found", code=404))


def snapshot(job: Job, state: State, urls: Sequence[str]) -> dict[str, Any]:
    """The envelope of a query."""
    data: dict[str, Any] = {"task_id": job.job_id}
    match state:
        case "done":
            data |= {"status": 1, "output_urls": list(urls)}
        case "failed":
            data |= {"status": job.outcome.status or -1, "error": job.outcome.error or "generation failed"}
        case _:
            data |= {"status": 0, "task_type": TASK_TYPE}
    return _success(data)


def balance(credits_left: Decimal) -> dict[str, Any]:
    """The envelope of query_account_status."""
    return _success(
        {"email": "sandbox@example.org", "name": "Sandbox", "balances": _number(credits_left), "subscription": None}
    )


def usage(rows: Sequence[Mapping[str, Any]], cursor: str | None) -> dict[str, Any]:
    """The envelope of query_credits_usage; `records` as a public client reads it, newest first."""
    return _success({"records": list(rows), "next_cursor": cursor})


def _number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)
