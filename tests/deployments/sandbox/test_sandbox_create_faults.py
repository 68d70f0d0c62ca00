"""Every fault of a create does on the socket what its name promises, and the account knows whether it was accepted."""

import gzip
import json
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest

from deployments.sandbox import FAULTS, Sandbox
from deployments.sandbox.faults.kinds import CreateFault
from deployments.sandbox.shelf import PLAIN

WEB = httpx.Client(verify=PLAIN, headers={"Connection": "close"}, timeout=120)
"""On a fresh connection each time; loading certificates would cost 40 ms a client."""
PATIENCE, LONG = 0.3, 60.0
"""Seconds; short only where silence is what is promised, so that a busy machine changes no verdict."""
KEY = {"Authorization": "Bearer canary-key-7f3a"}
CREATES = [fault for fault in FAULTS.values() if isinstance(fault, CreateFault)]
MEBI = 1024 * 1024


@dataclass(frozen=True)
class Outcome:
    """What a client got: an exception of httpx, or status, headers and the bytes as they came over the wire."""

    error: str = ""
    status: int = 0
    headers: httpx.Headers = field(default_factory=httpx.Headers)
    raw: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.raw)


def send(customer: Any, patience: float = LONG) -> Outcome:
    """One create by a client that gives up on silence."""
    body = bytearray()
    try:
        with WEB.stream("POST", customer.create_url, json=customer.order(), headers=KEY, timeout=patience) as reply:
            for part in reply.iter_raw():
                body += part
    except httpx.HTTPError as error:
        return Outcome(error=type(error).__name__, raw=bytes(body))
    return Outcome(status=reply.status_code, headers=reply.headers, raw=bytes(body))


def drips(customer: Any, enough: int) -> bytes:
    """The first bytes of a reply that may never end."""
    host, port = customer.sandbox.url.removeprefix("http://").split(":")
    body = json.dumps(customer.order()).encode()
    path = customer.create_url.removeprefix(customer.sandbox.url)
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer k\r\nContent-Length: {len(body)}\r\n\r\n"
    seen = b""
    with socket.create_connection((host, int(port)), timeout=60) as line:
        line.sendall(head.encode() + body)
        while len(seen) < enough:
            seen += line.recv(65536)
    return seen


Check = Callable[[Outcome], object]


def _fails(error: str) -> Check:
    return lambda got: got.error == error


def _says(status: int, kind: str = "text/html") -> Check:
    return lambda got: got.status == status and got.headers["content-type"].startswith(kind)


def _moved(status: int) -> Check:
    return lambda got: got.status == status and got.headers["location"] == "?again=1"


def _unreadable(got: Outcome) -> bool:
    try:
        json.loads(got.raw)
    except (ValueError, RecursionError):
        return got.status == 200
    return False


def _refused(status: int, words: str) -> Check:
    return lambda got: got.status == status and words in got.raw.decode() and "data" not in got.json


def _retry_after(value: str | None) -> Check:
    return lambda got: got.status == 429 and got.headers.get("retry-after") == value


def _code(value: int, *, with_data: bool = False) -> Check:
    return lambda got: value in (got.json.get("code"), got.json.get("error_code")) and ("data" in got.json) is with_data


def _contradicts(got: Outcome) -> bool:
    body = got.json
    flag = body.get("code") == 0 or body.get("success") is True
    return flag and "internal error" in (body.get("info") or body.get("errorMsg"))


def _the_id(got: Outcome) -> Any:
    return got.json["data"].get("job_id", got.json["data"].get("task_id"))


def _amount(value: object) -> Check:
    return lambda got: repr(got.json["data"].get("amount")) == repr(value) and _the_id(got)


def _honest(got: Outcome) -> bool:
    return got.status == 200 and isinstance(_the_id(got), str)


