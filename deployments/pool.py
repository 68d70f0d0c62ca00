"""Set up a work pool for many machines: the pool, the deployments of `prefect.yaml`, the automation for dead runs.

Run it once, and again after an update: `python -m deployments.pool`. It needs PREFECT_API_URL.
"""

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tasks.errors import SetupProblem
from tasks.settings import prefect_api, serving_prefect

__all__ = ["main"]

POOL = "rushes"


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code of the last step that failed, 0 when all is there."""
    del argv
    api_url = prefect_api()
    if api_url is None:
        raise SetupProblem("a work pool needs a Prefect server", "Set PREFECT_API_URL.")
    serving_prefect(api_url)
    here = Path(__file__).with_name("prefect.yaml")
    steps = (
        ["work-pool", "create", POOL, "--type", "process", "--overwrite"],
        ["--no-prompt", "deploy", "--all", "--prefect-file", str(here)],
    )
    for step in steps:
        done = subprocess.run([sys.executable, "-m", "prefect", *step], check=False)  # noqa: S603 - our own words
        if done.returncode:
            return done.returncode
    from deployments.automations import install

    asyncio.run(install())
    return 0


if __name__ == "__main__":
    sys.exit(main())
