"""The whole proof, part by part, and the one table that says what came of it."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal

import httpx

from tests.proof.cancels import cancel_many
from tests.proof.explore import PROTOCOL, Tally, all_work, explore
from tests.proof.grammar import judge
from tests.proof.homes import put_back_many
from tests.proof.kills import kill_many
from tests.proof.machine import run_machines
from tests.proof.model import DESIGN, MUTANTS, check
from tests.proof.mutants import MUTANTS as RULES
from tests.proof.mutants import survivors
from tests.proof.races import PROCESSES, postgres, race
from tests.proof.scripts import FAMILIES, SCRIPTS

__all__ = ["Size", "Table", "prove"]


@dataclass(frozen=True, slots=True)
class Size:
    """How much of each part is run; `schedules` is the least that counts as a proof."""

    schedules: int = 10_000
    homes: int = 150
    kills: int = 100
    cancels: int = 6
    rounds: int = 50
    examples: int = 200
    steps: int = 60
    nightly: bool = False
    seed: int = 1

    @classmethod
    def night(cls, seed: int) -> "Size":
        """Everything."""
        return cls(homes=5000, kills=500, cancels=40, rounds=1000, examples=20_000, steps=150, nightly=True, seed=seed)


@dataclass(slots=True)
class Table:
    """Rows of what and how much, and every violation."""

    rows: list[tuple[str, str]] = field(default_factory=list)
    wrong: list[tuple[str, str]] = field(default_factory=list)
    kinds: dict[str, int] = field(default_factory=dict)
    overspent: Decimal = Decimal(0)

    def judge(self, wrong: list[tuple[str, str]]) -> None:
        """Count violations by kind."""
        self.wrong += wrong
        for kind, _ in wrong:
            self.kinds[kind] = self.kinds.get(kind, 0) + 1

    def merge(self, part: "Table") -> None:
        """Add the rows of a part."""
        self.rows += part.rows
        self.judge(part.wrong)
        self.overspent += part.overspent

    def lines(self) -> Iterator[str]:
        """The table as people read it."""
        double = sum(self.kinds.get(kind, 0) for kind in ("double", "resent"))
        facts = [
            ("double payments", str(double)),
            ("lost clips", str(self.kinds.get("lost", 0))),
            ("over the caps", f"{self.overspent:.2f} USD"),
            ("other violations", str(len(self.wrong) - double - self.kinds.get("lost", 0))),
        ]
        for what, much in [*self.rows, *facts]:
            yield f"{what:<34} {much}"
        yield from (f"WRONG {kind}: {text}" for kind, text in self.wrong[:20])


Part = Callable[[Table, Size], None]


def prove(size: Size, say: Callable[[str], None]) -> Table:
    """Run every part; `say` is told how long each took, in seconds.

    What mostly waits, for processes and for each other's locks, runs beside what keeps the processors busy.
    """
    table = Table()
    with ThreadPoolExecutor(2) as lanes:
        running = [lanes.submit(_run, parts, size, say) for parts in (BUSY, WAITING)]
    for lane in running:
        for part in lane.result():
            table.merge(part)
    return table


def _run(parts: Sequence[Part], size: Size, say: Callable[[str], None]) -> list[Table]:
    tables = []
    for part in parts:
        started = time.monotonic()
        table = Table()
        part(table, size)
        tables.append(table)
        say(f"{part.__name__.strip('_').replace('_', ' ')}: {time.monotonic() - started:.0f} s")
    return tables


def _simulate(table: Table, size: Size) -> None:
    tally = explore(all_work(nightly=size.nightly, seed=size.seed))
    table.judge([(kind, f"{text} [{schedule}]") for kind, text, schedule in tally.wrong])
    missing = sorted(PROTOCOL - tally.covered)
    if missing:
        table.judge([("coverage", f"no crash at {', '.join(missing)}")])
    if tally.schedules < size.schedules:
        table.judge([("coverage", f"only {tally.schedules} of {size.schedules} schedules")])
    table.overspent += tally.overspent
    table.rows += [
        ("schedules run", f"{tally.schedules:,} ({len(SCRIPTS)} scripts, {tally.accepts:,} accepted jobs)"),
        ("crash points covered", f"{len(tally.covered)} of 22, {len(tally.points)} kinds"),
        ("simulated crashes", f"{tally.crashes:,}"),
        ("cancelled at", f"{tally.cancels:,} waits, {len(tally.waits)} kinds"),
        ("pairs of ends", f"{tally.pairs:,}"),
        ("runs under one approval", f"{tally.attempts:,}, each after the end of the one before"),
        ("failovers", f"{tally.failovers:,} shots bought at the second provider"),
        *_families(tally),
    ]


def _families(tally: Tally) -> Iterator[tuple[str, str]]:
    """Kinds of misbehaviour with a row of their own: scripts, schedules, and what happened in them."""
    told = {
        "amounts": ("accepts", "bills held against the account"),
        "held clips": ("beside", "clips stored after a retake or a write-off"),
        "ledger and store away": ("failures", "failures met"),
    }
    for family, (count, words) in told.items():
        counts = tally.families.get(family, Counter())
        many = f"{counts['schedules']:,} schedules of {len(FAMILIES[family])} scripts"
        yield family, f"{many}, {counts[count]:,} {words}"


def _check_model(table: Table, size: Size) -> None:
    del size
    design = check(DESIGN)
    caught = [mutant for mutant in MUTANTS if check(mutant).violation]
    if design.violation:
        table.judge([("model", f"{design.violation}: {' > '.join(design.steps)}")])
    if len(caught) < len(MUTANTS):
        table.judge([("model", f"not caught: {', '.join(sorted({*MUTANTS} - {*caught}))}")])
    table.rows += [
        ("model states", f"{design.states:,}, {int(bool(design.violation))} violations"),
        ("mutants killed (model)", f"{len(caught)} of {len(MUTANTS)}"),
    ]


def _read_replies(table: Table, size: Size) -> None:
    many = 100_000 if size.nightly else 4_000
    judged = judge(size.seed, many)
    table.judge(judged.wrong)
    counts = ", ".join(f"{judged.counts[sort]:,} {sort}" for sort in ("doubt", "definite", "accepted"))
    table.rows.append(("replies from the grammar", f"{many:,}: {counts}"))


def _mutate(table: Table, size: Size) -> None:
    del size
    alive = survivors()
    table.judge([("mutant", f"nothing notices without: {name}") for name in alive])
    table.rows.append(("guards removed and noticed (code)", f"{len(RULES) - len(alive)} of {len(RULES)}"))


def _state_machine(table: Table, size: Size) -> None:
    done = run_machines(examples=size.examples, steps=size.steps, seed=size.seed)
    table.judge(done.wrong)
    table.rows.append(("state machine", f"{done.examples:,} histories, {done.steps:,} steps"))


def _put_back(table: Table, size: Size) -> None:
    done = put_back_many(size.homes, seed=size.seed)
    table.judge(done.wrong)
    table.rows.append(("restored homes", f"{done.homes:,}, {done.adopted:,} orders adopted"))


def _race_of_ledgers(table: Table, size: Size) -> None:
    raced = race("", size.rounds // 5, homes=2)
    table.judge(raced.wrong)
    table.rows.append(("two ledgers on one store", f"{raced.rounds} rounds of {PROCESSES} processes"))


def _race(table: Table, size: Size) -> None:
    raced = race("", size.rounds)
    table.judge(raced.wrong)
    table.rows.append(("races on SQLite", f"{raced.rounds} rounds of {PROCESSES} processes"))


def _race_on_postgresql(table: Table, size: Size) -> None:
    with postgres() as cluster:
        if cluster is None:
            if os.environ.get("RUSHES_TESTS_REQUIRE_ALL"):
                table.judge([("coverage", "PostgreSQL is not installed")])
            table.rows.append(("races on PostgreSQL", "not installed"))
            return
        raced = race(cluster.fresh(), size.rounds)
    table.judge(raced.wrong)
    table.rows.append(("races on PostgreSQL", f"{raced.rounds} rounds of {PROCESSES} processes"))


def _kill(table: Table, size: Size) -> None:
    killed = kill_many(size.kills, seed=size.seed)
    table.judge(killed.wrong)
    table.overspent += killed.overspend
    many = f"{killed.kills} kills, {killed.stops} stops, {killed.terms} terms; {killed.boards} boards"
    table.rows.append(("real processes", f"{many}, {killed.accepts} accepts"))


def _cancel(table: Table, size: Size) -> None:
    try:
        done = cancel_many(size.cancels, seed=size.seed)
    except (AssertionError, OSError, httpx.HTTPError) as error:  # no server, no `rushes serve`, or they have gone
        table.judge([("coverage", f"nothing was cancelled through Prefect: {error!r}")])
        return
    table.judge(done.wrong)
    if done.runs < size.cancels or not done.unanswered:
        table.judge(
            [("coverage", f"{done.runs} of {size.cancels} runs cancelled, {done.unanswered} creates under way")]
        )
    many = f"{done.runs} runs, {done.unanswered} of {done.jobs} creates under way"
    table.rows.append(("cancelled through Prefect", many))


BUSY: tuple[Part, ...] = (_simulate, _put_back, _check_model, _read_replies, _mutate, _state_machine)
WAITING: tuple[Part, ...] = (_race, _race_on_postgresql, _race_of_ledgers, _kill, _cancel)
