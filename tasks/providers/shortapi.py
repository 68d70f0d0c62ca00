"""ShortAPI's dialect for Kling 3.0 image-to-video.

Source: https://shortapi.ai/models/kwaivgi/kling-3.0/image-to-video/llms.txt (request, `code` 0, `status` 2). The other
status numbers, the words of refusals and the result's `videos` are what working public clients read.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote as percent

from specs.request import AUTO, ElementRequest, ShotRequest
from tasks import prices
from tasks.providers.amounts import BILL_WORDS, NAMED_NONE, read_bill
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
    kind_of_words,
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

__all__ = ["MODEL", "ShortAPI"]

MODEL = "kwaivgi/kling-3.0/image-to-video"
_TEXTS = ("info", "message", "msg", "error")
_REFUSALS = {"invalid model": Kind.INVALID, "unsupported task kind": Kind.INVALID}
"""Whole texts that were seen from ShortAPI with `code` other than 0; its numbers are not documented."""
_NO_BILL = frozenset(
    [
        *("balance", "left", "limit", "max", "min", "per", "quota", "rate", "remaining", "unit"),
        *(
            "at",
            "count",
            "currency",
            "duration",
            "frames",
            "id",
            "ms",
            "pages",
            "seconds",
            "status",
            "time",
            "tokens",
            "type",
        ),
    ]
)
_LINKS = ("videos", "images", "url", "video_url")
_DECIDE = frozenset(["code", "data", "id", "job_id", "status", "result", "refunded", *_LINKS])
"""What a query decides by: two values under one of these names are no answer."""
_STATES = {0: State.QUEUED, 1: State.RUNNING, 2: State.SUCCEEDED}
_WORDS = {
    "succeeded": State.SUCCEEDED,
    "success": State.SUCCEEDED,
    "completed": State.SUCCEEDED,
    "failed": State.FAILED,
    "error": State.FAILED,
}


class ShortAPI:
    """`https://api.shortapi.ai`, or whatever base URL the account or the handle names."""

    caps = capabilities()["shortapi"]
    auth_header = "Bearer {key}"

    def quote(self, request: ShotRequest) -> prices.Quote:
        """Dollars per second by mode and audio."""
        return prices.quote(self.caps.provider, self.caps.model, request)

    def encode(
        self,
        request: ShotRequest,
        media: Media,
        *,
        base_url: str,
        intent_id: str,  # noqa: ARG002 - no field carries our own id here
        callback_url: str | None,
        board: str,  # noqa: ARG002
        take: int,  # noqa: ARG002
    ) -> Request:
        """Every field that has a default is sent, with the documented type: `duration` is text, the switches are booleans."""
        require_fit(request, self.caps)
        body: dict[str, Any] = {"model": MODEL, "args": _args(request, media)}
        if callback_url:
            body["callback_url"] = callback_url
        return Request("POST", f"{base_url.rstrip('/')}/api/v1/job/create", body)

    def decode_submit(self, reply: Reply) -> Accepted | Failure:
        """Accepted only with 2xx, `code` 0 and one usable `data.job_id`; refused only by a listed status or a known text."""
        envelope, said = read_object(reply), read_evidence(reply, self.caps.unit, _is_bill)
        text = _message(envelope)
        if not ok(reply):
            return refused_by_status(reply, said, text)
        if isinstance(envelope, Unreadable):
            return ambiguous(said, f"HTTP {reply.status} with an unreadable body: {envelope.reason}")
        code = envelope.value.get("code")
        if type(code) is not int:
            return ambiguous(said, "the reply names no code")
        if code == 0:
            return _accepted(reply, envelope, said, text)
        whole = refusal_text(reply, envelope, said, _TEXTS)
        if whole in _REFUSALS and not unlike_refusal(reply):
            return refused(reply, _REFUSALS[whole], whole, code)
        why = ": ".join(filter(None, [f"code {code}", said.acceptance, text or "no text"]))
        return ambiguous(said, why, code, vouchable(code, whole))

    def poll_request(self, handle: Handle) -> Request:
        """The query of one job, at the address kept with it."""
        return Request("GET", f"{handle.base_url.rstrip('/')}/api/v1/job/query?id={percent(handle.job_id, safe='')}")

    def decode_poll(self, handle: Handle, reply: Reply) -> Snapshot | Failure:
        """A job's state; whatever cannot be read is a failed poll, never a failed job."""
        envelope = read_object(reply)
        if not ok(reply):
            return self.classify(reply, Phase.POLL)
        if isinstance(envelope, Unreadable):
            return refused(reply, Kind.TRANSIENT, f"the query's reply is unreadable: {envelope.reason}")
        code, data, text = envelope.value.get("code"), envelope.value.get("data"), _message(envelope)
        if type(code) is not int or code != 0:
            return refused(reply, _poll_kind(text), text or f"code {code}", code)
        if not isinstance(data, Mapping) or not {"status", "id", "job_id"} & data.keys():
            return refused(reply, Kind.NOT_FOUND, "the query's reply holds no job")
        echoed = data.get("id", data.get("job_id"))
        if twofold := contradiction(reply, envelope, _DECIDE):
            return twofold
        cost, note = read_bill(objects_of(reply.body), self.caps.unit, _is_bill)
        shown = replace(_snapshot(data, echoed), cost=cost, cost_note="" if note == NAMED_NONE else note)
        return other_job(reply, handle.job_id, echoed) or shown

    def classify(self, reply: Reply, phase: Phase) -> Failure:
        """What a reply that is no result means in its phase."""
        text = _message(read_object(reply))
        if phase is Phase.CREATE:
            return refused_by_status(reply, read_evidence(reply, self.caps.unit, _is_bill), text)
        return refused(reply, by_status(reply.status, phase), text, reply.status)


