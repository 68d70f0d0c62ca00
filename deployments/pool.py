"""Set up a work pool for many machines: the pool, the deployments of `prefect.yaml`, the automation that tells a person.

Run it once, and again after an update: `python -m deployments.pool`. It needs PREFECT_API_URL.
"""

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from deployments.ending import in_words
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
    asyncio.run(_complete())
    return 0


async def _complete() -> None:
    """The automation, and the titles and descriptions of the run forms, which `prefect deploy` leaves out."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import DeploymentUpdate

    from deployments.automations import install_all
    from deployments.catalogue import deployments
    from tasks.settings import Settings

    await install_all(Settings.load())
    async with get_client() as client:
        for one in await deployments():
            there = await client.read_deployment_by_name(f"{one.name}/{one.name}")
            form = one._parameter_openapi_schema.model_dump_for_openapi()  # noqa: SLF001 - as in the catalogue
            await client.update_deployment(
                there.id, DeploymentUpdate.model_validate({"parameter_openapi_schema": form})
            )


if __name__ == "__main__":
    sys.exit(in_words(main))
