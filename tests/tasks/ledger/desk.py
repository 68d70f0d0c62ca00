"""A desk to keep a ledger at: its place, a clock that tests turn, and short ways to orders, clips and states."""

import datetime as dt
import shutil
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from specs.money import USD, Money
from tasks.ledger import Artifact, Cap, Intent, IntentState, Ledger, Order, Reserved
from tasks.ledger.database import parse_url
from tasks.seams import SystemRng

__all__ = ["NOON", "PRICE", "Desk", "TurnedClock", "artifact", "credits_order", "in_state", "order", "reserved", "usd"]

NOON = dt.datetime(2026, 3, 1, 12, 0, tzinfo=dt.UTC)
PRICE = Money.of("1.43")


@dataclass
class TurnedClock:
    """A clock that stands still until a test turns it."""

    wall: dt.datetime = NOON
    ticks: float = 1000.0

    def now(self) -> dt.datetime:
        """What the wall says."""
        return self.wall

    def monotonic(self) -> float:
        """What no jump of the wall touches."""
        return self.ticks

    async def sleep(self, seconds: float) -> None:
        """Turn on instead of waiting."""
        self.turn(seconds)

    def turn(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        self.wall += dt.timedelta(seconds=seconds)
        self.ticks += seconds


def order(shot: str = "SH010", **changes: Any) -> Order:
    """An order for one shot of $1.43 under a run cap of $100; the shot key follows the shot unless given."""
    plain = Order(
        run_id="run-1",
        board="LIFTOFF",
        shot=shot,
        take=1,
        shot_key=f"key of {shot}",
        family="kling-3.0",
        provider="shortapi",
        model="kwaivgi/kling-3.0/image-to-video",
        base_url="https://api.example",
        account="main",
        request_sha256="0" * 64,
        request_json='{"shot": {"prompt": "Slow push in"}}',
        quote=PRICE,
        price_version="2026-03-01",
        mode="std",
        audio=False,
        seconds=5,
        max_in_flight=50,
        caps=(Cap("run", "", Money.of(100)),),
        rate=None,
        supersede=False,
        reason="",
        owner="worker-1",
        token_hash="1" * 64,
    )
    return replace(plain, **changes)


def credits_order(shot: str = "SH010", *, rate: str | None = "0.001", **changes: Any) -> Order:
    """An order for 1000 credits."""
    changes = {"quote": Money.of(1000, "sjinn-credits"), "provider": "sjinn", **changes}
    return order(shot, rate=Decimal(rate) if rate else None, **changes)


def artifact(sha256: str = "a" * 64) -> Artifact:
    """A verified clip of five seconds."""
    return Artifact("LIFTOFF/shots/SH010/SH010_TK01.mp4", "/store/SH010_TK01.mp4", sha256, 1000, 5.0, {}, "", NOON)


@dataclass
class Desk:
    """A place for a ledger; every opened one is closed with the desk."""

    url: str
    home: Path
    clock: TurnedClock = field(default_factory=TurnedClock)
    opened: list[Ledger] = field(default_factory=list)

    def open(self, **changes: Any) -> Ledger:
        """Open the ledger as another process would."""
        known = {"home": self.home, "clock": self.clock, "rng": SystemRng(), "durable": False}
        ledger = Ledger.open(self.url, **{**known, **changes})
        self.opened.append(ledger)
        return ledger

    def begun(self, run_id: str = "run-1", *, ledger: Ledger | None = None, **changes: Any) -> Ledger:
        """The open ledger with a run begun."""
        ledger = ledger or self.open()
        facts = {"board": "LIFTOFF", "spec_sha256": "", "digest": run_id, "caps": (), "approved_by": "auto"}
        ledger.begin_run(run_id, **{**facts, "approval": "within budget.auto_approve", **changes})
        return ledger

    def backup(self) -> str:
        """Copy the closed database and return where the copy is."""
        self.close()
        if self.url.startswith("sqlite"):
            return str(shutil.copy(self.home / "ledger.db", self.home.parent / "backup.db"))
        return self._admin("CREATE DATABASE {0}_copy TEMPLATE {0}")

    def restore(self, copy: str) -> None:
        """Put the copy in the database's place; journal and marker stay as they are."""
        self.close()
        if self.url.startswith("sqlite"):
            for leftover in self.home.glob("ledger.db-*"):
                leftover.unlink()
            shutil.copy(copy, self.home / "ledger.db")
        else:
            self._admin("DROP DATABASE {0}")
            self._admin("ALTER DATABASE {0}_copy RENAME TO {0}")

    def _admin(self, statement: str) -> str:
        import psycopg  # only where PostgreSQL is installed

        name = str(sa.make_url(self.url).database)
        with psycopg.connect(self.url.replace(f"/{name}?", "/postgres?"), autocommit=True) as connection:
            connection.execute(statement.format(name))
        return name

    def execute(self, statement: str) -> None:
        """Run bare SQL on the database, behind the ledger's back."""
        engine = sa.create_engine(parse_url(self.url))
        try:
            with engine.begin() as connection:
                if self.url.startswith("sqlite"):
                    connection.exec_driver_sql("PRAGMA foreign_keys=ON")
                connection.exec_driver_sql(statement)
        finally:
            engine.dispose()

    def close(self) -> None:
        """Close what was opened."""
        for ledger in self.opened:
            ledger.close()


def reserved(ledger: Ledger, what: Order | None = None) -> Intent:
    """Reserve, as it must succeed."""
    outcome = ledger.reserve(what or order())
    assert isinstance(outcome, Reserved), outcome
    return outcome.intent


def in_state(ledger: Ledger, state: IntentState, what: Order | None = None, *, job: str = "job-1") -> Intent:
    """Bring a shot to `state` by the steps that lead there."""
    intent = reserved(ledger, what)
    name = intent.intent_id
    early = {
        IntentState.SUBMITTING: lambda: intent,
        IntentState.REJECTED: lambda: ledger.rejected(name, 1, kind="invalid", reason="no", opens_breaker=False),
        IntentState.CANCELLED: lambda: ledger.cancelled(name, 1),
        IntentState.IN_DOUBT: lambda: ledger.doubt(name, 1, "timed out"),
    }
    if state in early:
        return early[state]()
    if state is IntentState.ABANDONED:
        ledger.doubt(name, 1, "timed out")
        return ledger.write_off(name, "ada", "the dashboard shows it failed")
    ledger.accepted(name, job, None)
    return _after_acceptance(ledger, name, state)


def _after_acceptance(ledger: Ledger, name: str, state: IntentState) -> Intent:
    match state:
        case IntentState.STALLED:
            ledger.stalled(name, "no result after 45 minutes")
        case IntentState.FAILED_UNSETTLED:
            ledger.failed(name, "generation failed", refunded=None)
        case IntentState.FAILED_FINAL:
            ledger.failed(name, "generation failed", refunded=None)
            ledger.settle(name, PRICE, "the bill", "ada")
        case IntentState.SUCCEEDED | IntentState.RESULT_HELD | IntentState.STORED | IntentState.SUPERSEDED:
            ledger.succeeded(name, ["https://files.example/1.mp4"], None)
        case _:
            pass
    if state is IntentState.RESULT_HELD:
        ledger.held(name, "410 Gone")
    if state in {IntentState.STORED, IntentState.SUPERSEDED}:
        ledger.stored(name, artifact(), None)
    if state is IntentState.SUPERSEDED:
        ledger.supersede(name, "ada", "a new take")
    return ledger.get(name)


def usd(micros_of: Money | None) -> str:
    """Money as text, for short assertions."""
    return "" if micros_of is None else micros_of.text if micros_of.unit == USD else str(micros_of)
