"""Settings kept in Prefect: Variables and Secret blocks named like the setting, in lower case with dashes."""

from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger

from tasks.settings import KEYS, Settings

__all__ = ["ALLOWED", "in_deployment", "load_settings", "overlay", "prefect_name", "this_flow_run"]

ALLOWED = frozenset(
    {"RUSHES_DAY_CAP", "RUSHES_MONTH_CAP", "RUSHES_POLL_SECONDS", "RUSHES_PART_SHOTS", "RUSHES_NOTIFY"}
    | {str(one.validation_alias) for name, one in Settings.model_fields.items() if name.endswith("_max_in_flight")}
)
"""What may come from Prefect beside keys: whoever writes there does not say where keys, clips and stills go, which ledger counts, or what is spent unasked."""

_SECRET = "secret"  # noqa: S105 - the slug of Prefect's block type


def prefect_name(setting: str) -> str:
    """`RUSHES_STORE` is `rushes-store` in Prefect, whose names take no capitals and whose blocks take no underscore."""
    return setting.lower().replace("_", "-")


def in_deployment() -> bool:
    """Whether this code runs in a flow run that a deployment started: it can be suspended, and nobody sits at a terminal."""
    context = FlowRunContext.get()
    return bool(context and context.flow_run and context.flow_run.deployment_id)


def this_flow_run() -> dict[str, str] | None:
    """The flow run of a deployment that this code runs in, as the ledger keeps it; None in a run by hand, which nobody watches."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or context.flow_run.deployment_id is None:
        return None
    return {"flow_run": str(context.flow_run.id), "deployment": str(context.flow_run.deployment_id)}


async def load_settings() -> Settings:
    """The environment and `.env`; in a deployment's run what both leave unset comes from Prefect.

    Raises:
        SetupProblem: naming the setting that cannot be used.
    """
    return Settings.load(await overlay() if in_deployment() else None)


async def overlay() -> dict[str, str]:
    """The settings that Prefect holds and may hold, by their own names: keys in Secret blocks, `ALLOWED` in either kind."""
    names = {
        prefect_name(str(one.validation_alias)): str(one.validation_alias) for one in Settings.model_fields.values()
    }
    named = {"name": {"any_": sorted(names)}}
    wanted = {"block_documents": named, "block_types": {"slug": {"any_": [_SECRET]}}, "include_secrets": True}
    async with get_client() as client:
        variables = (await client.request("POST", "/variables/filter", json={"variables": named})).json()
        blocks = (await client.request("POST", "/block_documents/filter", json=wanted)).json()
    secrets = {names[one["name"]]: one["data"].get("value") for one in blocks}
    held = {names[one["name"]]: one["value"] for one in variables} | secrets
    allowed = ALLOWED | (KEYS & secrets.keys())
    for name in sorted(held.keys() - allowed):
        get_run_logger().warning("%s is not taken from Prefect: set it in the environment of what runs this", name)
    return {name: str(value) for name, value in held.items() if name in allowed and value not in (None, "")}
