"""The wire dialect of ShortAPI for kling-3.0 image-to-video.

Source: shortapi.ai/models/kwaivgi/kling-3.0/image-to-video/llms.txt; what that page leaves open follows public clients
(the shapes of running and failed jobs, `videos`, a refusal as HTTP 200 with `code` 1).
"""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from deployments.sandbox.orders import Job, Order, Refused, State
from deployments.sandbox.wire import Reply, Request, json_reply

__all__ = [
    "CREATE",
    "ID_KEY",
    "INVALID",
    "MODEL",
    "NAME",
    "QUERY",
    "UNIT",
    "accepted",
    "amount",
    "asked",
    "price",
    "read_order",
    "refused",
    "snapshot",
    "unauthorized",
    "unknown",
]

NAME = "shortapi"
UNIT = "USD"
CREATE = ("POST", "/api/v1/job/create")
QUERY = ("GET", "/api/v1/job/query")
ID_KEY = "job_id"
INVALID = 1
MODEL = "kwaivgi/kling-3.0/image-to-video"
USD_PER_SECOND = {
    (False, False): Decimal("0.143"),
    (False, True): Decimal("0.214"),
    (True, False): Decimal("0.190"),
    (True, True): Decimal("0.286"),
}
"""Keys: (pro, audio)."""
KNOWN = frozenset(
    {
        "mode",
        "duration",
        "multi_shot",
        "shot_type",
        "prompt",
        "negative_prompt",
        "multi_prompt",
        "image",
        "image_tail",
        "elements",
        "generate_audio",
    }
)


def price(order: Order) -> Decimal:
    """USD for the whole clip."""
    return USD_PER_SECOND[order.pro, order.audio] * order.seconds


def read_order(body: Any) -> Order:
    """The order in a create body.

    Raises:
        Refused: the page says that the field is wrong, or a required one is missing.
    """
    if not isinstance(body, dict):
        raise Refused("invalid request body", code=400, status=400)
    if body.get("model") != MODEL:
        raise Refused("invalid model", code=1)
    args = body.get("args")
    if not isinstance(args, dict):
        raise _invalid("args is required")
    seconds = _seconds(args)
    multi_shot = _flag(args, "multi_shot", required=True)
    _check_shots(args, seconds, multi_shot=multi_shot)
    _check_tail(args, multi_shot=multi_shot)
    _check_elements(args.get("elements"))
    _text(args, "negative_prompt", default="")
    return Order(
        seconds=seconds,
        pro=_choice(args, "mode", ("pro", "std"), default=None) == "pro",
        audio=_flag(args, "generate_audio", required=False),
        multi_shot=multi_shot,
        prompt=_text(args, "prompt", default=""),
        image=_image(args),
        callback_url=_callback(body.get("callback_url")),
        ignored=tuple(sorted({*args} - KNOWN) + sorted({*body} - {"model", "args", "callback_url"})),
    )


def _invalid(text: str) -> Refused:
    return Refused(text, code=INVALID)


def _seconds(args: Mapping[str, Any]) -> int:
    value = args.get("duration")
    if value is None:
        raise _invalid("duration is required")
    if not isinstance(value, str) or not re.fullmatch(r"[1-9][0-9]?", value) or not 3 <= int(value) <= 15:
        raise _invalid('invalid duration: a string from "3" to "15" is required')
    return int(value)


def _flag(args: Mapping[str, Any], name: str, *, required: bool) -> bool:
    value = args.get(name)
    if value is None and not required:
        return False
    if not isinstance(value, bool):
        raise _invalid(f"{name} is required" if value is None else f"invalid {name}: must be a boolean")
    return value


def _choice(args: Mapping[str, Any], name: str, options: Sequence[str], *, default: str | None) -> str:
    value = args.get(name, default)
    if value is None:
        raise _invalid(f"{name} is required")
    if value not in options:
        raise _invalid(f"invalid {name}: must be one of {', '.join(options)}")
    return str(value)


def _text(args: Mapping[str, Any], name: str, *, default: str) -> str:
    value = args.get(name, default)
    if not isinstance(value, str):
        raise _invalid(f"invalid {name}: must be a string")
    return value


