"""A running sandbox and somebody who talks to it as any client would."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from deployments.sandbox import Job, Sandbox
from deployments.sandbox.shelf import PLAIN

WEB = httpx.Client(verify=PLAIN, headers={"Connection": "close"}, timeout=120)
"""On a fresh connection each time; loading certificates would cost 40 ms a client."""
KEY = {"Authorization": "Bearer canary-key-7f3a"}


@dataclass
class Customer:
    """A client of one provider, on a fresh connection for every request."""

    sandbox: Sandbox
    provider: str

    def order(self, **changes: Any) -> dict[str, Any]:
        """A valid create body, changed."""
        if self.provider == "shortapi":
            args: dict[str, Any] = {
                "mode": "std",
                "duration": "5",
                "multi_shot": False,
                "shot_type": "intelligence",
                "prompt": "Slow push in",
                "negative_prompt": "text",
                "image": "https://example.org/start.jpg",
                "generate_audio": False,
            }
            return {"model": "kwaivgi/kling-3.0/image-to-video", "args": _changed(args, changes)}
        given: dict[str, Any] = {
            "prompt": "Slow push in",
            "image": "https://example.org/start.jpg",
            "duration": 5,
            "multi_shot": False,
            "model_mode": "standard",
        }
        return {"tool_type": "kling3-image-to-video-api", "input": _changed(given, changes)}

    @property
    def create_url(self) -> str:
        path = "/api/v1/job/create" if self.provider == "shortapi" else "/api/un-api/create_tool_task"
        return self.sandbox.url + path

    def post(self, body: Any, **options: Any) -> httpx.Response:
        """Send a create body as it is."""
        return WEB.post(self.create_url, json=body, **{"headers": KEY, "timeout": 20, **options})

    def create(self, callback_url: str | None = None, **changes: Any) -> httpx.Response:
        """Order a clip."""
        body = self.order(**changes)
        if callback_url is not None:
            body["callback_url"] = callback_url
        return self.post(body)

    def buy(self, **changes: Any) -> Job:
        """Order a clip; the job as the account has it."""
        before = {job.job_id for job in self.sandbox.account().jobs}
        self.create(**changes)
        [job] = [job for job in self.sandbox.account().jobs if job.job_id not in before]
        return job

    def query(self, job_id: str, **options: Any) -> httpx.Response:
        """Ask for the state of a job."""
        options = {"headers": KEY, "timeout": 20, **options}
        if self.provider == "shortapi":
            return WEB.get(f"{self.sandbox.url}/api/v1/job/query", params={"id": job_id}, **options)
        return WEB.post(f"{self.sandbox.url}/api/un-api/query_tool_task_status", json={"task_id": job_id}, **options)

    def clip_url(self, job_id: str) -> str:
        """The address of a finished clip."""
        data = self.query(job_id).json()["data"]
        url = data["result"]["videos"][0]["url"] if self.provider == "shortapi" else data["output_urls"][0]
        assert isinstance(url, str)
        return url


def _changed(fields: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The fields with changes; the value `...` leaves a field out."""
    return {name: value for name, value in {**fields, **changes}.items() if value is not ...}


@dataclass
class Listener:
    """A receiver of callbacks."""

    url: str
    seen: list[tuple[str, bytes]] = field(default_factory=list)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A sandbox in which every job is done at once."""
    with Sandbox(job_seconds=0, lag=0.001, balance=100_000_000) as running:
        yield running


@pytest.fixture
def slow_sandbox() -> Iterator[Sandbox]:
    """A sandbox whose clock stands still; a job takes 100 seconds of it."""
    with Sandbox(job_seconds=100, clock="manual", lag=0.001) as running:
        yield running


@pytest.fixture
def shortapi(sandbox: Sandbox) -> Customer:
    """A customer of ShortAPI."""
    return Customer(sandbox, "shortapi")


@pytest.fixture
def sjinn(sandbox: Sandbox) -> Customer:
    """A customer of SJinn."""
    return Customer(sandbox, "sjinn")


@pytest.fixture
def customer_of() -> type[Customer]:
    """Customers of any sandbox."""
    return Customer


@pytest.fixture
def listener() -> Iterator[Listener]:
    """A loopback server that keeps every body POSTed to it."""
    held = Listener("")

    class Receive(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            held.seen.append((self.path, body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Receive) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        held.url = f"http://127.0.0.1:{server.server_port}/cb/01J/secret-token"
        yield held
        server.shutdown()
        thread.join()
