"""One installation under proof: the real production over virtual time, seeded chance and the oracle; lives come and go."""

import asyncio
import hashlib
import json
import sqlite3
import ssl
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from yaml import ScalarNode

from flows.plan import LoadedBoard, _next_take
from specs.money import USD, Money
from specs.request import ShotRequest
from specs.source import Source
from specs.storyboard import Storyboard
from tasks.estimate import Plan, estimate, semantics_json, shot_key, worth
from tasks.exits import ExitCode
from tasks.hints import follow, note_hint
from tasks.http import Wire
from tasks.ledger import Cap, Ledger, Order
from tasks.production import Production
from tasks.providers import PROVIDERS
from tasks.providers.interface import Media
from tasks.settings import Settings
from tasks.stills import Still
from tasks.storage import Store
from tasks.storage.folder import Folder
from tasks.submit import Submission
from tasks.validate import CheckedShot
from tests.proof.crashes import Life, locked
from tests.proof.disks import CrashingJournal, LyingFolder
from tests.proof.driver import Driver
from tests.proof.oracle import Oracle
from tests.proof.tripwires import accepted_wrongly, freed_early, sent_wrongly
from tests.proof.truth import Create, Script
from tests.proof.virtual import LifeClock, LifeRng, VirtualTime

__all__ = ["BOARD", "CANARY", "MEDIA", "Stage"]

BOARD = "PROOF"
CANARY = "canary-key-5f1e0c77"
SECONDS = 3
STILL = "https://stills.example/start.jpg"


