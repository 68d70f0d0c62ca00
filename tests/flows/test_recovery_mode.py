"""A ledger brought back from an older copy buys nothing until it is reconciled."""

import shutil
from pathlib import Path

from deployments.sandbox import Sandbox
from tests.faults.rehearsal import Rehearsal, board_text
from tests.fixtures.command import Installation


async def test_F73_a_restored_ledger_finds_its_purchases_again_or_waits_for_a_person(tmp_path: Path) -> None:
    """The journal makes the lost purchase again; where the journal is old too, doctor says so and a reason lets go on."""
    with Sandbox(job_seconds=0.2, callback=False) as sandbox:
        rehearsal = Rehearsal(tmp_path, sandbox, "shortapi")
        board = rehearsal.write_board(board_text("shortapi"))
        rehearsal.open().ledger.close()
        older = tmp_path / "older"
        shutil.copytree(tmp_path / "home", older)
        await rehearsal.render(board)
        for name in ("ledger.db", "ledger.db-wal", "ledger.db-shm"):
            (tmp_path / "home" / name).unlink(missing_ok=True)
        shutil.copy(older / "ledger.db", tmp_path / "home" / "ledger.db")
        again = await rehearsal.render(board)
        account = rehearsal.account()
    assert len(account.creates) == 1, "bought again from an older ledger"
    assert again.rows[0].state == "stored"
    printed = Installation(tmp_path).run("doctor", "--reconcile", "compared with the dashboard")
    assert "Traceback" not in printed.err
    assert "adds up" in printed.out
