"""The review page: stills beside takes, what each cost, what is open and who has to act, in one HTML file."""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from PIL import Image

from specs.money import Money
from tasks.assemble.charts import Bar, cost_bars, length_text, wait_bars
from tasks.assemble.page import data_url, link, render
from tasks.assemble.posters import jpeg, poster, still_picture
from tasks.assemble.timeline import media_path
from tasks.assemble.words import STATES, VERDICTS, Advice, advice
from tasks.rows import Row, RunReport, decimal_text, without_secrets

__all__ = ["EMBED_BYTES", "make_review"]

EMBED_BYTES = 30_000_000
"""Clips of a run that are no larger than this together are part of the page; larger ones are linked."""

_LONG_SIDE = 640
_FILES = {
    "reel.mp4": "Reel",
    "contact.jpg": "Contact sheet",
    "reel.otio": "OTIO",
    "reel.edl": "EDL",
    "reel.fcpxml": "FCPXML",
    "costs.csv": "Costs (CSV)",
    "costs.json": "Costs (JSON)",
    "costs.parquet": "Costs (Parquet)",
    "plan.json": "Plan",
}
_TILES = (
    ("quoted", "Quoted", "expected for what this run bought"),
    ("billed", "Billed", "spent"),
    ("reserved", "Reserved", "set aside for jobs not yet settled"),
    ("doubt", "In doubt", "set aside until a person has looked"),
)


@dataclass(frozen=True, slots=True)
class _Fact:
    label: str
    text: str
    href: str = ""
    wide: bool = False


@dataclass(frozen=True, slots=True)
class _Tile:
    key: str
    label: str
    usd: str
    others: tuple[str, ...]
    meaning: str


@dataclass(frozen=True, slots=True)
class _Shot:
    """What the template shows of one row."""

    row: Row
    anchor: str
    state: str
    tone: str
    facts: tuple[str, ...]
    note: str
    suspect: str
    still: str
    poster: str
    sources: tuple[str, ...]
    file: str
    open: Advice | None
    stake: str
    shape: str
    details: tuple[_Fact, ...]


@dataclass(frozen=True, slots=True)
class _Line:
    """A row of one of the two charts."""

    shot: _Shot
    bar: Bar
    quoted: str = ""
    billed: str = ""


def make_review(report: RunReport, out: Path, *, files: Sequence[str] = (), embed_bytes: int = EMBED_BYTES) -> None:
    """Write the page to `out`, whole or not at all. `files` are the names of the run's files that lie beside it.

    Clips are embedded while they are small together (`embed_bytes`), so that the page plays wherever it is sent; else
    it links to them by their place in the store.
    """
    clips = [row.clip for row in report.rows if row.clip]
    embed = sum(clip.stat().st_size for clip in clips) <= embed_bytes
    pictures = [poster(row) for row in report.rows]
    shots = [
        _shot(row, f"shot-{number}", picture, embed=embed)
        for number, (row, picture) in enumerate(zip(report.rows, pictures, strict=True), start=1)
    ]
    page = render(
        "review.html.j2",
        media="data:" if embed else "'self' file: https: http:",
        run=report,
        verdict=VERDICTS.get(report.exit_code, VERDICTS[1]),
        tally=_tally(report),
        started=_moment(report.started_at),
        finished=_moment(report.finished_at),
        took=length_text((report.finished_at - report.started_at).total_seconds()),
        seconds=sum(row.seconds for row in report.rows if not row.beside),
        files=[_Fact(_FILES[name], name, name) for name in _FILES if name in files],
        tiles=list(_tiles(report)),
        open=[shot for shot in shots if shot.open],
        warnings=[without_secrets(warning) for warning in report.notices],
        shots=shots,
        preload="metadata" if embed else "none",
        **_charts(report, shots),
    )
    draft = out.with_name(f".{out.name}")
    draft.write_bytes(page)
    draft.replace(out)


