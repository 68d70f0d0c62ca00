"""Interruption: how a command or a run ends when it is told to, and what goes on without it."""

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

__all__ = ["ends_in_order", "goes_on", "term_like_ctrl_c"]

T = TypeVar("T")
Handler = Callable[[int, FrameType | None], Any] | int | None


@contextmanager
def term_like_ctrl_c() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does in a command: end it with 130."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _as_ctrl_c)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _as_ctrl_c(_number: int, _frame: object) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        raise KeyboardInterrupt  # a shell starts its background jobs deaf to SIGINT
    signal.raise_signal(signal.SIGINT)


async def ends_in_order(flow: Coroutine[Any, Any, T], *, deployed: bool) -> T:
    """Run a flow's work so that SIGTERM and Ctrl-C cancel it, once, and wait until all of it has ended.

    Prefect's own handler and Python's raise in the middle of whatever runs at that moment, also in the event loop itself,
    which then drops what was sent without hearing the answer. Every way to end a run arrives here as a signal: cancelling
    it in the UI or by the API, the end of `rushes serve` or of a worker, Ctrl-C. Later signals change nothing: the process
    ends as soon as what was sent is answered or its deadline passes, before the 30 seconds that Prefect grants are over.

    Raises:
        TerminationSignal: in a deployment's run that was told to end; Prefect knows it as cancelled or crashed by that.
        KeyboardInterrupt: in a run by hand that was told to end.
    """
    if threading.current_thread() is not threading.main_thread():
        return await flow
    loop, task, told = asyncio.get_running_loop(), asyncio.current_task(), asyncio.Event()

    def tell(_number: int, _frame: FrameType | None) -> None:
        if task is not None and not told.is_set():
            told.set()
            loop.call_soon_threadsafe(task.cancel)

    before = _listen(tell)
    try:
        return await flow
    except BaseException:
        if not told.is_set():
            raise
        raise _as_told(deployed=deployed) from None
    finally:
        if not (
            told.is_set() and deployed
        ):  # there the process ends with the run, and nothing may interrupt its last words
            _unlisten(before)


def _listen(handler: Callable[[int, FrameType | None], None]) -> tuple[Handler, Handler, Handler]:
    """Handle both signals; what handled them before. A Ctrl-C that this process is deaf to stays unheard.

    Prefect acknowledges a cancellation only while SIGTERM has the handler that it knows as its own, so it is told of ours.
    """
    from prefect.utilities import engine

    with engine._prefect_sigterm_bridge_lock:  # noqa: SLF001 - nothing public lets SIGTERM wait
        known = engine._prefect_sigterm_handler  # noqa: SLF001
        engine._prefect_sigterm_handler = handler  # type: ignore[assignment]  # noqa: SLF001
        term = signal.signal(signal.SIGTERM, handler)
    interrupt = signal.getsignal(signal.SIGINT)
    if interrupt is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, handler)
    return term, interrupt, known


def _unlisten(before: tuple[Handler, Handler, Handler]) -> None:
    from prefect.utilities import engine

    term, interrupt, known = before
    signal.signal(signal.SIGINT, interrupt)
    with engine._prefect_sigterm_bridge_lock:  # noqa: SLF001
        engine._prefect_sigterm_handler = known  # type: ignore[assignment]  # noqa: SLF001
        signal.signal(signal.SIGTERM, term)


def _as_told(*, deployed: bool) -> BaseException:
    from prefect.exceptions import TerminationSignal

    return TerminationSignal(signal.SIGTERM) if deployed else KeyboardInterrupt()


def goes_on() -> str:
    """The purchases whose clips are not stored yet, and which command fetches them; empty where there is none."""
    from tasks.ledger import IntentState
    from tasks.production import Production
    from tasks.settings import Settings

    production = Production.open(Settings.load())
    try:
        under_way = {
            IntentState.SUBMITTING,
            IntentState.SUBMITTED,
            IntentState.STALLED,
            IntentState.SUCCEEDED,
            IntentState.RESULT_HELD,
        }
        found = sorted(production.ledger.intents(states=under_way), key=lambda one: (one.board, one.shot, one.take))
    finally:
        production.ledger.close()
    if not found:
        return ""
    names = ", ".join(f"{one.board} {one.shot} TK{one.take:02d}" for one in found[:6])
    more = f" and {len(found) - 6} more" if len(found) > 6 else ""
    jobs = "job is" if len(found) == 1 else "jobs are"
    return f"{len(found)} bought {jobs} not stored yet: {names}{more}; `rushes collect` fetches what is ready."
