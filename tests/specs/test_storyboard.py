"""What a board asks providers for: defaults, style and cuts applied; and what is allowed but hardly meant."""

from typing import Any

import pytest
from hypothesis import given

from specs.checks import warnings
from specs.loader import load_with_source
from specs.money import Money
from specs.request import AUTO, CutRequest, ElementRequest, ShotRequest
from specs.storyboard import Storyboard, styled
from tests.strategies import boards

SHOT: dict[str, Any] = {"id": "SH010", "still": "a.jpg", "prompt": "Push in"}


def board(*shots: dict[str, Any], **keys: Any) -> Storyboard:
    """A board of shots that differ from a plain one as told."""
    numbered = [{**SHOT, "id": f"SH{index:03}", **shot} for index, shot in enumerate(shots)]
    return Storyboard.model_validate({"rushes": 1, "title": "T", "code": "T", **keys, "shots": numbered})


def request(shot: dict[str, Any], **keys: Any) -> ShotRequest:
    """What one shot of such a board asks for."""
    return board(shot, **keys).requests()[0]


def warned(text: str, name: str = "board.yaml") -> list[str]:
    """The warnings of a board, as they are printed."""
    return [str(issue) for issue in warnings(*load_with_source(text.encode(), name=name))]


def test_a_plain_shot_asks_for_the_cheap_defaults() -> None:
    """Without a word it is std, 5 seconds, silent, one take, one continuous shot: never a dearer default."""
    asked = request({})
    assert (asked.mode, asked.duration, asked.audio, asked.take, asked.cuts) == ("std", 5, False, 1, None)
    assert (asked.negative_prompt, asked.end_still, asked.elements) == (None, None, ())


def test_the_boards_defaults_hold_where_a_shot_says_nothing() -> None:
    """Each default by itself."""
    defaults = {"mode": "pro", "duration": 9, "audio": True, "negative_prompt": "text"}
    asked = request({}, defaults=defaults)
    assert (asked.mode, asked.duration, asked.audio, asked.negative_prompt) == ("pro", 9, True, "text")


def test_a_shots_own_word_wins_over_the_defaults() -> None:
    """Also where it says false, or an empty negative prompt."""
    defaults = {"mode": "pro", "duration": 9, "audio": True, "negative_prompt": "text"}
    asked = request({"mode": "std", "duration": 3, "audio": False, "negative_prompt": ""}, defaults=defaults)
    assert (asked.mode, asked.duration, asked.audio, asked.negative_prompt) == ("std", 3, False, None)


@pytest.mark.parametrize(
    ("prompt", "style", "sent"),
    [
        ("Push in", "35mm film", "Push in, 35mm film"),
        ("Push in.", "35mm film", "Push in. 35mm film"),
        ("Push in,", "35mm film", "Push in, 35mm film"),
        ("  Push in\n", " 35mm film ", "Push in, 35mm film"),
        ("Push in", "", "Push in"),
        ("Push in", "  ", "Push in"),
    ],
)
def test_the_style_follows_the_prompt_as_one_more_clause(prompt: str, style: str, sent: str) -> None:
    """Spaces and punctuation at the seam are kept sensible."""
    assert styled(prompt, style) == sent


def test_the_style_reaches_prompts_and_cuts_but_no_negative_prompt() -> None:
    """What should not be seen has no style."""
    cuts = [{"duration": 3, "prompt": "Pan left"}, {"duration": 4, "prompt": "Tilt up"}]
    asked = request({"cuts": cuts, "negative_prompt": "text"}, style="film")
    assert asked.prompt == "Push in, film"
    assert asked.cuts == (CutRequest(3, "Pan left, film"), CutRequest(4, "Tilt up, film"))
    assert asked.negative_prompt == "text"


def test_a_shot_with_a_list_of_cuts_is_as_long_as_they_are() -> None:
    """The default duration does not matter to it."""
    cuts = [{"duration": 3, "prompt": "Pan left"}, {"duration": 4, "prompt": "Tilt up"}]
    assert request({"cuts": cuts}, defaults={"duration": 12}).duration == 7


def test_a_shot_that_the_model_cuts_has_its_own_duration() -> None:
    """`cuts: auto` keeps the prompt and the seconds of the shot."""
    asked = request({"cuts": "auto", "duration": 8})
    assert (asked.cuts, asked.duration, asked.prompt) == (AUTO, 8, "Push in")


