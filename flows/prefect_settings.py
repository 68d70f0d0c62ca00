"""Settings kept in Prefect: Variables and Secret blocks named like the setting, in lower case with dashes."""

from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext

from tasks.settings import Settings

__all__ = ["in_deployment", "load_settings", "overlay", "prefect_name"]

_SECRET = "secret"  # noqa: S105 - the slug of Prefect's block type


def prefect_name(setting: str) -> str:
    """`RUSHES_STORE` is `rushes-store` in Prefect, whose names take no capitals and whose blocks take no underscore."""
    return setting.lower().replace("_", "-")


def in_deployment() -> bool:
    """Whether this code runs in a flow run that a deployment started: it can be suspended, and nobody sits at a terminal."""
    context = FlowRunContext.get()
    return bool(context and context.flow_run and context.flow_run.deployment_id)


async def load_settings() -> Settings:
    """The environment and `.env`; in a deployment's run what both leave unset comes from Prefect.

    Raises:
        SetupProblem: naming the setting that cannot be used.
    """
    return Settings.load(await overlay() if in_deployment() else None)


async def overlay() -> dict[str, str]:
    """The settings that Prefect holds, by their own names; a Secret block wins over a Variable."""
    names = {
        prefect_name(str(one.validation_alias)): str(one.validation_alias) for one in Settings.model_fields.values()
    }
    named = {"name": {"any_": sorted(names)}}
    wanted = {"block_documents": named, "block_types": {"slug": {"any_": [_SECRET]}}, "include_secrets": True}
    async with get_client() as client:
        variables = (await client.request("POST", "/variables/filter", json={"variables": named})).json()
        blocks = (await client.request("POST", "/block_documents/filter", json=wanted)).json()
    held = {one["name"]: one["value"] for one in variables} | {one["name"]: one["data"].get("value") for one in blocks}
    return {names[name]: str(value) for name, value in held.items() if value not in (None, "")}
