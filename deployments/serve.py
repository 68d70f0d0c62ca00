"""`rushes serve`: the deployments, the drop watcher and the callback receiver in one process, with a Prefect server if need be."""

import argparse
import asyncio
import json
import sys
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import Any

from deployments.ending import stop_on_signals
from deployments.prefect_server import OwnServer, healthy, watch_server
from flows.prefect_reach import unguarded
from tasks.errors import RushesError, SetupProblem
from tasks.settings import (
    LOGIN_FILE,
    Settings,
    prefect_api,
    prefect_credentials,
    prefect_login,
    prefect_password,
    serving_prefect,
)

__all__ = ["main"]

GRACE = 15.0
EXAMPLE = """\
example: watch a folder, and run what is dropped there or started in the UI at http://127.0.0.1:4200
  RUSHES_INBOX=./inbox rushes serve

With PREFECT_API_URL set, the server there is used; without it, a server of our own runs as long as this command.
Callbacks are received when RUSHES_CALLBACK_URL is set: point it at --callback-port through your own proxy or tunnel.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C or SIGTERM; the exit code is 0 then, 2 for a wrong option, 7 where something cannot be set up."""
    options = _parser().parse_args(argv)
    try:
        asyncio.run(_Service(options).run())
    except RushesError as error:
        _say(f"rushes serve: {error}")
        if error.hint:
            _say(f"  {error.hint}")
        if options.json:
            _print({"error": str(error), "hint": error.hint, "exit_code": error.exit_code})
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rushes serve",
        description="Serve the deployments (render, part, drop, collect, costs), the drop watcher and the callback receiver.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--port", type=_port, default=4200, help="of a Prefect server of our own (default: 4200)")
    add("--callback-port", type=_port, default=4280, help="of the callback receiver (default: 4280)")
    add("--callback-host", default="127.0.0.1", help="where it listens (default: 127.0.0.1)")
    add("--limit", type=int, default=8, help="runs at once in this process (default: 8)")
    add("--steady", type=float, default=2.0, help="seconds for which a drop must keep still (default: 2)")
    add("--every", type=float, help="seconds between full looks at the inbox (default: 30, or 10 for a bucket)")
    add("--json", action="store_true", help="print one JSON document with the addresses, then stay up")
    return parser


def _port(text: str) -> int:
    port = int(text)
    if not 0 < port < 65_536:
        raise ValueError(text)
    return port


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def _print(document: dict[str, Any]) -> None:
    print(json.dumps(document), flush=True)  # noqa: T201


class _Service:
    """Everything that one `rushes serve` runs, started in order and ended in the opposite one."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._login = "that of PREFECT_API_AUTH_STRING"

    async def run(self) -> None:
        """Until a signal."""
        settings = Settings.load()
        stop_on_signals(self._stop)
        async with AsyncExitStack() as ending:
            api_url = await self._server(ending, settings)
            await self._installed(settings)
            await self._serving(ending, settings)
            parts = await self._beside(ending, settings)
            self._announce(api_url, settings, parts)
            await self._until_told()
            _say("ending: runs under way finish what they have sent, and go on at the next start")

    async def _server(self, ending: AsyncExitStack, settings: Settings) -> str:
        """The address of the server that is there, or of our own; from here on this process and its runs talk to it."""
        given = prefect_api()
        if given is not None:
            if not await asyncio.to_thread(healthy, given):
                raise SetupProblem(f"no Prefect server answers at {given}", "Start it, or unset PREFECT_API_URL.")
            serving_prefect(given, prefect_credentials(settings.home).get("PREFECT_API_AUTH_STRING"))
            problem = await asyncio.to_thread(unguarded, given, prefect_password())
            if problem:
                _say(f"warning: the Prefect server at {given} {problem}; `rushes doctor` says how to mend it")
            self._beside_task(ending, watch_server(given, _say))
            return given
        login, new = prefect_login(settings.home)
        server = OwnServer(self._options.port, login, settings.home, _say)
        await server.start()
        serving_prefect(server.url, login)
        kept = f"is kept in {settings.home / LOGIN_FILE}"
        self._login = f"{login}   shown this once; it {kept}" if new else kept
        ending.push_async_callback(server.stop)
        self._beside_task(ending, server.keep())
        return server.url

    def _beside_task(self, ending: AsyncExitStack, running: Coroutine[Any, Any, None], *, grace: float = 0.0) -> None:
        """Run something beside the rest; it has `grace` seconds to end by itself once the stop is given."""
        task = asyncio.ensure_future(running)
        self._tasks.append(task)

        async def ended() -> None:
            await asyncio.wait({task}, timeout=grace)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        ending.push_async_callback(ended)

    async def _until_told(self) -> None:
        """Until a signal.

        Raises:
            RushesError: a part has ended by itself, which none should; with what ended it.
        """
        told = asyncio.ensure_future(self._stop.wait())
        done, _ = await asyncio.wait({told, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
        if self._stop.is_set():
            return
        told.cancel()
        self._stop.set()
        for task in done:
            task.result()
        raise SetupProblem("a part of `rushes serve` ended by itself", "Start it again.")

    async def _installed(self, settings: Settings) -> None:
        from deployments.automations import install_all

        await install_all(settings)

    async def _serving(self, ending: AsyncExitStack, settings: Settings) -> None:
        from deployments.serving import Serving

        serving = Serving(settings, self._options.limit)
        await serving.start()
        stop_on_signals(self._stop)
        ending.push_async_callback(serving.stop)
        self._beside_task(ending, serving.keep())

    async def _beside(self, ending: AsyncExitStack, settings: Settings) -> dict[str, str | None]:
        """The watcher and the receiver, each where its setting is there."""
        from deployments.callbacks import receive
        from deployments.watcher import watch

        options, callbacks = self._options, None
        if settings.inbox:
            watching = watch(settings.inbox, self._stop, steady=options.steady, every=options.every)
            self._beside_task(ending, watching, grace=GRACE)
        if settings.callback_url:
            host, port = options.callback_host, options.callback_port
            callbacks = f"{settings.callback_url} -> http://{host}:{port}"
            self._beside_task(ending, receive(settings, self._stop, host=host, port=port), grace=GRACE)
        return {"inbox": settings.inbox, "callbacks": callbacks}

    def _announce(self, api_url: str, settings: Settings, parts: dict[str, str | None]) -> None:
        ui = api_url.removesuffix("/api")
        document = {"api_url": api_url, "ui_url": ui, "store": settings.store, **parts}
        if self._options.json:
            _print(document)
        _say(f"Prefect    {ui}")
        _say(f"login      {self._login}")
        _say(f"inbox      {parts['inbox'] or 'none: set RUSHES_INBOX to watch a folder or bucket'}")
        _say(f"callbacks  {parts['callbacks'] or 'none: every outcome that stays unknown waits for a person'}")


if __name__ == "__main__":
    sys.exit(main())