EXPECTED: dict[str, Check] = {
    **{f"hang-{side}": _fails("ReadTimeout") for side in ("before", "after")},
    **{f"close-{side}": _fails("RemoteProtocolError") for side in ("before", "after")},
    **{f"reset-{side}": _fails("ReadError") for side in ("before", "after")},
    **{f"html-{side}": _says(200) for side in ("before", "after")},
    **{f"empty-body-{side}": lambda got: got.status == 200 and got.raw == b"" for side in ("before", "after")},
    **{f"body-cut-{side}": _fails("RemoteProtocolError") for side in ("before", "after")},
    **{f"chunk-cut-{side}": _fails("RemoteProtocolError") for side in ("before", "after")},
    **{f"redirect-loop-{side}": _moved(307) for side in ("before", "after")},
    **{f"http-{status}-{side}": _says(status) for status in (500, 502, 503, 504, 408, 409) for side in ("before", "after")},
    **{f"http-{status}-{side}": _moved(status) for status in (301, 302, 303, 307, 308) for side in ("before", "after")},
    "json-cut-start": lambda got: got.raw == b"{",
    "json-cut-middle": _unreadable,
    "json-cut-end": lambda got: _unreadable(got) and b"_id" in got.raw,
    "json-invalid": _unreadable,
    "json-utf16": lambda got: got.raw[:2] == b"\xff\xfe" and "utf-8" in got.headers["content-type"],
    "json-bom": lambda got: got.raw[:3] == b"\xef\xbb\xbf" and json.loads(got.raw[3:]),
    "json-deep": _unreadable,
    "json-100mb": lambda got: len(got.raw) > 100 * MEBI and got.raw.startswith(b"{"),
    "gzip-bomb": lambda got: len(got.raw) < 100_000 and len(gzip.decompress(got.raw)) == 50 * MEBI,
    "encoding-lie": lambda got: got.headers["content-encoding"] == "gzip" and got.json,
    "late-reply": _honest,
    "idle-close": lambda got: got.headers["connection"] == "keep-alive" and _honest(got),
    "json-twin-keys-shortapi": lambda got: got.raw.count(b'"job_id"') == 2 and _the_id(got).startswith("00000000"),
    "json-twin-keys-sjinn": lambda got: got.raw.count(b'"task_id"') == 2 and _the_id(got).startswith("00000000"),
    "http-400": _refused(400, "invalid"),
    "http-401": _refused(401, "unauthorized"),
    "http-402": _refused(402, "insufficient credit"),
    "http-403": _refused(403, "permission"),
    "http-404": _refused(404, "not found"),
    "http-422": _refused(422, "invalid duration"),
    "moderation-input": _refused(400, "content policy"),
    "http-429": _retry_after(None),
    "http-429-seconds": _retry_after("2"),
    "http-429-date": lambda got: parsedate_to_datetime(got.headers["retry-after"]),
    "http-429-garbage": _retry_after("soon"),
    "http-429-huge": _retry_after("1000000000"),
    "http-429-negative": _retry_after("-5"),
    "refused-model": _refused(200, "invalid model"),
    "refused-credit": _refused(200, "insufficient credit"),
    "code-100": _code(100),
    "code-101": _code(101),
    "code-401": _code(401),
    "code-400": _code(400),
    "unknown-code-before": _code(5117),
    "unknown-code-after": _code(5117),
    "refusal-with-id": lambda got: _code(5117, with_data=True)(got) and _the_id(got),
    "contradiction-before": lambda got: _contradicts(got) and _the_id(got) is None,
    "contradiction-after": lambda got: _contradicts(got) and _the_id(got),
    "id-empty": lambda got: _the_id(got) == "",
    "id-null": lambda got: b'_id": null' in got.raw,
    "id-object": lambda got: _the_id(got) == {"value": 1},
    "id-list": lambda got: isinstance(_the_id(got), list) and len(_the_id(got)) == 1,
    "id-number": lambda got: isinstance(_the_id(got), int),
    "id-missing": lambda got: b"_id" not in got.raw,
    "id-top-level": lambda got: _the_id(got) is None and (got.json.get("job_id") or got.json.get("task_id")),
    "id-of-another": lambda got: _the_id(got).startswith("00000000"),
    "amount-word": _amount("abc"),
    "amount-negative": _amount("-0.715"),
    "amount-nan": _amount(float("nan")),
    "amount-nan-text": _amount("NaN"),
    "amount-1e308": _amount("1e308"),
    "amount-comma": _amount("0,715"),
    "amount-currency": _amount("0.715 EUR"),
    "amount-number": _amount(0.715),
    "amount-missing": _amount(None),
    **{f"overbill-{size}": _honest for size in ("1pct", "30pct", "10000x")},
    "callback-first": _honest,
    "callback-then-hang": _fails("ReadTimeout"),
    "mode-ignored": _honest,
    "duration-ignored": _honest,
    "double-accept": _honest,
    "foreign-spend": _honest,
}  # fmt: skip
"""Fault name to what the client must see. Drips and the used connection have tests of their own."""
OWN_TESTS = {
    "trickle-head-before",
    "trickle-head-after",
    "trickle-body-before",
    "trickle-body-after",
    "used-connection-closed",
}
CASES = [
    pytest.param(fault, provider, id=f"{provider}-{fault.name}")
    for fault in CREATES
    for provider in ("shortapi", "sjinn")
    if fault.provider in {"", provider} and fault.name not in OWN_TESTS
]


