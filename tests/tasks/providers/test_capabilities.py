"""What of a shot does not fit a provider: one test a rule, with the path, the words and the advice."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specs.request import ElementRequest, ShotRequest
from tasks.providers import PROVIDERS, Misfit, misfits
from tasks.providers.capabilities import RULES
from tests.contract.orders import fitting, shot

SHORTAPI, SJINN, ANIMATIC = (PROVIDERS[name].caps for name in ("shortapi", "sjinn", "animatic"))


@dataclass(frozen=True)
class Still:
    """A fetched still, as far as the rules look at it."""

    format: str = "JPEG"
    width: int = 1280
    height: int = 720
    size: int = 400_000


def only(request: ShotRequest, caps: Any, stills: Any = None) -> Misfit:
    """The single misfit."""
    [found] = misfits(request, caps, stills)
    return found


@given(st.data())
def test_what_fits_has_no_misfit(data: st.DataObject) -> None:
    """Any shot that a provider can make passes every rule, with good stills too."""
    for caps in (SHORTAPI, SJINN, ANIMATIC):
        request = data.draw(fitting(caps))
        assert list(misfits(request, caps)) == []
        assert list(misfits(request, caps, dict.fromkeys(request.stills, Still()))) == []


def test_mode() -> None:
    """A mode that the provider has not."""
    found = only(shot(mode="4k"), SHORTAPI)
    assert (found.path, found.message) == (("mode",), "ShortAPI has no mode '4k'")
    assert "std, pro" in found.hint


@pytest.mark.parametrize(("seconds", "clamped", "price"), [(2, 3, 600), (20, 15, 3000)])
def test_F29_duration_that_would_be_clamped(seconds: int, clamped: int, price: int) -> None:
    """SJinn's silent clamp is refused here, and said with what it would deliver and charge."""
    found = only(shot(duration=seconds), SJINN)
    assert found.path == ("duration",)
    assert f"no shot of {seconds} s" in found.message
    assert f"silently make it {clamped} s and charge {price} sjinn-credits" in found.hint


def test_duration_out_of_range() -> None:
    """Elsewhere the range alone is named."""
    found = only(shot(duration=16), SHORTAPI)
    assert found.hint == "choose 3 to 15 whole seconds"


def test_audio() -> None:
    """No switch, so no silent drop."""
    found = only(shot(audio=True), SJINN)
    assert found == Misfit(("audio",), "SJinn has no audio switch", "use shortapi, or set audio: false")


def test_negative_prompt() -> None:
    """No field for it."""
    found = only(shot(negative_prompt="text"), SJINN)
    assert (found.path, found.hint) == (("negative_prompt",), "use shortapi, or leave negative_prompt out")


def test_prompt_missing() -> None:
    """Needed wherever the model itself tells the story."""
    assert only(shot(prompt="  "), SHORTAPI).path == ("prompt",)
    assert only(shot(prompt="", cuts="auto"), SHORTAPI).path == ("prompt",)


def test_prompts_too_long() -> None:
    """Both texts have the same limit."""
    found = list(misfits(shot(prompt="x" * 2501, negative_prompt="y" * 2600), SHORTAPI))
    assert [one.path for one in found] == [("prompt",), ("negative_prompt",)]
    assert "2500 characters, this has 2501" in found[0].message


def test_end_still_with_cuts() -> None:
    """The provider would ignore it."""
    for caps in (SHORTAPI, SJINN):
        found = only(shot(end_still="b.jpg", cuts="auto"), caps)
        assert (found.path, found.hint) == (("end_still",), "leave out end_still or cuts")


def test_end_still_unknown() -> None:
    """A model without an end frame."""
    assert only(shot(end_still="b.jpg"), replace(SJINN, end_still=False)).path == ("end_still",)


def test_cut_list_where_there_is_none() -> None:
    """SJinn splits by itself or not at all."""
    found = only(shot(cuts=[{"duration": 2, "prompt": "a"}, {"duration": 3, "prompt": "b"}]), SJINN)
    assert found == Misfit(
        ("cuts",), "SJinn takes no list of cuts", "use shortapi, or set cuts: auto or leave cuts out"
    )


