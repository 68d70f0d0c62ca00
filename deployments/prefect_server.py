"""A Prefect server as a child process on loopback, for installations that have none: it asks for a login and keeps web pages out."""

import asyncio
import contextlib
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from flows.prefect_reach import healthy, unguarded
from tasks.errors import SetupProblem
from tasks.ledger.files import open_private, private_folder
from tasks.settings import prefect_server_environment

__all__ = ["OwnServer", "guarded", "guarded_app", "healthy", "watch_server"]

HOST = "127.0.0.1"
PATIENCE = 120.0
GRACE = 20.0
WATCH_EVERY = 5.0


def guarded_app() -> ASGIApp:
    """Prefect's server as Rushes starts it, for uvicorn."""
    from prefect.server.api.server import create_app
    from prefect.settings import get_current_settings

    return guarded(create_app(final=True), str(get_current_settings().ui_url or ""))


def guarded(app: ASGIApp, ui_url: str) -> ASGIApp:
    """`app` for its own host names and origins alone: loopback, and where `ui_url` says that people see it.

    A login alone would leave a page that somebody has bound to 127.0.0.1 by its name server (DNS rebinding) one guess
    away, and Prefect's websockets know no origins at all.
    """
    seen = urlsplit(ui_url)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await app(scope, receive, send)
            return
        headers, port = Headers(scope=scope), scope["server"][1]
        hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")} | {seen.netloc}
        origins = {f"http://{host}" for host in hosts} | {f"{seen.scheme}://{seen.netloc}"}
        if headers.get("host", "") in hosts and headers.get("origin", f"http://{HOST}:{port}") in origins:
            await app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            refusal = "This server answers under its own address only; set PREFECT_UI_URL to the one that people see.\n"
            await PlainTextResponse(refusal, 403)(scope, receive, send)

    return answer


async def watch_server(api_url: str, say: Callable[[str], None]) -> None:
    """Say, until cancelled, when a server that is not ours goes away and when it is back."""
    answered = True
    while True:
        await asyncio.sleep(WATCH_EVERY)
        answers = await asyncio.to_thread(healthy, api_url)
        if answered and not answers:
            say(f"the Prefect server at {api_url} does not answer; it is waited for")
        elif answers and not answered:
            say(f"the Prefect server at {api_url} answers again")
        answered = answers


def _locked(descriptor: int) -> bool:
    """Lock a file until the last process that has this descriptor ends or closes it; False where another one holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class OwnServer:
    """Our own server; one that already answers on the port is used and left alone, where it takes `login` and nothing less.

    The server of a `rushes serve` that was killed goes on, and nobody owns it: its record in RUSHES_HOME tells which process
    it is. It is ended and replaced, so that what is used always has the settings of this command.
    """

    def __init__(self, port: int, login: str, home: Path, say: Callable[[str], None]) -> None:
        self.url = f"http://{HOST}:{port}/api"
        self._port = port
        self._record = home / f"prefect-server-{port}"
        self._login = login
        self._say = say
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = False

    async def start(self) -> None:
        """Return when it answers.

        Raises:
            SetupProblem: the port is taken by something else, or it does not come up.
        """
        private_folder(self._record.parent)
        owner = open_private(self._record.with_suffix(".owner"), os.O_RDWR | os.O_CREAT)
        if _locked(owner):  # until this process ends, however it ends
            await self._end_leftover()
        else:
            await self._answering(None)
        if await asyncio.to_thread(healthy, self.url):
            os.close(owner)
            problem = await asyncio.to_thread(unguarded, self.url, self._login)
            if problem:
                cure = "End that server, or choose another --port. One that you start yourself is named by PREFECT_API_URL."
                raise SetupProblem(f"the Prefect server at {self.url} {problem}", cure)
            self._say(f"using the Prefect server that runs at {self.url}")
            return
        self._say("starting a Prefect server of our own (10 to 20 seconds)")
        self._process = self._spawn()
        await self._answering(self._process)

    def _spawn(self) -> "subprocess.Popen[bytes]":
        """In a session of its own: Ctrl-C reaches us first, and the server goes last.

        It keeps its record locked for as long as it lives: the number in there is its own and nobody else's.
        """
        app = ["--factory", "deployments.prefect_server:guarded_app", "--log-level", "warning"]
        command = [sys.executable, "-m", "uvicorn", *app, "--host", HOST, "--port", str(self._port)]
        record = open_private(self._record, os.O_RDWR | os.O_CREAT)
        try:
            _locked(record)
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and a number
                command,
                env=prefect_server_environment(self.url, self._login),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=(record,),
            )
            os.pwrite(record, f"{process.pid:<20}\n".encode(), 0)
        finally:
            os.close(record)
        return process

    async def _end_leftover(self) -> None:
        """End the server of a `rushes serve` that was killed, if there is one."""
        try:
            record = os.open(self._record, os.O_RDWR | os.O_NOFOLLOW)
        except FileNotFoundError:
            return
        try:
            if _locked(record):
                return
            pid = int(os.pread(record, 20, 0))
            self._say(f"ending the Prefect server that a killed `rushes serve` has left behind (process {pid})")
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            for _ in range(int(GRACE * 10)):
                if _locked(record):
                    return
                await asyncio.sleep(0.1)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            await asyncio.to_thread(fcntl.flock, record, fcntl.LOCK_EX)
        finally:
            os.close(record)

    async def _answering(self, process: "subprocess.Popen[bytes] | None") -> None:
        """Wait for our process, or for the one that another `rushes serve` of this RUSHES_HOME has here."""
        for _ in range(int(PATIENCE * 4)):
            if process is not None and process.poll() is not None:
                hint = "Is the port taken? Choose another --port, or set PREFECT_API_URL to the server that is there."
                raise SetupProblem(f"the Prefect server ended with {process.returncode}", hint)
            if await asyncio.to_thread(healthy, self.url):
                return
            await asyncio.sleep(0.25)
        await self.stop()
        raise SetupProblem(
            f"the Prefect server did not answer within {PATIENCE:.0f} seconds", "Try `prefect server start`."
        )

    async def keep(self) -> None:
        """Start it again whenever it ends by itself; runs under way do not need it to keep what they paid for.

        Where it is not ours it is watched.
        """
        if self._process is None:
            await watch_server(self.url, self._say)
        while not self._stopping and self._process is not None:
            if self._process.poll() is not None:
                self._say(f"the Prefect server ended with {self._process.returncode}; starting it again")
                self._process = self._spawn()
            await asyncio.sleep(1.0)

    async def stop(self) -> None:
        """End it, politely first."""
        self._stopping = True
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            await asyncio.to_thread(process.wait)
