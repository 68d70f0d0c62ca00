"""The automation that tells the server when a run's process has died: Prefect's heartbeats, missed three times."""

from datetime import timedelta

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

__all__ = ["ZOMBIES", "install", "zombies"]

ZOMBIES = "Rushes: crash runs whose process died"
_HEARTBEAT = "prefect.flow-run.heartbeat"
_SILENT = timedelta(seconds=100)
# Prefect names the event after the state. Every state in which no process runs must end the watch: the names that the
# flows give their last states, and Suspended, in which a run may wait for a person for days.
_QUIET = (
    "Completed", "Failed", "Crashed", "Cancelled", "TimedOut", "Suspended", "Paused", "AwaitingRetry", "Scheduled", "Late",
    "Needs a person", "Not approved", "Refused", "Invalid", "Reused",
)  # fmt: skip


def zombies(silent: timedelta = _SILENT) -> AutomationCore:
    """A run that sent a heartbeat, and then for `silent` neither another one nor an end, is crashed."""
    return AutomationCore(
        name=ZOMBIES,
        description="A crashed run has lost nothing: the ledger knows what is paid, and `collect` fetches it.",
        trigger=EventTrigger(
            after={_HEARTBEAT},
            expect={_HEARTBEAT, *(f"prefect.flow-run.{name}" for name in _QUIET)},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=silent,
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message="its process died: no heartbeat")],
    )


async def install(automation: AutomationCore | None = None) -> None:
    """Create the automation, or bring the one that is there up to date."""
    wanted = automation or zombies()
    async with get_client() as client:
        there = await client.read_automations_by_name(wanted.name)
        if there:
            await client.update_automation(there[0].id, wanted)
        else:
            await client.create_automation(wanted)
