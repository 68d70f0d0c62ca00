"""Rows and reports for the tests of everything that is made from a finished run."""

import datetime as dt
from pathlib import Path
from typing import Any

from specs.money import Money
from tasks.report import Row, RunReport, totals

START = dt.datetime(2026, 3, 1, 9, 30, tzinfo=dt.UTC)


def row(shot: str = "SH010", **facts: Any) -> Row:
    """A stored five-second ShortAPI take of one shot, but for the facts given."""
    usual: dict[str, Any] = {
        "run_id": "01JNR0000000000000000000AA",
        "board": "LIFTOFF",
        "take": 1,
        "provider": "shortapi",
        "model": "kwaivgi/kling-3.0/image-to-video",
        "mode": "std",
        "audio": False,
        "seconds": 5,
        "action": "create",
        "state": "stored",
        "quoted": Money.of("0.42"),
        "billed": Money.of("0.42"),
        "job_id": f"job-{shot}",
        "submitted_at": START,
        "finished_at": START + dt.timedelta(seconds=95.25),
        "wait_s": 95.25,
        "sha256": "ab" * 32,
        "uri": f"s3://dailies/LIFTOFF/shots/{shot}/{shot}_TK01.mp4",
        "prompt": "Slow push in as the engines light",
    }
    return Row(shot=shot, **(usual | facts))


def report(*rows: Row, **facts: Any) -> RunReport:
    """A run of these rows."""
    usual: dict[str, Any] = {
        "run_id": "01JNR0000000000000000000AA",
        "board": "LIFTOFF",
        "title": "Liftoff",
        "digest": "5f0c" * 16,
        "exit_code": 0,
        "started_at": START,
        "finished_at": START + dt.timedelta(seconds=120),
        "totals": totals(rows),
        "store_uri": "s3://dailies",
        "providers": ("shortapi",),
    }
    return RunReport(rows=rows, **(usual | facts))


def missing(shot: str = "SH020", **facts: Any) -> Row:
    """A shot that failed before it was billed."""
    gone: dict[str, Any] = {"state": "failed", "billed": None, "sha256": "", "uri": "", "clip": None}
    return row(shot, **(gone | facts))


def clip_row(shot: str, clip: Path, **facts: Any) -> Row:
    """A stored shot with a local copy of its clip."""
    return row(shot, clip=clip, **facts)