def _shot(row: Row, anchor: str, picture: Image.Image | None, *, embed: bool) -> _Shot:
    word = STATES[row.state]
    still = still_picture(row.still, _LONG_SIDE)
    stake = row.in_doubt or row.reserved or (row.billed if row.state == "held" else None)
    return _Shot(
        row=row,
        anchor=anchor,
        state=f"{word.label}, reused" if row.action == "reuse" and row.state == "stored" else word.label,
        tone=word.tone,
        facts=tuple(_facts(row)),
        note=without_secrets(row.note),
        suspect=without_secrets(row.suspect),
        still=data_url("image/jpeg", jpeg(still, _LONG_SIDE)) if still else "",
        poster=data_url("image/jpeg", jpeg(picture, _LONG_SIDE)) if picture else "",
        sources=tuple(_sources(row, embed=embed)),
        file=media_path(row) if row.state == "stored" else "",
        open=advice(row),
        stake=f"{stake} at stake" if stake else "",
        shape=_shape(picture or still),
        details=tuple(_details(row)),
    )


def _facts(row: Row) -> Iterator[str]:
    yield f"{row.seconds} s"
    yield row.mode
    yield "with sound" if row.audio else "silent"
    yield row.provider
    yield row.action


def _sources(row: Row, *, embed: bool) -> Iterator[str]:
    if row.clip is None:
        return
    if embed:
        yield data_url("video/mp4", row.clip.read_bytes())
        return
    yield media_path(row)
    if address := link(row.uri):
        yield address


def _details(row: Row) -> Iterator[_Fact]:
    """Money first, then what identifies the job and the file."""
    named = (("Quoted", row.quoted), ("Billed", row.billed), ("Reserved", row.reserved), ("In doubt", row.in_doubt))
    for label, money in named:
        if money is not None or label in {"Quoted", "Billed"}:
            yield _Fact(label, str(money) if money else "none")
    if row.submitted_at:
        yield _Fact("Submitted", _moment(row.submitted_at))
    if row.wait_s is not None:
        yield _Fact("Waited", length_text(row.wait_s))
    longer = (("Model", row.model), ("Job", row.job_id), ("Intent", row.intent_id), ("SHA-256", row.sha256))
    for label, text in longer:
        if text:
            yield _Fact(label, text, wide=True)
    if row.uri:
        yield _Fact("Stored at", without_secrets(row.uri), link(row.uri), wide=True)


def _tiles(report: RunReport) -> Iterator[_Tile]:
    for key, label, meaning in _TILES:
        name = "in_doubt" if key == "doubt" else key
        usd: Decimal = getattr(report.totals, f"{name}_usd")
        amounts = {unit: getattr(sums, name) for unit, sums in report.totals.by_unit.items() if unit != "USD"}
        others = tuple(f"{amount.normalize():f} {unit}" for unit, amount in amounts.items() if amount)
        yield _Tile(key, label, decimal_text(usd) or "", others, meaning)


def _tally(report: RunReport) -> str:
    counts = {state: sum(row.state == state for row in report.rows) for state in STATES}
    return ", ".join(f"{count} {STATES[state].label}" for state, count in counts.items() if count) or "No shots."


def _charts(report: RunReport, shots: Sequence[_Shot]) -> dict[str, Any]:
    waits, span = wait_bars(report.rows, report.finished_at)
    units = sorted({row.unit for row in report.rows if row.unit})
    unit = units[0] if len(units) == 1 else ""
    quoted = _column([row.quoted for row in report.rows], unit)
    billed = _column([row.billed for row in report.rows], unit)
    bars = cost_bars(report.rows)
    return {
        "costs": [_Line(*facts) for facts in zip(shots, bars, quoted, billed, strict=True)],
        "waits": [_Line(shot, bar) for shot, bar in zip(shots, waits, strict=True)],
        "unit": unit,
        "axis": ("0 s", length_text(span)),
    }


def _column(amounts: Sequence[Money | None], unit: str) -> list[str]:
    """Amounts of one unit with equally many places, so that they can be compared; with their units where these differ."""
    if not unit:
        return [str(money or "") for money in amounts]
    places = max((len(money.text.partition(".")[2]) for money in amounts if money), default=0)
    return [f"{money.amount:.{places}f}" if money else "" for money in amounts]


def _moment(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%S")


def _shape(picture: Image.Image | None) -> str:
    """The class of the frames that hold a shot's still and take."""
    if picture is None:
        return "wide"
    shape = picture.height / picture.width
    return "wide" if shape < 0.7 else "square" if shape < 1.15 else "tall"
