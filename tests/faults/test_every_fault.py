"""Each fault, alone, against one paid shot: where it ends, and that the sandbox's account and our ledger agree."""

from decimal import Decimal
from pathlib import Path

import pytest

from deployments.sandbox import Account, Sandbox
from deployments.sandbox.faults import FAULTS
from tasks.ledger import Intent, IntentState
from tasks.production import Deadlines
from tasks.report import RunReport
from tests.faults.rehearsal import Rehearsal, board_text

STORED, DOUBT, HELD = IntentState.STORED, IntentState.IN_DOUBT, IntentState.RESULT_HELD
REJECTED, UNSETTLED, FAILED = IntentState.REJECTED, IntentState.FAILED_UNSETTLED, IntentState.FAILED_FINAL

ENDS: dict[str, set[IntentState]] = {
    "F03": {DOUBT}, "F04": {DOUBT}, "F05": {DOUBT}, "F06": {DOUBT}, "F07": {DOUBT}, "F08": {DOUBT}, "F09": {DOUBT},
    "F10": {DOUBT}, "F11": {STORED}, "F12": {REJECTED}, "F13": {REJECTED}, "F14": {REJECTED}, "F15": {DOUBT},
    "F16": {DOUBT, STORED}, "F17": {DOUBT, STORED}, "F18": {DOUBT, REJECTED, STORED}, "F19": {DOUBT, STORED},
    "F21": {STORED}, "F22": {STORED}, "F23": {DOUBT}, "F24": {DOUBT, STORED}, "F25": {STORED}, "F26": {DOUBT},
    "F28": {DOUBT, STORED}, "F29": {STORED}, "F30": {STORED}, "F31": {STORED}, "F32": {STORED, UNSETTLED, FAILED},
    "F33": {STORED}, "F34": {UNSETTLED}, "F36": {FAILED}, "F37": {UNSETTLED, FAILED}, "F38": {UNSETTLED}, "F39": {REJECTED},
    "F40": {UNSETTLED}, "F41": {HELD, STORED}, "F42": {STORED}, "F43": {STORED}, "F54": {STORED}, "F55": {STORED},
    "F56": {STORED}, "F57": {HELD, STORED}, "F58": {STORED, HELD}, "F59": {STORED}, "F60": {HELD, STORED},
}  # fmt: skip
"""Where one shot ends that meets the fault once. Faults of callbacks and of two jobs have tests of their own."""

OTHERWISE = {"http-429-huge": {REJECTED}}
"""What ends otherwise than the rest of its kind: nobody waits for a queue that is full for years."""

ELSEWHERE = {
    "F20": "needs two jobs", "F27": "needs a receiver", "F35": "needs an hour", "F53": "needs a receiver",
    "F82": "needs two payers",
}  # fmt: skip
TOO_BIG = {"json-100mb", "file-endless", "file-gzip-bomb", "json-deep", "gzip-bomb", "query-gzip-bomb"}
"""Their sizes are proved where only the wire or the download is under test."""

CASES = [
    pytest.param(fault, provider, id=f"{'_'.join(fault.ids)}-{fault.name}-{provider}")
    for fault in FAULTS.values()
    for provider in ("shortapi", "sjinn")
    if fault.provider in {"", provider}
    and fault.event != "callback"
    and fault.name not in TOO_BIG | {"used-connection-closed"}
    and not set(fault.ids) & set(ELSEWHERE)
    and (provider == "shortapi" or fault.provider == "sjinn" or fault.event in {"create", "query"})
]


@pytest.mark.parametrize(("fault", "provider"), CASES)
async def test_a_fault_ends_as_the_catalogue_says(fault: object, provider: str, tmp_path: Path) -> None:
    """One shot meets one fault: it ends in an allowed state, is created at most once, and every cent is in both accounts."""
    name, ids = fault.name, fault.ids  # type: ignore[attr-defined]
    sounds = provider == "shortapi" and name in {"clip-without-audio", "clip-mute"}
    with Sandbox(job_seconds=0.2, faults=[name], lag=0.05, callback=False) as sandbox:
        rehearsal = Rehearsal(tmp_path, sandbox, provider, deadlines=_patience(name, fault.event))  # type: ignore[attr-defined]
        report = await rehearsal.render(rehearsal.write_board(board_text(provider, audio=sounds)))
        account = rehearsal.account()
        intent = _only_intent(rehearsal)
    allowed = OTHERWISE.get(name) or set.intersection(*(ENDS[one] for one in ids if one in ENDS))
    assert intent.state in allowed, (name, intent.state, intent.doubt_reason or intent.reason)
    _agree(report, intent, account)
    if set(ids) & {"F58"} and intent.state is STORED:
        assert intent.artifact is not None
        assert intent.artifact.suspect, "a clip that differs from its order is flagged"
    for file in tmp_path.rglob("*"):
        if file.is_file():
            assert b"canary-key-0451" not in file.read_bytes(), f"the key is in {file}"


SILENT = ("hang", "trickle", "late", "stalled")


def _patience(name: str, event: str) -> Deadlines:
    """Short only where silence is what the fault promises: a busy machine is slow everywhere else."""
    short = {"create": {"create": 1.0}, "upload": {"create": 1.0}, "query": {"poll": 0.6}, "file": {"stall": 0.6}}
    silent = any(word in name for word in SILENT)
    return Deadlines(**{"create": 15.0, "poll": 10.0, "stall": 10.0, **(short.get(event, {}) if silent else {})})


def _only_intent(rehearsal: Rehearsal) -> Intent:
    production = rehearsal.open()
    intents = production.ledger.intents(board="FAULT")
    assert production.ledger.verify() == []
    production.ledger.close()
    *refused, intent = sorted(intents, key=lambda one: one.attempt_no)
    assert all(one.state is REJECTED for one in refused), "planned again without a definite refusal"
    return intent


