"""Camera moves: from the words of a prompt to an eased path of the frame over the still.

Coordinates are shares of the still: x and y of the frame's centre in 0..1, and `zoom`, where 1 shows the whole still.
"""

import math
import re
from dataclasses import dataclass

__all__ = ["Framing", "Move", "ease", "plan_move"]


@dataclass(frozen=True, slots=True)
class Framing:
    """Where the camera looks."""

    x: float
    y: float
    zoom: float

    def box(self, width: int, height: int) -> tuple[float, float, float, float]:
        """Left, top, right, bottom in pixels of a picture of that size; never outside of it."""
        half = 0.5 / self.zoom
        x, y = _inside(self.x, half), _inside(self.y, half)
        left, top = max(0.0, (x - half) * width), max(0.0, (y - half) * height)
        return left, top, min(width, (x + half) * width), min(height, (y + half) * height)


@dataclass(frozen=True, slots=True)
class Move:
    """One continuous camera move; `arc` bows the path, `sway` adds a hand's unrest, both as shares of the frame."""

    start: Framing
    end: Framing
    arc: float = 0.0
    sway: float = 0.0

    @property
    def tightest(self) -> float:
        """The largest zoom on the way."""
        return max(self.start.zoom, self.end.zoom)

    def at(self, progress: float, second: float) -> Framing:
        """The framing after `progress` (0..1) of the move, `second` seconds after its start."""
        share = ease(progress)
        zoom = self.start.zoom * (self.end.zoom / self.start.zoom) ** share
        bow = self.arc * math.sin(math.pi * share)
        unrest_x, unrest_y = (self.sway * value for value in _unrest(second)) if self.sway else (0.0, 0.0)
        return Framing(
            x=_between(self.start.x, self.end.x, share) + unrest_x,
            y=_between(self.start.y, self.end.y, share) + bow + unrest_y,
            zoom=zoom,
        )


_RAMP = 0.3


def ease(progress: float) -> float:
    """Share of the way after that share of the time: speed swells over the first 30 %, is even, and ebbs away."""
    if progress > 0.5:
        return 1.0 - ease(1.0 - progress)
    even = 1.0 / (1.0 - _RAMP)
    if progress >= _RAMP:
        return even * (progress - _RAMP / 2)
    return even / 2 * (progress - _RAMP / math.pi * math.sin(math.pi * progress / _RAMP))


def _between(start: float, end: float, share: float) -> float:
    return start + (end - start) * share


def _inside(centre: float, half: float) -> float:
    return min(max(centre, half), 1.0 - half)


def _unrest(second: float) -> tuple[float, float]:
    """A hand's sway within -1..1: three slow waves per axis, nothing above 0.7 Hz, so it floats instead of shaking."""
    waves_x = ((0.55, 0.17, 0.0), (0.30, 0.37, 1.9), (0.15, 0.67, 4.1))
    waves_y = ((0.55, 0.21, 2.6), (0.30, 0.43, 0.7), (0.15, 0.61, 3.3))
    x, y = (
        sum(weight * math.sin(2 * math.pi * hertz * second + phase) for weight, hertz, phase in waves)
        for waves in (waves_x, waves_y)
    )
    return x, y


@dataclass(frozen=True, slots=True)
class _Way:
    """A direction: x to the right, y downwards, z into the picture, each in -1..1; `arc` and `sway` as yes or no."""

    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    arc: bool = False
    sway: bool = False


_IN, _OUT = _Way(z=1), _Way(z=-1)
_LEFT, _RIGHT, _UP, _DOWN = _Way(x=-1), _Way(x=1), _Way(y=-1), _Way(y=1)
_ORBIT = _Way(x=0.8, z=0.5, arc=True)
_DEPTH = dict.fromkeys(("in", "into", "toward", "towards", "forward", "forwards", "closer", "through"), _IN) | (
    dict.fromkeys(("out", "back", "away", "backward", "backwards", "wider"), _OUT)
)
_SIDES = {"left": _LEFT, "leftward": _LEFT, "leftwards": _LEFT, "right": _RIGHT, "rightward": _RIGHT}
_HEIGHT = dict.fromkeys(("up", "upward", "upwards"), _UP) | dict.fromkeys(("down", "downward", "downwards"), _DOWN)
_ANY = _DEPTH | _SIDES | _HEIGHT
_DRIFTS = {word: _Way(way.x * 0.5, way.y * 0.5) for word, way in (_SIDES | _HEIGHT).items()}
_ORBITS = {word: _Way(way.x * 0.8, 0, 0.5, arc=True) for word, way in _SIDES.items()}