def test_each_create_fault_has_an_expectation() -> None:
    """A fault that is added without one makes this fail."""
    assert {fault.name for fault in CREATES} == set(EXPECTED) | OWN_TESTS


@pytest.mark.parametrize(("fault", "provider"), CASES)
def test_a_create_fault_does_what_it_says_once(
    fault: CreateFault, provider: str, sandbox: Sandbox, customer_of: Any
) -> None:
    """The client sees the lie, the account holds one create and the job exactly where the text says accepted."""
    customer = customer_of(sandbox, provider)
    sandbox.fault(fault.name)
    got = send(customer, PATIENCE if "hang" in fault.name else LONG)
    account = sandbox.account()
    [create] = account.creates
    assert EXPECTED[fault.name](got), got
    assert create.fault == fault.name
    assert len(account.jobs) == (0 if not fault.accepts else 2 if fault.twice else 1)
    assert set(account.states.values()) <= {"done"}
    assert (create.outcome == "accepted") is fault.accepts
    assert fault.accepts or not account.total(account.jobs[0].unit if account.jobs else "USD").billed
    assert _honest(send(customer)), "the next create is well again"


@pytest.mark.parametrize("provider", ["shortapi", "sjinn"])
@pytest.mark.parametrize("side", ["before", "after"])
def test_F23_a_trickled_reply_never_ends(provider: str, side: str, sandbox: Sandbox, customer_of: Any) -> None:
    """Each read succeeds, so only a deadline over the whole call helps; the head lacks its end, the body its JSON."""
    customer = customer_of(sandbox, provider)
    sandbox.fault(f"trickle-head-{side}")
    sandbox.fault(f"trickle-body-{side}")
    head, body = drips(customer, 200), drips(customer, 200)
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\n\r\n" not in head
    assert body.partition(b"\r\n\r\n")[2].strip() == b""
    assert len(sandbox.account().jobs) == (2 if side == "after" else 0)


def test_F07_an_upload_is_cut_half_way(sandbox: Sandbox, customer_of: Any) -> None:
    """The client cannot finish sending; nothing is accepted, the account has seen one create."""
    shortapi = customer_of(sandbox, "shortapi")
    sandbox.fault("upload-cut")
    with pytest.raises((httpx.NetworkError, httpx.ProtocolError)):
        shortapi.post(shortapi.order(image="A" * 30 * MEBI))
    assert [create.outcome for create in sandbox.account().creates] == ["cut"]
    assert sandbox.account().jobs == ()


def test_F25_only_a_used_connection_finds_itself_closed(sandbox: Sandbox, customer_of: Any) -> None:
    """A create on a fresh connection passes; one on a connection with a past is lost. The account counts both."""
    shortapi = customer_of(sandbox, "shortapi")
    sandbox.fault("used-connection-closed")
    assert shortapi.create().json()["code"] == 0
    with httpx.Client(headers=KEY) as pooled:
        pooled.get(f"{sandbox.url}/api/v1/job/query?id=x")
        with pytest.raises(httpx.RemoteProtocolError):
            pooled.post(shortapi.create_url, json=shortapi.order())
    account = sandbox.account()
    assert [(create.outcome, create.nth_on_connection) for create in account.creates] == [("accepted", 1), ("lost", 2)]
    assert account.creates_on_used_connections == 1


def test_F26_following_the_redirects_shows_in_the_account(sandbox: Sandbox, customer_of: Any) -> None:
    """A client that follows a 307 loop sends the create again and again; the job was accepted once."""
    shortapi = customer_of(sandbox, "shortapi")
    sandbox.fault("redirect-loop-after")
    with httpx.Client(follow_redirects=True, max_redirects=4) as eager, pytest.raises(httpx.TooManyRedirects):
        eager.post(shortapi.create_url, json=shortapi.order(), headers=KEY)
    account = sandbox.account()
    assert len(account.creates) == 5
    assert len(account.jobs) == 1


