"""Order slips: a home that was put back, and a second ledger on the same store, buy nothing that the store announces.

Judged by the provider's account, the ledgers, and what the store holds.
"""

import asyncio
import gc
import json
import shutil
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
import s3fs

from flows.doctor import examine
from flows.plan import Ask, make_plan
from flows.shooting import PlainSteps, begin
from tasks.adoption import adopt_slips, news
from tasks.errors import Refused
from tasks.exits import ExitCode
from tasks.gate import Approval, Wish, gate
from tasks.ledger import IntentState
from tasks.settings import Settings, override
from tasks.shoot import check_ready, submission_of
from tasks.submit import submit_shot
from tests.fixtures.s3 import S3Server
from tests.fixtures.till import Till, paid_board, till

S = IntentState
PROVIDERS = ["shortapi", "sjinn"]


@dataclass(frozen=True)
class Elsewhere(Till):
    """A till whose home or store is another one than the test's environment names."""

    def settings(self) -> Settings:
        """Those of the test, but for what differs."""
        named = {name.removeprefix("RUSHES_").lower(): value for name, value in self.more.items()}
        home = {"home": Path(named["home"])} if "home" in named else {}
        return super().settings().model_copy(update=named | home)


def elsewhere(here: Till, **more: str) -> Till:
    """The same board and provider with another home or store."""
    names = ("folder", "sandbox", "provider", "poll_seconds", "deadlines")
    return Elsewhere(**{name: getattr(here, name) for name in names}, more={**here.more, **more})


def another_home(here: Till) -> Till:
    """The same store, another ledger."""
    return elsewhere(here, RUSHES_HOME=str(here.folder / "home-2"))


def back_up(here: Till) -> Path:
    """The whole home, as README advises."""
    return Path(shutil.copytree(here.folder / "home", here.folder / "backup", symlinks=True))


def put_back(here: Till) -> None:
    """The home is gone; the backup takes its place."""
    shutil.rmtree(here.folder / "home")
    (here.folder / "backup").rename(here.folder / "home")


def slips(here: Till) -> dict[str, dict[str, object]]:
    """Every slip in the store by its name."""
    return {path.name: json.loads(path.read_text()) for path in (here.folder / "store").rglob("*.order*.json")}


async def ordered(here: Till, board: Path, shot: int) -> None:
    """Buy a shot and leave it to itself, as a process that dies after the record does."""
    async with here.open() as production:
        plan = await make_plan(production, Ask(str(board)))
        approval = gate(plan, production.ledger, Wish(yes=True))
        assert isinstance(approval, Approval)
        run = begin(production, plan, approval, production.clock.now())
        await submit_shot(production, await submission_of(production, run, plan.shots[shot]))


def states(here: Till) -> dict[str, IntentState]:
    """The last state of each shot."""
    return {intent.shot: intent.state for intent in here.intents()}


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_F95_a_home_that_was_put_back_buys_nothing_again_and_adopts_what_it_lost(
    provider: str, tmp_path: Path
) -> None:
    """One shot before the backup; after it one stored, one under way, one in doubt. All four are paid once and end named."""
    with till(tmp_path) as here:
        board = here.board(shots=1, provider=provider)
        await here.render(board)
        back_up(here)
        board = here.board(shots=4, provider=provider)
        await ordered(here, board, 2)
        here.sandbox.fault("http-502-after")
        await ordered(here, board, 3)
        await here.render(here.board(shots=2, provider=provider))
        put_back(here)
        assert len(here.truth.jobs) == 4

        here.board(shots=4, provider=provider)
        async with here.open() as production:
            with pytest.raises(Refused, match="no record of buying it") as refused:
                check_ready(production, await make_plan(production, Ask(str(board))))
        assert "rushes doctor --adopt" in refused.value.hint
        report = await here.render(board)  # by a part, which asks nobody before it buys
        assert report.exit_code == ExitCode.REFUSED
        assert len(here.truth.creates) == 4, "bought again"

        async with here.open() as production:
            assert len(list(news(production))) == 3
            assert [one.problem for one in adopt_slips(production, "", "me", "put back")] == ["", "", ""]
            assert adopt_slips(production, "", "me", "put back") == [], "adopted twice"
        assert states(here) == {"SH010": S.STORED, "SH020": S.STORED, "SH030": S.SUBMITTED, "SH040": S.IN_DOUBT}
        await here.collect()
        assert states(here)["SH030"] == S.STORED
        [doubt] = [intent for intent in here.intents() if intent.state is S.IN_DOUBT]
        assert doubt.reserved == doubt.quote
        again = await here.render(board)
        assert [shot.action for shot in again.rows][:3] == ["reuse"] * 3
        assert len(here.truth.creates) == 4
        with here.ledger() as ledger:
            booked = ledger.totals()
            total = here.truth.total("USD" if provider == "shortapi" else "credits").net
            unit = doubt.quote.unit
            assert booked.settled[unit].amount + booked.in_doubt[unit].amount == total


