"""The rules as a model: two workers, one shot, every interleaving with crashes, losses, an expired lease and one person.

It checks the rules, not the code. Quiescence is an oracle here: in life it is the time bound and the sender's lock.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

__all__ = ["DESIGN", "MUTANTS", "Checked", "check"]

MUTANTS = ("noWAL", "retryOnTimeout", "autoResubmit", "humanNoQuiesce", "noCAS", "fencedFact")
DESIGN = ""
WORKERS = 2
MOST_ATTEMPTS = 2


@dataclass(frozen=True, slots=True)
class Worker:
    """`at`: idle, seen (noCAS: read, not yet written), reserved, checked, waiting, told. `attempt` and `epoch` are what it holds."""

    at: str = "idle"
    attempt: int = 0
    epoch: int = 0
    resent: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """An intent in the ledger."""

    state: str = "SUBMITTING"
    epoch: int = 1
    expired: bool = False


@dataclass(frozen=True, slots=True)
class World:
    """Everything: ledger rows by attempt, workers, what is on the wire, and the provider's truth.

    `requests` and `replies` hold (attempt, worker); `accepted` counts by attempt; what may still go wrong is counted down.
    """

    rows: tuple[Row, ...] = ()
    workers: tuple[Worker, ...] = (Worker(),) * WORKERS
    requests: tuple[tuple[int, int], ...] = ()
    replies: tuple[tuple[int, int], ...] = ()
    accepted: tuple[int, ...] = (0,) * MOST_ATTEMPTS
    callbacks: tuple[int, ...] = ()
    dropped: bool = False
    crashes: int = 2
    losses: int = 2
    expiries: int = 1
    people: int = 1


@dataclass(frozen=True, slots=True)
class Checked:
    """How many states were reached, and the first violation with the steps that lead to it."""

    states: int
    violation: str = ""
    steps: tuple[str, ...] = ()


def check(mutant: str = DESIGN, *, crashes: int = 2) -> Checked:
    """Breadth-first over every interleaving; ends at the first violation."""
    start = World(crashes=crashes)
    came: dict[World, tuple[World, str] | None] = {start: None}
    queue = deque([start])
    while queue:
        world = queue.popleft()
        if wrong := _wrong(world, mutant):
            return Checked(len(came), wrong, _path(world, came))
        for step, after in _steps(world, mutant):
            if after not in came:
                came[after] = (world, step)
                queue.append(after)
    return Checked(len(came))


def _path(world: World, came: dict[World, tuple[World, str] | None]) -> tuple[str, ...]:
    steps = []
    while (before := came[world]) is not None:
        world, step = before
        steps.append(step)
    return tuple(reversed(steps))


def _wrong(world: World, mutant: str) -> str:
    """I1, I2 and I4."""
    if sum(world.accepted) > 1:
        return "double payment"
    if world.dropped:
        return "a known job id was dropped"
    for attempt, jobs in enumerate(world.accepted):
        if not jobs:
            continue
        if attempt >= len(world.rows):
            under_way = mutant == "noWAL" and any(one.at in {"waiting", "told"} for one in world.workers)
            if not under_way:
                return "paid but unknown"
        elif world.rows[attempt].state == "REJECTED":
            return "paid but not reserved"
    return ""


def _steps(world: World, mutant: str) -> Iterator[tuple[str, World]]:
    for number in range(WORKERS):
        yield from _worker_steps(world, number, mutant)
    yield from _wire_steps(world)
    yield from _people_steps(world, mutant)
    for attempt, row in enumerate(world.rows):
        if row.state == "SUBMITTING" and not row.expired and world.expiries:
            yield (
                "the lease expires",
                replace(_put(world, attempt, replace(row, expired=True)), expiries=world.expiries - 1),
            )
        if row.state == "IN_DOUBT" and mutant == "autoResubmit":
            yield "the doubt is waited out", _put(world, attempt, replace(row, state="REJECTED", epoch=row.epoch + 1))


def _put(world: World, attempt: int, row: Row) -> World:
    rows = [*world.rows]
    rows[attempt] = row
    return replace(world, rows=tuple(rows))


def _go(world: World, number: int, worker: Worker) -> World:
    workers = [*world.workers]
    workers[number] = worker
    return replace(world, workers=tuple(workers))


def _worker_steps(world: World, number: int, mutant: str) -> Iterator[tuple[str, World]]:
    worker = world.workers[number]
    name = f"worker {number + 1}"
    if worker.at != "idle" and world.crashes:
        yield f"{name} crashes", replace(_go(world, number, Worker()), crashes=world.crashes - 1)
    match worker.at:
        case "idle":
            yield from _idle(world, number, mutant)
        case "seen":
            row = Row()
            rows = world.rows if worker.attempt < len(world.rows) else (*world.rows, row)
            yield (
                f"{name} writes what it read to be free",
                replace(_go(world, number, replace(worker, at="reserved", epoch=1)), rows=rows),
            )
        case "reserved":
            row = world.rows[worker.attempt]
            ours = row.state == "SUBMITTING" and row.epoch == worker.epoch and not row.expired
            if ours or mutant == "noCAS":
                yield f"{name} checks that it may send", _go(world, number, replace(worker, at="checked"))
            else:
                yield f"{name} may not send", _go(world, number, Worker())
        case "checked":
            sent = replace(world, requests=(*world.requests, (worker.attempt, number)))
            yield f"{name} sends", _go(sent, number, replace(worker, at="waiting"))
        case "waiting":
            yield f"{name} waits no longer", _timed_out(world, number, mutant)
        case _:
            yield f"{name} records the job", _record(world, number, mutant)


def _idle(world: World, number: int, mutant: str) -> Iterator[tuple[str, World]]:
    attempt = len(world.rows)
    free = attempt == 0 or world.rows[-1].state == "REJECTED"
    name = f"worker {number + 1}"
    if free and attempt < MOST_ATTEMPTS:
        if mutant == "noWAL":
            yield f"{name} is about to send", _go(world, number, Worker("checked", attempt, 1))
        elif mutant == "noCAS":
            yield f"{name} reads that the shot is free", _go(world, number, Worker("seen", attempt, 1))
        else:
            reserved = replace(world, rows=(*world.rows, Row()))
            yield f"{name} reserves", _go(reserved, number, Worker("reserved", attempt, 1))
    if attempt and world.rows[-1].state == "SUBMITTING" and world.rows[-1].expired:
        last = attempt - 1
        if mutant == "noCAS":
            yield f"{name} takes over", _go(world, number, Worker("reserved", last, 1))
        else:
            row = replace(world.rows[last], state="IN_DOUBT", epoch=world.rows[last].epoch + 1)
            yield f"{name} recovers: in doubt", _put(world, last, row)


def _timed_out(world: World, number: int, mutant: str) -> World:
    worker = world.workers[number]
    if mutant == "retryOnTimeout" and not worker.resent:
        return _go(world, number, replace(worker, at="checked", resent=True))
    after = _go(world, number, Worker())
    if worker.attempt >= len(world.rows):
        return after
    row = world.rows[worker.attempt]
    if row.state == "SUBMITTING" and row.epoch == worker.epoch:
        return _put(after, worker.attempt, replace(row, state="IN_DOUBT", epoch=row.epoch + 1))
    return after


def _record(world: World, number: int, mutant: str) -> World:
    worker = world.workers[number]
    after = _go(world, number, Worker())
    if worker.attempt >= len(world.rows):
        return replace(after, rows=(*world.rows, Row("SUBMITTED")))
    row = world.rows[worker.attempt]
    if mutant == "fencedFact" and row.epoch != worker.epoch:
        return replace(after, dropped=True)
    return _put(after, worker.attempt, replace(row, state="SUBMITTED"))


def _wire_steps(world: World) -> Iterator[tuple[str, World]]:
    for place, (attempt, number) in enumerate(world.requests):
        rest = (*world.requests[:place], *world.requests[place + 1 :])
        accepted = tuple(jobs + (at == attempt) for at, jobs in enumerate(world.accepted))
        yield (
            "the provider accepts",
            replace(
                world,
                requests=rest,
                accepted=accepted,
                replies=(*world.replies, (attempt, number)),
                callbacks=(*world.callbacks, attempt),
            ),
        )
        if world.losses:
            yield "the request is lost", replace(world, requests=rest, losses=world.losses - 1)
    for place, (attempt, number) in enumerate(world.replies):
        rest = (*world.replies[:place], *world.replies[place + 1 :])
        worker = world.workers[number]
        if worker.at == "waiting" and worker.attempt == attempt:
            yield "the reply arrives", _go(replace(world, replies=rest), number, replace(worker, at="told"))
        if world.losses:
            yield "the reply is lost", replace(world, replies=rest, losses=world.losses - 1)
    for attempt in world.callbacks:
        after = replace(world, callbacks=tuple(one for one in world.callbacks if one != attempt))
        if attempt < len(world.rows):
            after = _put(after, attempt, replace(world.rows[attempt], state="SUBMITTED"))
        yield "a callback names the job", after


def _people_steps(world: World, mutant: str) -> Iterator[tuple[str, World]]:
    if not world.people:
        return
    for attempt, row in enumerate(world.rows):
        if row.state != "IN_DOUBT":
            continue
        after = replace(world, people=world.people - 1)
        if world.accepted[attempt]:
            yield "a person attaches the job", _put(after, attempt, replace(row, state="SUBMITTED"))
        elif mutant == "humanNoQuiesce" or _quiet(world, attempt):
            gone = replace(row, state="REJECTED", epoch=row.epoch + 1)
            yield "a person declares it absent", _put(after, attempt, gone)


def _quiet(world: World, attempt: int) -> bool:
    """Nobody can still send for the attempt, and nothing of it is on the wire."""
    sending = any(one.attempt == attempt and one.at in {"checked", "waiting"} for one in world.workers)
    return not sending and all(one != attempt for one, _ in world.requests)