def test_F20_the_second_create_gets_the_id_of_the_first(sandbox: Sandbox, customer_of: Any) -> None:
    """Both are accepted and billed, and only one id is known to the client."""
    shortapi = customer_of(sandbox, "shortapi")
    sandbox.fault("id-of-another", at=2)
    first, second = (shortapi.create().json()["data"]["job_id"] for _ in range(2))
    assert first == second
    assert len(sandbox.account().jobs) == 2


@pytest.mark.parametrize(("size", "billed"), [("1pct", "0.72215"), ("30pct", "0.9295"), ("10000x", "7150")])
def test_F22_an_overbilled_job_says_so_in_its_amount(
    size: str, billed: str, sandbox: Sandbox, customer_of: Any
) -> None:
    """The account bills what the reply names."""
    shortapi = customer_of(sandbox, "shortapi")
    sandbox.fault(f"overbill-{size}")
    assert shortapi.create().json()["data"]["amount"] == billed
    assert sandbox.account().total("USD").billed == Decimal(billed)


def test_F29_a_provider_can_make_something_else_than_was_ordered(sandbox: Sandbox, customer_of: Any) -> None:
    """Pro in place of std, five seconds in place of nine; each billed as made."""
    shortapi = customer_of(sandbox, "shortapi")
    sandbox.fault("mode-ignored")
    sandbox.fault("duration-ignored", at=2)
    jobs = [shortapi.buy(duration="9"), shortapi.buy(duration="9")]
    assert [(job.pro, job.seconds, str(job.billed)) for job in jobs] == [(True, 9, "1.710"), (False, 5, "0.715")]


@pytest.mark.parametrize("name", ["callback-first", "callback-then-hang"])
def test_F27_the_callback_is_answered_before_the_create(
    name: str, slow_sandbox: Sandbox, customer_of: Any, listener: Any
) -> None:
    """The job is done at once; the reply comes later or never."""
    shortapi = customer_of(slow_sandbox, "shortapi")
    slow_sandbox.fault(name)
    body = shortapi.order() | {"callback_url": listener.url}
    try:
        WEB.post(shortapi.create_url, json=body, headers=KEY, timeout=PATIENCE if "hang" in name else LONG)
    except httpx.ReadTimeout:
        assert name == "callback-then-hang"
    [(_, told)] = listener.seen
    [job] = slow_sandbox.account().jobs
    assert json.loads(told)["data"]["id"] == job.job_id
    assert job.finished


def test_F53_one_request_can_make_two_jobs_that_both_call_back(
    sandbox: Sandbox, customer_of: Any, listener: Any
) -> None:
    """Two ids for one callback address, both billed."""
    shortapi = customer_of(sandbox, "shortapi")
    sandbox.fault("double-accept")
    named = shortapi.create(callback_url=listener.url).json()["data"]["job_id"]
    sandbox.settle()
    told = {json.loads(body)["data"]["id"] for _, body in listener.seen}
    assert len(told) == 2
    assert named in told
    assert sandbox.account().total("USD").billed == Decimal("1.43")


def test_F04_a_job_whose_reply_was_lost_is_made_and_calls_back(
    sandbox: Sandbox, customer_of: Any, listener: Any
) -> None:
    """The account bills it and the callback is the only news of it."""
    shortapi = customer_of(sandbox, "shortapi")
    sandbox.fault("close-after")
    with pytest.raises(httpx.RemoteProtocolError):
        shortapi.create(callback_url=listener.url)
    sandbox.settle()
    [job] = sandbox.account().jobs
    [(_, told)] = listener.seen
    assert json.loads(told)["data"]["id"] == job.job_id
    assert shortapi.query(job.job_id).json()["data"]["status"] == 2


def test_F01_nobody_listens_at_the_refused_address(sandbox: Sandbox) -> None:
    """Connections are refused; https on the plain port fails in TLS."""
    with pytest.raises(httpx.ConnectError):
        WEB.post(sandbox.refused_url)
    with pytest.raises(httpx.ConnectError):
        WEB.post(sandbox.url.replace("http:", "https:"))
    assert sandbox.account().creates == ()


def test_F02_connecting_to_the_silent_address_never_ends(sandbox: Sandbox) -> None:
    """The connect timeout is what ends it."""
    with pytest.raises(httpx.ConnectTimeout):
        WEB.post(sandbox.silent_url, timeout=PATIENCE)