def test_automatic_cuts_where_there_are_none() -> None:
    """A model that makes continuous shots only."""
    assert only(shot(cuts="auto"), replace(SHORTAPI, auto_cuts=False)).path == ("cuts",)


def test_too_many_cuts() -> None:
    """Six at most."""
    found = only(shot(duration=7, cuts=[{"duration": 1, "prompt": "a"}] * 7), SHORTAPI)
    assert (found.path, found.message) == (("cuts",), "ShortAPI takes 1 to 6 cuts, this has 7")


def test_cuts_that_do_not_add_up() -> None:
    """Their seconds are the shot's."""
    found = only(shot(duration=9, cuts=[{"duration": 3, "prompt": "a"}, {"duration": 4, "prompt": "b"}]), SHORTAPI)
    assert found.message == "the cuts add up to 7 s, the shot has 9 s"


def test_one_cut_too_short_wordless_or_wordy() -> None:
    """The path leads to the cut."""
    cuts = [{"duration": 0, "prompt": "a"}, {"duration": 2, "prompt": " "}, {"duration": 3, "prompt": "x" * 513}]
    found = [one.path for one in misfits(shot(cuts=cuts), SHORTAPI)]
    assert found == [("cuts", 0, "duration"), ("cuts", 1, "prompt"), ("cuts", 2, "prompt")]


def _elements(count: int, views: int = 0) -> tuple[ElementRequest, ...]:
    references = tuple(f"v{number}.jpg" for number in range(views))
    return tuple(ElementRequest(f"e{number}", "front.jpg", references) for number in range(count))


def test_elements_beyond_the_limit() -> None:
    """The fourth, or any where there are none."""
    found = only(shot(elements=_elements(4)), SHORTAPI)
    assert (found.path, found.message) == (("elements", 3), "ShortAPI takes at most 3 elements")
    found = only(shot(elements=_elements(1)), SJINN)
    assert found == Misfit(("elements", 0), "SJinn takes no elements", "use shortapi, or leave it out")


def test_too_many_views_of_an_element() -> None:
    """Three beside the frontal one."""
    assert only(shot(elements=_elements(1, views=4)), SHORTAPI).path == ("elements", 0)


@pytest.mark.parametrize(
    ("still", "words"),
    [
        (Still(format="WEBP"), "SJinn takes JPEG, PNG, this is WEBP"),
        (Still(size=10_485_761), "SJinn takes 10,485,760 bytes, this has 10,485,761"),
        (Still(width=299, height=400), "SJinn needs 300 px a side, this is 299 x 400"),
        (Still(width=2600, height=1000), "SJinn takes a width to height of 0.4 to 2.5, this is 2600 x 1000"),
        (Still(width=399, height=1000), "SJinn takes a width to height of 0.4 to 2.5, this is 399 x 1000"),
    ],
)
def test_stills(still: Still, words: str) -> None:
    """Kind, weight, size and shape, once the picture is at hand; not before."""
    assert only(shot(), SJINN, {"a.jpg": still}).message == words
    assert list(misfits(shot(), SJINN, {"other.jpg": still})) == []
    assert list(misfits(shot(), SJINN)) == []


def test_every_picture_of_the_shot_is_looked_at() -> None:
    """Start and end still, and each view of an element, each with its own path."""
    bad = Still(format="GIF")
    request = shot(end_still="b.jpg", elements=(ElementRequest("pilot", "front.jpg", ("left.jpg",)),))
    found = [one.path for one in misfits(request, SHORTAPI, dict.fromkeys(request.stills, bad))]
    assert found == [("still",), ("end_still",), ("elements", 0), ("elements", 0)]


def test_every_problem_is_told_at_once() -> None:
    """A shot for another provider hears all of it, in the order of the rules."""
    request = shot(duration=20, audio=True, negative_prompt="x", elements=_elements(1))
    assert [one.path[0] for one in misfits(request, SJINN)] == ["duration", "audio", "negative_prompt", "elements"]
    assert len(RULES) == 9
