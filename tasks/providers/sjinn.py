"""SJinn's dialect for Kling 3.0 image-to-video.

Source: https://sjinn.ai/docs/api/tool/kling3-image-to-video (request, create replies). The query's shapes and its status
numbers are what working public clients read.
"""

from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from specs.request import ShotRequest
from tasks import prices
from tasks.providers.amounts import NAMED_NONE, read_bill
from tasks.providers.candidates import is_job_id, objects_of
from tasks.providers.capabilities import capabilities, require_fit
from tasks.providers.evidence import Evidence, read_evidence
from tasks.providers.interface import (
    Accepted,
    Failure,
    Handle,
    Kind,
    Media,
    Phase,
    Reply,
    Request,
    Snapshot,
    State,
)
from tasks.providers.links import web_links
from tasks.providers.refusals import unlike_refusal
from tasks.providers.replies import (
    ambiguous,
    by_status,
    contradiction,
    first_text,
    moderated,
    ok,
    other_job,
    plain,
    read_object,
    refusal_text,
    refused,
    refused_by_status,
    vouchable,
)
from tasks.providers.strictjson import Parsed, Unreadable

__all__ = ["TOOL", "SJinn", "answered", "endpoint"]

TOOL = "kling3-image-to-video-api"
_MODES = {"std": "standard", "pro": "pro"}
_CODES = {400: Kind.INVALID, 401: Kind.AUTH, 100: Kind.BALANCE, 101: Kind.CONFIG}
_NUMBERS = {0: State.RUNNING, 1: State.SUCCEEDED}
_WORDS = {
    "created": State.RUNNING,
    "pending": State.RUNNING,
    "completed": State.SUCCEEDED,
    "failed": State.FAILED,
    "cancelled": State.CANCELED,
    "deleted": State.CANCELED,
}
_CHARGED = frozenset(["billed", "charge", "charged", "consumed", "cost", "debited", "deducted", "spent", "used"])
_TEXTS = ("errorMsg", "error_msg", "error", "message", "msg")
_URL_KEYS = ("output_urls", "output_url_list", "output_url", "outputUrls", "urls", "url")
_DECIDE = frozenset(["success", "data", "task_id", "status", *_TEXTS, *_URL_KEYS])
"""What a query decides by: two values under one of these names are no answer."""


class SJinn:
    """`https://sjinn.ai`, or whatever base URL the account or the handle names."""

    caps = capabilities()["sjinn"]
    auth_header = "Bearer {key}"

    def quote(self, request: ShotRequest) -> prices.Quote:
        """Credits per second by mode."""
        return prices.quote(self.caps.provider, self.caps.model, request)

    def encode(
        self,
        request: ShotRequest,
        media: Media,
        *,
        base_url: str,
        intent_id: str,  # noqa: ARG002 - no field carries our own id, a callback, a board or a take here
        callback_url: str | None,  # noqa: ARG002
        board: str,  # noqa: ARG002
        take: int,  # noqa: ARG002
    ) -> Request:
        """Every field that has a default is sent, with the documented type: `duration` is a number, in range, never clamped."""
        require_fit(request, self.caps)
        tool: dict[str, Any] = {
            "prompt": request.prompt,
            "image": media[request.still],
            "duration": request.duration,
            "multi_shot": request.cuts is not None,
            "model_mode": _MODES[request.mode],
        }
        if request.end_still:
            tool["tail_image_url"] = media[request.end_still]
        return Request("POST", endpoint(base_url, "create_tool_task"), {"tool_type": TOOL, "input": tool})

    def decode_submit(self, reply: Reply) -> Accepted | Failure:
        """Accepted only with 2xx, `success` true, no error and one usable `data.task_id`; refused only by a mapped code."""
        envelope, said = read_object(reply), read_evidence(reply, self.caps.unit, _is_bill)
        text, code, kind = _message(envelope), _code(envelope), _refusal(envelope)
        if not ok(reply):
            return refused_by_status(reply, said, text, kind=kind, code=code)
        if isinstance(envelope, Unreadable):
            return ambiguous(said, f"HTTP {reply.status} with an unreadable body: {envelope.reason}")
        if envelope.value.get("success") is True:
            return _accepted(reply, envelope, said, text, code)
        whole = refusal_text(reply, envelope, said, _TEXTS) if _refuses(envelope) else None
        odd = said.acceptance or unlike_refusal(reply)
        if kind is not None and whole is not None and not odd:
            return refused(reply, kind, text, code)
        why = ": ".join(filter(None, [f"error_code {code}", odd if kind else said.acceptance, text or "no text"]))
        return ambiguous(said, why, code, vouchable(code, whole))

    def poll_request(self, handle: Handle) -> Request:
        """The query of one task, at the address kept with it."""
        return Request("POST", endpoint(handle.base_url, "query_tool_task_status"), {"task_id": handle.job_id})

    def decode_poll(self, handle: Handle, reply: Reply) -> Snapshot | Failure:
        """A task's state; `success` false on a query is a failed poll, never a failed job."""
        data = answered(reply)
        if isinstance(data, Failure):
            return data
        if not {"status", "task_id"} & data.keys():
            return refused(reply, Kind.NOT_FOUND, "the query's reply holds no task")
        echoed = data.get("task_id")
        cost, note = read_bill(objects_of(reply.body), self.caps.unit, _is_bill)
        shown = replace(_snapshot(data, echoed), cost=cost, cost_note="" if note == NAMED_NONE else note)
        return other_job(reply, handle.job_id, echoed) or shown

    def classify(self, reply: Reply, phase: Phase) -> Failure:
        """What a reply that is no result means in its phase."""
        envelope = read_object(reply)
        text, code = _message(envelope), _code(envelope)
        if phase is Phase.CREATE:
            said = read_evidence(reply, self.caps.unit, _is_bill)
            return refused_by_status(reply, said, text, kind=_refusal(envelope), code=code)
        return refused(reply, by_status(reply.status, phase), text, code or reply.status)


