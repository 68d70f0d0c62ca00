"""Parts of a large board: how it is cut, what each may buy, and what is believed of what it made."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from flows.orders import cut, made, narrowed, order_part, ordered, tell_made
from flows.plan import Ask, LoadedBoard, load_board, make_plan
from flows.shooting import PlainSteps, begin, make_shots
from specs.loader import load
from specs.money import Money
from tasks.errors import Refused
from tasks.estimate import Plan, part_of
from tasks.exits import ExitCode
from tasks.gate import Approval, Wish, gate
from tasks.ledger import Cap, IntentState
from tasks.outcome import Outcome
from tasks.production import Production
from tests.fixtures.command import ROOT
from tests.fixtures.till import STILL, paid_board, till

FOLDERS = ("specs/examples", "tests/assets/specs/good")
BOARDS = [
    path
    for folder in FOLDERS
    for path in sorted((ROOT / folder).iterdir())
    if path.suffix in {".yaml", ".json", ".csv"} and ".board." not in path.name
]


async def approved(production: Production, board: Path, **ask: object) -> tuple[Plan, Approval, Ask, LoadedBoard]:
    """A plan that a person approved."""
    asked = Ask(str(board), **ask)  # type: ignore[arg-type]
    plan = await make_plan(production, asked)
    approval = gate(plan, production.ledger, Wish(yes=True))
    assert isinstance(approval, Approval)
    return plan, approval, asked, load_board(str(board))


def shots(part: Plan) -> list[str]:
    """The ids of its shots."""
    return [shot.request.shot for shot in part.shots]


async def test_a_board_is_cut_evenly_and_what_is_there_is_in_no_part(tmp_path: Path) -> None:
    """Two of seven shots are bought before; the other five go into parts of at most two; like shots stay together."""
    with till(tmp_path) as here:
        await here.render(here.board(shots=2))
        text = paid_board(shots=7) + "  - {id: SH900, still: still.jpg, prompt: Push in 3}\n"
        async with here.open() as production:
            plan = await make_plan(production, Ask(str(here.board(text))))
            parts = cut(plan, 2)
    assert [shots(one) for one in parts] == [["SH030", "SH900"], ["SH040", "SH050"], ["SH060", "SH070"]]
    assert len({one.digest for one in (plan, *parts)}) == 4
    assert [shots(one) for one in cut(plan, 7)] == [["SH030", "SH040", "SH050", "SH060", "SH070", "SH900"]]


@pytest.mark.parametrize("spec", BOARDS, ids=lambda one: one.name)
def test_fewer_shots_of_a_board_ask_for_what_they_did(spec: Path) -> None:
    """Every good board as JSON and back: defaults, style, cuts, elements, takes, budget and providers are what they were."""
    before = load_board(str(spec)).board
    wanted = before.requests()[::2]
    after = load(json.dumps(narrowed(before, {one.shot for one in wanted})).encode(), name="fewer.json")
    assert [replace(one, index=0) for one in after.requests()] == [replace(one, index=0) for one in wanted]
    assert (after.budget, after.provider, after.code, after.title) == (
        before.budget,
        before.provider,
        before.code,
        before.title,
    )


async def test_a_part_is_planned_anew_to_the_digest_that_was_approved(tmp_path: Path) -> None:
    """On any machine, with the retake that was asked for; another picture is another digest."""
    with till(tmp_path) as here:
        await here.render(here.board(shots=2))
        async with here.open() as production:
            plan, approval, ask, loaded = await approved(production, here.board(shots=4), retakes={"SH020": "too dark"})
            run = begin(production, plan, approval, production.clock.now())
            picture = (here.folder / STILL).read_bytes()
            for number, part in enumerate(cut(plan, 2), 1):
                order_part(production.ledger, run.run_id, part, (number, 2), ask, loaded)
                order = ordered(production.ledger, run.run_id, part.digest)
                anew = await make_plan(production, order.ask, loaded=order.loaded)
                assert part_of(anew, anew.shots).digest == part.digest
                here.still(number)
                changed = await make_plan(production, order.ask, loaded=order.loaded)
                assert part_of(changed, changed.shots).digest != part.digest
                (here.folder / STILL).write_bytes(picture)
            assert order.run.caps == plan.caps


async def test_without_an_order_of_a_run_under_way_nothing_is_made(tmp_path: Path) -> None:
    """An invented run, an invented digest, and the order of a run that is over."""
    with till(tmp_path) as here:
        async with here.open() as production:
            plan, approval, ask, loaded = await approved(production, here.board(shots=2))
            run = begin(production, plan, approval, production.clock.now())
            part, other = cut(plan, 1)
            order_part(production.ledger, run.run_id, part, (1, 2), ask, loaded)
            for run_id, digest in (("run-1", part.digest), (run.run_id, other.digest)):
                with pytest.raises(Refused, match="no render under way has ordered"):
                    ordered(production.ledger, run_id, digest)
            production.ledger.end_run(run.run_id, 0)
            with pytest.raises(Refused, match="no render under way has ordered"):
                ordered(production.ledger, run.run_id, part.digest)


async def test_F80_parts_share_the_cap_of_their_run_whatever_they_bring(tmp_path: Path) -> None:
    """A cap for one shot, approved once: what is left of it is all that any part may spend, whatever caps it brings."""
    with till(tmp_path) as here:
        async with here.open() as production:
            plan, approval, ask, loaded = await approved(production, here.board(shots=2))
            lower = replace(approval, caps=(Money.of("0.50"),))
            run = begin(production, plan, lower, production.clock.now())
            outcomes = []
            for number, part in enumerate(cut(plan, 1), 1):
                order_part(production.ledger, run.run_id, part, (number, 2), ask, loaded)
                order = ordered(production.ledger, run.run_id, part.digest)
                greedy = replace(order.run, caps=(Cap("approval", "", Money.of(40)),))
                outcomes += await make_shots(production, greedy, part.shots, PlainSteps())
        assert [one.state for one in outcomes] == ["stored", "refused"]
        assert "the cap of this approval is 0.50 USD: 0.429 USD committed" in outcomes[1].note
        assert len(here.truth.jobs) == 1


async def test_what_a_part_made_is_believed_until_the_ledger_knows_better(tmp_path: Path) -> None:
    """Notes and refusals come from the part; a purchase that has moved on since is read anew; silence is None."""
    with till(tmp_path) as here:
        async with here.open() as production:
            plan, approval, _, _ = await approved(production, here.board(shots=2))
            run = begin(production, plan, approval, production.clock.now())
            assert made(production.ledger, run.run_id, plan) is None
            first = (await make_shots(production, run, plan.shots[:1], PlainSteps()))[0]
            refused = Outcome(plan.shots[1], "refused", None, "the run cap is 1.00 USD", ExitCode.REFUSED)
            tell_made(production.ledger, run.run_id, plan.digest, [first, refused])
            assert made(production.ledger, run.run_id, plan) == [first, refused]
            assert first.intent is not None
            early = replace(first, state="stalled", intent=replace(first.intent, state=IntentState.SUBMITTED))
            tell_made(production.ledger, run.run_id, plan.digest, [early, refused])
            assert made(production.ledger, run.run_id, plan) == [first, refused]
