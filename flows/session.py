"""One render by hand: plan, ask where asking is due, run the flow in this process, say what came of it."""

import asyncio
import json
import logging
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console
from rich.text import Text

from flows.interruption import goes_on
from flows.plan import Ask, bound_by, make_plan, saved_plan, spec_text
from flows.terminal import LiveWatcher, PlainWatcher, console, print_plan
from tasks.errors import Refused, RushesError, SetupProblem
from tasks.estimate import Plan
from tasks.exits import ExitCode
from tasks.gate import Approval, NeedsApproval, Wish, gate, warned
from tasks.production import Production, Watcher, open_ledger
from tasks.settings import Settings, calm_prefect
from tasks.shoot import check_ready

__all__ = ["render_spec"]

_OVERBILLED = re.compile("billed .* quoted ")
_SAID = re.compile("suspect: |billed .* quoted |a second job of ")
SHOWN = 20
"""Warnings before a render; the report has them all."""


@dataclass(frozen=True, slots=True)
class _Session:
    """What is to be rendered, and how it is shown."""

    ask: Ask
    wish: Wish
    out: Console
    as_json: bool


def render_spec(
    spec: str,
    providers: tuple[str, ...],
    wish: Wish,
    *,
    as_json: bool,
    out: Console,
    retakes: Mapping[str, str] | None = None,
) -> int:
    """Render a spec or a saved plan and return the exit code.

    Raises:
        Refused, SetupProblem, SpecError: before anything was spent.
    """
    session = _open(spec, Ask(spec, providers, retakes or {}), wish, out, as_json=as_json)
    session = replace(session, wish=asyncio.run(_approved(session)))
    try:
        document = _run_flow(session)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(goes_on()) from None
    except Exception as error:  # noqa: BLE001 - raised on, with the purchases that it leaves behind
        raise _with_what_goes_on(error) from error.__cause__
    if as_json:
        print(json.dumps(document, indent=2))
    _summary(document, out)
    return int(document["exit_code"])


def _with_what_goes_on(error: Exception) -> Exception:
    """The error of a render that ended in the middle, with the purchases that are not stored."""
    try:
        words = goes_on()
    except RushesError:
        return error  # its ledger cannot be read: that is what the error says
    if words and isinstance(error, RushesError):
        error.hint = " ".join(filter(None, [error.hint, words]))
    elif words:
        console(stderr=True).print(Text(words), soft_wrap=True)
    return error


def _open(spec: str, ask: Ask, wish: Wish, out: Console, *, as_json: bool) -> _Session:
    """A saved plan names its spec, its providers and the digest that was approved with it."""
    if not spec.endswith(".json"):
        return _Session(ask, wish, out, as_json)
    text = spec_text(spec)
    if b'"digest"' not in text or b'"spec_sha256"' not in text:
        return _Session(ask, wish, out, as_json)
    saved = saved_plan(text, spec)
    ask = replace(ask, spec=saved["spec"], providers=ask.providers or tuple(saved.get("providers", ())))
    wish = replace(wish, digest=wish.digest or saved["digest"], saved=bound_by(saved))
    return _Session(ask, wish, out, as_json)


async def _approved(session: _Session) -> Wish:
    """The wish with which the flow may start; asks on a terminal where nobody has approved yet."""
    async with Production.open(Settings.load()) as production:
        plan = warned(await make_plan(production, session.ask), production.ledger, production.settings)
        approval = gate(plan, production.ledger, session.wish)
        check_ready(production, plan)
        if isinstance(approval, Approval) and session.wish.digest:
            # The flow plans anew, and is held to what this person was shown.
            await production.patiently(production.ledger.approve, approval)
    if not isinstance(approval, NeedsApproval):
        for warning in plan.warnings[:SHOWN]:
            console(stderr=True).print(Text(f"warning {warning}"), soft_wrap=True)
        return session.wish
    print_plan(plan, console(stderr=True))
    if not sys.stdin.isatty():
        raise Refused(
            f"{approval.total} need approval ({approval.why}), and nobody is at a terminal",
            f"Run again with --approve {plan.digest[:16]} (exactly this plan) or --yes, or set budget.auto_approve.",
        )
    return _asked(session, plan, approval)