def endpoint(base_url: str, call: str) -> str:
    """The address of one of SJinn's calls."""
    return f"{base_url.rstrip('/')}/api/un-api/{call}"


def answered(reply: Reply) -> Mapping[str, Any] | Failure:
    """The `data` of a successful query, empty where it holds no object; the failure of any other."""
    envelope = read_object(reply)
    text, code = _message(envelope), _code(envelope)
    if isinstance(envelope, Unreadable) or not ok(reply):
        return refused(reply, by_status(reply.status, Phase.POLL), text or "the query's reply is unreadable", code)
    if envelope.value.get("success") is not True:
        return refused(reply, _poll_kind(text, code), text or f"error_code {code}", code)
    data = envelope.value.get("data")
    return contradiction(reply, envelope, _DECIDE) or (data if isinstance(data, Mapping) else {})


def _message(envelope: Parsed | Unreadable) -> str:
    return "" if isinstance(envelope, Unreadable) else first_text(envelope.value, *_TEXTS)


def _code(envelope: Parsed | Unreadable) -> int | None:
    """`error_code`, else `code`; None where neither is a whole number."""
    if isinstance(envelope, Unreadable):
        return None
    code = envelope.value.get("error_code", envelope.value.get("code"))
    return code if type(code) is int else None


def _refusal(envelope: Parsed | Unreadable) -> Kind | None:
    """What a well-formed refusal's number means; None for anything else."""
    return _CODES.get(_code(envelope) or 0) if _refuses(envelope) else None


def _refuses(envelope: Parsed | Unreadable) -> bool:
    """`success` false, and no two numbers that contradict each other."""
    if isinstance(envelope, Unreadable) or envelope.value.get("success") is not False:
        return False
    numbers = {envelope.value[key] for key in ("error_code", "code") if type(envelope.value.get(key)) is int}
    return len(numbers) < 2


def _accepted(reply: Reply, envelope: Parsed, said: Evidence, text: str, code: int | None) -> Accepted | Failure:
    data = envelope.value.get("data")
    if not isinstance(data, Mapping) or not is_job_id(data.get("task_id")):
        return ambiguous(said, "accepted, but without a usable data.task_id")
    if envelope.duplicates:
        return ambiguous(said, f"accepted, but {', '.join(envelope.duplicates)} is named twice")
    if text or code or data.get("error"):
        return ambiguous(said, f"accepted, but with an error: {code} {text}")
    job = data["task_id"]
    note = "SJinn names no amount; its ledger of credits does" if said.note == NAMED_NONE else said.note
    return Accepted(job, said.amount, note, said.beside(reply.body, job))


def _is_bill(words: frozenset[str]) -> bool:
    """`cost_credits` and its like: an amount whose key does not say credits may be in any unit."""
    return bool(words & {"credit", "credits"} and words & _CHARGED)


def _poll_kind(text: str, code: int | None) -> Kind:
    if code == HTTPStatus.NOT_FOUND or "not found" in text.lower():
        return Kind.NOT_FOUND
    kind = _CODES.get(code or 0)
    return kind if kind in {Kind.AUTH, Kind.BALANCE, Kind.CONFIG} else Kind.TRANSIENT


def _state(status: object, error: str) -> State:
    if isinstance(status, str):
        return _WORDS.get(status.strip().lower(), State.UNKNOWN)
    if type(status) is not int:
        return State.UNKNOWN
    if status in _NUMBERS:
        return _NUMBERS[status]
    # Clients disagree on 2 and above (running for SJinn's agents), so only a stated error makes them a failure.
    return State.FAILED if status < 0 or error else State.UNKNOWN


def _snapshot(data: Mapping[str, Any], echoed: object) -> Snapshot:
    reason = first_text(data, "error", "error_msg", "errorMsg")
    state = _state(data.get("status"), reason)
    failed = state is State.FAILED
    urls = web_links(data, _URL_KEYS) or web_links(data.get("output"), ("video_url", "url"))
    return Snapshot(
        state,
        job_id=None if echoed is None else plain(echoed),
        urls=urls if state is State.SUCCEEDED else (),
        reason=plain(reason) if failed else "",
        kind=(Kind.MODERATION if moderated(reason) else Kind.GENERATION) if failed else None,
        raw_state=plain(str(data.get("status"))),
    )