def _check_shots(args: Mapping[str, Any], seconds: int, *, multi_shot: bool) -> None:
    shot_type = _choice(args, "shot_type", ("customize", "intelligence"), default="intelligence")
    if (not multi_shot or shot_type == "intelligence") and not _text(args, "prompt", default="").strip():
        raise _invalid("prompt is required")
    shots = args.get("multi_prompt")
    if shots in (None, []) and not (multi_shot and shot_type == "customize"):
        return
    if shot_type != "customize":
        raise _invalid("invalid multi_prompt: shot_type must be customize")
    if not isinstance(shots, list) or not 1 <= len(shots) <= 6:
        raise _invalid("invalid multi_prompt: 1 to 6 shots are required")
    if sum(_shot_seconds(shot) for shot in shots) != seconds:
        raise _invalid("invalid multi_prompt: the sum of shot durations must equal duration")


def _shot_seconds(shot: Any) -> int:
    value = shot.get("duration") if isinstance(shot, dict) else None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 15:
        raise _invalid("invalid multi_prompt: each duration must be an integer from 1 to 15")
    if not isinstance(shot.get("prompt"), str) or not shot["prompt"].strip():
        raise _invalid("invalid multi_prompt: each prompt is required")
    return value


def _check_tail(args: Mapping[str, Any], *, multi_shot: bool) -> None:
    tail = args.get("image_tail")
    if tail is None:
        return
    if not isinstance(tail, str) or not tail:
        raise _invalid("invalid image_tail: must be a non-empty string")
    if multi_shot:
        raise _invalid("invalid image_tail: unsupported when multi_shot is true")


def _check_elements(elements: Any) -> None:
    if elements is None:
        return
    if not isinstance(elements, list) or len(elements) > 3:
        raise _invalid("invalid elements: a list of at most 3 is required")
    for element in elements:
        front = element.get("frontal_image_url") if isinstance(element, dict) else None
        if not isinstance(front, str) or not front:
            raise _invalid("invalid elements: frontal_image_url is required")
        views = element.get("reference_image_urls", [])
        if not isinstance(views, list) or len(views) > 3 or not all(isinstance(view, str) and view for view in views):
            raise _invalid("invalid elements: at most 3 reference_image_urls")


def _image(args: Mapping[str, Any]) -> str:
    value = args.get("image")
    if not isinstance(value, str) or not value:
        raise _invalid("image is required")
    if value.startswith("data:"):
        raise _invalid("invalid image: base64 without a data: prefix is required")
    return value


def _callback(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or not value.startswith(("http://", "https://")):
        raise _invalid("invalid callback_url")
    return value


def refused(refusal: Refused) -> Reply:
    """A refusal as it goes over the wire."""
    return json_reply({"code": refusal.code, "info": refusal.text}, refusal.status)


def unauthorized() -> Reply:
    """The answer to a missing or wrong key."""
    return refused(Refused("unauthorized: invalid api key", code=401, status=401))


def accepted(job: Job) -> dict[str, Any]:
    """The envelope that tells of a new job."""
    return {"code": 0, "data": {"amount": amount(job.billed), "job_id": job.job_id}}


def amount(usd: Decimal) -> str:
    """The amount as text, without idle zeros, as in the page's own "0.95"."""
    return f"{usd.normalize():f}"


def asked(request: Request) -> str:
    """The job id in a query; empty where there is none."""
    return request.query.get("id", "")


def unknown() -> Reply:
    """The answer to a query of a job that does not exist."""
    return json_reply({"code": 1, "info": "job not found"})


def snapshot(job: Job, state: State, urls: Sequence[str]) -> dict[str, Any]:
    """The envelope of a query."""
    data: dict[str, Any] = {"id": job.job_id}
    match state:
        case "done":
            data |= {
                "status": 2,
                "credit": amount(job.billed),
                "result": {"videos": [{"url": url} for url in urls]},
            }
        case "failed":
            data |= {"status": job.outcome.status or 3, "result": None} | _failure(job)
        case _:
            data["status"] = 0 if state == "queued" else 1
    return {"code": 0, "data": data}


def _failure(job: Job) -> dict[str, Any]:
    said: dict[str, Any] = {"error": job.outcome.error} if job.outcome.error else {}
    if job.refunded or job.outcome.word == "refunded":
        said["refunded"] = bool(job.refunded)
    elif job.outcome.word == "billed":
        said["refunded"] = False
    return said