@dataclass(slots=True)
class Stage:
    """The place of one schedule: what survives a crash (disk, provider, time, people), and what has been found wrong."""

    root: Path
    script: Script
    seed: int
    callback: bool
    time: VirtualTime = field(default_factory=VirtualTime)
    wrong: list[tuple[str, str]] = field(default_factory=list)
    permits: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    codes: list[ExitCode] = field(default_factory=list)
    hears: bool = False
    person: bool = False
    cap: int = 0
    take: int = 1
    begun: set[str] = field(default_factory=set)
    decided: list[str] = field(default_factory=list)
    rng: LifeRng = field(init=False)
    oracle: Oracle = field(init=False)
    ledger: Ledger | None = None
    production: Production | None = None
    life: Life = field(default_factory=Life)
    sabotage: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    journalled: set[str] = field(default_factory=set)
    named: set[str | None] = field(default_factory=set)
    slept: bool = False
    foreign: set[str] = field(default_factory=set)
    forgetful: bool = False
    ledgers: type[Ledger] = Ledger
    gentle: bool = False
    _hearing: bool = False
    _reader: sqlite3.Connection | None = None

    def __post_init__(self) -> None:
        self.rng = LifeRng(self.seed)
        self.oracle = Oracle(self.script, self.time, self._accepts, self._creates, self._called)
        self.sabotage = list(self.script.ledger)
        if self.script.store == ("foreign",):
            self.foreign.add(f"{BOARD}/shots/SH010/SH010_TK01.mp4")
            for name in self.foreign:
                (self.files / name).parent.mkdir(parents=True)
                (self.files / name).write_bytes(b"somebody else's bytes")

    @property
    def home(self) -> Path:
        """RUSHES_HOME."""
        return self.root / "home"

    @property
    def files(self) -> Path:
        """RUSHES_STORE."""
        return self.root / "store"

    @property
    def failures(self) -> int:
        """How often ledger, journal or store have failed as the script says."""
        sorts = ("store", "receipt", "slip", "rewrite")
        met = sum(min(self.oracle.used.get(sort, 0), len(getattr(self.script, sort))) for sort in sorts)
        return met + len(self.script.ledger) - len(self.sabotage)

    @property
    def requests(self) -> list[ShotRequest]:
        """The board's shots; the prompt is the shot's name, by which the oracle knows it."""
        names = [f"SH{10 * (number + 1):03d}" for number in range(self.script.shots)]
        return [
            ShotRequest(
                at,
                name,
                self.take,
                name,
                None,
                SECONDS,
                "std",
                audio=False,
                cuts=None,
                still=STILL,
                end_still=None,
                elements=(),
            )
            for at, name in enumerate(names)
        ]

    def open(self, life: Life) -> Production:
        """Start a process."""
        self.life = self.oracle.life = life
        life.sabotage, life.passing = self._sabotage, self._passes
        clock = LifeClock(self.time, life)
        settings = self._settings()
        ledger = self.ledgers.open(settings.ledger_url, home=self.home, clock=clock, rng=self.rng, durable=False)
        ledger._database._engine = Driver(ledger._database._engine, life)  # type: ignore[assignment]
        journal = CrashingJournal(ledger._opened.journal, life, self.sabotage, self._kept)
        ledger._opened.journal = journal  # type: ignore[assignment]
        wire = Wire(clock=clock, mounts={"https://": self.oracle})
        wire._trust = _TRUST
        store = Store(LyingFolder(Folder(self.files), life, self.oracle.next), pause=lambda _: None)
        self.ledger, self._hearing = ledger, False
        self.production = Production(settings, ledger, store, wire, clock, self.rng, life)
        return self.production

    def close(self) -> None:
        """End the process, as the kernel does: locks go, files stay."""
        if self.ledger is not None:
            self.ledger.close()
        self.ledger = self.production = None

    def plan(self, production: Production, retake: str = "") -> Plan:
        """What a run will do, as the ledger stands; with a reason for a `retake`, of every shot."""
        script, requests = self.script, self.requests
        if retake:
            requests = [_next_take(production, _LOADED, one, retake) for one in requests]
        checked = [CheckedShot(one, _STILLS, dict.fromkeys(script.providers, ())) for one in requests]
        plan = estimate(
            _BOARD,
            checked,
            ledger=production.ledger,
            settings=production.settings,
            spec=BOARD,
            spec_sha256="",
            retakes=dict.fromkeys([one.shot for one in requests], retake),
        )
        return replace(plan, caps=() if script.one_approval else self.caps(plan.shots[0].quote.money)[1:])

    def submission(self, production: Production, request: ShotRequest, run_id: str) -> Submission:
        """The order for one shot, as `tasks.shoot` writes it."""
        provider = self.script.provider
        caps, account = PROVIDERS[provider].caps, production.account(provider)
        quote = PROVIDERS[provider].quote(request)
        taken = production.ledger.takes(BOARD, request.shot)
        order = Order(
            run_id=run_id,
            board=BOARD,
            shot=request.shot,
            take=1 + max(taken, default=0),
            shot_key=shot_key(request, caps.family, _STILLS),
            family=caps.family,
            provider=provider,
            model=caps.model,
            base_url=account.base_url,
            account=account.name,
            request_sha256="",
            request_json=semantics_json(request, caps.family, _STILLS),
            quote=quote.money,
            price_version=quote.version,
            mode=request.mode,
            audio=request.audio,
            seconds=request.duration,
            max_in_flight=caps.max_in_flight,
            caps=self.caps(quote.money),
            rate=account.rate,
            supersede=False,
            reason="",
            owner="proof",
            token_hash="",
        )
        return Submission(order, request, MEDIA)

    def caps(self, price: Money) -> tuple[Cap, ...]:
        """The caps of run, board and day; in USD where there is a rate."""
        usd = worth(price, self.script.rate)
        price = price if usd is None else Money.of(usd, USD)
        limit = Money(price.micros * (self.cap or self.script.cap), price.unit)
        return (Cap("run", "", limit), Cap("board", BOARD, limit), Cap("day", "", limit))

    def key_of(self, request: ShotRequest) -> str:
        """The shot key."""
        return shot_key(request, PROVIDERS[self.script.provider].caps.family, _STILLS)

    def rows(self, columns: str, where: str = "1=1") -> list[tuple[Any, ...]]:
        """What the ledger's file holds, read past our own code."""
        path = self.home / "ledger.db"
        if self._reader is None and path.exists():
            self._reader = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        return [] if self._reader is None else self._reader.execute(f"SELECT {columns} WHERE {where}").fetchall()

    def end(self) -> None:
        """The schedule is over."""
        self.close()
        if self._reader is not None:
            self._reader.close()

    def _creates(self, create: Create) -> None:
        create.run = self.runs
        self.wrong += sent_wrongly(self, create)

    def _accepts(self, _oracle: Oracle, create: Create) -> None:
        self.wrong += accepted_wrongly(self, create)

    def _called(self, url: str, job_id: str) -> None:
        """Keep a callback until it is received: at once, where a process runs."""
        self.inbox.append((url, job_id))
        if self.production is not None and self.hears:
            asyncio.get_running_loop().create_task(self.receive(self.production))

    inbox: list[tuple[str, str]] = field(default_factory=list)

    async def receive(self, production: Production) -> None:
        """The receiver: what a genuine callback says is kept before it is answered, then followed by a query."""
        if self._hearing:
            return
        self._hearing = True
        try:
            await self._receive(production)
        finally:
            self._hearing = False

    async def _receive(self, production: Production) -> None:
        while self.inbox:
            url, job_id = self.inbox[0]
            intent_id, token = url.rsplit("/", 2)[1:]
            self.life("callback")
            intent = production.ledger.get(intent_id)
            if intent.token_hash == hashlib.sha256(token.encode()).hexdigest():
                note_hint(production, intent_id, json.dumps({"data": {"job_id": job_id}}).encode())
                self.inbox.pop(0)
                await follow(production, intent_id)
            else:
                self.inbox.pop(0)

    def _passes(self, point: str) -> None:
        if point in {"K15", "K18"}:
            self.wrong += freed_early(self)
        self._sleeps(point)

    def _sleeps(self, point: str) -> None:
        """Sleep past the lease while another process of the same host recovers the ledger."""
        if point != self.script.pause or self.slept:
            return
        self.slept = True
        self.time.turn(200)
        life = Life()
        clock, url = LifeClock(self.time, life), f"sqlite:///{self.home / 'ledger.db'}"
        other = Ledger.open(url, home=self.home, clock=clock, rng=self.rng, durable=False)
        other.recover("another process")
        other.close()

    def _sabotage(self, place: str) -> None:
        if self.sabotage and place.startswith(self.sabotage[0]):
            self.sabotage.pop(0)
            raise locked(place)

    def _kept(self, line: Mapping[str, Any]) -> None:
        self.named |= {one["job_id"] for one in line.get("answer", {}).get("candidates", ())} | {line.get("job_id")}
        if line.get("job_id") in self.oracle.jobs and not self.script.create:
            self.journalled.add(str(line["job_id"]))

    def _settings(self) -> Settings:
        script, root = self.script, self.root
        values = {
            "home": root / "home",
            "store": str(root / "store"),
            "callback_url": "https://rushes.example" if self.callback else None,
            "shortapi_max_in_flight": script.at_once,
            "sjinn_max_in_flight": script.at_once,
            "sjinn_usd_per_credit": script.rate,
        }
        return _SETTINGS.model_copy(update=values)


_SETTINGS = Settings.model_construct(
    shortapi_key=SecretStr(CANARY),
    sjinn_api_key=SecretStr(CANARY),
    sjinn_usd_per_credit=None,
    shortapi_base_url="https://api.shortapi.ai",
    sjinn_base_url="https://sjinn.ai",
    poll_seconds=None,
    ledger=None,
)
_STILL = Still(STILL, "5" * 64, Path("/nonexistent"), "JPEG", 48, 32, 1000)
_STILLS = {STILL: _STILL}
MEDIA = Media({STILL: STILL})
_BOARD = Storyboard.model_construct(code=BOARD, title="Proof", budget=None)
_LOADED = LoadedBoard(_BOARD, Source(BOARD, ScalarNode("", "")), BOARD, "")
_TRUST = ssl.create_default_context()
