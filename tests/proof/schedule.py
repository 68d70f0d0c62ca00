"""One schedule: a script, the points at which lives end, callbacks or none; played to rest, then held against the truth."""

import asyncio
import functools
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from flows.collect import OPEN, Collected, collect
from flows.doubts import Decision, resolve
from tasks.errors import RushesError
from tasks.estimate import Action, decide
from tasks.ledger import Intent, IntentState, Ledger
from tasks.production import Production
from tasks.providers import PROVIDERS
from tasks.store import store_take
from tasks.submit import submit_shot
from tasks.wait import wait_for
from tests.proof.checks import violations
from tests.proof.crashes import Inline, Life, died
from tests.proof.oracle import Script
from tests.proof.stage import BOARD, Stage

__all__ = ["Played", "Schedule", "play", "scratch"]

GAPS = (1.0, 45.0, 100.0, 5000.0)
MOST_STARTS = 4
ROUNDS = (1300.0, 1300.0, 4000.0, 90_000.0, 4000.0)


@dataclass(frozen=True, slots=True)
class Schedule:
    """`ends` are the points at which one life after the other ends; what follows them lives on."""

    script: Script
    callback: bool = False
    ends: tuple[int, ...] = ()
    seed: int = 1
    statements: bool = True

    def __str__(self) -> str:
        where = "+".join(map(str, self.ends)) or "no crash"
        return f"{self.script.name} {'callback' if self.callback else 'no callback'} crash {where} seed {self.seed}"


@dataclass(slots=True)
class Played:
    """What came of a schedule: the points of each life, what is wrong, the end states; `points` that could be crashed at."""

    schedule: Schedule
    trails: list[list[str]] = field(default_factory=list)
    wrong: list[tuple[str, str]] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    accepts: int = 0
    points: int = 0

    @property
    def crashes(self) -> int:
        """How many lives ended."""
        return sum(len(trail) == end for trail, end in zip(self.trails, self.schedule.ends, strict=False))


def scratch() -> Path:
    """A folder in memory where there is room, else on disk."""
    shared = Path("/dev/shm")
    roomy = shared.is_dir() and shutil.disk_usage(shared).free > 1 << 30
    return Path(tempfile.mkdtemp(prefix="rushes-proof-", dir=shared if roomy else None))


def play(schedule: Schedule, folder: Path, *, ledgers: type[Ledger] = Ledger) -> Played:
    """Play a schedule in `folder`, which is emptied."""
    root = folder / "stage"
    stage = Stage(root, schedule.script, schedule.seed, schedule.callback, ledgers=ledgers)
    played = Played(schedule)
    lives = iter((*schedule.ends, *(0,) * MOST_STARTS))
    while not _loop().run_until_complete(_live(stage, Life(next(lives), schedule.statements), played)):
        if len(played.trails) == len(schedule.ends) + MOST_STARTS:
            played.wrong.append(("stuck", f"no start succeeds: {stage.notes[-1:]}"))
            break
    stage.end()
    played.wrong[:0] = stage.wrong
    if schedule.script.lies and schedule.ends:
        played.wrong = [one for one in played.wrong if one[0] in {"double", "resent", "halted", "leak"}]
    played.accepts = len(stage.oracle.jobs)
    shutil.rmtree(root, ignore_errors=True)
    return played


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    """One loop a process: making one costs as much as a small schedule."""
    loop = asyncio.new_event_loop()
    loop.set_default_executor(Inline())
    return loop


async def _live(stage: Stage, life: Life, played: Played) -> bool:
    """One process: render, then collect until nothing moves, then what a person would do. Whether it lived to its end."""
    played.trails.append(life.trail)
    try:
        production = stage.open(life)
        await render(stage, production)
        collected = await rest(stage, production)
        played.points = len(life.trail)
        if not life.ends_at:
            await _aftermath(stage, production, collected, played)
    except RushesError as error:
        stage.notes.append(f"the process ended: {error}")
        return False
    except BaseException as error:
        if not died(error):
            raise
        return False
    finally:
        stage.close()
        stage.time.turn(GAPS[(life.ends_at + stage.seed) % len(GAPS)])
    return not life.ends_at


