"""The reel as an editor opens it: OTIO, EDL (CMX 3600) and FCPXML (Final Cut Pro, Resolve).

Media are named by their place in the store, relative to the run's folder, so that a copy of the store opens anywhere.
XMEML (Final Cut Pro 7, Premiere) is not written: it knows absolute addresses only.
"""

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import opentimelineio as otio
from opentimelineio.schema import Clip, ExternalReference, Gap, Marker, Timeline, Track

from tasks.assemble.reel import ReelInfo, Span
from tasks.rows import Row, RunReport, without_secrets

__all__ = ["build_timeline", "make_timelines", "media_path"]

_LINE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]+")
_GAP_START = "3600s"


def media_path(row: Row) -> str:
    """The take's address as seen from the folder of a run, the same in every store."""
    return f"../../shots/{row.shot}/{row.filename}"


def make_timelines(report: RunReport, reel: ReelInfo, folder: Path) -> tuple[Path, ...]:
    """Write reel.otio, reel.edl and reel.fcpxml; they cut where the reel cuts, to the frame."""
    timeline = build_timeline(report, reel)
    texts = {
        "reel.otio": otio.adapters.write_to_string(timeline, "otio_json"),
        "reel.edl": otio.adapters.write_to_string(_pictures_only(timeline), "cmx_3600", rate=float(reel.fps)),
        "reel.fcpxml": _fcpxml(timeline, reel),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    return tuple(folder / name for name in texts)


def build_timeline(report: RunReport, reel: ReelInfo) -> Timeline:
    """One clip for each shot, a gap for each missing one; a second track carries the sound of the takes that have it."""
    rows = {(row.shot, row.take): row for row in report.rows if not row.beside}
    facts = {"run_id": report.run_id, "board": report.board, "digest": report.digest}
    timeline = Timeline(name=_line(report.title), metadata={"rushes": facts})
    reels = _reel_names([rows[span.shot, span.take] for span in reel.spans])
    pictures, sounds = Track("V1", kind=otio.schema.TrackKind.Video), Track("A1", kind=otio.schema.TrackKind.Audio)
    for span, name in zip(reel.spans, reels, strict=True):
        row = rows[span.shot, span.take]
        pictures.append(_gap(row, span, reel.fps) if span.slate else _clip(row, span, reel.fps, name, marked=True))
        sounds.append(_clip(row, span, reel.fps, name) if span.audio else Gap(source_range=_range(span, reel.fps)))
    timeline.tracks.append(pictures)
    if reel.audio:
        timeline.tracks.append(sounds)
    return timeline


def _clip(row: Row, span: Span, fps: Fraction, reel: str, *, marked: bool = False) -> Clip:
    media = ExternalReference(target_url=media_path(row), available_range=_range(span, fps), metadata=_facts(row))
    comments = [f"{word}: {_ascii(text)}" for word, text in _remarks(row)]
    clip = Clip(
        name=f"{row.shot}_TK{row.take:02d}",
        media_reference=media,
        source_range=_range(span, fps),
        metadata=_facts(row) | {"cmx_3600": {"reel": reel, "comments": comments}},
    )
    if marked:
        clip.markers.extend(_markers(row, fps))
    return clip


def _gap(row: Row, span: Span, fps: Fraction) -> Gap:
    gap = Gap(name=f"{row.shot} {row.state}", source_range=_range(span, fps), metadata=_facts(row))
    words = f"{row.shot} is missing: {row.state.replace('_', ' ')}"
    gap.markers.append(Marker(name=words, marked_range=_first_frame(fps), color=otio.schema.MarkerColor.RED))
    return gap


def _markers(row: Row, fps: Fraction) -> Iterator[Marker]:
    yield Marker(name=_line(row.prompt), marked_range=_first_frame(fps), color=otio.schema.MarkerColor.GREEN)
    if row.suspect:
        words = f"suspect: {_line(row.suspect)}"
        yield Marker(name=words, marked_range=_first_frame(fps), color=otio.schema.MarkerColor.RED)


def _remarks(row: Row) -> Iterator[tuple[str, str]]:
    yield "PROMPT", row.prompt
    yield "TAKE", f"{row.take} {row.provider}"
    if row.suspect:
        yield "SUSPECT", row.suspect


def _facts(row: Row) -> dict[str, Any]:
    facts = {
        "shot": row.shot,
        "take": row.take,
        "state": row.state,
        "prompt": _line(row.prompt),
        "provider": row.provider,
        "model": row.model,
        "mode": row.mode,
        "job_id": row.job_id,
        "sha256": row.sha256,
        "uri": without_secrets(row.uri),
        "suspect": _line(row.suspect),
    }
    return {"rushes": {name: fact for name, fact in facts.items() if fact}}


def _range(span: Span, fps: Fraction) -> otio.opentime.TimeRange:
    return otio.opentime.TimeRange(
        otio.opentime.RationalTime(0, float(fps)), otio.opentime.RationalTime(span.frames, float(fps))
    )


def _first_frame(fps: Fraction) -> otio.opentime.TimeRange:
    return otio.opentime.TimeRange(otio.opentime.RationalTime(0, float(fps)), otio.opentime.RationalTime(1, float(fps)))


def _line(text: str) -> str:
    """One line that XML can hold: a line break in a prompt must not begin a new event of an EDL."""
    return " ".join(_LINE.sub(" ", without_secrets(text)).split())


def _ascii(text: str) -> str:
    return _line(text).encode("ascii", "replace").decode()


def _reel_names(rows: Sequence[Row]) -> list[str]:
    """CMX 3600 reel names: at most eight capitals and digits, each take its own; a number where the name is too long."""
    names: list[str] = []
    for number, row in enumerate(rows, start=1):
        name = re.sub(r"[^A-Z0-9]", "", row.shot.upper()) + f"T{row.take:02d}"
        names.append(name if len(name) <= 8 and name not in names else f"R{number:07d}")
    return names


def _pictures_only(timeline: Timeline) -> Timeline:
    """A copy without sound and in ASCII: an EDL has one track, and its readers know no other characters."""
    copy = timeline.clone()
    copy.name = _ascii(copy.name)[:70]
    del copy.tracks[1:]
    for item in copy.tracks[0]:
        for marker in item.markers:
            marker.name = _ascii(marker.name)
    return copy


def _fcpxml(timeline: Timeline, reel: ReelInfo) -> str:
    """The adapter's FCPXML, mended: frame size, one asset clip a take, no empty project id, markers inside of gaps."""
    text = otio.adapters.write_to_string(timeline.clone(), "fcpx_xml")
    # The text was just made from our own values; nothing of strangers is parsed.
    root = ET.fromstring(re.sub(r"<!DOCTYPE fcpxml>\s*", "", text).encode())  # noqa: S314
    for clip in _repeated(root.findall("asset-clip")):
        root.remove(clip)
    for project in root.iter("project"):
        project.attrib.pop("uid", None)
    for shape in root.iter("format"):
        step = f"{reel.fps.denominator * 100}/{reel.fps.numerator * 100}s"
        shape.attrib.pop("name", None)
        shape.attrib |= {"frameDuration": step, "width": str(reel.width), "height": str(reel.height)}
    for gap in root.iter("gap"):
        for marker in gap.findall("marker"):
            marker.set("start", _GAP_START)
    ET.indent(root)
    body = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE fcpxml>\n{body}\n'


def _repeated(clips: Sequence[ET.Element]) -> Iterator[ET.Element]:
    seen: set[str | None] = set()
    for clip in clips:
        if clip.get("ref") in seen:
            yield clip
        seen.add(clip.get("ref"))
