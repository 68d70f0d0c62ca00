"""A board whose database goes away at each step: nothing is bought twice, and the run ends by itself (F107)."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa

from flows.plan import Ask, make_plan
from flows.shooting import PlainSteps, shoot
from tasks.gate import Approval, Wish, gate
from tasks.ledger import IntentState, Ledger, LedgerAway
from tasks.production import Production
from tasks.report import RunReport
from tasks.seams import SystemClock
from tests.fixtures.postgres import Cluster, postgres_cluster
from tests.fixtures.till import Till, till
from tests.tasks.ledger.desk import Desk, order

__all__ = ["postgres_cluster"]

AWAY = 0.6
"""Seconds: longer than the first pause, so that the second question meets an absent database too."""


@dataclass
class Outages:
    """At each new point of the protocol among `points` (any, where there are none) the database is made to go away."""

    strike: Callable[[], None]
    points: frozenset[str] = frozenset()
    met: list[str] = field(default_factory=list)

    def __call__(self, point: str) -> None:
        """Pass a point."""
        if point not in self.met and (not self.points or point in self.points):
            self.met.append(point)
            self.strike()


async def _rendered(house: Till, hooks: Outages) -> RunReport:
    async with replace(Production.open(house.settings()), clock=SystemClock(), hooks=hooks) as production:
        plan = await make_plan(production, Ask(str(house.board(shots=2, provider=house.provider))))
        approval = gate(plan, production.ledger, Wish(yes=True))
        assert isinstance(approval, Approval)
        return await shoot(production, plan, approval, PlainSteps())


def _holds(house: Till, report: RunReport) -> None:
    """Both shots are stored, paid once, and the ledger says what the provider charged."""
    assert [row.state for row in report.rows] == ["stored", "stored"], [row.note for row in report.rows]
    assert report.exit_code == 0
    assert len(house.truth.jobs) == 2
    intents = [one for one in house.intents() if one.state is not IntentState.CANCELLED]
    assert [one.state for one in intents] == [IntentState.STORED] * 2
    assert sum(one.settled.amount for one in intents) == sum((job.billed for job in house.truth.jobs), Decimal(0))


@contextmanager
def _on(cluster: Cluster, folder: Path, provider: str) -> Iterator[Till]:
    with till(folder, more={"RUSHES_LEDGER": cluster.fresh()}) as house:
        yield replace(house, provider=provider)


@pytest.mark.postgres
@pytest.mark.parametrize("provider", ["shortapi", "sjinn"])
async def test_F107_a_render_outlives_restarts_of_its_database(
    postgres_cluster: Cluster, tmp_path: Path, provider: str
) -> None:
    """Before and after the reservation, while the request is under way, at its answer, at a poll, at the store, at the end."""
    starting: list[threading.Thread] = []

    def restart() -> None:
        for one in starting:
            one.join()
        postgres_cluster.stop()
        starting.append(threading.Thread(target=_started_again, args=(postgres_cluster,)))
        starting[-1].start()

    outages = Outages(restart, frozenset({"K2", "K5", "K7", "K12", "K15", "K20", "K22"}))
    with _on(postgres_cluster, tmp_path, provider) as house:
        try:
            report = await _rendered(house, outages)
        finally:
            for one in starting:
                one.join()
        assert set(outages.met) == outages.points
        _holds(house, report)


def _started_again(cluster: Cluster) -> None:
    time.sleep(AWAY)
    cluster.start()


@pytest.mark.postgres
async def test_F107_a_render_outlives_cut_connections_at_every_point(postgres_cluster: Cluster, tmp_path: Path) -> None:
    """`pg_terminate_backend` at each point of the protocol in turn."""
    outages = Outages(postgres_cluster.cut)
    with _on(postgres_cluster, tmp_path, "shortapi") as house:
        report = await _rendered(house, outages)
        assert len(outages.met) > 12
        _holds(house, report)


@pytest.mark.postgres
async def test_F107_while_the_database_stands_still_the_other_shots_go_on(
    postgres_cluster: Cluster, tmp_path: Path
) -> None:
    """A server that takes calls and answers none is waited for beside the loop, not in it."""
    ticks: list[float] = []

    def stand_still() -> None:
        threading.Thread(target=_standing_still, args=(postgres_cluster, done)).start()

    done = threading.Event()
    outages = Outages(stand_still, frozenset({"K15"}))
    with _on(postgres_cluster, tmp_path, "shortapi") as house:
        ticking = threading.Event()
        report = await _rendered_and_ticking(house, outages, ticks, ticking)
        assert done.wait(10)
        gaps = [later - earlier for earlier, later in itertools.pairwise(ticks)]
        assert max(gaps) < STILL, max(gaps)
        _holds(house, report)


STILL = 2.0
"""Seconds for which the server stands still; a loop that waited for it would not tick for as long."""


def _standing_still(cluster: Cluster, done: threading.Event) -> None:
    with cluster.paused():
        time.sleep(STILL)
    done.set()


async def _rendered_and_ticking(
    house: Till, outages: Outages, ticks: list[float], ticking: threading.Event
) -> RunReport:
    import asyncio

    async def tick() -> None:
        while not ticking.is_set():
            ticks.append(time.monotonic())
            await asyncio.sleep(0.05)

    beside = asyncio.create_task(tick())
    try:
        return await _rendered(house, outages)
    finally:
        ticking.set()
        await beside


def test_F107_a_reservation_that_was_committed_unheard_is_taken_back(tmp_path: Path) -> None:
    """Its commit's answer is lost: the money is free again, and nothing of it was sent."""
    desk = Desk(f"sqlite:///{tmp_path}/home/ledger.db", tmp_path / "home")
    ledger = desk.begun()
    with pytest.raises(LedgerAway):
        _committed_unheard(ledger)
    (one,) = ledger.intents()
    assert one.state is IntentState.SUBMITTING
    withdrawn = ledger.withdraw(one.intent_id)
    assert withdrawn is not None
    assert (withdrawn.state, withdrawn.reserved.micros) == (IntentState.CANCELLED, 0)
    assert ledger.withdraw("0" * 26) is None
    assert ledger.verify() == []
    desk.close()


def _committed_unheard(ledger: Ledger) -> None:
    engine = ledger._database._engine

    def lose(_dialect: object) -> None:
        raise sa.exc.OperationalError("COMMIT", {}, Exception("locked: the answer was lost"))

    original = engine.dialect.do_commit

    def commit(connection: sa.engine.interfaces.DBAPIConnection) -> None:
        original(connection)
        lose(connection)

    engine.dialect.do_commit = commit  # type: ignore[method-assign]
    try:
        ledger.reserve(order())
    finally:
        engine.dialect.do_commit = original  # type: ignore[method-assign]


def test_F107_a_file_that_somebody_holds_for_long_is_waited_for(tmp_path: Path) -> None:
    """The same kind: `database is locked` says nothing of what the file holds, and goes by."""
    desk = Desk(f"sqlite:///{tmp_path}/home/ledger.db", tmp_path / "home")
    ledger = desk.begun(ledger=desk.open(patience=0.05))
    other = sa.create_engine(desk.url)
    with other.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        with pytest.raises(LedgerAway):
            ledger.heartbeat("worker")
        assert not ledger.prompt
        connection.exec_driver_sql("ROLLBACK")
    with suppress(LedgerAway):
        ledger.heartbeat("worker")
    assert ledger.prompt
    other.dispose()
    desk.close()
