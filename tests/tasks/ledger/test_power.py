"""Power loss: what the ledger has acknowledged is on the disk, not in a cache."""

import os
from pathlib import Path

import pytest
import sqlalchemy as sa

from tasks.ledger import Ledger
from tasks.seams import SystemClock, SystemRng


def test_F72_every_commit_and_every_journal_line_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite runs with WAL and synchronous=FULL; a journal line is fsynced before `journal_answer` returns."""
    url = f"sqlite:///{tmp_path / 'home' / 'ledger.db'}"
    ledger = Ledger.open(url, home=tmp_path / "home", clock=SystemClock(), rng=SystemRng())
    with ledger._database.reading() as connection:
        assert connection.execute(sa.text("PRAGMA journal_mode")).scalar_one() == "wal"
        assert connection.execute(sa.text("PRAGMA synchronous")).scalar_one() == 2
    synced: list[int] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (synced.append(descriptor), fsync(descriptor))[1])
    ledger.journal_answer("01HZZZZZZZZZZZZZZZZZZZZZZZ", "0" * 64, "job-1")
    ledger.close()
    assert synced, "the line was only buffered"
