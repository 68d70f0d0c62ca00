"""Sixteen processes at once on one ledger: for one shot, and for the last dollars of a cap."""

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.synchronize import Barrier
from pathlib import Path

import httpx
import pytest

from specs.money import Money
from tasks.errors import Refused
from tasks.http import Wire
from tasks.ledger import Cap, Ledger
from tasks.production import Production
from tasks.seams import SystemClock, SystemRng
from tasks.settings import Settings
from tasks.storage import Store
from tasks.submit import submit_shot
from tests.fixtures.postgres import Cluster, postgres_cluster
from tests.proof.forks import forks
from tests.proof.stage import _SETTINGS, _TRUST, Stage
from tests.proof.truth import Script

__all__ = ["PROCESSES", "Raced", "postgres", "race"]

PROCESSES = 16
SHOTS, FIT = 20, 5
PATIENCE = 120.0
PRICE = Money.of("0.429")


@dataclass(slots=True)
class Raced:
    """Rounds that were run, and what went wrong in them."""

    rounds: int = 0
    wrong: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Track:
    """Where the race is run; `accepts` is the provider's own account: a line for each accepted create."""

    url: str
    root: Path
    rounds: int
    homes: int = 1

    @property
    def accepts(self) -> Path:
        """Shared by all processes through O_APPEND."""
        return self.root / "accepts"

    def ledger(self, number: int = 0) -> Ledger:
        """Open the ledger of a process: one that all share, or one of each home."""
        home = self.root / f"home-{number % self.homes}"
        url = self.url or f"sqlite:///{home / 'ledger.db'}"
        return Ledger.open(url, home=home, clock=SystemClock(), rng=SystemRng(), durable=False)


class Brisk(SystemClock):
    """The machine's clock, impatient: a race is over in milliseconds."""

    async def sleep(self, seconds: float) -> None:
        """Hardly wait."""
        await super().sleep(min(seconds, 0.005))


class Turnstile(httpx.AsyncBaseTransport):
    """A provider that accepts everything and writes down what it accepted."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._number = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Accept."""
        shot = httpx.Response(200, content=await request.aread()).json()["args"]["prompt"]
        self._number += 1
        os.write(self._file, f"{shot}\n".encode())
        body = f'{{"code": 0, "data": {{"job_id": "job-{os.getpid()}-{self._number}", "amount": "0.429"}}}}'
        return httpx.Response(200, stream=httpx.ByteStream(body.encode()))


def race(url: str, rounds: int, *, homes: int = 1) -> Raced:
    """`rounds` of both races on an empty ledger at `url` ("" for SQLite), or on a ledger in each of `homes`."""
    root = Path(tempfile.mkdtemp(prefix="rushes-race-"))
    track = Track(url, root, rounds, homes)
    ledgers = [track.ledger(number) for number in range(homes)]
    try:
        for number in range(rounds):
            for kind, fits in (("one", 1), ("cap", FIT)):
                run = f"{kind}-{number}"
                cap = (Cap("run", "", Money(PRICE.micros * fits)),)
                for ledger in ledgers:
                    ledger.begin_run(
                        run, board=run, spec_sha256="", digest=run, caps=cap, approved_by="auto", approval=""
                    )
        raced = Raced(rounds)
        codes = _run_all(track)
        if any(codes):
            raced.wrong.append(("stuck", f"processes ended with {codes}"))
        raced.wrong += _judge(track, ledgers)
    finally:
        for ledger in ledgers:
            ledger.close()
        shutil.rmtree(root, ignore_errors=True)
    return raced


def _run_all(track: Track) -> list[int | None]:
    context = forks()
    barrier = context.Barrier(PROCESSES)
    running = [context.Process(target=_racer, args=(track, number, barrier)) for number in range(PROCESSES)]
    for process in running:
        process.start()
    for process in running:
        process.join(PATIENCE + track.rounds)
    for process in running:
        if process.is_alive():
            process.kill()
            process.join()
    return [process.exitcode for process in running]


def _racer(track: Track, number: int, barrier: Barrier) -> None:
    """One process: at each signal it tries to buy the one shot, then its share of the twenty."""
    clock, ledger = Brisk(), track.ledger(number)
    wire = Wire(clock=clock, mounts={"https://": Turnstile(track.accepts)})
    wire._trust = _TRUST
    settings: Settings = _SETTINGS.model_copy(update={"home": track.root / "home", "callback_url": None})
    production = Production(settings, ledger, Store.open(str(track.root / "store")), wire, clock, SystemRng())
    stage = Stage(track.root, Script("race", shots=SHOTS), 1, callback=False)
    with asyncio.Runner() as runner:
        for at in range(track.rounds):
            barrier.wait(PATIENCE)
            runner.run(_buy(stage, production, f"one-{at}", [0]))
            barrier.wait(PATIENCE)
            runner.run(_buy(stage, production, f"cap-{at}", [(number + step) % SHOTS for step in (0, 7)]))
    ledger.close()


async def _buy(stage: Stage, production: Production, run: str, shots: list[int]) -> None:
    for shot in shots:
        request = stage.requests[shot]
        asked = replace(request, prompt=f"{run}/{request.shot}")
        submission = stage.submission(production, asked, run)
        order = replace(submission.order, board=run, take=1, caps=(), max_in_flight=1 << 20)
        with contextlib.suppress(Refused):
            await submit_shot(production, replace(submission, order=order))


def _judge(track: Track, ledgers: Sequence[Ledger]) -> Iterator[tuple[str, str]]:
    """One purchase a shot, whoever made it; the cap of each ledger is its own."""
    accepted = Counter(track.accepts.read_text().split())
    yield from (("double", f"{shot} was accepted {times} times") for shot, times in accepted.items() if times > 1)
    for number in range(track.rounds):
        for kind, fits in (("one", 1), ("cap", FIT)):
            bought = sum(shot.startswith(f"{kind}-{number}/") for shot in accepted)
            most = fits if kind == "one" else fits * track.homes
            if bought > most or (bought < most and track.homes == 1) or not bought:
                yield "overspend" if bought > fits else "stuck", f"{kind}-{number}: {bought} bought, {fits} fit"
    yield from (("books", problem) for ledger in ledgers for problem in ledger.verify())


@contextlib.contextmanager
def postgres() -> Iterator[Cluster | None]:
    """A throw-away cluster; None where PostgreSQL is not installed."""
    try:
        with contextlib.contextmanager(postgres_cluster._get_wrapped_function())() as cluster:
            yield cluster
    except pytest.skip.Exception:
        yield None
