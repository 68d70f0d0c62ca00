"""Drop: the flow that renders one storyboard of the inbox and files it, or sweeps the whole inbox when none is named."""

import asyncio
import hashlib
import json
from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from flows.plan import Ask, LoadedBoard
from flows.prefect_settings import load_settings
from flows.render import render_ask, said
from flows.sweep import Sweeper
from specs.errors import SpecError
from specs.loader import load_with_source
from tasks.errors import SetupProblem, Terminal
from tasks.estimate import Plan
from tasks.exits import ExitCode
from tasks.gate import NeedsApproval, Wish
from tasks.inbox import Claim, Drop, Inbox
from tasks.seams import SystemClock, SystemRng

__all__ = ["drop"]

Board = Annotated[
    str,
    Field(
        title="Board",
        description="A storyboard in the inbox. Empty: everything that lies there.",
        examples=["liftoff.yaml", "monday/liftoff.yaml"],
        max_length=1000,
    ),
]
ClaimName = Annotated[
    str,
    Field(title="Claim", description="Filled in by the watcher. Leave it empty.", max_length=80),
]


@flow(name="drop", flow_run_name="drop-{board}", persist_result=False)
async def drop(board: Board = "", claim: ClaimName = "") -> Any:
    """Render a dropped storyboard, with the gate, the caps and the approval of every other run."""
    settings = await load_settings()
    if settings.inbox is None:
        raise SetupProblem("there is no inbox", "Set RUSHES_INBOX to a folder or a storage address.")
    inbox = Inbox(settings.inbox)
    if claim:
        return await _claimed(inbox, Claim.parse(claim))
    sweeper = Sweeper(inbox, clock=SystemClock(), rng=SystemRng(), only=board or None)
    submitted = await sweeper.once()
    return Completed(message=f"{submitted} boards submitted")


async def _claimed(inbox: Inbox, claim: Claim) -> "State[Any]":
    """Render what was claimed, and file it unless something passing stood in the way: then the sweep tries again."""
    dropped = await asyncio.to_thread(inbox.claimed, claim)
    if await asyncio.to_thread(inbox.end, claim):
        return Completed(name="Reused", message="this drop is filed already")
    state = await said(_rendered(inbox, claim, dropped))
    await asyncio.to_thread(_file, inbox, claim, dropped, state.data)
    return state


async def _rendered(inbox: Inbox, claim: Claim, dropped: Drop) -> "State[Any]":
    loaded = _loaded(inbox, dropped)

    async def waits(plan: Plan, needed: NeedsApproval) -> None:
        words = f"{plan.title} wants {needed.total}.\nApprove plan {plan.digest} in Prefect: the run waits there.\n"
        await asyncio.to_thread(inbox.wait, claim, dropped, words)

    def capped(plan: Plan) -> None:
        if not plan.free and plan.budget.cap is None:
            raise SpecError([loaded.source.issue(("budget", "cap"), _NO_CAP, "write `budget: {cap: 12.00 USD}`")])

    wish = Wish(attempt_of=f"drop {claim.name}")
    return await render_ask(Ask(loaded.spec, confined=True), wish, loaded=loaded, vet=capped, waits=waits)


_NO_CAP = "A dropped board that spends money needs a cap"


def _loaded(inbox: Inbox, dropped: Drop) -> LoadedBoard:
    sidecar = (f"{dropped.path[:-4]}.board.yaml", dropped.sidecar) if dropped.sidecar else None
    board, source = load_with_source(dropped.text, name=dropped.path, sidecar=sidecar)
    return LoadedBoard(board, source, inbox.store.uri(dropped.path), hashlib.sha256(dropped.text).hexdigest())


def _file(inbox: Inbox, claim: Claim, dropped: Drop, result: object) -> None:
    """The board into `processed/` with its document or into `rejected/` with its problems."""
    match result:
        case {"exit_code": exit_code}:
            note = json.dumps(result, indent=2).encode()
            inbox.finish(claim, dropped, "processed", note, "receipt.json", again=exit_code != ExitCode.OK)
        case SpecError() | Terminal() as error:
            words = f"{error}\n{error.diagnostics()}".strip() + "\n"
            inbox.finish(claim, dropped, "rejected", words.encode(), "problems.txt", again=True)
        case _:
            return
