"""The account is the truth: it is on disk before a reply leaves, and survives kill -9."""

import json
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from deployments.sandbox import InUse, Sandbox
from deployments.sandbox.shelf import PLAIN
from tests.fixtures.serving import eventually

WEB = httpx.Client(verify=PLAIN, headers={"Connection": "close"}, timeout=120)
"""On a fresh connection each time; loading certificates would cost 40 ms a client."""
CANARY = "canary-key-7f3a"


class Process:
    """A sandbox in a process of its own, seen as a customer sees one in this process."""

    def __init__(self, account: Path, *options: str) -> None:
        command = [sys.executable, "-m", "deployments.sandbox", "--port", "0", "--json", "--account", str(account)]
        self.run = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True)
        assert self.run.stdout is not None
        self.facts = json.loads(self.run.stdout.readline())
        self.url = self.facts["url"]

    def truth(self) -> dict[str, Any]:
        document: dict[str, Any] = WEB.get(f"{self.url}/_sandbox/account").json()
        return document

    def end(self, number: signal.Signals) -> int:
        self.run.send_signal(number)
        code = self.run.wait(timeout=120)
        assert self.run.stdout is not None
        self.run.stdout.close()
        return code


@contextmanager
def _process(account: Path, *options: str) -> Iterator[Process]:
    started = Process(account, *options)
    try:
        yield started
    finally:
        if started.run.poll() is None:
            started.end(signal.SIGKILL)


def test_F04_a_job_accepted_under_a_lost_reply_survives_kill_9(customer_of: Any, tmp_path: Path) -> None:
    """The client never heard of it; after the restart it is accepted, billed, done, and has the same bytes."""
    account = tmp_path / "account.jsonl"
    with _process(account, "--job-seconds", "0", "--fault", "hang-after") as first:
        shortapi = customer_of(first, "shortapi")
        with pytest.raises(httpx.ReadTimeout):
            shortapi.post(shortapi.order(), timeout=httpx.Timeout(120, read=0.3))
        [before] = eventually(lambda: first.truth()["jobs"])
        clip = WEB.get(shortapi.clip_url(before["job_id"])).content
        first.end(signal.SIGKILL)
    with _process(account) as second:
        shortapi = customer_of(second, "shortapi")
        truth = second.truth()
        again = WEB.get(shortapi.clip_url(before["job_id"])).content
    assert [job["job_id"] for job in truth["jobs"]] == [before["job_id"]]
    assert truth["totals"]["USD"] == {"billed": "0.715", "refunded": "0", "net": "0.715"}
    assert truth["creates"][0]["fault"] == "hang-after"
    assert again == clip


def test_the_account_is_written_before_the_reply_leaves(customer_of: Any, tmp_path: Path) -> None:
    """Killed right after each of 20 replies of a crowd, it holds every id that a client was told."""
    account = tmp_path / "account.jsonl"
    with _process(account) as running:
        shortapi = customer_of(running, "shortapi")
        told: list[str] = []
        crowd = [
            threading.Thread(target=lambda: told.append(shortapi.create().json()["data"]["job_id"])) for _ in range(20)
        ]
        for one in crowd:
            one.start()
        for one in crowd:
            one.join()
        running.end(signal.SIGKILL)
    booked = [job["job_id"] for line in account.read_text().splitlines() for job in json.loads(line).get("jobs", [])]
    assert set(told) == set(booked)
    assert len(booked) == 20


def test_a_line_cut_by_a_crash_is_dropped_and_the_next_one_is_whole(customer_of: Any, tmp_path: Path) -> None:
    """Everything before it counts."""
    account = tmp_path / "account.jsonl"
    with Sandbox(account_path=account) as running:
        customer_of(running, "shortapi").create()
    with account.open("ab") as file:
        file.write(b'{"event":"create","n":2,"at"')
    with Sandbox(account_path=account) as running:
        customer_of(running, "shortapi").create()
    with Sandbox(account_path=account) as running:
        assert len(running.account().jobs) == 2
        assert [create.n for create in running.account().creates] == [1, 2]


def test_a_restart_goes_on_with_time_jobs_refunds_and_callbacks(
    customer_of: Any, listener: Any, tmp_path: Path
) -> None:
    """What was due while nobody was there happens at the start."""
    account = tmp_path / "account.jsonl"
    with Sandbox(job_seconds=100, clock="manual", account_path=account, faults=["failed-late-refund"]) as running:
        shortapi = customer_of(running, "shortapi")
        shortapi.create(callback_url=listener.url)
        running.advance(150)
        running.settle()
    with Sandbox(job_seconds=100, clock="manual", account_path=account) as running:
        [job] = running.account().jobs
        assert (job.finished, job.refunded) == (True, Decimal(0))
        running.advance(50)
        assert running.account().total("USD").net == 0
    assert len(listener.seen) == 1


def test_an_account_has_one_writer(tmp_path: Path) -> None:
    """A second sandbox on the same file is refused."""
    with (
        Sandbox(account_path=tmp_path / "account.jsonl"),
        pytest.raises(InUse),
        Sandbox(account_path=tmp_path / "account.jsonl"),
    ):
        pass


