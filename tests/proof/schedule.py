"""One schedule: a script, the ways in which lives end, callbacks or none; played to rest, then held against the truth."""

import asyncio
import functools
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flows.collect import Collected, collect
from flows.doubts import Decision, resolve
from flows.shooting import PlainSteps, begin, make_shots
from tasks.errors import RushesError
from tasks.estimate import PlannedShot
from tasks.exits import ExitCode, worst
from tasks.gate import Approval
from tasks.ledger import Intent, IntentState, Ledger
from tasks.ledger.asking import OPEN
from tasks.production import Production
from tasks.shoot import Run, order_of
from tasks.submit import Submission, submit_shot
from tests.proof.checks import violations
from tests.proof.crashes import Cancel, Life, foreseen
from tests.proof.stage import BOARD, MEDIA, Stage
from tests.proof.truth import Script
from tests.proof.virtual import VirtualLoop

__all__ = ["Played", "Schedule", "play", "render", "rest", "scratch", "settle", "unfinished"]

GAPS = (1.0, 45.0, 100.0, 5000.0)
MOST_STARTS = 4
ROUNDS = (1300.0, 1300.0, 4000.0, 90_000.0, 4000.0)


@dataclass(frozen=True, slots=True)
class Schedule:
    """`ends` say how one life after the other ends, at a point or by a cancellation; what follows them lives on."""

    script: Script
    callback: bool = False
    ends: tuple[int | Cancel, ...] = ()
    seed: int = 1
    statements: bool = True

    def __str__(self) -> str:
        where = "+".join(map(str, self.ends)) or "no crash"
        return f"{self.script.name} {'callback' if self.callback else 'no callback'} crash {where} seed {self.seed}"

    @property
    def gentle(self) -> bool:
        """Whether nothing goes wrong but that runs are told to stop."""
        mischief = self.script.create or self.script.pause or self.script.ledger
        return not mischief and all(isinstance(end, Cancel) and end.whom == "run" for end in self.ends)

    def lives(self) -> Iterator[Life]:
        """One after the other."""
        for end in self.ends:
            if isinstance(end, Cancel):
                yield Life(statements=self.statements, cancel=end, watched=True)
            else:
                yield Life(end, self.statements)
        while True:
            yield Life(statements=self.statements, watched=not self.ends)


@dataclass(slots=True)
class Played:
    """What came of a schedule: its lives, what is wrong, the end states.

    `attempts` are the runs under one approval, `beside` the clips that came after their shot was decided, `failures` how often
    ledger, journal or store failed; `points` and `waits` those that a life without an end has passed before the checks.
    """

    schedule: Schedule
    lives: list[Life] = field(default_factory=list)
    wrong: list[tuple[str, str]] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    accepts: int = 0
    failovers: int = 0
    attempts: int = 0
    beside: int = 0
    failures: int = 0
    points: int = 0
    waits: int = 0

    @property
    def crashes(self) -> list[str]:
        """The points at which lives ended."""
        return [life.trail[-1] for life in self.lives if life.dead]

    @property
    def cancels(self) -> list[str]:
        """The waits in which something was cancelled."""
        return [life.waits[life.cancel.at - 1] for life in self.lives if life.cancel and life.cancelled]


def scratch() -> Path:
    """A folder in memory where there is room, else on disk."""
    shared = Path("/dev/shm")
    roomy = shared.is_dir() and shutil.disk_usage(shared).free > 1 << 30
    return Path(tempfile.mkdtemp(prefix="rushes-proof-", dir=shared if roomy else None))


def play(schedule: Schedule, folder: Path, *, ledgers: type[Ledger] = Ledger) -> Played:
    """Play a schedule in `folder`, which is emptied."""
    root = folder / "stage"
    stage = Stage(root, schedule.script, schedule.seed, schedule.callback, ledgers=ledgers)
    stage.hears, stage.gentle = True, schedule.gentle
    played = Played(schedule)
    loop, lives = _loop(), schedule.lives()
    loop.clock = stage.time
    while not loop.live(life := next(lives), _live(stage, life, played)):
        _ended(stage, life)
        if len(played.lives) == len(schedule.ends) + MOST_STARTS:
            played.wrong.append(("stuck", f"no start succeeds: {stage.notes[-1:]}"))
            break
    stage.end()
    played.wrong[:0] = [*stage.wrong, *(("stray", repr(loop.strays.pop())) for _ in range(len(loop.strays)))]
    if schedule.script.patient and not schedule.ends and stage.codes[:1] != [ExitCode.OK]:
        played.wrong.append(("gave up", f"the first render ended with {stage.codes[:1]}: {stage.notes[:2]}"))
    if schedule.script.lies and schedule.ends:
        played.wrong = [one for one in played.wrong if one[0] in {"double", "resent", "halted", "leak"}]
    played.accepts = len(stage.oracle.jobs)
    played.attempts = stage.runs if schedule.script.one_approval else 0
    played.failures = stage.failures
    played.failovers = sum(job.provider != schedule.script.provider for job in stage.oracle.jobs.values())
    shutil.rmtree(root, ignore_errors=True)
    return played


