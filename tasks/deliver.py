"""Deliver: lay the run's reel, sheet, timeline, report and costs on the store, at any level of completion."""

import datetime as dt
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from specs.money import USD, Money
from tasks.assemble.contact_sheet import make_contact_sheet
from tasks.assemble.reel import ReelPart, make_reel
from tasks.assemble.review import make_review
from tasks.assemble.timeline import make_timelines
from tasks.errors import SetupProblem
from tasks.estimate import Action, Plan
from tasks.exits import worst
from tasks.ledger import IntentState
from tasks.outcome import Outcome
from tasks.production import Production
from tasks.report import Row, RunReport, costs_csv, costs_json, costs_parquet, totals
from tasks.rows import Action as RowAction
from tasks.store import clip_cache

__all__ = ["Delivered", "deliver", "report_of"]

_TYPES = {
    ".csv": "text/csv; charset=utf-8",
    ".json": "application/json",
    ".html": "text/html; charset=utf-8",
    ".jpg": "image/jpeg",
    ".mp4": "video/mp4",
    ".otio": "application/json",
    ".edl": "text/plain; charset=utf-8",
    ".fcpxml": "application/xml",
    ".xml": "application/xml",
    ".parquet": "application/vnd.apache.parquet",
}
_ACTIONS: dict[Action, RowAction] = {
    Action.CREATE: "create",
    Action.REUSE: "reuse",
    Action.RESUME: "resume",
    Action.HELD: "skip",
}
_OPEN = {IntentState.SUBMITTING, IntentState.SUBMITTED, IntentState.STALLED, IntentState.SUCCEEDED}


@dataclass(frozen=True, slots=True)
class Delivered:
    """Where the files of a run are, by file name."""

    uris: dict[str, str]


def report_of(
    production: Production, plan: Plan, outcomes: Sequence[Outcome], *, run_id: str, started_at: dt.datetime
) -> RunReport:
    """The run in plain values, from the ledger's facts."""
    rows = tuple(_row(production, plan, one, run_id) for one in outcomes)
    return RunReport(
        run_id=run_id,
        board=plan.board,
        title=plan.title,
        digest=plan.digest,
        exit_code=int(worst(one.exit_code for one in outcomes)),
        started_at=started_at,
        finished_at=production.clock.now(),
        rows=rows,
        totals=totals(rows),
        store_uri=production.store.uri(""),
        providers=tuple(dict.fromkeys(one.shot.provider for one in outcomes)),
        warnings=plan.warnings,
    )


def _row(production: Production, plan: Plan, outcome: Outcome, run_id: str) -> Row:
    shot, intent = outcome.shot, outcome.intent
    artifact = intent.artifact if intent else None
    quoted = intent.quote if intent else shot.quote.money
    billed = intent.billed if intent else None
    open_money = quoted if intent and intent.state in _OPEN else None
    return Row(
        run_id=run_id,
        board=plan.board,
        shot=shot.request.shot,
        take=intent.take if intent else shot.take,
        provider=intent.provider if intent else shot.provider,
        model=intent.model if intent else shot.caps.model,
        mode=shot.request.mode,
        audio=shot.request.audio,
        seconds=shot.request.duration,
        action=_ACTIONS[shot.decision.action] if intent else "skip",
        state=outcome.state,
        quoted=quoted,
        billed=billed,
        usd=_usd(production, billed or quoted, intent.provider if intent else shot.provider),
        job_id=(intent.job_id or "") if intent else "",
        submitted_at=intent.submitted_at if intent else None,
        finished_at=intent.finished_at if intent else None,
        wait_s=_waited(outcome),
        sha256=artifact.sha256 if artifact else "",
        uri=artifact.uri if artifact else "",
        note=outcome.note,
        prompt=_prompt(outcome),
        still=shot.checked.stills[shot.request.still].path,
        clip=_clip(production, outcome),
        suspect=artifact.suspect if artifact else "",
        reserved=open_money,
        in_doubt=quoted if intent and intent.state is IntentState.IN_DOUBT else None,
        intent_id=intent.intent_id if intent else "",
    )


def _usd(production: Production, money: Money, provider: str) -> Decimal | None:
    if money.unit == USD:
        return money.amount
    rate = production.account(provider).rate
    return money.amount * rate if rate is not None else None


def _waited(outcome: Outcome) -> float | None:
    intent = outcome.intent
    if intent is None or intent.submitted_at is None or intent.finished_at is None:
        return None
    return (intent.finished_at - intent.submitted_at).total_seconds()


def _prompt(outcome: Outcome) -> str:
    cuts = outcome.shot.request.cuts
    parts = [cut.prompt for cut in cuts] if isinstance(cuts, tuple) else []
    return " / ".join(part for part in (outcome.shot.request.prompt, *parts) if part)


def _clip(production: Production, outcome: Outcome) -> Path | None:
    """A local copy of the take, fetched from the store where this machine has none."""
    artifact = outcome.intent.artifact if outcome.intent else None
    if artifact is None:
        return None
    cached = clip_cache(production, artifact.sha256)
    if not cached.exists():
        fetched = cached.with_suffix(".part")
        production.store.fetch(artifact.path, fetched)
        fetched.replace(cached)
    return cached


def deliver(production: Production, plan: Plan, report: RunReport, plan_document: dict[str, Any]) -> Delivered:
    """Make every file of the run and publish it; `latest.json` comes last, so it never names a run that is not there."""
    folder = f"{report.board}/runs/{report.run_id}"
    with tempfile.TemporaryDirectory(dir=production.cache("work")) as made:
        uris = {
            path.name: production.store.put(path, f"{folder}/{path.name}", content_type=_TYPES.get(path.suffix)).uri
            for path in _make(Path(made), report, plan_document)
        }
    latest = {"run_id": report.run_id, "run_uri": report.run_uri, "exit_code": report.exit_code, "digest": plan.digest}
    uris["latest.json"] = production.store.put(
        json.dumps(latest, indent=2).encode(), f"{report.board}/latest.json", content_type="application/json"
    ).uri
    return Delivered(uris)


def _make(folder: Path, report: RunReport, plan_document: dict[str, Any]) -> Iterator[Path]:
    writers: dict[str, Callable[[RunReport], bytes]] = {
        "plan.json": lambda _: (json.dumps(plan_document, indent=2) + "\n").encode(),
        "costs.csv": costs_csv,
        "costs.json": costs_json,
        "costs.parquet": costs_parquet,
    }
    for name, write in writers.items():
        try:
            (folder / name).write_bytes(write(report))
        except SetupProblem:
            continue  # costs.parquet is there with the extra only
        yield folder / name
    reel = make_reel([_part(report, row) for row in report.rows], folder / "reel.mp4")
    make_contact_sheet(report, folder / "contact.jpg")
    timelines = make_timelines(report, reel, folder)
    make_review(report, folder / "report.html")
    yield from (folder / "reel.mp4", folder / "contact.jpg", *timelines, folder / "report.html")


def _part(report: RunReport, row: Row) -> ReelPart:
    """The take, or what the slate in its place says."""
    title = f"{report.board}  {row.shot}"
    lines = (f"TK{row.take:02d}  {row.state.replace('_', ' ')}", row.note, row.prompt)
    return ReelPart(row.shot, row.take, row.seconds, row.clip, title, tuple(line for line in lines if line))
