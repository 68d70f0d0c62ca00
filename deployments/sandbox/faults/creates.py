"""What can go wrong with a create.

`-before` happens before acceptance (nothing is booked), `-after` after it (accepted and billed): to the client the two look
the same, and the account knows which it was.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

from deployments.sandbox.faults import lies
from deployments.sandbox.faults.envelopes import envelope_faults
from deployments.sandbox.faults.kinds import CreateFault, Fault, Lie, Reshape, Scene, UploadFault
from deployments.sandbox.orders import Order
from deployments.sandbox.wire import Reply, html_reply

__all__ = ["create_faults"]

BOTH: tuple[tuple[str, str, str, Lie, str], ...] = (
    ("hang", "F03", "F04", lies.hang, "the request is read and never answered"),
    ("close", "F05", "F05", lies.close, "the connection closes without a reply"),
    ("reset", "F06", "F06", lies.reset, "the connection is reset after the request was read"),
    ("trickle-head", "F23", "F23", lies.trickle_head, "the head of the reply drips and never ends"),
    ("trickle-body", "F23", "F23", lies.trickle_body, "the body of the reply drips and never ends"),
    ("html", "F15", "F15", lies.page(200), "HTTP 200 with a proxy's HTML page"),
    ("empty-body", "F16", "F16", lies.without_json(b""), "HTTP 200 with an empty body"),
    ("body-cut", "F16", "F16", lies.cut_length, "half the body that Content-Length promised"),
    ("chunk-cut", "F16", "F16", lies.chunk_cut, "a chunked body without its end"),
    ("redirect-loop", "F26", "F26", lies.loop, "307 to the same path, for ever"),
)
"""Name, id before, id after, lie, what happens."""

ONLY_AFTER: tuple[tuple[str, tuple[str, ...], Lie, str], ...] = (
    ("json-cut-start", ("F16",), lies.cut_json(0.0), "the JSON ends after its first byte"),
    ("json-cut-middle", ("F16",), lies.cut_json(0.5), "the JSON ends half way"),
    ("json-cut-end", ("F16",), lies.cut_json(0.99), "the JSON lacks its last bytes; the id is readable"),
    ("json-invalid", ("F16",), lies.without_json(b'{"code": 0, "data": {job_id}}'), "the body is not JSON"),
    ("json-utf16", ("F16",), lies.utf16, "the JSON is UTF-16 and says UTF-8"),
    ("json-bom", ("F16",), lies.bom, "the JSON begins with a byte order mark"),
    ("json-deep", ("F16",), lies.deep, "200,000 nested lists inside the JSON"),
    ("json-100mb", ("F16",), lies.huge, "the JSON is followed by 100 MB of blanks"),
    ("gzip-bomb", ("F24",), lies.gzip_bomb, "50 KB of gzip that inflate to 50 MB"),
    ("encoding-lie", ("F24",), lies.encoding_lie, "plain JSON under Content-Encoding: gzip"),
    ("late-reply", ("F28",), lies.late, "the honest reply comes after 30 lags"),
    ("idle-close", ("F25",), lies.idle_close, "an honest reply promises keep-alive, then the connection closes"),
)

REFUSALS: tuple[tuple[str, tuple[str, ...], int, str, str], ...] = (
    ("http-400", ("F12",), 400, "invalid request", "HTTP 400 with a validation envelope"),
    ("http-401", ("F13",), 401, "unauthorized", "HTTP 401"),
    ("http-402", ("F14",), 402, "insufficient credit", "HTTP 402"),
    ("http-403", ("F13",), 403, "permission denied", "HTTP 403"),
    ("http-404", ("F12",), 404, "not found", "HTTP 404"),
    ("http-422", ("F12",), 422, "invalid duration", "HTTP 422 with a validation envelope"),
    (
        "moderation-input",
        ("F39",),
        400,
        "image violates the content policy: sensitive",
        "the input is refused by moderation",
    ),
)
"""Name, ids, HTTP status, text of the envelope, what happens."""

RETRY_AFTER = {
    "http-429": None,
    "http-429-seconds": "2",
    "http-429-date": "Sun, 01 Nov 2026 12:00:05 GMT",
    "http-429-garbage": "soon",
    "http-429-huge": "1000000000",
    "http-429-negative": "-5",
}


def create_faults() -> Iterator[Fault]:
    """Every fault of a create."""
    yield UploadFault(
        name="upload-cut",
        ids=("F07",),
        text="the server resets the connection while the request body still comes in; not accepted (send a large body)",
    )
    yield from _wire()
    yield from _statuses()
    yield from _refusals()
    yield from envelope_faults()
    yield from _behaviour()


def _wire() -> Iterator[Fault]:
    for name, before, after, lie, text in BOTH:
        yield CreateFault(name=f"{name}-before", ids=(before,), accepts=False, lie=lie, text=f"{text}; not accepted")
        yield CreateFault(name=f"{name}-after", ids=(after,), lie=lie, text=f"{text}; accepted and billed")
    for name, ids, lie, text in ONLY_AFTER:
        yield CreateFault(name=name, ids=ids, lie=lie, text=f"{text}; accepted and billed")
    for provider, key in (("shortapi", "job_id"), ("sjinn", "task_id")):
        yield CreateFault(
            name=f"json-twin-keys-{provider}",
            ids=("F16", "F17"),
            provider=provider,
            lie=lies.twin_keys(key),
            text=f"the object holds {key} twice and the second is nobody's; accepted and billed",
        )


def _statuses() -> Iterator[Fault]:
    for status in (500, 502, 503, 504):
        yield CreateFault(
            name=f"http-{status}-before",
            ids=("F09",),
            accepts=False,
            lie=lies.page(status),
            text=f"HTTP {status}; not accepted",
        )
        yield CreateFault(name=f"http-{status}-after", ids=("F08",), lie=lies.page(status), text=f"HTTP {status}; accepted and billed")  # fmt: skip
    for status in (301, 302, 303, 307, 308, 408, 409):
        lie = _moved(status) if status < 400 else lies.page(status)
        yield CreateFault(
            name=f"http-{status}-before", ids=("F10",), accepts=False, lie=lie, text=f"HTTP {status}; not accepted"
        )
        yield CreateFault(
            name=f"http-{status}-after", ids=("F10",), lie=lie, text=f"HTTP {status}; accepted and billed"
        )


def _moved(status: int) -> Lie:
    return lies.answer(html_reply("moved", status, ("Location", "?again=1")))


def _refusals() -> Iterator[Fault]:
    for name, ids, status, words, text in REFUSALS:
        yield CreateFault(
            name=name,
            ids=ids,
            accepts=False,
            refuses=True,
            reshape=_refusal(status, words),
            lie=_status(status),
            text=f"{text}; not accepted",
        )
    for name, value in RETRY_AFTER.items():
        said = "without Retry-After" if value is None else f"with Retry-After: {value}"
        yield CreateFault(
            name=name,
            ids=("F11",),
            accepts=False,
            refuses=True,
            reshape=_refusal(429, "too many requests"),
            lie=_status(429, *(() if value is None else (("Retry-After", value),))),
            text=f"HTTP 429 {said}; not accepted",
        )


def _refusal(status: int, words: str) -> Reshape:
    def reshape(_: dict[str, Any], scene: Scene) -> dict[str, Any]:
        if scene.provider == "shortapi":
            return {"code": status, "info": words}
        return {"success": False, "errorMsg": words, "error_code": status}

    return reshape


def _status(status: int, *headers: tuple[str, str]) -> Lie:
    return lambda reply: lies.answer(Reply(status, reply.body, reply.type, headers))(reply)


def _behaviour() -> Iterator[Fault]:
    yield CreateFault(
        name="used-connection-closed",
        ids=("F25",),
        accepts=False,
        used=True,
        lie=lies.close,
        text="a create on a connection that was used before finds it closed; not accepted (never happens to fresh connections)",
    )
    yield CreateFault(name="callback-first", ids=("F27",), told_first=True, text="the job is done at once and the callback is answered before the create is; accepted and billed")  # fmt: skip
    yield CreateFault(name="callback-then-hang", ids=("F04", "F27"), told_first=True, lie=lies.hang, text="the callback comes, the create reply never does; accepted and billed")  # fmt: skip
    yield CreateFault(
        name="mode-ignored",
        ids=("F29",),
        change=_as_pro,
        text="the job is made, and billed, in pro whatever was ordered",
    )
    yield CreateFault(
        name="duration-ignored",
        ids=("F29",),
        change=_five_seconds,
        text="the job is made, and billed, with 5 seconds whatever was ordered",
    )
    yield CreateFault(
        name="double-accept",
        ids=("F53",),
        twice=True,
        text="one request makes two jobs, both billed, both call back; the reply names the first",
    )
    yield CreateFault(name="foreign-spend", ids=("F82",), provider="sjinn", foreign=True, text="somebody else spends the same amount from the same balance; accepted and billed")  # fmt: skip


def _as_pro(order: Order) -> Order:
    return dataclasses.replace(order, pro=True)


def _five_seconds(order: Order) -> Order:
    return dataclasses.replace(order, seconds=5)
