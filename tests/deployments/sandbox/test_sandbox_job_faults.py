"""Wrong ends of jobs, wrong answers to queries, wrong callbacks."""

import json
import socket
import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest

from deployments.sandbox import FAULTS, Sandbox
from deployments.sandbox.faults.kinds import CallbackFault, JobFault, QueryFault
from deployments.sandbox.shelf import PLAIN

WEB = httpx.Client(verify=PLAIN, headers={"Connection": "close"}, timeout=120)
"""On a fresh connection each time; loading certificates would cost 40 ms a client."""
PATIENCE, LONG = 0.3, 60.0
"""Seconds; short only where silence is what is promised, so that a busy machine changes no verdict."""
QUERIES = [fault for fault in FAULTS.values() if isinstance(fault, QueryFault)]

Check = Callable[[Any], object]


def ask(customer: Any, job_id: str, patience: float) -> httpx.Response | str:
    """The reply, or the name of the exception."""
    try:
        reply: httpx.Response = customer.query(job_id, timeout=patience)
    except httpx.HTTPError as error:
        return type(error).__name__
    return reply


def _data(reply: Any) -> Any:
    return reply.json()["data"]


def _status(value: Any) -> Check:
    return lambda reply: _data(reply)["status"] == value and type(_data(reply)["status"]) is type(value)


def _urls(reply: Any) -> list[str]:
    found = _data(reply)
    return [video["url"] for video in found["result"]["videos"]] if "result" in found else found["output_urls"]


def _http(value: int) -> Check:
    return lambda reply: reply.status_code == value


def _not_json(reply: Any) -> bool:
    try:
        json.loads(reply.content)
    except ValueError:
        return True
    return False


EXPECTED: dict[str, Check] = {
    **{f"query-{value}": _http(value) for value in (401, 403, 404, 429, 500, 502, 503, 504)},
    "query-html": lambda reply: reply.status_code == 200 and _not_json(reply),
    "query-hang": lambda reply: reply == "ReadTimeout",
    "query-close": lambda reply: reply == "RemoteProtocolError",
    "query-reset": lambda reply: reply == "ReadError",
    "query-cut": _not_json,
    "query-gzip-bomb": lambda reply: len(reply.content) == 50 * 1024 * 1024,
    "query-redirect": lambda reply: reply.headers["location"] == "http://169.254.169.254/latest/",
    "query-unknown": lambda reply: 404 in (reply.json().get("code"), reply.json().get("error_code")),
    "query-empty": lambda reply: _data(reply) == {},
    "query-null": lambda reply: _data(reply) is None,
    "query-of-another": lambda reply: "00000000-0000-4000-8000-000000000000" in reply.text,
    "status-unknown": _status(99),
    "status-null": _status(None),
    "status-string": _status("1"),
    "status-list": _status([1]),
    "status-word": _status("Archiving"),
    "status-missing": lambda reply: "status" not in _data(reply),
    "status-two": lambda reply: _data(reply)["status"] == 2 and "error" not in _data(reply),
    "status-backwards": lambda reply: _data(reply)["status"] in {0, 1} and "http" not in reply.text,
    "status-failed-first": lambda reply: _data(reply)["status"] in {3, -1},
    "result-empty": lambda reply: _urls(reply) == [],
    "result-two": lambda reply: len(_urls(reply)) == 2,
    "result-audio-first": lambda reply: WEB.get(_urls(reply)[0]).content[4:8] == b"ftyp" and len(_urls(reply)) == 2,
    "result-image": lambda reply: WEB.get(_urls(reply)[0]).content.startswith(b"\x89PNG"),
    "result-private": lambda reply: _urls(reply)[0].startswith("http://169.254.169.254/"),
    "result-file": lambda reply: _urls(reply) == ["file:///etc/passwd"],
    "result-null": lambda reply: _data(reply).get("result", _data(reply).get("output_urls")) is None,
    "result-odd": lambda reply: "outputs" in reply.text and "videos" not in reply.text,
    "result-images": lambda reply: _data(reply)["result"]["images"][0]["url"],
    "result-strings": lambda reply: isinstance(_data(reply)["result"]["videos"][0], str),
    "result-url": lambda reply: isinstance(_data(reply)["result"]["url"], str),
    "result-video-url": lambda reply: isinstance(_data(reply)["output"]["video_url"], str),
}
CASES = [
    pytest.param(fault, provider, id=f"{provider}-{fault.name}")
    for fault in QUERIES
    for provider in ("shortapi", "sjinn")
    if fault.provider in {"", provider} and fault.name != "query-trickle"
]


