"""The plan: what its document says, what its digest binds, and what a saved plan buys."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from flows.plan import Ask, make_plan, plan_json, saved_plan
from tasks.errors import Refused
from tasks.estimate import Plan, part_of
from tests.fixtures.till import STILL, Till, paid_board, till

BUDGET = "{cap: 40.00 USD, per_shot: 2.00 USD, auto_approve: 0.10 USD}"


async def planned(here: Till, board: Path, **ask: object) -> Plan:
    """The plan, made in process."""
    async with here.open() as production:
        return await make_plan(production, Ask(str(board), **ask))  # type: ignore[arg-type]


def test_the_plan_is_one_document_with_money_as_decimal_text(tmp_path: Path) -> None:
    """The keys and types that scripts rely on."""
    with till(tmp_path) as here:
        printed = here.run("plan", str(here.board(shots=2, provider="sjinn")), "--json")
        assert not here.truth.requests, "a plan asks no provider"
    document = printed.document
    assert printed.code == 0, printed.err
    assert document.keys() >= {"digest", "board", "totals", "shots", "warnings"}
    assert document["totals"] == {"usd": "0.84", "by_unit": {"sjinn-credits": "1200"}}
    wanted = {"id", "take", "action", "provider", "model", "quoted", "unit", "usd", "seconds", "mode", "audio"}
    assert document["shots"][0].keys() >= wanted
    assert {name: document["shots"][0][name] for name in wanted} == {
        "id": "SH010",
        "take": 1,
        "action": "create",
        "provider": "sjinn",
        "model": "kling-3.0",
        "quoted": "600",
        "unit": "sjinn-credits",
        "usd": "0.42",
        "seconds": 3,
        "mode": "std",
        "audio": False,
    }


async def test_a_shot_is_created_reused_resumed_or_held(tmp_path: Path) -> None:
    """Stored, stalled, in doubt and new, in one plan; only the new one costs anything."""
    more = {"RUSHES_POLL_SECONDS": ""}
    with till(tmp_path, more=more) as here:
        for shots, fault in ((1, ""), (2, "stuck"), (3, "http-502-after")):
            if fault:
                here.sandbox.fault(fault)
            await here.render(here.board(shots=shots))
        printed = here.run("plan", str(here.board(shots=4)), "--json")
    shots = printed.document["shots"]
    assert [shot["action"] for shot in shots] == ["reuse", "resume", "held", "create"]
    assert [shot["usd"] for shot in shots] == ["0.00", "0.00", "0.00", "0.429"]
    assert printed.document["totals"]["usd"] == "0.429"
    assert "rushes doubts" in shots[2]["note"]


async def write_plan(here: Till, board: Path, change: dict[str, object] | None = None) -> Path:
    """What `plan --out` writes."""
    saved = here.folder / "plan.json"
    saved.write_text(json.dumps(plan_json(await planned(here, board)) | (change or {})))
    return saved


def _prompt(text: str) -> str:
    return text.replace("Push in 1", "Push out 1")


EDITS: dict[str, Callable[[str], str]] = {
    "prompt": _prompt,
    "mode": lambda text: text.replace("duration: 3", "duration: 3, mode: pro"),
    "provider": lambda text: text.replace("provider: shortapi", "provider: sjinn"),
    "a second choice of provider": lambda text: text.replace("provider: shortapi", "provider: [shortapi, sjinn]"),
    "cap": lambda text: text.replace("40.00", "41.00"),
    "cap per shot": lambda text: text.replace("2.00", "2.01"),
    "auto_approve": lambda text: text.replace("0.10", "0.11"),
    "take": lambda text: text.replace("Push in 1}", "Push in 1, take: 2}"),
}


@pytest.mark.parametrize("name", EDITS)
async def test_the_digest_changes_with_what_is_approved(name: str, tmp_path: Path) -> None:
    """What a person sees in the plan, no one can change behind the approval."""
    with till(tmp_path) as here:
        text = paid_board(budget=BUDGET)
        before = await planned(here, here.board(text))
        after = await planned(here, here.board(EDITS[name](text)))
    assert EDITS[name](text) != text
    assert before.digest != after.digest


async def test_the_digest_changes_with_a_still_a_price_date_a_rate_and_a_cap_of_the_day(tmp_path: Path) -> None:
    """Also with what does not stand in the board."""
    with till(tmp_path) as here:
        board = here.board(provider="sjinn")
        digests = [(await planned(here, board)).digest]
        here.still(200)
        plan = await planned(here, board)
        digests.append(plan.digest)
        digests.append((await planned(replace(here, more={"SJINN_USD_PER_CREDIT": "0.0008"}), board)).digest)
        digests.append((await planned(replace(here, more={"RUSHES_DAY_CAP": "9"}), board)).digest)
        newer = [replace(shot, quote=replace(shot.quote, version="sjinn/kling-3.0@2027-01")) for shot in plan.shots]
        digests.append(part_of(plan, newer).digest)
    assert len(set(digests)) == len(digests)


async def test_the_digest_does_not_depend_on_places_and_names_of_files(tmp_path: Path) -> None:
    """The same pictures and words elsewhere are the same plan; once its shot is there it is another, which spends nothing."""
    with till(tmp_path) as here:
        text = paid_board(budget=BUDGET)
        before = await planned(here, here.board(text))
        other = tmp_path / "elsewhere"
        other.mkdir()
        (other / "renamed.jpg").write_bytes((tmp_path / STILL).read_bytes())
        (other / "other.yaml").write_text(text.replace(STILL, "renamed.jpg").replace("title: Till", "title: Till # x"))
        after = await planned(here, other / "other.yaml")
        await here.render(here.board(text))
        done = await planned(here, here.board(text))
    assert before.digest == after.digest != done.digest


@pytest.mark.prefect
@pytest.mark.xdist_group("prefect")
def test_a_saved_plan_is_bought_exactly(tmp_path: Path, prefect_api: str) -> None:
    """`render plan.json` needs no other approval, and costs what it says by the provider's own account."""
    with till(tmp_path, more={"PREFECT_API_URL": prefect_api}) as here:
        saved = tmp_path / "plan.json"
        assert here.run("plan", str(here.board(shots=2)), "--out", str(saved)).code == 0
        printed = here.run("render", str(saved), "--json")
        account = here.truth
    plan = json.loads(saved.read_text())
    assert printed.code == 0, printed.err
    assert printed.document["digest"] == plan["digest"]
    assert f"{account.total('USD').net:f}" == plan["totals"]["usd"] == printed.document["totals"]["billed_usd"]
    assert len(account.creates) == 2


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (_prompt, "SH010: content"),
        (EDITS["provider"], "provider shortapi -> sjinn"),
        (EDITS["cap"], "caps: board 40.00 USD -> board 41.00 USD"),
        (EDITS["auto_approve"], "auto_approve: 0.10 USD -> 0.11 USD"),
        (lambda text: text.replace("SH020", "SH025"), "SH025: new"),
    ],
)
async def test_a_stale_plan_is_refused_with_what_changed(edit: Callable[[str], str], told: str, tmp_path: Path) -> None:
    """Exit 4, the difference in words, nothing sent."""
    with till(tmp_path) as here:
        text = paid_board(budget=BUDGET, shots=2)
        saved = await write_plan(here, here.board(text))
        here.board(edit(text))
        printed = here.run("render", str(saved))
        assert not here.truth.creates
    assert printed.code == 4
    assert "the plan has changed" in printed.err
    assert told in printed.err