def test_elements_are_sent_with_their_pictures_in_the_order_of_the_shot() -> None:
    """Names become pictures, and every picture of a shot is listed once, its own still first."""
    elements = {"pilot": {"front": "p.jpg", "references": ["a.jpg", "l.jpg"]}, "cat": {"front": "c.jpg"}}
    asked = request({"elements": ["cat", "pilot"], "end_still": "e.jpg"}, elements=elements)
    assert asked.elements == (ElementRequest("cat", "c.jpg"), ElementRequest("pilot", "p.jpg", ("a.jpg", "l.jpg")))
    assert asked.stills == ("a.jpg", "e.jpg", "c.jpg", "p.jpg", "l.jpg")


def test_one_provider_is_a_list_of_one() -> None:
    """The animatic is the one where nobody is named: nothing is bought by omission."""
    assert board({}).provider == ("animatic",)
    assert board({}, provider="sjinn").provider == ("sjinn",)
    assert board({}, provider=["shortapi", "sjinn"]).provider == ("shortapi", "sjinn")


def test_a_budget_is_exact_money() -> None:
    """In dollars or in the credits of a provider."""
    budget = board({}, budget={"cap": "12.10 USD", "per_shot": "4000 sjinn-credits"}).budget
    assert budget
    assert (budget.cap, budget.per_shot) == (Money(12_100_000), Money(4_000_000_000, "sjinn-credits"))
    assert budget.auto_approve is None


@given(boards())
def test_requests_are_complete(values: dict[str, Any]) -> None:
    """One a shot, in order, with seconds that add up and something to shoot."""
    shots = Storyboard.model_validate(values)
    requests = shots.requests()
    assert [(one.index, one.shot) for one in requests] == [(index, shot.id) for index, shot in enumerate(shots.shots)]
    for one in requests:
        assert one.prompt or one.cuts
        if isinstance(one.cuts, tuple):
            assert sum(cut.duration for cut in one.cuts) == one.duration


HEAD = "rushes: 1\ntitle: T\ncode: T\n"
ROWS = "shots:\n  - {id: A, still: a.jpg, prompt: Push in}\n"


def test_two_shots_that_ask_for_the_same_are_noticed() -> None:
    """One clip serves both; another take is asked for by its number."""
    same = "  - {id: B, still: a.jpg, prompt: Push in, duration: 5}\n"
    assert warned(HEAD + ROWS + same) == [
        "board.yaml:6:5: shots.1: This asks for the same as A, so one clip will serve both, raise take: for another"
    ]
    assert not warned(HEAD + ROWS + same.replace("5}", "5, take: 2}"))


def test_an_element_that_no_shot_uses_is_noticed() -> None:
    """Perhaps a shot forgot it."""
    assert warned(f"{HEAD}elements:\n  cat: {{front: c.jpg}}\n{ROWS}") == [
        "board.yaml:5:3: elements.cat: No shot uses this element"
    ]


def test_a_prompt_beside_a_list_of_cuts_is_noticed() -> None:
    """Providers follow the cuts."""
    text = f"{HEAD}shots:\n  - id: A\n    still: a.jpg\n    prompt: Push in\n    cuts: [{{duration: 3, prompt: Pan}}]\n"
    assert len(warned(text)) == 1
    assert warned(text)[0].startswith("board.yaml:7:5: shots.0.prompt: A shot with a list of cuts")


def test_S26_a_board_that_buys_without_a_cap_is_noticed() -> None:
    """Spending should have a limit of its own."""
    assert warned(f"{HEAD}provider: shortapi\n{ROWS}")[0].endswith(
        "budget.cap: A board that buys has no cap, write one, like budget: {cap: 12.00 USD}"
    )
    assert not warned(f"{HEAD}provider: shortapi\nbudget: {{cap: 3 USD}}\n{ROWS}")


@pytest.mark.parametrize("key", ["per_shot", "auto_approve"])
def test_a_limit_above_the_cap_is_noticed(key: str) -> None:
    """It can never matter; equal ones and other units are left alone."""
    assert warned(f"{HEAD}budget: {{cap: 3 USD, {key}: 3.01 USD}}\n{ROWS}") == [
        f"board.yaml:4:22: budget.{key}: This is more than the cap of 3.00 USD, so it never matters"
    ]
    assert not warned(f"{HEAD}budget: {{cap: 3 USD, {key}: 3 USD}}\n{ROWS}")
    assert not warned(f"{HEAD}budget: {{cap: 3 USD, {key}: 4000 sjinn-credits}}\n{ROWS}")
