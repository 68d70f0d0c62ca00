"""Real `kill -9` of real processes against the sandbox: its account, not ours, says what a board has cost."""

import contextlib
import hashlib
import os
import random
import shutil
import signal
import sqlite3
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from PIL import Image

from deployments.sandbox import Account, Job, Sandbox
from tests.proof import worker
from tests.proof.forks import forks
from tests.proof.worker import KEY, Place

__all__ = ["Killed", "Killing", "compared", "kill_many"]

POINTS = (
    "K1",
    "K2",
    "K5",
    "K6",
    "K7",
    "K10",
    "K11",
    "K12",
    "K14",
    "K15",
    "K16",
    "K17",
    "K18",
    "K19",
    "K20",
    "K21",
    "K22",
)
SHOTS = 4
PRICE = Decimal("0.429")
PATIENCE = 60.0


@dataclass(slots=True)
class Killed:
    """What the killing came to: processes killed, boards finished, accepts, and what was wrong by the provider's account."""

    kills: int = 0
    stops: int = 0
    terms: int = 0
    boards: int = 0
    accepts: int = 0
    overspend: Decimal = Decimal(0)
    wrong: list[tuple[str, str]] = field(default_factory=list)

    def merge(self, other: "Killed") -> None:
        """Add another board."""
        for name in ("kills", "stops", "terms", "boards", "accepts", "overspend"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.wrong += other.wrong


@dataclass(slots=True)
class Killing:
    """One board at one sandbox, and the processes that work on it in turn."""

    place: Place
    name: str
    sandbox: Sandbox
    done: Killed = field(default_factory=Killed)

    def run(self, where: str = "", *, kill_after: float | None = None, sent: int = signal.SIGKILL) -> int:
        """One process from its start to its end, by itself or by us. Its exit code; minus the signal when killed."""
        process = forks().Process(target=worker.render, args=(self.place, where))
        process.start()
        if kill_after is not None:
            process.join(kill_after)
            if process.is_alive() and process.pid is not None:
                os.kill(process.pid, sent)
        return self._ended(process)

    def _ended(self, process: Any) -> int:
        process.join(PATIENCE)
        if process.is_alive():
            process.kill()
            process.join()
            self.done.wrong.append(("stuck", f"{self.name}: a process does not end"))
        code: int = process.exitcode
        self.done.kills += code == -signal.SIGKILL
        return code

    def call(self, ask: Callable[..., Any], *arguments: Any) -> None:
        """Do something in a process of its own, which must succeed."""
        process = forks().Process(target=ask, args=(self.place, *arguments))
        process.start()
        if self._ended(process) != 0:
            self.done.wrong.append(("stuck", f"{self.name}: {ask.__name__} fails"))

    def resolve(self) -> None:
        """A person reads the provider's list and settles the doubts, where there can be any."""
        path = self.place.root / "home" / "ledger.db"
        if not path.exists():
            return
        # Not read-only: the log of a killed writer is recovered by whoever opens the file next.
        with contextlib.closing(sqlite3.connect(path)) as reader:
            tables = "SELECT count(*) FROM sqlite_master WHERE name = 'intent'"
            doubts = "SELECT count(*) FROM intent WHERE state IN ('SUBMITTING', 'IN_DOUBT')"
            if not reader.execute(tables).fetchone()[0] or not reader.execute(doubts).fetchone()[0]:
                return
        self.call(worker.resolve_doubts, [(job.job_id, job.prompt) for job in self.mine(self.sandbox.account())])

    def mine(self, account: Account) -> list[Any]:
        """This board's jobs."""
        return [job for job in account.jobs if job.prompt.endswith(self.name)]

    def finish(self) -> Killed:
        """Run to the end and compare with the provider's account."""
        for _ in range(3):
            self.resolve()
            if self.run() == 0:
                break
        else:
            self.done.wrong.append(("stuck", f"{self.name}: does not end with 0"))
        self.done.boards += 1
        self._compare(self.mine(self.sandbox.account()), worker.verdict(self.place))
        return self.done

    def _compare(self, jobs: list[Any], said: dict[str, Any]) -> None:
        self.done.accepts += len(jobs)
        charged = sum((job.billed - job.refunded for job in jobs), Decimal(0))
        self.done.overspend += max(Decimal(0), charged - SHOTS * PRICE)
        if charged != SHOTS * PRICE:
            self.done.wrong.append(("books", f"{self.name}: charged {charged}, planned {SHOTS * PRICE}"))
        self.done.wrong += compared(self.name, self.sandbox, jobs, said)


def compared(name: str, sandbox: Sandbox, jobs: list[Job], said: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What a ledger said (`worker.verdict`) beside the jobs of the provider's account."""
    prompts = [job.prompt for job in jobs]
    yield from (("double", f"{prompt} was accepted twice") for prompt in {*prompts} if prompts.count(prompt) > 1)
    charged = sum((job.billed - job.refunded for job in jobs), Decimal(0))
    if said["settled"] != int(charged * 1_000_000) or said["reserved"]:
        yield "books", f"{name}: charged {charged}, ledger {said}"
    for job in jobs:
        with urllib.request.urlopen(f"{sandbox.url}/_sandbox/clips/{job.job_id}.mp4") as reply:
            clip = reply.read()
        if said["stored"].get(job.job_id) != hashlib.sha256(clip).hexdigest():
            yield "lost", f"{name}: {job.job_id} is not stored whole"
    for kind in ("problems", "open", "leaks", "strays"):
        yield from (("leak" if kind == "leaks" else "books", f"{name} {kind}: {one}") for one in said[kind])


@contextlib.contextmanager
def killing(sandbox: Sandbox, folder: Path, number: int) -> Iterator[Killing]:
    """A new board of four shots and a home of its own."""
    root = Path(tempfile.mkdtemp(prefix=f"board-{number}-", dir=folder))
    name = f"board {number}"
    Image.linear_gradient("L").resize((480, 320)).convert("RGB").save(root / "still.jpg")
    shots = "".join(
        f"  - {{id: SH{at:02d}0, still: still.jpg, prompt: shot {at} of {name}}}\n" for at in range(1, SHOTS + 1)
    )
    (root / "board.yaml").write_text(
        f"rushes: 1\ntitle: Kill me\ncode: KILL{number}\nprovider: shortapi\ndefaults: {{duration: 3}}\n"
        f"budget: {{cap: 1.716 USD, auto_approve: 1.716 USD}}\nshots:\n{shots}"
    )
    try:
        yield Killing(Place(root, sandbox.url), name, sandbox)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def at_points(one: Killing, chance: random.Random, most: int) -> None:
    """Kill at named points, each process at another one."""
    for _ in range(most):
        before = one.done.kills
        one.run(f"{chance.choice(POINTS)}:{chance.randint(1, 2)}")
        if one.done.kills == before:
            return
        one.resolve()


def at_moments(one: Killing, chance: random.Random, most: int) -> None:
    """Kill at random moments until the board has had its kills."""
    for _ in range(most):
        before = one.done.kills
        one.run(kill_after=chance.uniform(0.02, 0.5))
        if one.done.kills == before:
            return
        one.resolve()


def by_request(one: Killing, chance: random.Random) -> None:
    """SIGTERM: what is under way is finished or in doubt."""
    one.run(kill_after=chance.uniform(0.05, 0.4), sent=signal.SIGTERM)
    one.done.terms += 1
    one.resolve()


def asleep(one: Killing) -> None:
    """SIGSTOP inside the submit protocol, past the lease by another host's clock, then SIGCONT: facts are kept, one POST."""
    process = forks().Process(target=worker.render, args=(one.place, "K7:1", signal.SIGSTOP))
    process.start()
    assert process.pid is not None
    until = time.monotonic() + PATIENCE
    while _state_of(process.pid) != "T" and process.is_alive() and time.monotonic() < until:
        time.sleep(0.01)
    one.call(worker.recover_ahead)
    os.kill(process.pid, signal.SIGCONT)
    one.done.stops += 1
    one._ended(process)


def _state_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return ""


def kill_many(kills: int, *, seed: int = 1, side_by_side: int = 2) -> Killed:
    """Boards in turn until so many processes were killed: at points, at moments, and some stopped or asked to end."""
    total, numbers, lock = Killed(), iter(range(1, 10_000)), threading.Lock()
    folder = Path(tempfile.mkdtemp(prefix="rushes-kills-"))
    with Sandbox(job_seconds=0.2, lag=0.001, size=64, key=KEY) as sandbox, ThreadPoolExecutor(side_by_side) as pool:

        def boards() -> None:
            while True:
                with lock:
                    if total.kills >= kills or total.wrong:
                        return
                    number = next(numbers)
                done = _one_board(sandbox, folder, number, seed)
                with lock:
                    total.merge(done)

        for one in [pool.submit(boards) for _ in range(side_by_side)]:
            one.result()
    shutil.rmtree(folder, ignore_errors=True)
    return total


def _one_board(sandbox: Sandbox, folder: Path, number: int, seed: int) -> Killed:
    chance = random.Random(f"{seed} {number}")
    with killing(sandbox, folder, number) as one:
        match number % 6:
            case 0:
                asleep(one)
            case 1:
                by_request(one, chance)
                at_moments(one, chance, 20)
            case 2 | 4:
                at_points(one, chance, 20)
            case _:
                at_moments(one, chance, 20)
        return one.finish()