def _asked(session: _Session, plan: Plan, approval: NeedsApproval) -> Wish:
    words = console(stderr=True)
    words.print(Text(f"Spend {approval.total} on {plan.title}? [y/N] "), end="")
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise Refused("not approved; nothing was spent")
    wish = replace(session.wish, digest=plan.digest)
    ledger = open_ledger(Settings.load())
    try:
        shown = gate(plan, ledger, wish)
        if isinstance(shown, Approval):
            ledger.approve(shown)
    finally:
        ledger.close()
    return wish


def _run_flow(session: _Session) -> dict[str, Any]:
    """Run the flow here; Prefect's own lines share the console with the progress display."""
    calm_prefect(Settings.load().home)
    from prefect import tags
    from prefect.exceptions import TerminationSignal

    from flows.render import WATCHER, render

    # How the run ended is said below, in words; Prefect's own line about it would come between.
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).setLevel(logging.CRITICAL)

    words = console(stderr=True)
    live: AbstractContextManager[Watcher] = (
        LiveWatcher(words) if words.is_terminal else nullcontext(PlainWatcher(words))
    )
    with live as watcher, tags("rushes"):
        WATCHER.set(watcher)
        try:
            state = asyncio.run(_call(render, session))
        except TerminationSignal:
            raise KeyboardInterrupt from None
        except RuntimeError as error:
            # Prefect's own words; it has no exception type for them.
            if not str(error).startswith(("Failed to reach API", "Timed out while attempting to connect")):
                raise
            raise SetupProblem(str(error), "Start that Prefect server, or unset PREFECT_API_URL.") from None
    document = state.result(raise_on_failure=False)
    if isinstance(document, BaseException):
        raise document
    if not isinstance(document, dict):
        raise SetupProblem(f"the flow ended {state.name} without a report", state.message or "")
    return document


async def _call(render: Any, session: _Session) -> Any:
    ask, wish = session.ask, session.wish
    return await render(
        spec=ask.spec,
        provider=list(ask.providers),
        max_cost=str(wish.max_cost) if wish.max_cost else "",
        approve=wish.digest or "",
        yes=wish.yes,
        retakes=dict(ask.retakes),
        return_state=True,
    )


def _remedy(shots: Sequence[Mapping[str, Any]]) -> str:
    """What a person does about money that is open."""
    if any(shot["state"] == "in_doubt" or _OVERBILLED.search(shot["note"] or "") for shot in shots):
        return "see `rushes doubts`, then `rushes collect`"
    if any(shot["state"] in {"held", "stalled"} and shot["action"] != "reuse" for shot in shots):
        return "`rushes collect` asks again, now or later"
    return "see the notes above"


def _summary(document: Mapping[str, Any], out: Console) -> None:
    """What became of the board, and where it is."""
    totals = document["totals"]
    resumed = sum(shot["action"] == "resume" for shot in document["shots"])
    counts = f"{totals['created']} created, {totals['reused']} reused, {totals['failed']} failed"
    counts += f", {resumed} resumed" if resumed else ""
    money = f"billed {totals['billed_usd']} of {totals['quoted_usd']} USD quoted"
    unsettled = f"reserved {totals['reserved_usd']}, in doubt {totals['in_doubt_usd']}"
    lines = [
        f"{document['board']}: {len({shot['id'] for shot in document['shots']})} shots, {counts}; {money}; {unsettled}"
    ]
    lines += [
        f"  {shot['id']} {shot['state'].replace('_', ' ')}: {shot['note'] or ''}"
        for shot in document["shots"]
        if shot["state"] != "stored" or _SAID.search(shot["note"] or "")
    ]
    lines += [f"  {sentence}" for name in ("passed_caps", "alerts") for sentence in document.get(name, ())]
    lines += [f"reel    {document['run_uri']}/reel.mp4", f"report  {document['run_uri']}/report.html"]
    if document["exit_code"] == ExitCode.MONEY_NEEDS_A_PERSON:
        lines.append(f"money needs a person: {_remedy(document['shots'])}")
    for line in lines:
        out.print(Text(line), soft_wrap=True)
