"""A disk that is full: said before anything is bought, never called damage, and nothing is lost by it (F101)."""

import asyncio
import os
import resource
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from flows.plan import Ask, make_plan
from flows.render import undelivered
from flows.shooting import PlainSteps, shoot
from tasks.disk import trouble
from tasks.errors import as_foreseen
from tasks.gate import Approval, Wish, gate
from tasks.ledger import IntentState, Ledger, LedgerFull, LedgerUnavailable, Reserved
from tests.fixtures.till import till
from tests.tasks.ledger.desk import Desk, order, reserved

MEGABYTE = 1 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of eight megabytes; skipped where this user may mount none."""
    place = tmp_path / "small"
    place.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=0700", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mounting, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def _filled(place: Path) -> Path:
    """A file that takes every byte that is left."""
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (MEGABYTE, 1 << 12, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return filler


def _enlarged(place: Path) -> None:
    """Room for the reserve that downloads keep."""
    subprocess.run(["mount", "-o", "remount,size=600m", str(place)], check=True)


def _reserve_many(ledger: Ledger) -> None:
    """What SQLite has set aside takes a few more."""
    for number in range(40):
        ledger.reserve(order(f"SH{number}"))


def test_F101_a_full_home_is_no_damage_and_goes_on_once_there_is_room(small_disk: Path) -> None:
    """The answer to what was sent is in the journal's reserve; then the ledger takes it."""
    desk = Desk(f"sqlite:///{small_disk}/home/ledger.db", small_disk / "home")
    ledger = desk.begun(ledger=desk.open(durable=True))
    sent = reserved(ledger)
    filler = _filled(small_disk)
    with pytest.raises(LedgerFull) as full:
        _reserve_many(ledger)
    assert str(full.value).startswith("disk full")
    assert str(small_disk) in str(full.value)
    assert "backup" not in full.value.hint
    ledger.journal_answer(sent.intent_id, "0" * 64, "job-1")
    filler.unlink()
    assert ledger.accepted(sent.intent_id, "job-1", None).state is IntentState.SUBMITTED
    assert isinstance(ledger.reserve(order("SH-later")), Reserved)
    assert ledger.verify() == []
    desk.close()


def test_F101_a_full_home_opens_with_words_that_lead_to_no_backup(small_disk: Path) -> None:
    """As `rushes doctor` and the next command meet it."""
    desk = Desk(f"sqlite:///{small_disk}/home/ledger.db", small_disk / "home")
    reserved(desk.begun(ledger=desk.open(durable=True)))
    desk.close()
    _filled(small_disk)
    try:
        desk.open(durable=True).begin_run(
            "run-2", board="B", spec_sha256="", digest="d", caps=(), approved_by="auto", approval="x" * 3 * MEGABYTE
        )
    except Exception as error:  # noqa: BLE001 - whichever of its files hits the end first
        words = f"{error} {getattr(error, 'hint', '')}"
    assert "backup" not in words
    assert "disk full" in words or "space" in words
    desk.close()


def test_F101_the_size_that_a_process_may_give_a_file_is_named_too(tmp_path: Path) -> None:
    """EFBIG comes out of SQLite as `disk I/O error`."""
    desk = Desk(f"sqlite:///{tmp_path}/home/ledger.db", tmp_path / "home")
    ledger = desk.begun(ledger=desk.open(durable=True))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    largest = max(one.stat().st_size for one in (tmp_path / "home").glob("ledger.db*"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, hard))
    try:
        with pytest.raises(LedgerUnavailable) as full:
            _reserve_many(ledger)
        assert trouble(tmp_path / "home" / "ledger.db") is not None
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(full.value).startswith("disk full")
    desk.close()


@pytest.mark.parametrize("setting", ["RUSHES_HOME", "RUSHES_STORE"])
@pytest.mark.parametrize("provider", ["shortapi", "sjinn"])
def test_F101_nothing_is_bought_that_has_no_room(small_disk: Path, tmp_path: Path, setting: str, provider: str) -> None:
    """Exit code 7 with the figures, on the home and on a local store; `plan` says so before."""
    with till(tmp_path, more={setting: str(small_disk / "place")}) as house:
        board = str(house.board(provider=provider))
        planned = house.run("plan", board, "--json")
        refused = house.run("render", board, "--yes")
        assert any("MB free" in warning for warning in planned.document["warnings"])
        assert refused.code == 7
        assert "MB free" in refused.err
        assert "Nothing was bought" in refused.err
        assert house.truth.creates == ()


async def test_F101_a_disk_that_fills_in_the_middle_ends_with_what_is_owed_and_collect_brings_it(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Full as the answer comes: exit 6, the shot named with its money; once there is room nothing is bought anew."""
    monkeypatch.setenv("RUSHES_HOME", str(small_disk / "home"))
    with till(tmp_path) as house:
        filler: list[Path] = []

        def fill(point: str) -> None:
            if point == "K12" and not filler:
                filler.append(_filled(small_disk))

        async with replace(house.open(), hooks=fill) as production:
            plan = await make_plan(production, Ask(str(house.board())))
            approval = gate(plan, production.ledger, Wish(yes=True))
            assert isinstance(approval, Approval)
            report = await shoot(production, plan, approval, PlainSteps())
        (row,) = report.rows
        assert filler
        assert report.exit_code == 6
        assert row.intent_id
        assert "defect" not in row.note
        told = undelivered(report, as_foreseen(OSError(28, "No space left on device", "reel.mp4")))
        assert getattr(told, "exit_code", None) == 6
        assert row.intent_id in str(told)
        assert "disk full: reel.mp4" in str(told)
        filler[0].unlink()
        await asyncio.to_thread(_enlarged, small_disk)
        await house.collect()
        assert [one.state for one in house.intents()] == [IntentState.STORED]
        assert len(house.truth.jobs) == 1
