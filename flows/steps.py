"""The tasks as Prefect shows them: thin shells over the plain functions in `tasks/`.

`submit` has no retries and no cache: the ledger alone decides whether a create may be sent, and calling it again is safe
because its first act is to read the ledger. `store` and `validate` may be repeated freely, so Prefect retries them.
"""

from collections.abc import Sequence
from typing import Any, cast

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from specs.request import ShotRequest
from tasks.errors import RushesError, Transient
from tasks.estimate import PlannedShot
from tasks.exits import ExitCode
from tasks.ledger import Intent, IntentState
from tasks.production import Production
from tasks.shoot import Run, submission_of
from tasks.store import store_take
from tasks.submit import submit_shot
from tasks.validate import CheckedShot, Checking, check_shot
from tasks.wait import Wakeups, wait_for

__all__ = ["PrefectSteps", "checked", "reuse", "store", "submit", "validate", "value_of", "wait"]

_NAMES = {
    IntentState.IN_DOUBT: "In doubt",
    IntentState.STALLED: "Stalled",
    IntentState.RESULT_HELD: "Held",
    IntentState.REJECTED: "Rejected",
    IntentState.FAILED_UNSETTLED: "Failed shot",
    IntentState.FAILED_FINAL: "Failed shot",
    IntentState.CANCELLED: "Cancelled shot",
}


async def _transient(_task: object, _run: object, state: "State[Any]") -> bool:
    """Prefect retries only what is certain to have had no effect."""
    return isinstance(await state.aresult(raise_on_failure=False), Transient)


def _shown(intent: Intent) -> "Intent | State[Intent]":
    """The intent itself, or, where it did not go straight on, a state that carries its name in the UI."""
    name = _NAMES.get(intent.state)
    message = intent.doubt_reason or intent.reason or ""
    return Completed(name=name, data=intent, message=message) if name else intent


def _stopped(error: RushesError) -> "State[RushesError]":
    """What was foreseen is shown as a state with its sentence, not as a traceback; `value_of` raises it again."""
    name = "Refused" if error.exit_code == ExitCode.REFUSED else "Stopped"
    return Completed(name=name, data=error, message=str(error))


async def checked(request: ShotRequest, providers: Sequence[str], checking: Checking) -> CheckedShot:
    """A shot held against its providers, as a task of the run."""
    return cast("CheckedShot", await value_of(await validate(request, providers, checking)))


async def value_of(result: Any) -> Any:
    """The value that a task returned, alone or inside a named state.

    Raises:
        RushesError: where that is what the task ended with.
    """
    value = await result.result() if isinstance(result, State) else result
    if isinstance(value, RushesError):
        raise value
    return value


@task(
    name="validate",
    task_run_name="validate {request.shot}",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=2,
    retry_condition_fn=_transient,
)
async def validate(request: ShotRequest, providers: Sequence[str], checking: Checking) -> CheckedShot:
    """Fetch and probe the stills of one shot; check it against the providers."""
    return await check_shot(request, providers, checking)


@task(name="reuse", task_run_name="reuse {shot.request.shot}", cache_policy=NO_CACHE)
async def reuse(shot: PlannedShot, intent: Intent) -> "State[Intent]":
    """Show in the UI that a shot is there already."""
    return Completed(name="Reused", data=intent, message=shot.decision.note)


@task(name="submit", task_run_name="submit {shot.request.shot}", cache_policy=NO_CACHE, retries=0)
async def submit(production: Production, run: Run, shot: PlannedShot) -> "Intent | State[Any]":
    """Buy the shot once, or find that it already is."""
    try:
        return _shown(await submit_shot(production, await submission_of(production, run, shot)))
    except RushesError as error:
        return _stopped(error)


@task(name="wait", task_run_name="wait {intent.shot}", cache_policy=NO_CACHE)
async def wait(production: Production, intent: Intent, wakeups: Wakeups) -> "Intent | State[Any]":
    """Poll until the job ends or is stalled."""
    try:
        return _shown(await wait_for(production, intent, wakeups))
    except RushesError as error:
        return _stopped(error)


@task(
    name="store",
    task_run_name="store {intent.shot}",
    cache_policy=NO_CACHE,
    retries=2,
    retry_delay_seconds=5,
    retry_condition_fn=_transient,
)
async def store(production: Production, intent: Intent) -> "Intent | State[Any]":
    """Fetch, verify, publish the take, settle."""
    try:
        return _shown(await store_take(production, intent))
    except Transient:
        raise
    except RushesError as error:
        return _stopped(error)


class PrefectSteps:
    """The steps of a shot as Prefect tasks."""

    async def reuse(self, shot: PlannedShot, intent: Intent) -> Intent:
        """Show in the UI that a shot is there already."""
        return cast("Intent", await value_of(await reuse(shot, intent)))

    async def submit(self, production: Production, run: Run, shot: PlannedShot) -> Intent:
        """Buy the shot once, or find that it already is."""
        return cast("Intent", await value_of(await submit(production, run, shot)))

    async def wait(self, production: Production, intent: Intent, wakeups: Wakeups) -> Intent:
        """Poll until the job ends or is stalled."""
        return cast("Intent", await value_of(await wait(production, intent, wakeups)))

    async def store(self, production: Production, intent: Intent) -> Intent:
        """Fetch, verify, publish the take, settle."""
        return cast("Intent", await value_of(await store(production, intent)))
