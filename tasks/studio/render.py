"""Rendering an animatic: each beat's camera move over the still, the end still dissolving in, the slate over it all."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import av
from PIL import Image

from tasks.studio.encode import FPS, write_clip
from tasks.studio.errors import RenderCancelled
from tasks.studio.frames import Planes, Plate
from tasks.studio.moves import Framing, Move, ease, plan_move
from tasks.studio.slate import Strip, card
from tasks.studio.stills import frame_size, open_still

__all__ = ["Animatic", "Beat", "render_animatic", "render_slate_clip"]

# Two painters keep one encoder busy; a few frames ahead is enough, and all that is held in memory.
_PAINTERS, _AHEAD = 2, 6
_DISSOLVE_SHARE, _DISSOLVE_LEAST, _END_REST = 0.4, 1.0, 0.25
_END_SETTLES = Framing(0.5, 0.5, 1.05), Framing(0.5, 0.5, 1.0)


@dataclass(frozen=True)
class Beat:
    """One continuous camera move; a shot without cuts has one. `seconds` is a whole number."""

    prompt: str
    seconds: int


@dataclass(frozen=True)
class Animatic:
    """Everything that the picture depends on: equal animatics over equal stills give equal bytes."""

    shot: str
    take: int
    board: str
    still: Path
    end_still: Path | None
    beats: tuple[Beat, ...]
    audio: bool
    long_side: int = 1280


def render_animatic(
    order: Animatic,
    out: Path,
    progress: Callable[[float], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> None:
    """Film the still and write an MP4 of exactly 24 frames per second ordered.

    `progress` hears the share done, rising to 1.0, once per second of film. Raises StillUnreadable for a bad still,
    RenderCancelled when `cancelled` answers yes; after any error nothing is left at `out`.
    """
    scene = _Scene(order)

    def watched() -> Iterator[av.VideoFrame]:
        for number, frame in enumerate(_painted(scene.frame, scene.length)):
            if number % FPS == 0 and cancelled is not None and cancelled():
                raise RenderCancelled(out, "stopped by request")
            yield frame
            if progress is not None and (number + 1) % FPS == 0:
                progress((number + 1) / scene.length)

    _written(out, scene.size, watched(), scene.length / FPS if order.audio else None)


def render_slate_clip(
    out: Path, *, width: int, height: int, seconds: float, title: str, lines: Sequence[str], audio: bool
) -> None:
    """Write a card with a title and lines as a clip, encoded like an animatic so that both join without re-encoding.

    Sides are pixels and even; the length is rounded to whole frames.
    """
    picture, count = Planes.of(card((width, height), title, lines)), max(1, round(seconds * FPS))
    frames = (picture.video_frame(number) for number in range(count))
    _written(out, (width, height), frames, count / FPS if audio else None)


@dataclass(frozen=True)
class _Take:
    """One beat, ready to be filmed."""

    first: int
    length: int
    move: Move
    plate: Plate
    strip: Strip

    def picture(self, number: int) -> Planes:
        since = number - self.first
        return self.plate.shot(self.move.at(since / max(1, self.length - 1), since / FPS))


class _Scene:
    """An order with its stills opened, scaled and lettered; `frame` may be called from any thread."""

    def __init__(self, order: Animatic) -> None:
        still = open_still(order.still, long_side=order.long_side)
        self.size = frame_size(still, order.long_side)
        self.length = FPS * sum(beat.seconds for beat in order.beats)
        self._takes: list[_Take] = []
        first = 0
        for place, beat in enumerate(order.beats):
            move = plan_move(beat.prompt, beat.seconds, place)
            plate = Plate(still, self.size, move.tightest)
            strip = Strip(self.size, board=order.board, shot=order.shot, take=order.take, prompt=beat.prompt)
            self._takes.append(_Take(first, FPS * beat.seconds, move, plate, strip))
            first += FPS * beat.seconds
        self._end: _Dissolve | None = None
        if order.end_still is not None:
            end = open_still(order.end_still, long_side=order.long_side)
            self._end = _Dissolve(end, self.size, self.length, order.beats[-1].seconds)

    def frame(self, number: int) -> av.VideoFrame:
        take = next(take for take in reversed(self._takes) if take.first <= number)
        picture = take.picture(number)
        if self._end is not None:
            picture = self._end.over(picture, number)
        take.strip.stamp(picture, number)
        return picture.video_frame(number)


class _Dissolve:
    """The end still coming in over the last 40 % of the last beat (at least a second), fully there for its last 0.25 s.

    It settles back to its whole frame meanwhile, so that a moving picture does not dissolve into a dead one.
    """

    def __init__(self, still: Image.Image, size: tuple[int, int], length: int, last: int) -> None:
        self._start = length - min(round(FPS * max(_DISSOLVE_LEAST, _DISSOLVE_SHARE * last)), FPS * last)
        self._full = length - round(FPS * _END_REST)
        start, end = _END_SETTLES
        self._move = Move(start=start, end=end)
        self._plate = Plate(still, size, start.zoom)

    def over(self, picture: Planes, number: int) -> Planes:
        share = (number - self._start + 1) / (self._full - self._start)
        if share <= 0:
            return picture
        arriving = self._plate.shot(self._move.at(min(share, 1.0), 0))
        return picture.mixed(arriving, ease(share)) if share < 1 else arriving


def _painted(paint: Callable[[int], av.VideoFrame], count: int) -> Iterator[av.VideoFrame]:
    """Frames in order, painted by threads while the caller encodes (Pillow and x264 both let go of the lock)."""
    with ThreadPoolExecutor(_PAINTERS, thread_name_prefix="painter") as painters:
        ahead: deque[Future[av.VideoFrame]] = deque()
        try:
            for number in range(count):
                ahead.append(painters.submit(paint, number))
                if len(ahead) == _AHEAD:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            painters.shutdown(wait=True, cancel_futures=True)


def _written(out: Path, size: tuple[int, int], frames: Iterator[av.VideoFrame], sound_seconds: float | None) -> None:
    try:
        write_clip(out, size, frames, sound_seconds)
    except BaseException:
        out.unlink(missing_ok=True)
        raise