def test_each_query_fault_has_an_expectation() -> None:
    """A fault that is added without one makes this fail."""
    assert {fault.name for fault in QUERIES} == {*EXPECTED, "query-trickle"}


@pytest.mark.parametrize(("fault", "provider"), CASES)
def test_a_query_fault_does_what_it_says_once(
    fault: QueryFault, provider: str, sandbox: Sandbox, customer_of: Any
) -> None:
    """The job is well, and the next query says so; nothing about money changes."""
    customer = customer_of(sandbox, provider)
    job = customer.buy()
    if fault.when_told:
        customer.clip_url(job.job_id)
    sandbox.fault(fault.name)
    assert EXPECTED[fault.name](ask(customer, job.job_id, PATIENCE if fault.name == "query-hang" else LONG))
    assert WEB.get(customer.clip_url(job.job_id)).status_code == 200
    after = sandbox.account().job(job.job_id)
    assert (after.billed, after.refunded) == (job.billed, Decimal(0))


def test_F31_a_trickled_answer_never_ends(sandbox: Sandbox, customer_of: Any) -> None:
    """Each read succeeds; the body is blanks only."""
    shortapi = customer_of(sandbox, "shortapi")
    job = shortapi.buy()
    sandbox.fault("query-trickle")
    address = f"{sandbox.url}/api/v1/job/query?id={job.job_id}"
    with WEB.stream("GET", address, headers={"Authorization": "Bearer k"}) as reply:
        parts = reply.iter_raw()
        assert [next(parts).strip() for _ in range(20)] == [b""] * 20


def test_faults_that_need_a_finished_job_wait_for_one(slow_sandbox: Sandbox, customer_of: Any) -> None:
    """Queries of a running job do not use them up."""
    shortapi = customer_of(slow_sandbox, "shortapi")
    job = shortapi.buy()
    slow_sandbox.fault("result-empty")
    assert _data(shortapi.query(job.job_id)) == {"id": job.job_id, "status": 0}
    slow_sandbox.advance(100)
    assert _urls(shortapi.query(job.job_id)) == []


JOBS: dict[str, tuple[str, str, Decimal]] = {
    "stuck": ("running", "running", Decimal(0)),
    "failed-refunded": ("failed", "failed", Decimal(1)),
    "failed-billed": ("failed", "failed", Decimal(0)),
    "failed-silent": ("failed", "failed", Decimal(0)),
    "failed-late-refund": ("failed", "failed", Decimal(1)),
    "moderation-output": ("failed", "failed", Decimal(0)),
    "failed-negative": ("failed", "failed", Decimal(0)),
    "failed-nasty-text": ("failed", "failed", Decimal(0)),
    "failed-two": ("failed", "failed", Decimal(0)),
}
"""State at the end, state much later, share of the bill that comes back by then."""


def test_each_job_fault_has_a_test() -> None:
    """Flawed clips are tested beside the clips."""
    names = {fault.name for fault in FAULTS.values() if isinstance(fault, JobFault)}
    assert {name for name in names if not name.startswith("clip-")} == set(JOBS)


@pytest.mark.parametrize("provider", ["shortapi", "sjinn"])
@pytest.mark.parametrize("name", JOBS)
def test_a_job_fault_bills_and_ends_as_it_says(
    name: str, provider: str, slow_sandbox: Sandbox, customer_of: Any
) -> None:
    """Every one is accepted and billed in full first."""
    if FAULTS[name].provider not in {"", provider}:
        provider = FAULTS[name].provider
    customer = customer_of(slow_sandbox, provider)
    slow_sandbox.fault(name)
    job = customer.buy()
    at_end, much_later, share = JOBS[name]
    slow_sandbox.advance(100)
    assert slow_sandbox.account().states[job.job_id] == at_end
    slow_sandbox.advance(10_000)
    after = slow_sandbox.account()
    assert after.states[job.job_id] == much_later
    assert (job.billed > 0, after.job(job.job_id).refunded) == (True, job.billed * share)


@pytest.mark.parametrize(
    ("name", "provider", "facts"),
    [
        ("failed-refunded", "shortapi", {"status": 3, "refunded": True}),
        ("failed-billed", "shortapi", {"status": 3, "refunded": False}),
        ("failed-silent", "shortapi", {"status": 3}),
        ("failed-negative", "shortapi", {"status": -7}),
        ("failed-negative", "sjinn", {"status": -7}),
        ("failed-two", "sjinn", {"status": 2, "error": "generation failed"}),
        ("moderation-output", "sjinn", {"status": -1, "error": "output violates the content policy: risk control"}),
    ],
)
def test_a_failed_job_says_of_its_money_what_the_fault_names(
    name: str, provider: str, facts: dict[str, Any], sandbox: Sandbox, customer_of: Any
) -> None:
    """ShortAPI has `refunded`, true or false or not at all; SJinn says nothing of it."""
    customer = customer_of(sandbox, provider)
    sandbox.fault(name)
    said = _data(customer.query(customer.buy().job_id))
    assert facts.items() <= said.items()
    assert ("refunded" in facts) == ("refunded" in said)