def _args(request: ShotRequest, media: Media) -> dict[str, Any]:
    args: dict[str, Any] = {
        "mode": request.mode,
        "duration": str(request.duration),
        "multi_shot": request.cuts is not None,
        "shot_type": "intelligence" if request.cuts in {None, AUTO} else "customize",
        "image": media[request.still],
        "generate_audio": request.audio,
    }
    if request.prompt:
        args["prompt"] = request.prompt
    if request.negative_prompt:
        args["negative_prompt"] = request.negative_prompt
    if isinstance(request.cuts, tuple):
        args["multi_prompt"] = [{"duration": cut.duration, "prompt": cut.prompt} for cut in request.cuts]
    if request.end_still:
        args["image_tail"] = media[request.end_still]
    if request.elements:
        args["elements"] = [_element(element, media) for element in request.elements]
    return args


def _element(element: ElementRequest, media: Media) -> dict[str, Any]:
    views = {"reference_image_urls": [media[view] for view in element.references]} if element.references else {}
    return {"frontal_image_url": media[element.front], **views}


def _message(envelope: Parsed | Unreadable) -> str:
    """The text of a refusal: the envelope's own words first, then those inside `data`."""
    if isinstance(envelope, Unreadable):
        return ""
    return first_text(envelope.value, *_TEXTS) or first_text(envelope.value.get("data"), *_TEXTS)


def _accepted(reply: Reply, envelope: Parsed, said: Evidence, text: str) -> Accepted | Failure:
    data, twice = envelope.value.get("data"), envelope.duplicates
    if not isinstance(data, Mapping) or not is_job_id(data.get("job_id")):
        return ambiguous(said, "accepted, but without a usable data.job_id")
    if {"code", "data", "job_id"} & set(twice):
        return ambiguous(said, f"accepted, but {', '.join(twice)} is named twice")
    if envelope.value.get("error") or data.get("error") or kind_of_words(text):
        return ambiguous(said, f"accepted, but with an error text: {text}")
    return Accepted(data["job_id"], said.amount, said.note, said.beside(reply.body, data["job_id"]))


def _is_bill(words: frozenset[str]) -> bool:
    """`amount` at create, `credit` in a query, and what else may hold the charge; never a balance or a price a second."""
    return bool(words & BILL_WORDS) and not words & _NO_BILL


def _poll_kind(text: str) -> Kind:
    """A refused query: the job is unknown, the key is, or the provider stumbles. It never says that the job failed."""
    lowered = text.lower()
    if "not found" in lowered or "not exist" in lowered:
        return Kind.NOT_FOUND
    kind = kind_of_words(text)
    return kind if kind in {Kind.AUTH, Kind.BALANCE, Kind.RATE} else Kind.TRANSIENT


def _state(data: Mapping[str, Any]) -> State:
    status = data.get("status")
    if isinstance(status, str):
        return _WORDS.get(status.strip().lower(), State.UNKNOWN)
    return _STATES.get(status, State.FAILED) if type(status) is int else State.UNKNOWN


def _refunded(data: Mapping[str, Any], state: State) -> bool | None:
    """What `refunded` says of the money: a word about a failed job alone, and never "yes" beside what may be a clip."""
    refunded, result = data.get("refunded"), data.get("result")
    if state is not State.FAILED or not isinstance(refunded, bool):
        return None
    clips = {**data, "result": None, **result} if isinstance(result, Mapping) else data
    return None if refunded and any(clips.get(key) for key in ("result", *_LINKS)) else refunded


def _snapshot(data: Mapping[str, Any], echoed: object) -> Snapshot:
    state, result = _state(data), data.get("result")
    reason = first_text(data, "error", "fail_reason", *_TEXTS) or first_text(result, *_TEXTS)
    failed = state is State.FAILED
    urls = web_links(result, _LINKS) or web_links({"url": result}, ("url",)) or web_links(data, _LINKS)
    return Snapshot(
        state,
        job_id=None if echoed is None else plain(echoed),
        urls=urls if state is State.SUCCEEDED else (),
        reason=plain(reason) if failed else "",
        kind=(Kind.MODERATION if moderated(reason) else Kind.GENERATION) if failed else None,
        refunded=_refunded(data, state),
        raw_state=plain(str(data.get("status"))),
    )