async def test_F95_a_second_ledger_on_the_store_is_told_of_the_first_ones_orders(tmp_path: Path) -> None:
    """Nothing is bought; the sentence names the ledger that ordered, its job and the cure. The second ledger's doctor is not healthy."""
    with till(tmp_path) as here:
        board = here.board(shots=2)
        await ordered(here, board, 0)
        other = another_home(here)
        report = await other.render(here.board(shots=1))
        [slip] = slips(here).values()
        assert report.exit_code == ExitCode.REFUSED
        assert str(slip["ledger_id"]) in str(report.rows[0].note)
        assert str(slip["job_id"]) in str(report.rows[0].note)
        assert len(here.truth.creates) == 1
        assert [intent.reserved.micros for intent in other.intents()] == [0]
        override(other.environment())
        try:
            [strange] = [one for one in await examine() if one.subject == "orders"]
        finally:
            override({})
        assert (strange.money, strange.problem != "") == (True, True)


async def test_F95_the_orders_of_a_ledger_that_is_lost_for_good_are_adopted_by_a_persons_decision(
    tmp_path: Path,
) -> None:
    """Named with a reason, which is recorded; the other ledger then reuses the takes. Not named, nothing is taken over."""
    with till(tmp_path) as here:
        board = here.board(shots=2)
        await here.render(board)
        lost = str(next(iter(slips(here).values()))["ledger_id"])
        other = another_home(here)
        assert other.run("doctor", "--adopt").code == ExitCode.MONEY_NEEDS_A_PERSON
        assert other.run("doctor", "--adopt", lost).code == ExitCode.REFUSED
        assert other.run("doctor", "--adopt", lost, "--why", "its disk burned").code == 0
        report = await other.render(board)
        assert [shot.action for shot in report.rows] == ["reuse", "reuse"]
        with other.ledger() as ledger:
            told = [event for event in ledger.events() if event.kind == "adopted"]
        assert {event.payload["why"] for event in told} == {"its disk burned"}
        assert len(here.truth.creates) == 2


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_F95_a_void_order_stands_in_nobodys_way(provider: str, tmp_path: Path) -> None:
    """What the first ledger was refused for certain the second one may buy, under the next name of the chain."""
    with till(tmp_path, "http-422") as here:
        board = here.board(shots=1, provider=provider)
        await here.render(board)
        assert states(here) == {"SH010": S.REJECTED}
        other = another_home(here)
        await other.render(board)
        assert states(other) == {"SH010": S.STORED}
        assert {name: slip["state"] for name, slip in slips(here).items()} == {
            "SH010_TK01.order.json": "REJECTED",
            "SH010_TK01.order.2.json": "STORED",
        }
        report = await here.render(board)
        assert report.exit_code == ExitCode.REFUSED
        assert [create.outcome for create in here.truth.creates] == ["refused", "accepted"]


async def test_F95_a_renamed_shot_of_another_ledger_is_not_bought_either(tmp_path: Path) -> None:
    """The plan sees the content, not only the name, and says so beforehand."""
    with till(tmp_path) as here:
        await here.render(here.board(shots=1))
        other = another_home(here)
        board = here.board(paid_board().replace("SH010", "SH990"))
        async with other.open() as production:
            with pytest.raises(Refused, match="no record of buying it"):
                check_ready(production, await make_plan(production, Ask(str(board))))
        planned = other.run("plan", str(board), "--json").document
        assert "a render would be refused" in planned["warnings"][0]


