"""Callbacks: hints that wake and bind, and can do nothing else. A real ledger, a real listener, the sandbox as provider."""

import asyncio
import http.client
import json
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Self, TypeVar

import pytest
from PIL import Image

from deployments.callbacks import receive
from deployments.sandbox import Sandbox
from flows.plan import Ask, make_plan
from flows.shooting import PlainSteps, shoot
from tasks.gate import Approval
from tasks.ledger import Intent, IntentState
from tasks.production import Deadlines, Production
from tasks.report import RunReport
from tasks.settings import Settings
from tests.fixtures.boards import board, stills
from tests.fixtures.prefect_server import free_port

T = TypeVar("T")


class Receiving:
    """The receiver in a thread with a ledger connection of its own, as another process would have."""

    def __init__(self, settings: Settings, port: int) -> None:
        self._settings, self._port = settings, port
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self._port)) == 0:
                    return self
            threading.Event().wait(0.05)
        raise TimeoutError("the receiver did not come up")

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)

    def _run(self) -> None:
        asyncio.run(self._receive())

    async def _receive(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        await receive(self._settings, self._stop, host="127.0.0.1", port=self._port)


@dataclass
class House:
    """A board on disk and the settings under which it is shot."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch
    port: int

    def settings(self, sandbox: Sandbox, **more: str) -> Settings:
        """Settings that point at the sandbox and name the receiver."""
        values = {
            "SHORTAPI_BASE_URL": sandbox.shortapi_url,
            "SHORTAPI_KEY": "sandbox",
            "RUSHES_ALLOW_PRIVATE_URLS": "1",
            "RUSHES_CALLBACK_URL": f"http://127.0.0.1:{self.port}",
            "RUSHES_POLL_SECONDS": "0.5",
            **more,
        }
        for name, value in values.items():
            self.monkeypatch.setenv(name, value)
        return Settings.load()

    async def shoot(self, settings: Settings) -> RunReport:
        """Plan and shoot the board, without Prefect."""
        async with Production.open(settings) as opened:
            production = replace(opened, deadlines=Deadlines(create=2.0))
            plan = await make_plan(production, Ask(str(self.folder / "board.yaml")))
            return await shoot(production, plan, Approval("person", "test", tuple(plan.by_unit.values())), PlainSteps())

    def intents(self, settings: Settings) -> list[Intent]:
        """What the ledger holds."""
        return _read(settings, lambda production: production.ledger.intents())

    def kinds(self, settings: Settings, intent: Intent) -> list[str]:
        """The kinds of an intent's facts, in order."""
        return _read(settings, lambda production: [one.kind for one in production.ledger.events(intent.intent_id)])


def _read(settings: Settings, ask: Callable[[Production], T]) -> T:
    production = Production.open(settings)
    try:
        return ask(production)
    finally:
        production.ledger.close()


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    """A board of one shot for ShortAPI."""
    stills(tmp_path / "board" / "stills")
    (tmp_path / "board" / "board.yaml").write_text(board(provider="shortapi"))
    return House(tmp_path / "board", monkeypatch, free_port())


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """ShortAPI whose jobs take a second."""
    with Sandbox(job_seconds=1, key="sandbox", lag=0.05) as running:
        yield running


def post(port: int, path: str, body: bytes, *, method: str = "POST") -> tuple[int, dict[str, str], bytes]:
    """One request; status, headers and body of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        return reply.status, dict(reply.getheaders()), reply.read()
    finally:
        connection.close()


async def test_F51_a_callback_wakes_the_waiting_shot_and_its_absence_delays_it(house: House, sandbox: Sandbox) -> None:
    """With polls a minute apart, the callback alone ends the wait."""
    settings = house.settings(sandbox, RUSHES_POLL_SECONDS="60")
    with Receiving(settings, house.port):
        report = await asyncio.wait_for(house.shoot(settings), 40)
    assert [row.state for row in report.rows] == ["stored"]
    (intent,) = house.intents(settings)
    assert "callback" in house.kinds(settings, intent)


async def test_F51_a_callback_that_never_comes_is_no_loss(house: House, sandbox: Sandbox) -> None:
    """Polling finishes the job, with nobody listening at all."""
    sandbox.fault("callback-never")
    report = await asyncio.wait_for(house.shoot(house.settings(sandbox)), 40)
    assert [row.state for row in report.rows] == ["stored"]


@pytest.mark.parametrize("fault", ["callback-100-times", "callback-backwards", "callback-replayed"])
async def test_F45_F46_F49_repeated_late_and_disordered_callbacks_change_nothing(
    house: House, sandbox: Sandbox, fault: str
) -> None:
    """One acceptance, one success, one stored take, one charge."""
    sandbox.fault(fault)
    settings = house.settings(sandbox)
    with Receiving(settings, house.port):
        report = await asyncio.wait_for(house.shoot(settings), 40)
        await asyncio.to_thread(sandbox.settle)
        if fault == "callback-replayed":
            sandbox.advance(4 * 24 * 3600)
            await asyncio.to_thread(sandbox.settle)
    assert [row.state for row in report.rows] == ["stored"]
    (intent,) = house.intents(settings)
    kinds = house.kinds(settings, intent)
    assert [kinds.count(kind) for kind in ("accepted", "stored")] == [1, 1]
    assert kinds.count("callback") <= 2
    assert len(sandbox.account().jobs) == 1


async def test_F47_S11_a_forged_token_gets_the_404_of_everything_unknown(house: House, sandbox: Sandbox) -> None:
    """Same status, headers and empty body for a wrong token, an unknown intent, another path and another method."""
    sandbox.fault("callback-forged")
    settings = house.settings(sandbox)
    with Receiving(settings, house.port):
        await asyncio.wait_for(house.shoot(settings), 40)
        await asyncio.to_thread(sandbox.settle)
        (intent,) = house.intents(settings)
        assert [called.status for called in sandbox.account().callbacks] == [404]
        assert "callback" not in house.kinds(settings, intent)
        answers = [
            post(house.port, f"/cb/{intent.intent_id}/{'0' * 43}", b"{}"),
            post(house.port, f"/cb/{'0' * 26}/{'0' * 43}", b"{}"),
            post(house.port, f"/cb/{intent.intent_id}", b"{}"),
            post(house.port, "/", b"", method="GET"),
            post(house.port, f"/cb/{intent.intent_id}/{'0' * 43}", b"", method="DELETE"),
            post(house.port, "/cb/%2e%2e/%00", b"{}"),
        ]
    assert {(status, tuple(sorted(headers.items())), body) for status, headers, body in answers} == {
        (404, (("connection", "close"), ("content-length", "0")), b"")
    }


async def test_F48_a_foreign_job_id_is_refuted_and_changes_nothing(house: House, sandbox: Sandbox) -> None:
    """The right address with the id of a job that is not ours: the shot keeps its own."""
    sandbox.fault("callback-foreign")
    settings = house.settings(sandbox)
    with Receiving(settings, house.port):
        report = await asyncio.wait_for(house.shoot(settings), 40)
        await asyncio.to_thread(sandbox.settle)
        await asyncio.sleep(0.5)
    assert [row.state for row in report.rows] == ["stored"]
    (intent,) = house.intents(settings)
    assert intent.job_id == sandbox.account().jobs[0].job_id
    assert house.kinds(settings, intent).count("callback-refuted") == 1


async def test_S02_an_address_inside_a_callback_is_never_fetched(house: House, sandbox: Sandbox) -> None:
    """Right token, right job, and a clip's address of the caller's own: only what the query names is downloaded."""
    settings = house.settings(sandbox)
    with Receiving(settings, house.port), socket.create_server(("127.0.0.1", 0)) as trap:
        trap.settimeout(0)
        shooting = asyncio.create_task(house.shoot(settings))
        while not sandbox.account().jobs:  # noqa: ASYNC110 - the sandbox is another server, it sets no event of ours
            await asyncio.sleep(0.05)
        (job,) = sandbox.account().jobs
        url = f"http://127.0.0.1:{trap.getsockname()[1]}/x.mp4"
        body = {"code": 0, "data": {"job_id": job.job_id, "status": 2, "result": {"videos": [{"url": url}]}}}
        path = job.callback_url.removeprefix(f"http://127.0.0.1:{house.port}")
        status, _, _ = await asyncio.to_thread(post, house.port, path, json.dumps(body).encode())
        report = await asyncio.wait_for(shooting, 40)
        with pytest.raises(BlockingIOError):
            trap.accept()
    assert status == 200
    assert [row.state for row in report.rows] == ["stored"]


@pytest.mark.parametrize(("fault", "status"), [("callback-huge", 413), ("callback-not-json", 400)])
async def test_F50_what_is_too_large_or_no_json_is_refused(
    house: House, sandbox: Sandbox, fault: str, status: int
) -> None:
    """413 and 400; no fact is left behind."""
    sandbox.fault(fault)
    settings = house.settings(sandbox)
    with Receiving(settings, house.port):
        await asyncio.wait_for(house.shoot(settings), 40)
        await asyncio.to_thread(sandbox.settle)
    (intent,) = house.intents(settings)
    statuses = [called.status for called in sandbox.account().callbacks]
    assert statuses in ([status], [0])  # 0: the connection was gone before the whole of it was sent
    assert "callback" not in house.kinds(settings, intent)


async def test_F50_a_slow_body_and_a_slow_head_are_cut_off(house: House, sandbox: Sandbox) -> None:
    """Neither holds the listener: both connections are closed by it within seconds."""
    sandbox.fault("callback-slow")
    settings = house.settings(sandbox)
    with Receiving(settings, house.port):
        await asyncio.wait_for(house.shoot(settings), 40)
        reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
        writer.write(b"POST /cb/x HTTP/1.1\r\nHost: ")
        await writer.drain()
        assert await asyncio.wait_for(reader.read(), 15) == b""
        writer.close()
        await asyncio.to_thread(sandbox.settle)
    assert [called.status for called in sandbox.account().callbacks] == [408]


async def test_F27_a_callback_binds_the_job_of_a_create_whose_reply_was_lost(house: House, sandbox: Sandbox) -> None:
    """In doubt only until the callback's job is confirmed by a query; then collected, and paid once."""
    sandbox.fault("callback-then-hang")
    settings = house.settings(sandbox)
    with Receiving(settings, house.port):
        await asyncio.wait_for(house.shoot(settings), 60)
        await asyncio.to_thread(sandbox.settle)
    (intent,) = house.intents(settings)
    assert intent.job_id == sandbox.account().jobs[0].job_id
    from flows.collect import collect

    async with Production.open(settings) as production:
        await collect(production, "test")
    (intent,) = house.intents(settings)
    assert intent.state is IntentState.STORED
    assert len(sandbox.account().jobs) == 1


async def test_F52_a_hint_that_nobody_followed_is_followed_by_the_next_receiver(house: House, sandbox: Sandbox) -> None:
    """The receiver dies between its 200 and the query: the fact is in the ledger, and the next one goes on from it."""
    from tasks.hints import note_hint

    sandbox.fault("hang-after")
    settings = house.settings(sandbox)
    await asyncio.wait_for(house.shoot(settings), 60)
    (intent,) = house.intents(settings)
    assert intent.state is IntentState.IN_DOUBT
    body = json.dumps({"data": {"id": sandbox.account().jobs[0].job_id}}).encode()
    _read(settings, lambda production: note_hint(production, intent.intent_id, body))
    with Receiving(settings, house.port):
        await asyncio.sleep(1)
    (intent,) = house.intents(settings)
    assert intent.state is IntentState.SUBMITTED


async def test_F53_a_second_confirmed_job_is_recorded_with_an_alert_and_collected(
    house: House, sandbox: Sandbox
) -> None:
    """The first job keeps the shot; the second gets a row of its own, an alert, and its clip is fetched."""
    from flows.collect import collect
    from tasks.hints import follow, note_hint

    settings = house.settings(sandbox)
    await asyncio.wait_for(house.shoot(settings), 60)
    (first,) = house.intents(settings)
    other = _stray_job(sandbox)
    body = json.dumps({"data": {"id": other}}).encode()
    async with Production.open(settings) as production:
        note_hint(production, first.intent_id, body)
        await follow(production, first.intent_id)
        await follow(production, first.intent_id)
        await asyncio.sleep(1.2)
        await collect(production, "test")
        alerts = production.ledger.alerts(first.run_id)
    rows = {intent.job_id: intent for intent in house.intents(settings)}
    assert set(rows) == {first.job_id, other}
    assert rows[other].state is IntentState.STORED
    assert rows[other].extra
    assert any(event.kind == "double-accept" for event in alerts)


def _stray_job(sandbox: Sandbox) -> str:
    """A job at the same account that this ledger does not know."""
    picture = BytesIO()
    Image.new("RGB", (480, 320), (9, 9, 9)).save(picture, "PNG")
    put = urllib.request.Request(f"{sandbox.url}/files/stray.png", picture.getvalue(), method="PUT")
    urllib.request.urlopen(put).close()
    args = {
        "image": f"{sandbox.url}/files/stray.png",
        "prompt": "x",
        "duration": "3",
        "mode": "std",
        "audio": False,
        "multi_shot": False,
    }
    order = json.dumps({"model": "kwaivgi/kling-3.0/image-to-video", "args": args}).encode()
    headers = {"Authorization": "Bearer sandbox", "Content-Type": "application/json"}
    create = urllib.request.Request(f"{sandbox.url}/api/v1/job/create", order, headers, method="POST")
    with urllib.request.urlopen(create) as reply:
        answer = json.loads(reply.read())
    assert answer["code"] == 0, answer
    return str(answer["data"]["job_id"])


async def test_S12_a_flood_from_one_address_is_turned_away(house: House, sandbox: Sandbox) -> None:
    """Beyond the burst the answer is 429, and the ledger holds nothing of it."""
    settings = house.settings(sandbox)

    async def flood() -> set[int]:
        slots = asyncio.Semaphore(40)

        async def one() -> int:
            async with slots:
                return (await asyncio.to_thread(post, house.port, f"/cb/{'0' * 26}/{'0' * 43}", b"{}"))[0]

        return set(await asyncio.gather(*(one() for _ in range(700))))

    with Receiving(settings, house.port):
        assert await flood() == {404, 429}
    assert house.intents(settings) == []
