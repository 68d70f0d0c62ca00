"""Shots for the contract: one plain shot to vary, and a strategy of all shots that fit a provider."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from specs.request import CutRequest, ElementRequest, ShotRequest
from tasks.providers.interface import Caps, Media

__all__ = ["PLAIN", "fitting", "media_for", "shot"]

PLAIN = ShotRequest(
    index=0,
    shot="SH010",
    take=1,
    prompt="Slow push in",
    negative_prompt=None,
    duration=5,
    mode="std",
    audio=False,
    cuts=None,
    still="a.jpg",
    end_still=None,
    elements=(),
)


def shot(**changes: Any) -> ShotRequest:
    """The plain shot with changes; cuts and elements may be given as the plain objects of a JSON file."""
    cuts = changes.get("cuts")
    if isinstance(cuts, list):
        changes["cuts"] = tuple(CutRequest(**cut) for cut in cuts)
    if "elements" in changes:
        changes["elements"] = tuple(_element(element) for element in changes["elements"])
    return dataclasses.replace(PLAIN, **changes)


def media_for(request: ShotRequest) -> Media:
    """A fetchable address for every picture of the shot."""
    return Media({still: f"https://stills.example/{still}" for still in request.stills})


def _element(element: ElementRequest | Mapping[str, Any]) -> ElementRequest:
    if isinstance(element, ElementRequest):
        return element
    return ElementRequest(element["name"], element["front"], tuple(element["references"]))


_PROMPTS = st.text(min_size=1, max_size=40).filter(str.strip)
_ELEMENTS = st.builds(
    ElementRequest,
    name=st.sampled_from(["pilot", "dog"]),
    front=st.just("front.jpg"),
    references=st.lists(st.sampled_from(["left.jpg", "right.jpg"]), max_size=2, unique=True).map(tuple),
)


@st.composite
def fitting(draw: st.DrawFn, caps: Caps) -> ShotRequest:
    """Any shot that the provider can make."""
    cut_kinds = [None, *(["auto"] if caps.auto_cuts else []), *(["custom"] if caps.custom_cuts else [])]
    cuts: Any = draw(st.sampled_from(cut_kinds))
    duration = draw(st.integers(*caps.seconds))
    if cuts == "custom":
        lengths = draw(st.lists(st.integers(1, 5), min_size=1, max_size=3).filter(lambda parts: 3 <= sum(parts) <= 15))
        cuts, duration = tuple(CutRequest(part, draw(_PROMPTS)) for part in lengths), sum(lengths)
    tail = caps.end_still and (cuts is None or caps.end_still_with_cuts)
    return shot(
        prompt=draw(_PROMPTS),
        negative_prompt=draw(st.none() | _PROMPTS) if caps.negative_prompt else None,
        duration=duration,
        mode=draw(st.sampled_from(caps.modes)),
        audio=draw(st.booleans()) if caps.audio else False,
        cuts=cuts,
        end_still=draw(st.sampled_from([None, "b.jpg"])) if tail else None,
        elements=draw(st.lists(_ELEMENTS, max_size=caps.elements_max)),
    )