async def test_F95_a_slip_that_names_another_address_is_left_alone(tmp_path: Path) -> None:
    """Whoever can write to the store must not be able to send the key anywhere."""
    with till(tmp_path) as here:
        board = here.board()
        back_up_of_nothing = here.folder / "home"
        await ordered(here, board, 0)
        [path] = (tmp_path / "store").rglob("*.order.json")
        told = json.loads(path.read_text())
        path.write_text(json.dumps({**told, "base_url": "https://evil.example"}))
        shutil.move(back_up_of_nothing, tmp_path / "gone")
        async with here.open() as production:
            [left] = adopt_slips(production, told["ledger_id"], "me", "a test")
            assert "evil.example" in left.problem
            assert production.ledger.intents() == []
        said = here.run("doctor", "--adopt", told["ledger_id"], "--why", "a test", "--json")
        assert said.code == ExitCode.MONEY_NEEDS_A_PERSON
        assert any("evil.example" in one["problem"] for one in said.document if one["subject"] == "adopted")


async def test_F95_an_order_is_adopted_however_its_account_was_addressed(tmp_path: Path) -> None:
    """`localhost` is this machine like `127.0.0.1`: the same account, so the order is taken over."""
    with till(tmp_path) as here:
        board = here.board()
        await ordered(here, board, 0)
        [path] = (tmp_path / "store").rglob("*.order.json")
        told = json.loads(path.read_text())
        path.write_text(json.dumps({**told, "base_url": told["base_url"].replace("127.0.0.1", "localhost")}))
        shutil.move(here.folder / "home", tmp_path / "gone")
        async with here.open() as production:
            [adopted] = adopt_slips(production, told["ledger_id"], "me", "a test")
            assert (adopted.problem, len(production.ledger.intents())) == ("", 1)


async def test_F95_a_slip_tells_no_secret_and_all_that_the_row_needs(tmp_path: Path) -> None:
    """Put once before the request, then with the job, then with the clip: three writes a shot; no key in it."""
    with till(tmp_path) as here:
        await here.render(here.board())
        [(name, slip)] = slips(here).items()
        [intent] = here.intents()
        assert name == "SH010_TK01.order.json"
        assert (slip["state"], slip["job_id"], slip["billed"]) == ("STORED", intent.job_id, "0.429")
        clip = slip["clip"]
        assert isinstance(clip, dict)
        assert intent.artifact is not None
        assert clip["sha256"] == intent.artifact.sha256
        assert "canary" not in json.dumps(slip)
        assert (intent.slip, intent.slip_state) == ("TILL/shots/SH010/SH010_TK01.order.json", "STORED")


async def test_F95_what_is_free_has_no_slip(tmp_path: Path) -> None:
    """The local animatic is made again at any time."""
    with till(tmp_path) as here:
        board = here.board(provider="animatic")
        await here.render(board)
        assert slips(here) == {}


def _race(here: Till, stores: dict[str, str], *, shots: int, threads: int) -> list[BaseException]:
    """Threads of two ledgers, half and half, want every shot at the same time."""
    board = here.board(shots=shots)
    both = [elsewhere(here, **stores), another_home(elsewhere(here, **stores))]
    barrier, failures = threading.Barrier(threads), list[BaseException]()

    async def buy(mine: Till) -> None:
        async with mine.open() as production:
            plan = await make_plan(production, Ask(str(board)))
            approval = gate(plan, production.ledger, Wish(yes=True))
            assert isinstance(approval, Approval)
            run = begin(production, plan, approval, production.clock.now())
            await asyncio.to_thread(barrier.wait, 120)
            for shot in plan.shots:
                try:
                    await PlainSteps().submit(production, run, shot)
                except Refused:
                    continue

    def race(number: int) -> None:
        try:
            asyncio.run(buy(both[number % 2]))
        except BaseException as error:  # noqa: BLE001 - judged by the test
            barrier.abort()
            failures.append(error)

    running = [threading.Thread(target=race, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(300)
    return failures


def test_F95_two_ledgers_that_race_for_the_same_shots_buy_each_once(tmp_path: Path) -> None:
    """Sixteen threads of two ledgers on one folder."""
    with till(tmp_path) as here:
        assert _race(here, {}, shots=3, threads=16) == []
        bought = Counter(str(create.body) for create in here.truth.creates if create.outcome == "accepted")
        assert list(bought.values()) == [1, 1, 1]


def test_F95_two_ledgers_that_race_on_s3_buy_each_shot_once(
    tmp_path: Path, s3_server: S3Server, s3_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same on an object storage: the exclusive create decides."""
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    with till(tmp_path) as here:
        try:
            assert _race(here, {"RUSHES_STORE": s3_url}, shots=2, threads=16) == []
        finally:
            s3fs.S3FileSystem.clear_instance_cache()
            gc.collect()
        bought = Counter(str(create.body) for create in here.truth.creates if create.outcome == "accepted")
        assert list(bought.values()) == [1, 1]