@functools.cache
def _loop() -> VirtualLoop:
    """One a process."""
    return VirtualLoop()


def _ended(stage: Stage, life: Life) -> None:
    """The kernel takes what the process held; the next one starts some time later."""
    stage.close()
    at = life.ends_at or (life.cancel.at if life.cancel else 0)
    stage.time.turn(GAPS[(at + stage.seed) % len(GAPS)])


async def _live(stage: Stage, life: Life, played: Played) -> bool:
    """One process: render, then collect until nothing moves, then what a person would do. Whether it lived to its end."""
    played.lives.append(life)
    try:
        production = stage.open(life)
        collected = await _working(stage, production, life)
        if collected is None or life.ends_at:
            return False
        played.points, played.waits = len(life.trail), len(life.waits)
        await _aftermath(stage, production, collected, played)
    except (RushesError, BaseExceptionGroup) as error:
        if not foreseen(error, RushesError):
            raise
        stage.notes.append(f"the process ended: {error}")
        return False
    return True


async def _working(stage: Stage, production: Production, life: Life) -> list[Collected] | None:
    """Render and collect; again where that was cancelled and the process stays. None where it does not."""
    life.run = asyncio.ensure_future(_work(stage, production))
    await asyncio.wait([life.run])
    if not (life.cancelled and life.run.cancelled()):
        return life.run.result() if life.cancel is None or life.cancel.stays else None
    return await _work(stage, production) if life.cancel and life.cancel.stays else None


async def _work(stage: Stage, production: Production) -> list[Collected]:
    await render(stage, production)
    for what in stage.script.decides[len(stage.decided) :]:
        if not await _decides(stage, production, what):
            break
        stage.decided.append(what)
    return await rest(stage, production)


async def _decides(stage: Stage, production: Production, what: str) -> bool:
    """A person decides about a take that is held, and does it again after a crash. Whether it is done."""
    states = {IntentState.RESULT_HELD, IntentState.ABANDONED}
    held = await production.patiently(lambda: production.ledger.intents(board=BOARD, states=states))
    if not held and what not in stage.begun:
        return False
    if what != "write off" and what not in stage.begun:
        stage.permits[held[0].shot] += 1
    stage.begun.add(what)
    match what:
        case "write off":
            for intent in held:
                production.ledger.write_off(intent.intent_id, "the proof", "the client has gone")
            return True
        case "take: 2":
            stage.take = 2
            await render(stage, production)
        case _:
            await render(stage, production, retake="too dark")
    return production.ledger.intents(board=BOARD)[-1].state is IntentState.STORED


class Steps(PlainSteps):
    """The plain steps, but for the addresses of stills: publishing them is not under proof."""

    async def submit(self, production: Production, run: Run, shot: PlannedShot) -> Intent:
        """Buy the shot once, or find that it already is."""
        return await submit_shot(production, Submission(order_of(production, run, shot), shot.request, MEDIA))


async def render(stage: Stage, production: Production, *, retake: str = "") -> None:
    """`rushes render`, or `rushes retake` for a reason, without its orchestrator."""
    await production.patiently(production.ledger.recover, "proof")
    stage.runs += 1
    plan = await production.patiently(stage.plan, production, retake)
    run_cap = stage.caps(plan.shots[0].quote.money)[0].limit
    one = "one" if stage.script.one_approval else ""
    approval = Approval("person" if stage.person else "auto", "the proof", (run_cap,), one)
    run = await production.patiently(begin, production, plan, approval, production.clock.now())
    outcomes = await make_shots(production, run, plan.shots, Steps())
    stage.notes += [f"{one.shot.request.shot}: {one.note}" for one in outcomes if one.note]
    code = worst(one.exit_code for one in outcomes)
    stage.codes.append(code)
    if code is ExitCode.OK and not _all(stage, production, {IntentState.STORED}):
        stage.wrong.append(("exit", f"a run ends with {code} and {[one.state for one in outcomes]}"))