async def test_a_plan_under_older_prices_is_stale(tmp_path: Path) -> None:
    """The row of the price table is named with its date."""
    with till(tmp_path) as here:
        saved = await write_plan(here, here.board())
        plan = json.loads(saved.read_text())
        plan["digest"] = "0" * 64
        plan["shots"][0] |= {"price_version": "shortapi/kling-3.0@2025-01", "quoted": "0.30"}
        saved.write_text(json.dumps(plan))
        printed = here.run("render", str(saved))
        assert not here.truth.creates
    assert printed.code == 4
    assert "quoted 0.30 -> 0.429" in printed.err
    assert "price_version shortapi/kling-3.0@2025-01 -> shortapi/kling-3.0@" in printed.err


DAMAGES: list[dict[str, object]] = [
    {"digest": 5},
    {"spec": ["x"]},
    {"shots": [{}]},
    {"shots": 3},
    {"rushes": 2},
    {"providers": [1]},
]


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_plan_is_no_plan(damage: dict[str, object], tmp_path: Path) -> None:
    """Each fact that is read of it must be of its type."""
    with till(tmp_path) as here:
        document = plan_json(await planned(here, here.board())) | damage
    with pytest.raises(Refused, match="is not a plan of this version"):
        saved_plan(json.dumps(document).encode(), "plan.json")


@pytest.mark.parametrize("damage", [{"digest": ""}, {"shots": 3}, {"caps": {"x": 1}, "digest": "1" * 64}])
async def test_a_plan_that_is_damaged_or_forged_is_refused_in_words(damage: dict[str, object], tmp_path: Path) -> None:
    """No traceback, exit 4, nothing sent."""
    with till(tmp_path) as here:
        saved = await write_plan(here, here.board(), damage)
        printed = here.run("render", str(saved))
        assert not here.truth.creates
    assert (printed.code, "Traceback" in printed.err) == (4, False), printed.err
