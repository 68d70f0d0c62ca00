"""Every test of the ledger runs on SQLite and on PostgreSQL, and leaves a ledger that verifies."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.postgres import Cluster, postgres_cluster
from tests.tasks.ledger.desk import Desk

__all__ = ["desk", "postgres_cluster", "postgres_desk", "sqlite_desk"]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    """A place for a ledger in each kind of database; every ledger opened there must verify in the end."""
    home = tmp_path / "home"
    postgres = request.param == "postgres"
    url = request.getfixturevalue("postgres_cluster").fresh() if postgres else f"sqlite:///{home}/ledger.db"
    yield from _checked(Desk(url, home))


@pytest.fixture
def postgres_desk(postgres_cluster: Cluster, tmp_path: Path) -> Iterator[Desk]:
    """A place for a ledger in PostgreSQL, for what only servers suffer."""
    yield from _checked(Desk(postgres_cluster.fresh(), tmp_path / "home"))


@pytest.fixture
def sqlite_desk(tmp_path: Path) -> Iterator[Desk]:
    """A place for a ledger in a file, for what only files suffer."""
    home = tmp_path / "home"
    desk = Desk(f"sqlite:///{home}/ledger.db", home)
    yield desk
    desk.close()


def _checked(desk: Desk) -> Iterator[Desk]:
    yield desk
    try:
        if desk.opened:
            assert desk.opened[-1].verify() == []
    finally:
        desk.close()