# Verb, directions that may stand near it, and what the verb means without one (None: then it is no camera word).
_WORDS: tuple[tuple[str, dict[str, _Way], _Way | None], ...] = (
    (r"hold(?!\s+(?:a|an|his|her|their|its|hands?|up|onto)\b)|static|stationary|locked|tripod|freeze", {}, _Way()),
    (r"hand-?\s?held|shoulder-?\s?cam|shaky", {}, _Way(sway=True)),
    (r"push(?:es|ing)?", _DEPTH, _IN),
    (r"pull(?:s|ing)?", _DEPTH | _SIDES, None),
    (r"zoom(?:s|ing)?", _DEPTH, _IN),
    (r"dolly(?:ing)?|dollies", _DEPTH | _SIDES, _IN),
    (r"pan(?:s|ning)?", _SIDES | _HEIGHT, _RIGHT),
    (r"tilt(?:s|ing)?", _HEIGHT | _SIDES, _UP),
    (r"orbit(?:s|ing)?|arc(?:s|ing)?|circl(?:es?|ing)|revolv(?:es?|ing)", _ORBITS, _ORBIT),
    (r"drift(?:s|ing)?|float(?:s|ing)?|glid(?:es?|ing)", _DRIFTS, _Way(x=0.5, y=-0.2)),
    (r"tracking|lateral", _ANY, _RIGHT),
    (r"truck(?:s|ing)?|track(?:s)?|slid(?:es?|ing)|mov(?:es?|ing)|fl(?:y|ies|ying)", _ANY, None),
    (r"crane(?:s|ing)?|pedestal|jib|boom(?:s|ing)?", _HEIGHT | _DEPTH, _UP),
    (r"ris(?:es?|ing)|ascend(?:s|ing)?|climb(?:s|ing)?", {}, _UP),
    (r"descend(?:s|ing)?|sink(?:s|ing)?|lower(?:s|ing)", {}, _DOWN),
    (r"follow(?:s|ing)?|chas(?:es?|ing)", _SIDES | _HEIGHT, _Way(x=0.5, z=0.6)),
    (r"reveal(?:s|ing)?|widen(?:s|ing)?", {}, _OUT),
)
_VERBS = tuple((re.compile(rf"\b(?:{verb})\b"), near, alone) for verb, near, alone in _WORDS)
_SLOW = re.compile(r"\b(?:slow(?:ly)?|gentl[ey]|subtl[ey]|slight(?:ly)?|creep(?:s|ing)?|barely)\b")
_FAST = re.compile(r"\b(?:fast|quick(?:ly)?|rapid(?:ly)?|sudden(?:ly)?|crash(?=\s+zoom)|whip)\b")
_DEFAULT, _DEFAULT_PACE = _IN, 0.7


def plan_move(prompt: str, seconds: int, beat: int = 0) -> Move:
    """The move that a prompt asks for, for the beat at that place in the shot.

    The first word wins on each axis, so "push in, pan left" is one diagonal move. Without a camera word: a slow push
    in. Each beat after a cut starts tighter and off centre, so that the cut is seen.
    """
    text = prompt.casefold()
    ways = _ways(text)
    if not ways:
        return _frame(_DEFAULT, _reach(seconds) * _DEFAULT_PACE, beat)
    way = _Way(
        x=next((way.x for way in ways if way.x), 0.0),
        y=next((way.y for way in ways if way.y), 0.0),
        z=next((way.z for way in ways if way.z), 0.0),
        arc=any(way.arc for way in ways),
        sway=any(way.sway for way in ways),
    )
    return _frame(way, _reach(seconds) * _pace(text), beat)


def _ways(text: str) -> list[_Way]:
    found: list[tuple[int, _Way]] = []
    for verb, near, alone in _VERBS:
        for match in verb.finditer(text):
            way = _direction(text, match, near) or alone
            if way is not None:
                found.append((match.start(), way))
    return [way for _, way in sorted(found, key=lambda pair: pair[0])]


def _direction(text: str, verb: re.Match[str], near: dict[str, _Way]) -> _Way | None:
    """The first direction among the four words after the verb, within its clause, or the word just before it."""
    clause = re.split(r"[.,;:!?]|\b(?:and|then|as|while)\b", text[verb.end() :], maxsplit=1)[0]
    before = re.findall(r"([a-z]+)[\s-]+$", text[: verb.start()])
    words = [*re.findall(r"[a-z]+", clause)[:4], *before]
    return next((near[word] for word in words if word in near), None)


def _pace(text: str) -> float:
    return 0.65 if _SLOW.search(text) else 1.5 if _FAST.search(text) else 1.0


def _reach(seconds: int) -> float:
    """How far a move goes, as a share of the frame: longer shots go further, but not in proportion."""
    return min(0.12 + 0.018 * seconds, 0.32)


_TIGHTER = ((1.0, 0.0, 0.0), (1.28, -0.5, -0.35), (1.12, 0.5, 0.2), (1.42, 0.3, -0.5))


def _frame(way: _Way, reach: float, beat: int) -> Move:
    """Lay a direction over the still so that every framing on the way shows nothing but the still."""
    tight, off_x, off_y = _TIGHTER[beat % len(_TIGHTER)]
    room = 1 + reach if way.x or way.y else 1.05 if way.sway else 1.0
    near, far = tight * room * (1 + reach * abs(way.z)), tight * room
    start_zoom, end_zoom = (near, far) if way.z < 0 else (far, near)
    arc = 0.12 * reach if way.arc else 0.0
    sway = 0.016 if way.sway else 0.0

    def framing(zoom: float, side: float) -> Framing:
        half, play = 0.5 / zoom, 0.5 - 0.5 / zoom
        rest = sway + arc
        return Framing(
            x=_inside(0.5 + off_x * play + side * way.x * reach / 2 / room, min(half + sway, 0.5)),
            y=_inside(0.5 + off_y * play + side * way.y * reach / 2 / room, min(half + rest, 0.5)),
            zoom=zoom,
        )

    return Move(start=framing(start_zoom, -1), end=framing(end_zoom, 1), arc=arc, sway=sway)