async def render(stage: Stage, production: Production) -> None:
    """What the render flow does, one shot after another, without its orchestrator."""
    ledger = production.ledger
    ledger.recover("proof")
    stage.runs += 1
    run_id = f"run-{stage.runs}"
    by: Literal["auto", "person"] = "person" if stage.person else "auto"
    ledger.begin_run(run_id, board=BOARD, spec_sha256="", digest=run_id, caps=(), approved_by=by, approval="the proof")
    for request in stage.requests:
        decision = decide(ledger, BOARD, request, PROVIDERS[stage.script.provider].caps, stage.key_of(request))
        intent = decision.intent
        try:
            if decision.action is Action.CREATE:
                intent = await submit_shot(production, stage.submission(production, request, run_id))
            elif decision.action is not Action.RESUME:
                continue
            if intent is not None:
                await store_take(production, await wait_for(production, intent))
        except RushesError as error:
            stage.notes.append(f"{request.shot}: {error}")


async def rest(stage: Stage, production: Production) -> list[Collected]:
    """Let time pass and collect, until nothing is open or a day has gone."""
    collected: list[Collected] = []
    for seconds in ROUNDS:
        await stage.receive(production)
        collected = await collect(production, "proof")
        if not any(_moves(stage, one.intent) for one in collected):
            return collected
        stage.time.turn(seconds)
    await stage.receive(production)
    return await collect(production, "proof")


def _moves(stage: Stage, intent: Intent) -> bool:
    """Whether time may still change it: a doubt waits for a callback or a person."""
    if intent.state is IntentState.IN_DOUBT:
        return bool(stage.time.due or stage.inbox)
    return intent.state in OPEN


async def _aftermath(stage: Stage, production: Production, collected: Sequence[Collected], played: Played) -> None:
    """Check at rest; then a person looks at the provider's own list, settles every doubt, and renders again."""
    played.wrong += violations(stage, production, collected)
    if _unfinished(stage, production):
        stage.person = True
        for _ in range(8):
            await _decide(stage, production)
            await render(stage, production)
            collected = await rest(stage, production)
            if not _unfinished(stage, production):
                break
        played.wrong += violations(stage, production, collected)
    played.states = [intent.state.value for intent in production.ledger.intents()]
    played.wrong += _not_ended(stage, production)


def _final(stage: Stage, production: Production) -> Iterator[tuple[str, Intent | None]]:
    for request in stage.requests:
        yield request.shot, production.ledger.find(stage.key_of(request))


def _unfinished(stage: Stage, production: Production) -> bool:
    done = {IntentState.STORED, IntentState.FAILED_FINAL}
    return any(intent is None or intent.state not in done for _, intent in _final(stage, production))


def _not_ended(stage: Stage, production: Production) -> list[tuple[str, str]]:
    """Every shot must get where the script says, whatever died on the way."""
    if stage.script.ends == "any":
        return []
    found = [(shot, "nothing" if intent is None else intent.state.value) for shot, intent in _final(stage, production)]
    notes = "; ".join(stage.notes[-2:])
    return [("stuck", f"{shot} ended as {state} ({notes})") for shot, state in found if state != stage.script.ends]


async def _decide(stage: Stage, production: Production) -> None:
    """A person who looks at the provider's truth: attaches what is there, declares absent what is not."""
    stage.time.turn(7300)
    for intent in production.ledger.doubts():
        jobs = [job for job in stage.oracle.jobs.values() if job.shot == intent.shot]
        unknown = [job for job in jobs if production.ledger.by_job(intent.provider, job.job_id) is None]
        try:
            if unknown:
                await resolve(production, Decision(intent.intent_id, "seen on its page", job_id=unknown[0].job_id))
            else:
                await resolve(production, Decision(intent.intent_id, "not on its page", absent=True))
                stage.permits[intent.shot] += 1
        except RushesError as error:
            stage.notes.append(f"a person tries again later: {error}")
