"""The automation that Rushes keeps on its Prefect server: a person is told when one is needed."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from prefect.client.orchestration import get_client
from prefect.events.actions import SendNotification
from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectNotFound

from tasks.errors import SetupProblem
from tasks.settings import Settings

__all__ = ["NEEDS_PERSON", "install", "install_all", "needs_person"]

_RETIRED = "Rushes: crash runs whose process died"
NEEDS_PERSON = "Rushes: tell somebody that a run needs a person"
_RUNS = ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]})
_OURS = ResourceSpecification({"prefect.resource.id": "prefect.tag.rushes", "prefect.resource.role": "tag"})
_DEPLOYED = ResourceSpecification(
    {"prefect.resource.id": "prefect.deployment.*", "prefect.resource.role": "deployment"}
)
# `collect` looks at the same open purchases every five minutes; the run that left them open has told of them.
_BUYING = ResourceSpecification({"prefect.resource.role": "flow", "prefect.resource.name": ["render", "drop"]})
_TOLD = ("Needs a person", "Suspended", "Crashed")
_SUBJECT = "{{ flow_run.name }}: {{ event.resource['prefect.state-name'] }}"
_BODY = """\
{{ event.resource['prefect.state-message'] or '' }}
{{ flow_run|ui_url or 'flow run ' ~ flow_run.id }}
Suspended: approve or reject the plan there. Needs a person: `rushes doubts`. Crashed: nothing is lost; `collect` fetches what was paid.
"""


async def needs_person(block: str) -> AutomationCore:
    """Whoever the notification block reaches is told when a deployed render or drop is suspended, needs a person, or crashed.

    Raises:
        SetupProblem: Prefect holds no such notification block.
    """
    slug, _, name = block.partition("/")
    hint = "Start without RUSHES_NOTIFY, save a notification block in Prefect's UI, and name it as type/name, like slack-webhook/alerts."
    async with get_client() as client:
        try:
            document = await client.read_block_document_by_name(name, slug, include_secrets=False)
        except ObjectNotFound:
            raise SetupProblem(f"RUSHES_NOTIFY: Prefect holds no block {block!r}", hint) from None
    if document.block_schema is None or "notify" not in document.block_schema.capabilities:
        raise SetupProblem(f"RUSHES_NOTIFY: the block {block!r} cannot notify anybody", hint)
    return AutomationCore(
        name=NEEDS_PERSON,
        description="Set by RUSHES_NOTIFY.",
        trigger=EventTrigger(
            expect={f"prefect.flow-run.{name}" for name in _TOLD},
            match=_RUNS,
            match_related=[_OURS, _BUYING, _DEPLOYED],
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[SendNotification(block_document_id=document.id, subject=_SUBJECT, body=_BODY)],
    )


async def install_all(settings: Settings) -> None:
    """Every automation that these settings ask for. One of earlier versions goes: it crashed runs that wait for a person.

    Raises:
        SetupProblem: RUSHES_NOTIFY names no notification block.
    """
    async with get_client() as client:
        for old in await client.read_automations_by_name(_RETIRED):
            await client.delete_automation(old.id)
    if settings.notify:
        await install(await needs_person(settings.notify))


async def install(wanted: AutomationCore) -> None:
    """Create the automation, or bring the one that is there up to date; whether it is enabled is left to people.

    One that is as wanted is left alone: with an update Prefect forgets what it has seen.
    """
    async with get_client() as client:
        there = await client.read_automations_by_name(wanted.name)
        if not there:
            await client.create_automation(wanted)
        elif _facts(there[0]) != _facts(wanted):
            await client.update_automation(there[0].id, wanted.model_copy(update={"enabled": there[0].enabled}))


def _facts(automation: Automation | AutomationCore) -> Mapping[str, Any]:
    """What an automation does, comparable across a server that orders names as it likes."""
    facts = automation.model_dump(mode="json", include={"description", "trigger", "actions"})
    trigger = {
        name: sorted(fact) if name in {"after", "expect", "for_each"} else fact
        for name, fact in facts["trigger"].items()
    }
    return facts | {"trigger": trigger}
