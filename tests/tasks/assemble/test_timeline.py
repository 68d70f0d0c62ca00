"""Timelines cut where the reel cuts, open without us, and say what each take is."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import av
import opentimelineio as otio
import pytest

from tasks.assemble.reel import ReelInfo, ReelPart, make_reel
from tasks.assemble.timeline import make_timelines
from tasks.report import Row
from tests.tasks.assemble.clips import foreign_clip, studio_clip
from tests.tasks.reports import missing, report, row

NASTY = "Pan across, then\n003  EVIL V C 00:00:00:00\u2028<end> & \x07 caf\u00e9"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ReelInfo]:
    """A run folder in its store: three takes (one suspect, one with a long name, one of another make) and a gap."""
    board = tmp_path_factory.mktemp("store") / "LIFTOFF"
    folder = board / "runs" / "R1"
    folder.mkdir(parents=True)

    def place(shot: str) -> Path:
        path = board / "shots" / shot / f"{shot}_TK01.mp4"
        path.parent.mkdir(parents=True)
        return path

    rows: list[Row] = [
        row(
            "SH010", clip=studio_clip(place("SH010"), seconds=3, audio=True), uri="https://x.example/a.mp4?s=TOPSECRET"
        ),
        row("SQ010_SH020", clip=studio_clip(place("SQ010_SH020"), seconds=4), prompt=NASTY, suspect="4 s, not 5 s"),
        missing("SH030"),
        row("SH040", clip=foreign_clip(place("SH040"), frames=60, fps=30)),
    ]
    parts = [ReelPart(item.shot, item.take, item.seconds, item.clip, item.shot, (item.state,)) for item in rows]
    reel = make_reel(parts, folder / "reel.mp4")
    make_timelines(report(*rows, title="Liftoff\nTITLE: other"), reel, folder)
    return folder, reel


def read(path: Path) -> otio.schema.Timeline:
    """The timeline as another program's reader sees it."""
    found = otio.adapters.read_from_file(str(path), **({"rate": 24} if path.suffix == ".edl" else {}))
    if isinstance(found, otio.schema.Timeline):
        return found
    return next(item for item in found if isinstance(item, otio.schema.Timeline))


def pictures(timeline: otio.schema.Timeline) -> Iterator[tuple[str, int, str | None]]:
    """Kind, frames and media of each item of the picture track."""
    for item in timeline.video_tracks()[0]:
        media = item.media_reference.target_url if isinstance(item, otio.schema.Clip) else None
        yield item.schema_name(), item.duration().to_frames(), media


FORMATS = pytest.mark.parametrize("name", ["reel.otio", "reel.edl", "reel.fcpxml"])


@FORMATS
def test_what_is_read_back_cuts_where_the_reel_cuts(run: tuple[Path, ReelInfo], name: str) -> None:
    """Every format gives the same clips, gaps and frames, and media beside the run's folder."""
    folder, reel = run
    items = list(pictures(read(folder / name)))

    assert items == [
        ("Clip", 72, "../../shots/SH010/SH010_TK01.mp4"),
        ("Clip", 96, "../../shots/SQ010_SH020/SQ010_SH020_TK01.mp4"),
        ("Gap", 120, None),
        ("Clip", 48, "../../shots/SH040/SH040_TK01.mp4"),
    ]
    assert [frames for _, frames, _ in items] == [span.frames for span in reel.spans]
    assert all((folder / media).is_file() for _, _, media in items if media)


@FORMATS
def test_S09_no_signature_reaches_a_timeline(run: tuple[Path, ReelInfo], name: str) -> None:
    """Timelines are sent to other houses; what signs a URL stays here."""
    assert "TOPSECRET" not in (run[0] / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["reel.otio", "reel.fcpxml"])
def test_the_sound_of_takes_that_have_it_lies_under_their_pictures(run: tuple[Path, ReelInfo], name: str) -> None:
    """Silent takes and gaps leave the track of sound empty."""
    track = read(run[0] / name).audio_tracks()[0]
    starts = [track.range_of_child(item).start_time.to_frames() for item in track if isinstance(item, otio.schema.Clip)]

    assert starts == [0, 288]


def test_a_clip_says_what_it_is(run: tuple[Path, ReelInfo]) -> None:
    """Prompt, identity and doubt travel with the clip, as metadata and as markers."""
    clip = read(run[0] / "reel.otio").video_tracks()[0][1]

    assert clip.metadata["rushes"]["sha256"] == "ab" * 32
    assert clip.metadata["rushes"]["suspect"] == "4 s, not 5 s"
    assert [marker.name for marker in clip.markers] == [
        "Pan across, then 003 EVIL V C 00:00:00:00 <end> & caf\u00e9",
        "suspect: 4 s, not 5 s",
    ]


def test_a_missing_shot_is_named_at_its_gap(run: tuple[Path, ReelInfo]) -> None:
    """An editor sees what will come there."""
    gap = read(run[0] / "reel.otio").video_tracks()[0][2]

    assert [marker.name for marker in gap.markers] == ["SH030 is missing: failed"]


def test_the_edl_keeps_to_cmx_3600(run: tuple[Path, ReelInfo]) -> None:
    """Reel names of at most eight capitals and digits, each its own; ASCII; a line break in a prompt makes no event."""
    text = (run[0] / "reel.edl").read_bytes().decode("ascii")
    events = re.findall(r"(?m)^(\d{3})  (\S+) +V +C ", text)

    assert events == [("001", "SH010T01"), ("002", "R0000002"), ("003", "SH040T01")]
    assert len(re.findall(r"(?m)^TITLE:", text)) == 1
    assert "* SUSPECT: 4 s, not 5 s" in text


def test_equal_runs_give_equal_timelines(run: tuple[Path, ReelInfo], tmp_path: Path) -> None:
    """Nothing of the clock, the machine or the folder is written."""
    reel = run[1]
    rows = [row(span.shot) for span in reel.spans]
    first, second = tmp_path / "a", tmp_path / "b"
    for place in (first, second):
        place.mkdir()
        make_timelines(report(*rows), reel, place)

    assert [path.read_bytes() for path in sorted(first.iterdir())] == [
        path.read_bytes() for path in sorted(second.iterdir())
    ]


@pytest.mark.melt
@pytest.mark.skipif(shutil.which("melt") is None, reason="needs Debian's melt")
@FORMATS
def test_melt_plays_each_timeline_to_the_reels_length(run: tuple[Path, ReelInfo], tmp_path: Path, name: str) -> None:
    """An independent player finds the media, shows black for the gap, and ends with the reel."""
    pytest.importorskip("otio_mlt_adapter")
    folder, reel = run
    script = folder / f"{name}.mlt"
    otio.adapters.write_to_file(read(folder / name), str(script), "mlt_xml")
    played = tmp_path / "played.mp4"
    consumer = f"avformat:{played}"
    options = ["vcodec=libx264", "preset=ultrafast", "real_time=-1", "an=1", "width=320", "height=180"]
    command = ["melt", script.name, "-profile", "atsc_720p_24", "-consumer", consumer, *options]
    subprocess.run(
        command,
        cwd=folder,
        check=True,
        capture_output=True,
        timeout=120,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    with av.open(str(played)) as container:
        shades = [float(frame.to_ndarray(format="gray").std()) for frame in container.decode(video=0)]

    assert len(shades) == reel.frames
    assert shades[36] > 2
    assert shades[200] < 1