def test_the_account_can_be_read_as_json(shortapi: Any, sjinn: Any) -> None:
    """Other processes read it over HTTP; money is a decimal string."""
    shortapi.create(mode="pro")
    shortapi.create(mode="best")
    sjinn.create()
    document = WEB.get(f"{shortapi.sandbox.url}/_sandbox/account").json()
    assert document["accepts"] == 2
    assert document["create_requests"] == 3
    assert document["totals"] == {
        "USD": {"billed": "0.95", "refunded": "0", "net": "0.95"},
        "credits": {"billed": "1000", "refunded": "0", "net": "1000"},
    }
    assert document["providers"]["shortapi"]["refused"] == 1
    assert document["providers"]["sjinn"]["balance"] == "99999000"
    assert document["creates"][0]["body"] == shortapi.order(mode="pro")
    assert {job["state"] for job in document["jobs"]} == {"done"}


def test_queries_and_downloads_are_counted(shortapi: Any) -> None:
    """By job, and one by one in the log."""
    job = shortapi.buy()
    url = shortapi.clip_url(job.job_id)
    shortapi.query(job.job_id)
    WEB.get(url)
    account = shortapi.sandbox.account()
    after = account.job(job.job_id)
    assert (after.queries, after.downloads) == (2, 1)
    assert [(seen.kind, seen.path) for seen in account.requests] == [
        ("query", "/api/v1/job/query"),
        ("query", "/api/v1/job/query"),
        ("file", f"/files/clips/{job.job_id}.mp4"),
    ]


def test_S07_no_key_and_no_callback_token_is_shown_or_logged(shortapi: Any, listener: Any) -> None:
    """The key is in no file; the token is in the 0600 account file only, as it is needed to call back."""
    shortapi.create(callback_url=listener.url)
    job = shortapi.sandbox.account().jobs[0]
    shortapi.clip_url(job.job_id)
    shown = WEB.get(f"{shortapi.sandbox.url}/_sandbox/account").text + WEB.get(shortapi.sandbox.url).text
    path = shortapi.sandbox.account_path
    assert CANARY not in shown + path.read_text()
    assert "secret-token" not in shown
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_long_fields_are_kept_as_their_hash(shortapi: Any) -> None:
    """An inline still does not fill the account."""
    shortapi.create(prompt="x" * 100_000)
    assert "100000 characters" in shortapi.sandbox.account().creates[0].body["args"]["prompt"]
    assert shortapi.sandbox.account_path.stat().st_size < 110_000


def test_an_unreadable_request_is_answered_and_not_booked(sandbox: Sandbox) -> None:
    """HTTP 400 for bytes that are no HTTP."""
    host, port = sandbox.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as line:
        line.sendall(b"HELO sandbox\r\n\r\n")
        assert line.recv(100).startswith(b"HTTP/1.1 400")
    assert sandbox.account().requests == ()


def test_without_a_path_the_account_is_gone_with_the_sandbox() -> None:
    """A temporary file, removed at the end."""
    with Sandbox() as running:
        path = running.account_path
        assert path.exists()
    assert not path.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_ends_cleanly(number: signal.Signals, tmp_path: Path) -> None:
    """Exit code 0, also with a reply that hangs."""
    with _process(tmp_path / "account.jsonl", "--fault", "query-hang*") as running:
        assert running.truth()["accepts"] == 0
        assert running.end(number) == 0


def test_the_json_document_has_every_address(tmp_path: Path) -> None:
    """One document, then the server stays up."""
    with _process(tmp_path / "account.jsonl", "--fault", "stuck") as running:
        facts = running.facts
        assert facts["account_path"] == str(tmp_path / "account.jsonl")
        assert facts["faults"] == ["stuck"]
        assert WEB.get(facts["account_url"]).status_code == 200
        assert WEB.get(facts["faults_url"]).json()["armed"][0]["entry"] == "stuck"
        assert {facts["shortapi_url"], facts["sjinn_url"], facts["url"]} == {running.url}
        with pytest.raises(httpx.ConnectError):
            WEB.get(facts["refused_url"])


@pytest.mark.parametrize("fault", ["", "hang-after", "trickle-body-after", "json-100mb", "reset-after"])
def test_a_sandbox_ends_whatever_its_clients_are_waiting_for(fault: str, customer_of: Any) -> None:
    """Ten times over, with a client that has asked and reads nothing: it closes, and leaves no socket open."""
    for _ in range(10):
        with Sandbox(job_seconds=0, lag=0.001, faults=[fault] if fault else []) as running:
            shortapi = customer_of(running, "shortapi")
            body = json.dumps(shortapi.order()).encode()
            head = f"POST /api/v1/job/create HTTP/1.1\r\nAuthorization: Bearer k\r\nContent-Length: {len(body)}\r\n\r\n"
            host, port = running.url.removeprefix("http://").split(":")
            line = socket.create_connection((host, int(port)), timeout=60)
            line.sendall(head.encode() + body)
        line.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(port)), timeout=60)
