"""What each provider's model can do (`capabilities.toml`), and exactly what of a shot does not fit it."""

import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any, Protocol

from specs.request import AUTO, CutRequest, ShotRequest
from tasks.errors import ShotInvalid
from tasks.prices import quote
from tasks.providers.interface import Caps

__all__ = ["RULES", "Misfit", "Picture", "Rule", "capabilities", "misfits", "require_fit"]


class Picture(Protocol):
    """What must be known of a fetched still: `format` in Pillow's words, sides in pixels as displayed, `size` in bytes."""

    @property
    def format(self) -> str: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def size(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Misfit:
    """One thing a shot asks for that the provider cannot do; `path` leads to it inside the shot (`("cuts", 1, "duration")`)."""

    path: tuple[str | int, ...]
    message: str
    hint: str = ""


Stills = Mapping[str, Picture]
Rule = Callable[[ShotRequest, Caps, Stills], Iterator[Misfit]]


@cache
def capabilities() -> Mapping[str, Caps]:
    """The row of each provider."""
    table = tomllib.loads(files("tasks.providers").joinpath("capabilities.toml").read_text(encoding="utf-8"))
    return {provider: _caps(provider, row) for provider, row in table.items()}


def misfits(request: ShotRequest, caps: Caps, stills: Stills | None = None) -> Iterator[Misfit]:
    """Everything of the shot that does not fit, in the order of `RULES`; without `stills` only what the spec alone shows."""
    for rule in RULES:
        yield from rule(request, caps, stills or {})


def require_fit(request: ShotRequest, caps: Caps) -> None:
    """The last guard before a request is built: nothing that a provider would drop or bend silently is ever sent.

    Raises:
        ShotInvalid: naming the first misfit.
    """
    for misfit in misfits(request, caps):
        where = ".".join(map(str, misfit.path))
        raise ShotInvalid(f"{request.shot}: {where}: {misfit.message}", misfit.hint)


def _caps(provider: str, row: Mapping[str, Any]) -> Caps:
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
    lowest, highest = row["still_ratio"]
    values["still_ratio"] = (Decimal(lowest), Decimal(highest))
    values.setdefault("custom_cuts", None)
    return Caps(provider=provider, **values)


def _name(caps: Caps) -> str:
    return {"animatic": "the animatic", "shortapi": "ShortAPI", "sjinn": "SJinn"}.get(caps.provider, caps.provider)


def _elsewhere(caps: Caps, able: Callable[[Caps], bool], otherwise: str) -> str:
    """A hint that names the paid providers which can, and what else the user could do."""
    others = [other.provider for other in capabilities().values() if other.paid and able(other) and other != caps]
    return f"use {' or '.join(others)}, or {otherwise}" if others else otherwise


def _mode(request: ShotRequest, caps: Caps, _stills: Stills) -> Iterator[Misfit]:
    if request.mode not in caps.modes:
        modes = ", ".join(caps.modes)
        yield Misfit(("mode",), f"{_name(caps)} has no mode {request.mode!r}", f"it has {modes}")


def _duration(request: ShotRequest, caps: Caps, _stills: Stills) -> Iterator[Misfit]:
    least, most = caps.seconds
    if least <= request.duration <= most:
        return
    hint = f"choose {least} to {most} whole seconds"
    if caps.clamps_seconds:
        clamped = min(max(request.duration, least), most)
        charged = quote(caps.provider, caps.model, replace(request, duration=clamped)).money
        hint += f"; {_name(caps)} would silently make it {clamped} s and charge {charged}"
    yield Misfit(("duration",), f"{_name(caps)} makes no shot of {request.duration} s", hint)


def _audio(request: ShotRequest, caps: Caps, _stills: Stills) -> Iterator[Misfit]:
    if request.audio and not caps.audio:
        hint = _elsewhere(caps, lambda other: other.audio, "set audio: false")
        yield Misfit(("audio",), f"{_name(caps)} has no audio switch", hint)


def _negative_prompt(request: ShotRequest, caps: Caps, _stills: Stills) -> Iterator[Misfit]:
    if request.negative_prompt and not caps.negative_prompt:
        hint = _elsewhere(caps, lambda other: other.negative_prompt, "leave negative_prompt out")
        yield Misfit(("negative_prompt",), f"{_name(caps)} takes no negative prompt", hint)


def _prompt(request: ShotRequest, caps: Caps, _stills: Stills) -> Iterator[Misfit]:
    needed = not isinstance(request.cuts, tuple)
    if needed and not request.prompt.strip():
        yield Misfit(("prompt",), f"{_name(caps)} needs a prompt", "say what should move")
    for field, text in (("prompt", request.prompt), ("negative_prompt", request.negative_prompt or "")):
        if len(text) > caps.prompt_max:
            message = f"{_name(caps)} takes {caps.prompt_max} characters, this has {len(text)}"
            yield Misfit((field,), message, "shorten it; the board's style counts too")


def _end_still(request: ShotRequest, caps: Caps, _stills: Stills) -> Iterator[Misfit]:
    if request.end_still is None:
        return
    if not caps.end_still:
        hint = _elsewhere(caps, lambda other: other.end_still, "leave end_still out")
        yield Misfit(("end_still",), f"{_name(caps)} takes no end still", hint)
    elif request.cuts is not None and not caps.end_still_with_cuts:
        message = f"{_name(caps)} ignores the end still of a shot with cuts"
        yield Misfit(("end_still",), message, "leave out end_still or cuts")


def _cuts(request: ShotRequest, caps: Caps, _stills: Stills) -> Iterator[Misfit]:
    if request.cuts is None:
        return
    if request.cuts == AUTO:
        if not caps.auto_cuts:
            hint = _elsewhere(caps, lambda other: other.auto_cuts, "leave cuts out")
            yield Misfit(("cuts",), f"{_name(caps)} cannot split a shot by itself", hint)
    elif caps.custom_cuts is None:
        hint = _elsewhere(caps, lambda other: other.custom_cuts is not None, "set cuts: auto or leave cuts out")
        yield Misfit(("cuts",), f"{_name(caps)} takes no list of cuts", hint)
    else:
        yield from _cut_list(request, request.cuts, caps, caps.custom_cuts)


def _cut_list(
    request: ShotRequest, cuts: tuple[CutRequest, ...], caps: Caps, count: tuple[int, int]
) -> Iterator[Misfit]:
    least, most = count
    if not least <= len(cuts) <= most:
        yield Misfit(("cuts",), f"{_name(caps)} takes {least} to {most} cuts, this has {len(cuts)}")
    total = sum(cut.duration for cut in cuts)
    if total != request.duration:
        yield Misfit(("cuts",), f"the cuts add up to {total} s, the shot has {request.duration} s")
    for place, cut in enumerate(cuts):
        yield from _cut(place, cut, caps)


def _cut(place: int, cut: CutRequest, caps: Caps) -> Iterator[Misfit]:
    if cut.duration < caps.cut_seconds_min:
        message = f"{_name(caps)} makes no cut shorter than {caps.cut_seconds_min} s"
        yield Misfit(("cuts", place, "duration"), message)
    if not cut.prompt.strip():
        yield Misfit(("cuts", place, "prompt"), f"{_name(caps)} needs a prompt for every cut")
    if len(cut.prompt) > caps.cut_prompt_max:
        message = f"{_name(caps)} takes {caps.cut_prompt_max} characters a cut, this has {len(cut.prompt)}"
        yield Misfit(("cuts", place, "prompt"), message, "shorten it; the board's style counts too")


def _elements(request: ShotRequest, caps: Caps, _stills: Stills) -> Iterator[Misfit]:
    wanted = len(request.elements)
    for place, element in enumerate(request.elements):
        if place >= caps.elements_max:
            takes = f"takes at most {caps.elements_max}" if caps.elements_max else "takes no"
            hint = _elsewhere(caps, lambda other: other.elements_max >= wanted, "leave it out")
            yield Misfit(("elements", place), f"{_name(caps)} {takes} elements", hint)
        elif len(element.references) > caps.element_references_max:
            message = (
                f"{_name(caps)} takes {caps.element_references_max} more views of an element, "
                f"{element.name} has {len(element.references)}"
            )
            yield Misfit(("elements", place), message)


def _pictures(request: ShotRequest, caps: Caps, stills: Stills) -> Iterator[Misfit]:
    places: list[tuple[tuple[str | int, ...], str]] = [(("still",), request.still)]
    if request.end_still:
        places.append((("end_still",), request.end_still))
    for place, element in enumerate(request.elements):
        places += [(("elements", place), view) for view in (element.front, *element.references)]
    for path, address in places:
        if address in stills:
            yield from _picture(path, stills[address], caps)


def _picture(path: tuple[str | int, ...], picture: Picture, caps: Caps) -> Iterator[Misfit]:
    if picture.format not in caps.still_formats:
        formats = ", ".join(caps.still_formats)
        yield Misfit(path, f"{_name(caps)} takes {formats}, this is {picture.format}", "save it as JPEG or PNG")
    if picture.size > caps.still_bytes_max:
        message = f"{_name(caps)} takes {caps.still_bytes_max:,} bytes, this has {picture.size:,}"
        yield Misfit(path, message, "save it smaller")
    if min(picture.width, picture.height) < caps.still_side_min:
        message = f"{_name(caps)} needs {caps.still_side_min} px a side, this is {picture.width} x {picture.height}"
        yield Misfit(path, message, "use a larger picture")
    low, high = caps.still_ratio
    if picture.height and not low <= Decimal(picture.width) / picture.height <= high:
        message = (
            f"{_name(caps)} takes a width to height of {low} to {high}, this is {picture.width} x {picture.height}"
        )
        yield Misfit(path, message, "crop it")


RULES: tuple[Rule, ...] = (
    _mode,
    _duration,
    _audio,
    _negative_prompt,
    _prompt,
    _end_still,
    _cuts,
    _elements,
    _pictures,
)