def _agree(report: RunReport, intent: Intent, account: Account) -> None:
    """The outside witness against the ledger (I1, I2, I4, I10)."""
    assert len(account.jobs) <= 1, "bought twice"
    assert len(account.creates) == 1 or intent.state in {STORED, REJECTED}, "sent again without a definite refusal"
    assert account.creates_on_used_connections == 0
    assert not account.authorization_on_files
    for job in account.jobs:
        known = intent.job_id == job.job_id
        assert known or intent.state is DOUBT, "a paid job that nobody names"
        booked = intent.reserved.amount + intent.settled.amount
        assert job.billed - job.refunded <= booked, "billed beyond what is reserved and settled"
        if intent.state is STORED:
            assert intent.settled.amount == Decimal(job.billed)
    assert (report.exit_code == 0) == (intent.state is STORED and not _overbilled(intent))


def _overbilled(intent: Intent) -> bool:
    """Whatever is billed above the plan passes the cap that was approved for the run (F92)."""
    return intent.billed is not None and intent.quote < intent.billed


@pytest.mark.parametrize("provider", ["shortapi", "sjinn"])
async def test_F34_a_success_after_a_failure_is_collected(provider: str, tmp_path: Path) -> None:
    """The clip is paid whatever was said of it before: slow polling brings it in."""
    with Sandbox(job_seconds=0.2, faults=["status-failed-first"], callback=False) as sandbox:
        rehearsal = Rehearsal(tmp_path, sandbox, provider)
        await rehearsal.render(rehearsal.write_board(board_text(provider)))
        (collected,) = await rehearsal.collect()
    assert (collected.before, collected.intent.state) == (UNSETTLED, STORED)


@pytest.mark.parametrize("provider", ["shortapi", "sjinn"])
async def test_F35_a_stuck_job_is_stalled_kept_reserved_and_not_bought_again(provider: str, tmp_path: Path) -> None:
    """After 45 minutes the run lets go; the money stays reserved, and a second render buys nothing."""
    with Sandbox(job_seconds=0.2, faults=["stuck"], callback=False) as sandbox:
        rehearsal = Rehearsal(tmp_path, sandbox, provider, poll_seconds=None)
        board = rehearsal.write_board(board_text(provider))
        first = await rehearsal.render(board)
        second = await rehearsal.render(board)
        account, intent = rehearsal.account(), _only_intent(rehearsal)
    assert (first.exit_code, second.exit_code) == (6, 6)
    assert intent.state is IntentState.STALLED
    assert intent.reserved == intent.quote
    assert len(account.jobs) == 1


@pytest.mark.parametrize("provider", ["shortapi", "sjinn"])
async def test_F20_one_job_id_for_two_shots_leaves_the_second_in_doubt(provider: str, tmp_path: Path) -> None:
    """The second shot is in doubt, both are reserved or settled, and no third create is sent."""
    with Sandbox(job_seconds=0.2, faults=["id-of-another@2"], callback=False) as sandbox:
        rehearsal = Rehearsal(tmp_path, sandbox, provider)
        report = await rehearsal.render(rehearsal.write_board(board_text(provider, shots=2)))
        account = rehearsal.account()
    assert sorted(row.state for row in report.rows) == ["in_doubt", "stored"]
    assert (len(account.jobs), len(account.creates)) == (2, 2)
    assert report.exit_code == 6


@pytest.mark.parametrize("fault", ["http-401", "http-402", "http-403"])
async def test_F13_F14_no_key_or_no_money_stops_the_run_and_leaves_the_other_shots_alone(
    fault: str, tmp_path: Path
) -> None:
    """The breaker opens on the first refusal; shots that were not sent yet are never sent."""
    with Sandbox(job_seconds=0.2, faults=[f"{fault}*9"], callback=False) as sandbox:
        rehearsal = Rehearsal(tmp_path, sandbox, "shortapi")
        board = rehearsal.write_board(board_text("shortapi", shots=9))
        report = await rehearsal.render(board)
        account = rehearsal.account()
    assert not account.jobs
    assert {row.state for row in report.rows} <= {"failed", "refused"}
    assert len(account.creates) < 9
    assert report.exit_code == (4 if fault == "http-402" else 7)


async def test_F08_two_doubts_halt_further_creates(tmp_path: Path) -> None:
    """At two doubts buying stops; the rest of the board is refused, not risked."""
    with Sandbox(job_seconds=0.2, faults=["http-502-after*2"], callback=False) as sandbox:
        rehearsal = Rehearsal(tmp_path, sandbox, "sjinn")
        board = rehearsal.write_board(board_text("sjinn", shots=8))
        report = await rehearsal.render(board)
        account = rehearsal.account()
    states = [row.state for row in report.rows]
    assert states.count("in_doubt") == 2
    assert report.exit_code == 6
    assert len(account.jobs) == len(account.creates) <= 8


async def test_F43_a_job_is_collected_later_when_the_run_could_not(tmp_path: Path) -> None:
    """A result that nobody would hand out is held, paid, named; `collect` brings it in once the host does."""
    with Sandbox(job_seconds=0.2, faults=["file-html*40"], callback=False) as sandbox:
        rehearsal = Rehearsal(tmp_path, sandbox, "shortapi")
        report = await rehearsal.render(rehearsal.write_board(board_text("shortapi")))
        assert (report.rows[0].state, report.exit_code) == ("held", 6)
        sandbox.clear_faults()
        (collected,) = await rehearsal.collect()
        account = rehearsal.account()
    assert collected.intent.state is STORED
    assert len(account.jobs) == 1
