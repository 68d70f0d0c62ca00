"""What people see: the plan as a table, progress on a terminal or as plain lines, problems with their cure."""

import threading
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from tasks.production import Watcher

if TYPE_CHECKING:
    from tasks.estimate import Plan

__all__ = ["LiveWatcher", "PlainWatcher", "console", "print_plan"]

PLAIN_WIDTH = 160


def console(*, stderr: bool = False) -> Console:
    """A console for people; wide where there is no terminal, so that no column is cut in a log."""
    made = Console(stderr=stderr, highlight=False)
    return made if made.is_terminal else Console(stderr=stderr, highlight=False, width=PLAIN_WIDTH)


def print_plan(plan: "Plan", out: Console) -> None:
    """The table that is asked about: every shot, what is done, what it costs."""
    table = Table(title=Text(f"{plan.title} ({plan.board})"), title_justify="left", box=None, pad_edge=False)
    for name in ("shot", "take", "action", "provider", "mode", "audio"):
        table.add_column(name)
    for name in ("seconds", "price", "spends"):
        table.add_column(name, justify="right")
    table.add_column("note", overflow="fold")
    for shot in plan.shots:
        request = shot.request
        words = (request.shot, f"TK{shot.take:02d}", shot.decision.action, shot.provider, request.mode)
        sound = "on" if request.audio else "off"
        money = (str(request.duration), str(shot.quote.money), str(shot.spends), shot.decision.note)
        table.add_row(*(Text(word) for word in (*words, sound, *money)))
    out.print(table)
    out.print(Text(f"total   {total_text(plan)}"), soft_wrap=True)
    for warning in plan.warnings:
        out.print(Text(f"warning {warning}"), soft_wrap=True)
    out.print(Text(f"digest  {plan.digest}"), soft_wrap=True)


def total_text(plan: "Plan") -> str:
    """`2.48 USD`, with the credits beside it where there are any."""
    units = " + ".join(str(money) for money in plan.by_unit.values())
    if plan.usd is None:
        return f"{units} (no USD rate: set SJINN_USD_PER_CREDIT)"
    return units if set(plan.by_unit) == {"USD"} else f"{units} = {plan.usd.normalize():f} USD"


class PlainWatcher(Watcher):
    """A line for each step, for logs and pipes."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._total = 0
        self._done = 0
        self._lock = threading.Lock()

    def begins(self, shots: Mapping[str, int]) -> None:
        self._total = len(shots)

    def shot(self, shot: str, phase: str) -> None:
        if phase in _ENDS:
            with self._lock:
                self._done += 1
            self._say(f"{shot} {phase.replace('_', ' ')} ({self._done}/{self._total})")
        elif phase != "queued":
            self._say(f"{shot} {phase}")

    def report(self) -> None:
        self._say("making the reel and the report")

    def _say(self, line: str) -> None:
        self._out.print(Text(line), soft_wrap=True)


_ENDS = {"stored", "failed", "in_doubt", "held", "stalled", "refused", "cancelled"}


class _Bars(Progress):
    """The bars, and below them the run's money in a line of its own, so that 80 columns hold it."""

    money = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        """What is drawn."""
        yield from super().get_renderables()
        yield Text(self.money, style="dim", overflow="fold")


class LiveWatcher(Watcher):
    """Bars on a terminal: one for the board with its money, one for each shot under way."""

    def __init__(self, out: Console) -> None:
        self._progress = _Bars(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[words]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=out,
            transient=True,
        )
        self._board: TaskID | None = None
        self._shots: dict[str, TaskID] = {}
        self._seconds: Mapping[str, int] = {}
        self._jobs: dict[str, str] = {}
        self._phases: dict[str, str] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def begins(self, shots: Mapping[str, int]) -> None:
        self._seconds = shots
        self._board = self._progress.add_task("board", total=sum(shots.values()), words="")

    def job(self, intent_id: str, shot: str) -> None:
        self._jobs[intent_id] = shot

    def shot(self, shot: str, phase: str) -> None:
        self._phases[shot] = phase
        if phase in _ENDS:
            self._end(shot)
        elif phase != "queued":
            bar = self._shots.get(shot)
            if bar is None:
                bar = self._shots[shot] = self._progress.add_task(shot, total=None, words=phase)
            self._progress.update(bar, words=phase)
        self._show_board()

    def _end(self, shot: str) -> None:
        bar = self._shots.pop(shot, None)
        if bar is not None:
            self._progress.remove_task(bar)
        if self._board is not None:
            self._progress.advance(self._board, self._seconds.get(shot, 0))

    def rendered(self, intent_id: str, fraction: float) -> None:
        bar = self._shots.get(self._jobs.get(intent_id, ""))
        if bar is not None:
            self._progress.update(bar, total=1.0, completed=fraction, words="render")

    def money(self, *, reserved: str, settled: str, in_doubt: str) -> None:
        self._progress.money = f"  settled {settled}, reserved {reserved}, in doubt {in_doubt}"

    def report(self) -> None:
        if self._board is not None:
            self._progress.update(self._board, words="making the reel and the report")

    def _show_board(self) -> None:
        if self._board is None:
            return
        done = sum(phase in _ENDS for phase in self._phases.values())
        waiting = sum(phase in {"wait", "queued", "submit"} for phase in self._phases.values())
        words = f"{done}/{len(self._seconds)} shots, {waiting} waiting"
        self._progress.update(self._board, words=words)