def test_F38_a_late_refund_comes_one_job_time_after_the_failure(slow_sandbox: Sandbox, customer_of: Any) -> None:
    """Until then nothing says whether the money is gone."""
    shortapi = customer_of(slow_sandbox, "shortapi")
    slow_sandbox.fault("failed-late-refund")
    job = shortapi.buy()
    slow_sandbox.advance(199)
    assert "refunded" not in _data(shortapi.query(job.job_id))
    slow_sandbox.advance(1)
    assert _data(shortapi.query(job.job_id))["refunded"] is True


def test_S24_an_error_text_can_hold_control_codes_and_markup(sandbox: Sandbox, customer_of: Any) -> None:
    """What a log, a page or a spreadsheet must not swallow."""
    shortapi = customer_of(sandbox, "shortapi")
    sandbox.fault("failed-nasty-text")
    said = _data(shortapi.query(shortapi.buy().job_id))["error"]
    assert all(part in said for part in ("\x1b[31m", "\r\n", "<script>", "{{7*7}}"))


def _paths(listener: Any) -> list[str]:
    return [path for path, _ in listener.seen]


def _told(listener: Any) -> list[Any]:
    return [json.loads(body)["data"] for _, body in listener.seen]


HONEST = "/cb/01J/secret-token"
CALLBACKS: dict[str, Check] = {
    "callback-100-times": lambda got: len(set(got.seen)) == 1 and len(got.seen) == 100,
    "callback-backwards": lambda got: [one["status"] for one in _told(got)] == [2, 1],
    "callback-forged": lambda got: _paths(got) == ["/cb/01J/000000000000"],
    "callback-foreign": lambda got: _told(got)[0]["id"].startswith("00000000") and _paths(got) == [HONEST],
    "callback-replayed": lambda got: len(got.seen) == 2 and len(set(got.seen)) == 1,
    "callback-huge": lambda got: len(got.seen[0][1]) > 2 * 1024 * 1024,
    "callback-not-json": lambda got: got.seen[0][1].startswith(b"<xml>"),
    "callback-slow": lambda got: got.seen == [],
    "callback-never": lambda got: got.seen == [],
}


def test_each_callback_fault_has_an_expectation() -> None:
    """A fault that is added without one makes this fail."""
    assert {fault.name for fault in FAULTS.values() if isinstance(fault, CallbackFault)} == set(CALLBACKS)


@pytest.mark.parametrize("name", [name for name in CALLBACKS if name != "callback-slow"])
def test_a_callback_fault_does_what_it_says(name: str, slow_sandbox: Sandbox, customer_of: Any, listener: Any) -> None:
    """The job is done and billed whatever its callback does."""
    shortapi = customer_of(slow_sandbox, "shortapi")
    slow_sandbox.fault(name)
    shortapi.create(callback_url=listener.url)
    slow_sandbox.advance(100)
    slow_sandbox.settle()
    slow_sandbox.advance(3 * 86_400)
    slow_sandbox.settle()
    assert CALLBACKS[name](listener)
    assert set(slow_sandbox.account().states.values()) == {"done"}


def test_F50_a_slow_callback_drips_until_the_receiver_ends_it(sandbox: Sandbox, customer_of: Any) -> None:
    """A receiver that answers 408 and closes is what ends it; the account notes the answer."""
    seen: list[bytes] = []

    def receive() -> None:
        line, _ = gate.accept()
        with line:
            while sum(map(len, seen)) < 400:
                seen.append(line.recv(100))
            line.sendall(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n")
            while line.recv(1000):
                pass

    with socket.create_server(("127.0.0.1", 0)) as gate:
        thread = threading.Thread(target=receive)
        thread.start()
        shortapi = customer_of(sandbox, "shortapi")
        sandbox.fault("callback-slow")
        shortapi.create(callback_url=f"http://127.0.0.1:{gate.getsockname()[1]}/cb/x/y")
        sandbox.settle()
        thread.join()
    assert b"".join(seen).startswith(b"POST /cb/x/y HTTP/1.1\r\n")
    assert [call.status for call in sandbox.account().callbacks] == [408]
