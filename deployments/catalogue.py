"""The deployments: what can be run from the Prefect UI, by a schedule, or by a drop. `prefect.yaml` says the same for work pools."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, get_type_hints

from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.flows import Flow
from prefect.schedules import Cron, Interval, Schedule
from prefect.types.entrypoint import EntrypointType
from pydantic.fields import FieldInfo

from flows.drop import drop
from flows.part import part
from flows.render import render
from flows.standing import collect, costs

__all__ = ["COLLECT_EVERY", "deployments"]

COLLECT_EVERY = timedelta(minutes=5)
SWEEP_AT = "0 2 * * *"
REPORT_AT = "0 6 * * 1"
RENDERS_AT_ONCE = 8
PARTS_AT_ONCE = 100
COLLECTS_AT_ONCE = 4
"""A slow download keeps nothing else from being collected: each purchase is claimed by the run that asks after it."""


async def deployments(*, collect_every: timedelta = COLLECT_EVERY) -> Sequence[RunnerDeployment]:
    """All of them, each named like its flow."""
    return [
        await _deployment(render, "Render a storyboard.", tags=("rushes",), at_once=RENDERS_AT_ONCE),
        await _deployment(
            part,
            "Make one part of a large board. Started by render alone; by hand it buys nothing.",
            tags=("rushes", "part"),
            at_once=PARTS_AT_ONCE,
        ),
        await _deployment(
            drop,
            "Render what was dropped in the inbox; every night, whatever still lies there.",
            tags=("rushes", "unattended"),
            at_once=RENDERS_AT_ONCE,
            schedule=Cron(SWEEP_AT, timezone="UTC"),
        ),
        await _deployment(
            collect,
            "Pick up paid results that are late, held or in doubt. Buys nothing.",
            tags=("rushes", "unattended"),
            at_once=COLLECTS_AT_ONCE,
            schedule=Interval(collect_every),
            strategy=ConcurrencyLimitStrategy.CANCEL_NEW,
        ),
        await _deployment(
            costs,
            "Report what was spent; every Monday, the week before.",
            tags=("rushes",),
            at_once=1,
            schedule=Cron(REPORT_AT, timezone="UTC"),
        ),
    ]


async def _deployment(
    flow: Flow[Any, Any],
    description: str,
    *,
    tags: Sequence[str],
    at_once: int,
    schedule: Schedule | None = None,
    strategy: ConcurrencyLimitStrategy = ConcurrencyLimitStrategy.ENQUEUE,
) -> RunnerDeployment:
    deployment: RunnerDeployment = await flow.ato_deployment(
        flow.name,
        description=description,
        tags=list(tags),
        schedule=schedule,
        concurrency_limit=ConcurrencyLimitConfig(limit=at_once, collision_strategy=strategy),
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    _explain(deployment, flow)
    return deployment


def _explain(deployment: RunnerDeployment, flow: Flow[Any, Any]) -> None:
    """Put the titles and descriptions of the parameters into the schema of the run form.

    Prefect reads them from nowhere but docstrings and defaults, and overwrites those of annotations.
    """
    schema = deployment._parameter_openapi_schema  # noqa: SLF001 - there is no other way in
    for name, hint in get_type_hints(flow.fn, include_extras=True).items():
        for told in getattr(hint, "__metadata__", ()):
            if isinstance(told, FieldInfo) and name in schema.properties:
                schema.properties[name] |= {"title": told.title, "description": told.description}
