"""The viewing reel: all takes of a run in the order of the board, with a slate where one is missing."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tasks.assemble.footage import Footage, Unjoinable, inspect
from tasks.assemble.splice import conform, splice
from tasks.errors import RushesError
from tasks.studio.apart import Bounds, now_apart
from tasks.studio.errors import ClipUnreadable
from tasks.studio.render import render_slate_clip

__all__ = ["ReelInfo", "ReelPart", "Span", "make_reel", "reel_apart"]

_SIZE = (1280, 720)


@dataclass(frozen=True, slots=True)
class ReelPart:
    """One place in the reel. Without a `path` a slate of `seconds` stands in, showing `title` and `lines`."""

    shot: str
    take: int
    seconds: int
    path: Path | None = None
    title: str = ""
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Span:
    """Where a shot lies in the reel, in frames; `slate` says that its clip is missing or cannot be read."""

    shot: str
    take: int
    start: int
    frames: int
    slate: bool
    audio: bool


@dataclass(frozen=True, slots=True)
class ReelInfo:
    """The finished reel. `copied` counts the parts whose pictures are the takes' own, not encoded again."""

    path: Path
    width: int
    height: int
    fps: Fraction
    frames: int
    audio: bool
    copied: int
    spans: tuple[Span, ...]

    @property
    def seconds(self) -> Fraction:
        """The length, exact."""
        return self.frames / self.fps


def make_reel(clips: Sequence[ReelPart], out: Path) -> ReelInfo:
    """Join at least one part into an MP4 at `out`, as long as its parts together; whole or not there.

    Clips that agree are copied, others are encoded again at the commonest size and 24 fps. A clip counts with the
    length that it has, which may differ from the one ordered.

    Raises:
        RushesError: when the file written is not as long as its parts.
    """
    with TemporaryDirectory(dir=out.parent, prefix=".reel-") as folder:
        room = Path(folder)
        found = [_found(part) for part in clips]
        size = _commonest_size([footage for footage in found if footage])
        sources = [
            footage or _slate(part, size, room / f"slate-{number}.mp4")
            for number, (part, footage) in enumerate(zip(clips, found, strict=True))
        ]
        pictures = _agreeing(sources, size, room)
        draft = room / "reel.mp4"
        splice(pictures, sources, draft)
        written = inspect(draft)
        if written.frames != sum(picture.frames for picture in pictures):
            raise RushesError(f"{out.name} has {written.frames} frames, its parts have others")
        draft.replace(out)
    return ReelInfo(
        path=out,
        width=size[0],
        height=size[1],
        fps=written.fps,
        frames=written.frames,
        audio=any(source.audio for source in sources),
        copied=sum(
            footage is not None and footage is picture for footage, picture in zip(found, pictures, strict=True)
        ),
        spans=tuple(_spans(clips, found, pictures)),
    )


def reel_apart(parts: Sequence[ReelPart], out: Path) -> ReelInfo:
    """`make_reel` of bought clips, where their decoders can take nobody along.

    A clip over which a decoder dies gets a slate; where that cannot be told, all of them do: the takes are stored anyhow.

    Raises:
        RushesError, OSError: as `make_reel`.
    """
    try:
        return _reel_apart(parts, out)
    except ClipUnreadable:
        readable = [part if _plays(part) else replace(part, path=None) for part in parts]
    try:
        return _reel_apart(readable, out)
    except ClipUnreadable:
        return make_reel([replace(part, path=None) for part in parts], out)


def _plays(part: ReelPart) -> bool:
    try:
        return part.path is None or bool(now_apart("tasks.studio.probe:probe_facts", part.path, path=str(part.path)))
    except ClipUnreadable:
        return False


def _reel_apart(parts: Sequence[ReelPart], out: Path) -> ReelInfo:
    facts = [{**asdict(part), "path": str(part.path) if part.path else None} for part in parts]
    bounds = Bounds(cpu=600 + 60 * len(parts), wall=900.0 + 90 * len(parts), file=8 << 30)
    made = now_apart("tasks.assemble.reel:reel_facts", out, bounds=bounds, parts=facts, out=str(out))
    spans = tuple(Span(**span) for span in made["spans"])
    return ReelInfo(**{**made, "path": Path(made["path"]), "fps": Fraction(made["fps"]), "spans": spans})


def reel_facts(parts: Sequence[dict[str, Any]], out: str) -> dict[str, Any]:
    """`make_reel` for a process apart: everything in JSON."""
    clips = [
        ReelPart(**{**part, "path": Path(part["path"]) if part["path"] else None, "lines": tuple(part["lines"])})
        for part in parts
    ]
    made = asdict(make_reel(clips, Path(out)))
    return {**made, "path": str(made["path"]), "fps": str(made["fps"])}


def _found(part: ReelPart) -> Footage | None:
    try:
        return inspect(part.path) if part.path else None
    except Unjoinable:
        # The slate in its place shows that something is wrong; the take itself was judged when it was stored.
        return None


def _commonest_size(footage: Sequence[Footage]) -> tuple[int, int]:
    """The size of most clips, the larger one of equals; H.264 in 4:2:0 needs even sides."""
    sizes = Counter((clip.width // 2 * 2, clip.height // 2 * 2) for clip in footage)
    return max(sizes, key=lambda size: (sizes[size], size[0] * size[1]), default=_SIZE)


def _slate(part: ReelPart, size: tuple[int, int], out: Path) -> Footage:
    title, lines = part.title or part.shot, part.lines
    render_slate_clip(out, width=size[0], height=size[1], seconds=part.seconds, title=title, lines=lines, audio=False)
    return inspect(out)


def _agreeing(sources: Sequence[Footage], size: tuple[int, int], room: Path) -> list[Footage]:
    """Pictures of one signature: only clips that cannot be copied are encoded again, all of them when still none agree."""
    fitting = [source.even and (source.width, source.height) == size for source in sources]
    pictures = [
        source if fits else _conformed(source, size, room / f"part-{number}.mp4")
        for number, (source, fits) in enumerate(zip(sources, fitting, strict=True))
    ]
    if len({picture.signature for picture in pictures}) == 1 and pictures[0].signature[0] == "h264":
        return pictures
    return [
        _conformed(source, size, room / f"part-{number}.mp4") if fits else picture
        for number, (source, picture, fits) in enumerate(zip(sources, pictures, fitting, strict=True))
    ]


def _conformed(source: Footage, size: tuple[int, int], out: Path) -> Footage:
    conform(source, size, out)
    return inspect(out)


def _spans(clips: Sequence[ReelPart], found: Sequence[Footage | None], pictures: Sequence[Footage]) -> Iterator[Span]:
    start = 0
    for part, footage, picture in zip(clips, found, pictures, strict=True):
        yield Span(
            part.shot, part.take, start, picture.frames, slate=footage is None, audio=bool(footage and footage.audio)
        )
        start += picture.frames
