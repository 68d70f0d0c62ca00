"""Interruption: how a command ends when it is told to, and what goes on without it."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["goes_on", "term_like_ctrl_c"]


@contextmanager
def term_like_ctrl_c() -> Iterator[None]:
    """Let SIGTERM do what Ctrl-C does: cancel what runs, let it write down where it stands, and leave with 130.

    Prefect's own handler raises in the middle of whatever runs at that moment, so a flow run by hand uses this one.
    """
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
