"""A Prefect server as a child process on loopback, for installations that have none."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from tasks.errors import SetupProblem
from tasks.settings import prefect_server_environment

__all__ = ["OwnServer", "healthy"]

HOST = "127.0.0.1"
PATIENCE = 120.0
GRACE = 20.0


def healthy(api_url: str) -> bool:
    """Whether a Prefect server answers there. Proxies are passed by: it is this machine's or a neighbour's."""
    try:
        with build_opener(ProxyHandler({})).open(f"{api_url}/health", timeout=3) as reply:
            return bool(reply.status == 200 and reply.read(8).strip() == b"true")
    except (URLError, OSError, ValueError):
        return False


class OwnServer:
    """Our own server; one that already answers on the port is used and left alone."""

    def __init__(self, port: int, say: Callable[[str], None]) -> None:
        self.url = f"http://{HOST}:{port}/api"
        self._port = port
        self._say = say
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = False

    async def start(self) -> None:
        """Return when it answers.

        Raises:
            SetupProblem: the port is taken by something else, or it does not come up.
        """
        if await asyncio.to_thread(healthy, self.url):
            self._say(f"using the Prefect server that runs at {self.url}")
            return
        self._say("starting a Prefect server of our own (10 to 20 seconds)")
        self._process = self._spawn()
        await self._answering(self._process)

    def _spawn(self) -> "subprocess.Popen[bytes]":
        """In a session of its own: Ctrl-C reaches us first, and the server goes last."""
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(self._port)]
        return subprocess.Popen(  # noqa: S603 - our own interpreter and a number
            command,
            env=prefect_server_environment(self.url),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    async def _answering(self, process: "subprocess.Popen[bytes]") -> None:
        for _ in range(int(PATIENCE * 4)):
            if process.poll() is not None:
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
        """Start it again whenever it ends by itself; runs under way do not need it to keep what they paid for."""
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
