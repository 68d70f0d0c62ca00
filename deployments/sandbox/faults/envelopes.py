"""What can be wrong inside the envelope of a create: codes, contradictions, ids and amounts, all in HTTP 200."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from deployments.sandbox.faults import lies
from deployments.sandbox.faults.kinds import CreateFault, Fault, Reshape, Scene
from deployments.sandbox.wire import json_reply

__all__ = ["envelope_faults"]

ENVELOPES: tuple[tuple[str, str, tuple[str, ...], dict[str, Any], str], ...] = (
    ("refused-model", "shortapi", ("F18",), {"code": 1, "info": "invalid model"}, "HTTP 200 with a refusal whose text is known"),
    ("refused-credit", "shortapi", ("F18",), {"code": 2, "info": "insufficient credit"}, "HTTP 200 and no money, in words that no page lists"),
    ("code-100", "sjinn", ("F14", "F18"), {"success": False, "errorMsg": "insufficient balance", "error_code": 100}, "HTTP 200 and no money"),
    ("code-101", "sjinn", ("F18",), {"success": False, "errorMsg": "membership required", "error_code": 101}, "HTTP 200, membership needed"),
    ("code-401", "sjinn", ("F13", "F18"), {"success": False, "errorMsg": "unauthorized", "error_code": 401}, "HTTP 200 and a refused key"),
    ("code-400", "sjinn", ("F12", "F18"), {"success": False, "errorMsg": "image is required", "error_code": 400}, "HTTP 200 and an invalid field"),
)  # fmt: skip
UNKNOWN_CODES = {
    "shortapi": {"code": 5117, "info": "something went wrong, please try again"},
    "sjinn": {"success": False, "errorMsg": "something went wrong", "error_code": 5117},
}
AMOUNTS: tuple[tuple[str, Any, str], ...] = (
    ("amount-word", "abc", 'amount is "abc"'),
    ("amount-negative", "-0.715", "amount is negative"),
    ("amount-nan", float("nan"), "amount is a bare NaN"),
    ("amount-nan-text", "NaN", 'amount is "NaN"'),
    ("amount-1e308", "1e308", 'amount is "1e308"'),
    ("amount-comma", "0,715", "amount has a decimal comma"),
    ("amount-currency", "0.715 EUR", "amount names another currency"),
    ("amount-number", 0.715, "amount is a number, not a string"),
)


def envelope_faults() -> Iterator[Fault]:
    """Every fault inside an envelope."""
    yield from _envelopes()
    yield from _ids()
    yield from _money()


def _envelopes() -> Iterator[Fault]:
    for name, provider, ids, body, text in ENVELOPES:
        yield CreateFault(
            name=name,
            ids=ids,
            provider=provider,
            accepts=False,
            refuses=True,
            lie=lies.answer(json_reply(body)),
            text=f"{text}; not accepted",
        )
    for name, accepts, text in (("before", False, "not accepted"), ("after", True, "accepted and billed")):
        yield CreateFault(
            name=f"unknown-code-{name}",
            ids=("F18",),
            accepts=accepts,
            reshape=lambda _, scene: UNKNOWN_CODES[scene.provider],
            text=f"HTTP 200 with an error code that no page lists; {text}",
        )
    yield CreateFault(
        name="refusal-with-id",
        ids=("F18", "F19"),
        reshape=lambda body, scene: UNKNOWN_CODES[scene.provider] | {"data": body["data"]},
        text="an error code beside a job id; accepted and billed",
    )
    yield CreateFault(
        name="contradiction-before",
        ids=("F19",),
        accepts=False,
        reshape=_contradiction,
        text="a success flag beside an error text, no id; not accepted",
    )
    yield CreateFault(name="contradiction-after", ids=("F19",), reshape=_contradiction_with_id, text="a success flag beside an error text and an id; accepted and billed")  # fmt: skip


def _contradiction_with_id(body: dict[str, Any], scene: Scene) -> dict[str, Any]:
    return body | {"info" if scene.provider == "shortapi" else "errorMsg": "internal error: job was not created"}


def _contradiction(body: dict[str, Any], scene: Scene) -> dict[str, Any]:
    return _contradiction_with_id(body, scene) | {"data": {}}


def _ids() -> Iterator[Fault]:
    for name, value, text in (
        ("empty", "", "an empty string"),
        ("null", None, "null"),
        ("object", {"value": 1}, "an object without an id in it"),
    ):
        yield _with_id(f"id-{name}", lambda _scene, value=value: value, f"the id is {text}")
    yield _with_id("id-list", lambda scene: [scene.job_id], "the id stands in a list")
    yield _with_id("id-number", lambda scene: int(scene.job_id), "the id is a number", number_id=True)
    yield CreateFault(name="id-missing", ids=("F17",), reshape=_without_id, text="there is no id; accepted and billed")
    yield CreateFault(name="id-top-level", ids=("F17",), reshape=_top_level, text="the id stands beside data, not in it; accepted and billed")  # fmt: skip
    yield CreateFault(
        name="id-of-another",
        ids=("F20",),
        reshape=lambda body, scene: _data(body, {scene.id_key: scene.other_id}),
        text="the id of the job before comes back (needs one: use @2); accepted and billed under an id of its own",
    )


def _with_id(name: str, value: Any, text: str, *, number_id: bool = False) -> Fault:
    return CreateFault(
        name=name,
        ids=("F17",),
        number_id=number_id,
        reshape=lambda body, scene: _data(body, {scene.id_key: value(scene)}),
        text=f"{text}; accepted and billed",
    )


def _data(body: dict[str, Any], facts: dict[str, Any]) -> dict[str, Any]:
    return body | {"data": body["data"] | facts}


def _without_id(body: dict[str, Any], scene: Scene) -> dict[str, Any]:
    return body | {"data": {key: value for key, value in body["data"].items() if key != scene.id_key}}


def _top_level(body: dict[str, Any], scene: Scene) -> dict[str, Any]:
    return _without_id(body, scene) | {scene.id_key: scene.job_id}


def _with_amount(value: object) -> Reshape:
    return lambda body, _: _data(body, {"amount": value})


def _money() -> Iterator[Fault]:
    for name, value, text in AMOUNTS:
        yield CreateFault(
            name=name,
            ids=("F21",),
            provider="shortapi",
            reshape=_with_amount(value),
            text=f"{text}; accepted, billed as listed",
        )
    yield CreateFault(
        name="amount-missing",
        ids=("F21",),
        provider="shortapi",
        reshape=lambda body, scene: body | {"data": {scene.id_key: scene.job_id}},
        text="there is no amount; accepted, billed as listed",
    )
    for name, factor in (("overbill-1pct", "1.01"), ("overbill-30pct", "1.3"), ("overbill-10000x", "10000")):
        yield CreateFault(
            name=name, ids=("F22",), factor=Decimal(factor), text=f"accepted, and billed {factor} times the list price"
        )
