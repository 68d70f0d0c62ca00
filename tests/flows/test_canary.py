"""A canary for a key: used by a whole render, and found nowhere afterwards."""

from pathlib import Path

import pytest

from deployments.sandbox import Sandbox
from tests.fixtures.command import Installation

pytestmark = [pytest.mark.prefect, pytest.mark.xdist_group("prefect")]

CANARY = "canary-4f1c9a27e05b"


def test_S07_S08_a_key_is_in_no_file_no_output_and_not_in_prefects_database(
    house: Installation, small_board: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Ledger, journal, store, report, what was printed, and the Prefect server's own folder: the key is in none of them."""
    text = small_board.read_text().replace("code: COLOURS", "code: CANARY\nprovider: shortapi\nbudget: {cap: 9.00 USD}")
    small_board.write_text(text)
    with Sandbox(job_seconds=0.5, key=CANARY, callback=False, faults=["http-502-after@2", "file-403@1"]) as sandbox:
        printed = house.run(
            "render", str(small_board), "--yes", "--json",
            SHORTAPI_KEY=CANARY, SHORTAPI_BASE_URL=sandbox.shortapi_url, RUSHES_POLL_SECONDS="0.2",
        )  # fmt: skip
        account = sandbox.account()
    assert printed.code == 6, printed.err
    assert len(account.jobs) == 3, "the key was used"
    assert CANARY not in printed.out + printed.err
    searched = [one for one in tmp_path_factory.getbasetemp().rglob("*") if one.is_file() and not one.is_symlink()]
    assert any("prefect.db" in one.name for one in searched), "the server's database is among what is searched"
    leaks = [one for one in searched if _holds(one)]
    assert leaks == []


def _holds(path: Path) -> bool:
    try:
        return CANARY.encode() in path.read_bytes()
    except OSError:
        return False
