"""Room tone and the two-pop."""

import numpy as np
import pytest

from tasks.studio.sound import RATE, sound_frames, track


def _decibels(samples: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> float:
    return float(20 * np.log10(np.sqrt(np.mean(samples.astype(float) ** 2))))


def test_room_tone_lies_at_50_decibels_below_full_scale() -> None:
    """Quiet, but never digital silence."""
    quiet = track(5)[:, : 2 * RATE]
    assert _decibels(quiet) == pytest.approx(-50, abs=1.5)
    assert np.count_nonzero(quiet) > 0.99 * quiet.size


def test_the_two_pop_is_one_frame_of_1_khz_two_seconds_before_the_end() -> None:
    """Frame 72 of a five-second clip sounds, its neighbours do not."""
    frames = track(5)[0].reshape(120, RATE // 24)
    levels = [_decibels(frame) for frame in frames]
    assert int(np.argmax(levels)) == 72
    assert levels[72] == pytest.approx(-23, abs=0.5)
    assert max(levels[:72] + levels[73:]) < -40
    spectrum = np.abs(np.fft.rfft(frames[72]))
    assert np.fft.rfftfreq(frames.shape[1], 1 / RATE)[spectrum.argmax()] == pytest.approx(1000, abs=25)


def test_a_clip_shorter_than_two_seconds_pops_at_its_start() -> None:
    """There is a mark to line up by in every clip."""
    frames = track(1)[0].reshape(24, RATE // 24)
    assert int(np.argmax([_decibels(frame) for frame in frames])) == 0


def test_the_channels_differ_and_repeat_themselves_exactly() -> None:
    """The tone is wide, and the same in every run."""
    assert not np.array_equal(*track(3))
    assert np.array_equal(track(3), track(3))


@pytest.mark.parametrize("seconds", [3, 7, 15])
def test_the_pieces_add_up_to_the_sample(seconds: int) -> None:
    """48,000 samples a second, with timestamps that run through."""
    pieces = list(sound_frames(seconds))
    assert sum(piece.samples for piece in pieces) == seconds * RATE
    assert [piece.pts for piece in pieces] == [n * 1024 for n in range(len(pieces))]
