"""One Prefect server and one work pool for the session; one `rushes serve` for a module, with an inbox and the sandbox as provider."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deployments.sandbox import Sandbox
from tests.fixtures.boards import stills
from tests.fixtures.command import Installation
from tests.fixtures.pool import pool
from tests.fixtures.postgres import postgres_cluster
from tests.fixtures.prefect_rest import Rest
from tests.fixtures.prefect_server import prefect_api
from tests.fixtures.s3 import S3Server, s3_server, s3_url
from tests.fixtures.serving import serving

__all__ = ["S3Server", "Served", "pool", "postgres_cluster", "prefect_api", "s3_server", "s3_url"]

CANARY = "sk-canary-5e1f0c"


@dataclass(frozen=True)
class Served:
    """An unattended house: what it runs on and where drops go."""

    house: Installation
    inbox: Path
    rest: Rest
    sandbox: Sandbox


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, prefect_api: str) -> Iterator[Served]:
    """`rushes serve` with an inbox, on the shared server; paid jobs take half a second in the sandbox."""
    folder = tmp_path_factory.mktemp("served")
    inbox = folder / "inbox"
    stills(inbox / "stills")
    with Sandbox(job_seconds=0.5, key=CANARY) as sandbox:
        settings = {
            "PREFECT_API_URL": prefect_api,
            "PREFECT_HOME": str(folder / "prefect"),
            "RUSHES_INBOX": str(inbox),
            "SHORTAPI_BASE_URL": sandbox.shortapi_url,
            "RUSHES_AUTO_CAP": "40",
            "SHORTAPI_KEY": CANARY,
            "RUSHES_ALLOW_PRIVATE_URLS": "1",
            "RUSHES_POLL_SECONDS": "0.3",
        }
        house = Installation(folder, settings)
        rest = Rest(prefect_api)
        with serving(house):
            yield Served(house, inbox, rest, sandbox)
        rest.close()
