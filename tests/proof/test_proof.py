"""A smaller size of every part of the proof; `python -m tests.proof` runs all of it."""

from decimal import Decimal
from pathlib import Path

import pytest

from tests.fixtures.postgres import Cluster, postgres_cluster
from tests.fixtures.prefect_server import PrefectServer
from tests.proof.explore import PROTOCOL, Work, explore_one
from tests.proof.kills import kill_many
from tests.proof.machine import run_machine
from tests.proof.model import MUTANTS, check
from tests.proof.mutants import BROKEN, killed
from tests.proof.mutants import MUTANTS as RULES
from tests.proof.races import race
from tests.proof.schedule import Schedule, play
from tests.proof.scripts import SCRIPTS
from tests.proof.table import Size, Table, _cancel

__all__ = ["postgres_cluster"]

NO_CRASH = 1 << 20


@pytest.mark.parametrize("script", ["ok", "create-lost-after", "asleep-at-K10"])
def test_F68_a_crash_at_any_point_leaves_the_invariants_true(script: str) -> None:
    """Killed at each point of the protocol in turn and started again, every job is paid once and stored or named."""
    tally = explore_one(Work(script, callback=False))
    assert not tally.wrong
    assert tally.crashes > 10


def test_F69_a_second_crash_during_the_recovery_changes_nothing() -> None:
    """Pairs of crashes end as single ones do."""
    tally = explore_one(Work("two-shots", callback=True, stride=7, pairs=12))
    assert not tally.wrong
    assert tally.pairs


def test_F77_a_run_or_a_step_cancelled_in_any_wait_leaves_the_invariants_true() -> None:
    """In each wait of submit, wait and store in turn, with the process going on or not; a run that is told to stop leaves no doubt."""
    tally = explore_one(Work("ok", callback=True, first=NO_CRASH, cancel=1, ways=4))
    assert not tally.wrong
    assert tally.cancels > 40


@pytest.mark.parametrize("script", ["approval-for-one", "approval-for-one-in-credits", "approval-for-two-lost"])
def test_F102_no_restart_gives_an_approval_a_fresh_cap(script: str) -> None:
    """Killed at points of the protocol and started again under the same approval, no more is spent than it allows."""
    tally = explore_one(Work(script, callback=False, stride=9, pairs=2))
    assert not tally.wrong
    assert tally.attempts > tally.schedules


@pytest.mark.parametrize("script", ["held-410-retake", "sjinn-held-html-take-2", "held-garbage-written-off"])
def test_F87_a_held_clip_is_laid_beside_the_take_that_was_bought_meanwhile(script: str) -> None:
    """Killed at points of the first run, of the person's decision and of the collect a day later: both are paid once and stored."""
    tally = explore_one(Work(script, callback=False, stride=11))
    assert not tally.wrong
    assert tally.families["held clips"]["beside"] == tally.schedules


@pytest.mark.parametrize("script", ["http-429-2", "create-lost-after", "http-503-after"])
def test_F77_a_cancelled_create_is_submitted_or_in_doubt_and_never_sent_again(script: str) -> None:
    """Cancelled while the request, its refusal or its resend is under way."""
    tally = explore_one(Work(script, callback=False, first=NO_CRASH, cancel=1, ways=4))
    assert not tally.wrong
    assert tally.cancels


@pytest.mark.parametrize("script", ["failover-http-402", "failover-not-after-lost", "failover-then-lost"])
def test_no_two_providers_are_paid_for_one_shot(script: str) -> None:
    """The second of the list is asked only after a definite refusal by the first, whatever dies or is cancelled on the way."""
    tally = explore_one(Work(script, callback=False, stride=3, cancel=3))
    assert not tally.wrong
    assert bool(tally.failovers) == ("not-after" not in script)


def test_every_point_of_the_protocol_is_crashed_at() -> None:
    """K1 to K22, those inside transactions and on the wire among them."""
    assert explore_one(Work("ok", callback=False, statements=True)).covered == PROTOCOL


@pytest.mark.parametrize("script", sorted(SCRIPTS))
def test_every_script_ends_as_it_must_without_a_crash(script: str, tmp_path: Path) -> None:
    """Each misbehaviour of provider, file host, disk or database costs no second payment and loses no clip."""
    assert play(Schedule(SCRIPTS[script], callback=True), tmp_path).wrong == []


def test_the_rules_have_no_violation() -> None:
    """Every interleaving of two workers, with crashes, losses, an expired lease, a callback and a person."""
    assert check().violation == ""


@pytest.mark.parametrize("mutant", MUTANTS)
def test_each_broken_rule_is_caught(mutant: str) -> None:
    """Without the write-ahead intent, the doubt, the quiet, the compare-and-set or the fact, money is lost."""
    assert check(mutant).violation


@pytest.mark.parametrize(
    "name", ["cap check", "doubt is no refusal", "a job id is a fact in every state", "the slip before the request"]
)
def test_a_guard_taken_out_of_the_code_turns_the_simulator_red(name: str) -> None:
    """The other guards are taken out by `python -m tests.proof`."""
    [mutant] = [one for one in RULES if one.name == name]
    said = killed(mutant)
    assert said
    assert not said.startswith(BROKEN)


def test_every_guard_still_stands_where_its_mutant_looks_for_it() -> None:
    """A mutant whose guard was rewritten proves nothing."""
    root = Path(__file__).parents[2]
    for mutant in RULES:
        for file, guard, _ in ((mutant.file, mutant.guard, mutant.without), *mutant.also):
            assert guard in (root / file).read_text(), mutant.name


def test_histories_in_any_order_keep_the_invariants() -> None:
    """Submits, answers, losses, crashes, clocks, callbacks, caps and people as Hypothesis likes."""
    assert run_machine(examples=8, steps=25, seed=1).wrong == []


def test_F74_sixteen_processes_buy_one_shot_once_and_five_of_twenty_under_a_cap() -> None:
    """Two races on SQLite, judged by the provider's own list."""
    assert race("", 3).wrong == []


def test_F95_sixteen_processes_of_two_ledgers_on_one_store_buy_each_shot_once() -> None:
    """Each ledger knows only its own orders; the slips in the store tell the rest."""
    assert race("", 2, homes=2).wrong == []


@pytest.mark.postgres
def test_F80_the_races_end_the_same_on_postgresql(postgres_cluster: Cluster) -> None:
    """One code path, two databases."""
    assert race(postgres_cluster.fresh(), 3).wrong == []


def test_F96_without_a_prefect_server_the_proof_is_red(monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be cancelled proves nothing."""

    def dead(_server: PrefectServer) -> None:
        raise TimeoutError("the Prefect server did not come up")

    monkeypatch.setattr(PrefectServer, "start", dead)
    table = Table()
    _cancel(table, Size(cancels=1))
    assert [kind for kind, _ in table.wrong] == ["coverage"]


def test_F68_boards_of_killed_processes_cost_exactly_their_plan() -> None:
    """Processes get kill -9, SIGTERM and SIGSTOP while they buy over real HTTP; the sandbox's account says what was charged."""
    done = kill_many(6)
    assert done.wrong == []
    assert done.overspend == Decimal(0)
    assert done.kills >= 6
