"""Deliver: lay the run's reel, sheet, timeline, report and costs on the store, at any level of completion."""

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.assemble.contact_sheet import make_contact_sheet
from tasks.assemble.reel import ReelPart, reel_apart
from tasks.assemble.review import make_review
from tasks.assemble.timeline import make_timelines
from tasks.errors import SetupProblem, Transient
from tasks.estimate import Plan
from tasks.exits import ExitCode, worst
from tasks.production import Production
from tasks.report import Row, RunReport, costs_csv, costs_json, costs_parquet

__all__ = ["Delivered", "deliver"]

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


@dataclass(frozen=True, slots=True)
class Delivered:
    """Where the files of a run are, by file name."""

    uris: dict[str, str]


def deliver(production: Production, plan: Plan, report: RunReport, plan_document: dict[str, Any]) -> Delivered:
    """Make every file of the run and publish it; `latest.json` comes last, so it never names a run that is not there.

    Raises:
        SetupProblem: the store does not take them; with the exit code of the run where that is the worse one.
    """
    try:
        return _delivered(production, plan, report, plan_document)
    except Transient as error:
        problem = SetupProblem(f"the run's files cannot be delivered: {error}", _what_is_kept(report))
        problem.exit_code = worst([ExitCode.SET_UP, ExitCode(report.exit_code)])
        raise problem from error


def _what_is_kept(report: RunReport) -> str:
    """Whether every take that was bought is stored, and which command goes on."""
    missing = [
        f"{row.shot} TK{row.take:02d} ({row.state.replace('_', ' ')}, intent {row.intent_id})"
        for row in report.rows
        if row.intent_id and row.state in {"held", "stalled", "in_doubt"}
    ]
    again = "then render again: nothing is bought anew."
    if missing:
        return f"Not stored yet: {', '.join(missing)}. See to the store, run `rushes collect`, {again}"
    return f"Every take that was bought is kept. See to the store, {again}"


def _delivered(production: Production, plan: Plan, report: RunReport, plan_document: dict[str, Any]) -> Delivered:
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
    reel = reel_apart([_part(report, row) for row in report.rows if not row.beside], folder / "reel.mp4")
    make_contact_sheet(report, folder / "contact.jpg")
    timelines = make_timelines(report, reel, folder)
    make_review(report, folder / "report.html", files=[path.name for path in folder.iterdir()])
    yield from (folder / "reel.mp4", folder / "contact.jpg", *timelines, folder / "report.html")


def _part(report: RunReport, row: Row) -> ReelPart:
    """The take, or what the slate in its place says."""
    title = f"{report.board}  {row.shot}"
    lines = (f"TK{row.take:02d}  {row.state.replace('_', ' ')}", row.note, row.prompt)
    return ReelPart(row.shot, row.take, row.seconds, row.clip, title, tuple(line for line in lines if line))
