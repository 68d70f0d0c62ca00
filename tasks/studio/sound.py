"""The sound of an animatic: room tone, so that the track is not dead, and a two-pop, so that an editor can line it up."""

from collections.abc import Iterator

import av
import numpy as np
from numpy.typing import NDArray

__all__ = ["FRAME", "RATE", "sound_frames", "track"]

RATE = 48_000
FRAME = 1024
_POP_HERTZ, _POP_SECONDS, _POP_BEFORE_END = 1000, 1 / 24, 2.0
_TONE_DBFS, _POP_DBFS = -50.0, -20.0
_SEED = 24


def track(seconds: float) -> NDArray[np.float32]:
    """Two channels of samples (2 x n, at 48 kHz): room tone at -50 dBFS RMS throughout.

    The two-pop is one frame (1/24 s) of 1 kHz with its peak at -20 dBFS, two seconds before the end; a clip of less
    than two seconds has it at its start.
    """
    count = round(seconds * RATE)
    samples = np.stack([_room_tone(count, _SEED), _room_tone(count, _SEED + 1)])
    start = max(0, count - round(_POP_BEFORE_END * RATE))
    pop = _pop()[: count - start]
    samples[:, start : start + len(pop)] += pop
    return samples.astype(np.float32)


def sound_frames(seconds: float) -> Iterator[av.AudioFrame]:
    """The track in pieces of 1024 samples, the last one shorter, with running timestamps."""
    samples = track(seconds)
    for start in range(0, samples.shape[1], FRAME):
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples[:, start : start + FRAME]), format="fltp", layout="stereo"
        )
        frame.sample_rate, frame.pts = RATE, start
        yield frame


def _room_tone(count: int, seed: int) -> NDArray[np.float64]:
    """Noise that falls by 3 dB an octave from 30 Hz; from raw PCG64 words, whose stream NumPy keeps for ever."""
    words = np.random.PCG64(seed).random_raw(count)
    spectrum = np.fft.rfft((words >> np.uint64(40)).astype(np.float64) / 2**23 - 1)
    hertz = np.fft.rfftfreq(count, 1 / RATE)
    noise = np.fft.irfft(spectrum * np.where(hertz < 30, 0, 1 / np.sqrt(np.maximum(hertz, 30))), count)
    level = 10 ** (_TONE_DBFS / 20) / float(np.sqrt(np.mean(noise**2)))
    return np.asarray(noise * level, np.float64)


def _pop() -> NDArray[np.float64]:
    moments = np.arange(round(_POP_SECONDS * RATE)) / RATE
    # A millisecond at each end keeps the pop from clicking.
    fade = np.clip(np.minimum(moments, _POP_SECONDS - moments) / 0.001, 0, 1)
    return 10 ** (_POP_DBFS / 20) * fade * np.sin(2 * np.pi * _POP_HERTZ * moments)
