"""Words become camera moves that stay on the still and never stutter."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.studio.moves import Move, ease, plan_move

PHRASES = [
    "Slow push in",
    "push into the spiral",
    "pull out",
    "zoom out fast",
    "dolly in",
    "pan left",
    "pan right",
    "tilt up",
    "tilt down",
    "drift across the field",
    "orbit left",
    "orbit",
    "truck right",
    "crane up",
    "follow the rover",
    "handheld, push in",
    "handheld",
    "hold",
    "rising over the ridge",
    "the engines light",
]


def _way(move: Move) -> tuple[int, int, int]:
    """Signs of the way: right, down, in."""
    deltas = (move.end.x - move.start.x, move.end.y - move.start.y, move.end.zoom - move.start.zoom)
    right, down, inwards = (0 if abs(delta) < 1e-9 else 1 if delta > 0 else -1 for delta in deltas)
    return right, down, inwards


@pytest.mark.parametrize(
    ("prompt", "way"),
    [
        ("Slow push in as the engines light", (0, 0, 1)),
        ("Push into the spiral", (0, 0, 1)),
        ("Pulling slowly back from the pad", (0, 0, -1)),
        ("zoom out", (0, 0, -1)),
        ("Dolly in on her face", (0, 0, 1)),
        ("dolly left", (-1, 0, 0)),
        ("Pan left along the gantry", (-1, 0, 0)),
        ("a slow left pan", (-1, 0, 0)),
        ("camera pans to the right", (1, 0, 0)),
        ("Tilt up the rocket", (0, -1, 0)),
        ("tilting down", (0, 1, 0)),
        ("trucking right", (1, 0, 0)),
        ("Crane up", (0, -1, 0)),
        ("pedestal down", (0, 1, 0)),
        ("rising over the ridge", (0, -1, 0)),
        ("Hold on the capsule", (0, 0, 0)),
        ("static shot, locked off", (0, 0, 0)),
        ("orbit left around the statue", (-1, 0, 1)),
        ("PUSH IN, pan left", (-1, 0, 1)),
        ("Hold, then push in", (0, 0, 1)),
        ("push in and then pull out", (0, 0, 1)),
    ],
)
def test_the_camera_follows_the_words(prompt: str, way: tuple[int, int, int]) -> None:
    """Each word of the trade moves the frame its way; the first one wins on each axis."""
    assert _way(plan_move(prompt, 5)) == way


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "The visor reflects the deep field",
        "A woman holding a cup",
        "She holds a torch",
        "red truck",
        "train tracks",
    ],
)
def test_without_a_camera_word_the_camera_pushes_in_slowly(prompt: str) -> None:
    """Words about the subject move nothing; the default is the slow push in."""
    assert plan_move(prompt, 5) == plan_move("", 5)
    assert 1.0 < plan_move(prompt, 5).end.zoom < plan_move("push in", 5).end.zoom


def test_slow_goes_less_far_than_fast() -> None:
    """Adverbs set the pace."""
    slow, plain, fast = (plan_move(f"{pace} push in", 5).end.zoom for pace in ("slow", "", "fast"))
    assert slow < plain < fast


def test_handheld_sways_gently_and_joins_other_moves() -> None:
    """A hand never rests and never jerks: under half a pixel of change in speed per frame at 1280."""
    move = plan_move("handheld, push in", 5)
    path = [move.at(n / 119, n / 24).x * 1280 for n in range(120)]
    assert _way(move)[2] == 1
    assert max(path) - min(path) > 4
    assert max(abs(a - 2 * b + c) for a, b, c in zip(path, path[1:], path[2:], strict=False)) < 0.5


@pytest.mark.parametrize("prompt", PHRASES)
@pytest.mark.parametrize("seconds", [3, 15])
def test_no_framing_leaves_the_still(prompt: str, seconds: int) -> None:
    """Every frame of every beat lies within the still by plan, not because it was clamped."""
    for beat, n in itertools.product(range(5), range(101)):
        framing = plan_move(prompt, seconds, beat).at(n / 100, seconds * n / 100)
        half = 0.5 / framing.zoom
        assert framing.zoom >= 1 - 1e-9
        assert half - 1e-9 <= framing.x <= 1 - half + 1e-9
        assert half - 1e-9 <= framing.y <= 1 - half + 1e-9


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([*["", ",."], *PHRASES]), max_size=6), st.integers(1, 15), st.integers(0, 9))
def test_any_mixture_of_words_gives_boxes_within_the_picture(words: list[str], seconds: int, beat: int) -> None:
    """Whatever the prompt says, the crop is a crop."""
    move = plan_move(" ".join(words), seconds, beat)
    for n in range(11):
        left, top, right, bottom = move.at(n / 10, seconds * n / 10).box(1000, 500)
        assert 0 <= left < right <= 1000
        assert 0 <= top < bottom <= 500
        assert (right - left) / (bottom - top) == pytest.approx(2)


def test_moves_start_and_end_at_rest() -> None:
    """The easing rises from 0 to 1 without a jump in speed."""
    path = [ease(n / 240) for n in range(241)]
    speeds = [later - earlier for earlier, later in itertools.pairwise(path)]
    assert (path[0], path[-1]) == (0, 1)
    assert min(speeds) >= 0
    assert max(speeds[0], speeds[-1]) < max(speeds) / 100
    assert max(abs(b - a) for a, b in itertools.pairwise(speeds)) < max(speeds) / 20


@pytest.mark.parametrize("prompt", ["push in", "pan left", "hold", "pull out", "drift"])
def test_each_cut_has_its_own_framing(prompt: str) -> None:
    """Even the same words start elsewhere after a cut."""
    for beat in range(4):
        before, after = plan_move(prompt, 4, beat).end, plan_move(prompt, 4, beat + 1).start
        assert abs(before.zoom - after.zoom) + abs(before.x - after.x) + abs(before.y - after.y) > 0.05
