"""The viewing reel: all takes of a run in the order of the board, with a slate where one is missing."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

from tasks.assemble.footage import Footage, Unjoinable, inspect
from tasks.assemble.splice import conform, splice
from tasks.errors import RushesError
from tasks.studio.render import render_slate_clip

__all__ = ["ReelInfo", "ReelPart", "Span", "make_reel"]

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