async def rest(stage: Stage, production: Production) -> list[Collected]:
    """Let time pass and collect, until nothing is open or a day has gone."""
    collected: list[Collected] = []
    for seconds in ROUNDS:
        await stage.receive(production)
        collected = await collect(production, "proof")
        waits = any(map(stage.oracle.dead, stage.oracle.jobs.values()))
        if not waits and not any(_moves(stage, one.intent) for one in collected):
            return collected
        await production.clock.sleep(seconds)
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
    if unfinished(stage, production):
        stage.person = True
        for _ in range(8):
            await settle(stage, production)
            collected = await _work(stage, production)
            if not unfinished(stage, production):
                break
        played.wrong += violations(stage, production, collected)
    played.states = [intent.state.value for intent in production.ledger.intents()]
    late = {job.job_id for job in stage.oracle.jobs.values() if job.dead_link and stage.begun}
    played.beside = sum(one.job_id in late for one in production.ledger.intents(states={IntentState.STORED}))
    played.wrong += _not_ended(stage, production)


def _final(stage: Stage, production: Production) -> Iterator[tuple[str, Intent | None]]:
    """Each shot with its take, or with the newer one for which that was given up, where it is not stored itself."""
    for request in stage.requests:
        intent = production.ledger.find(stage.key_of(request))
        if intent is not None and intent.state is not IntentState.STORED:
            intent = production.ledger.live_for_shot(BOARD, request.shot, intent.family) or intent
        yield request.shot, intent


def _all(stage: Stage, production: Production, states: set[IntentState]) -> bool:
    return all(intent is not None and intent.state in states for _, intent in _final(stage, production))


def unfinished(stage: Stage, production: Production) -> bool:
    """Whether a shot is neither stored nor settled as failed, or a take beside it is still open."""
    if stage.script.decides and production.ledger.intents(states=set(OPEN)):
        return True
    return not _all(stage, production, {IntentState.STORED, IntentState.FAILED_FINAL})


def _not_ended(stage: Stage, production: Production) -> list[tuple[str, str]]:
    """Every shot must get where the script says, whatever died on the way."""
    if stage.script.ends == "any":
        return []
    if stage.script.decides:
        return list(_not_beside(stage, production))
    found = [(shot, "nothing" if intent is None else intent.state.value) for shot, intent in _final(stage, production)]
    notes = "; ".join(stage.notes[-2:])
    return [("stuck", f"{shot} ended as {state} ({notes})") for shot, state in found if state != stage.script.ends]


def _not_beside(stage: Stage, production: Production) -> Iterator[tuple[str, str]]:
    """A take that was given up is bought anew once and no more, and in the end its clip lies beside the newer one."""
    asked, jobs = 1 + len(stage.begun - {"write off"}), stage.oracle.jobs
    if len(jobs) != asked:
        yield "double" if len(jobs) > asked else "stuck", f"{asked} takes were asked for, {len(jobs)} are paid"
    for job in jobs.values():
        intent = production.ledger.by_job(job.provider, job.job_id)
        if intent is None or intent.state is not IntentState.STORED:
            yield "lost", f"{job.job_id} is {intent and intent.state.value}, and its link works again"


async def settle(stage: Stage, production: Production) -> None:
    """A person who looks at the provider's truth: attaches what is there, declares absent what is not."""
    await production.clock.sleep(7300)
    for intent in production.ledger.doubts():
        jobs = [one for one in stage.oracle.jobs.values() if (one.shot, one.provider) == (intent.shot, intent.provider)]
        unknown = [job for job in jobs if production.ledger.by_job(intent.provider, job.job_id) is None]
        try:
            if unknown:
                await resolve(production, Decision(intent.intent_id, "seen on its page", job_id=unknown[0].job_id))
            else:
                await resolve(production, Decision(intent.intent_id, "not on its page", absent=True))
                stage.permits[intent.shot] += 1
        except RushesError as error:
            stage.notes.append(f"a person tries again later: {error}")
