"""Frames as three planes: a still is scaled and turned into BT.709 video levels once, then each frame is cut from it.

Working on planes instead of RGB halves the cost of a frame, and Pillow's `resize(box=floats)` places the cut with
sub-pixel precision, so slow moves do not wobble.
"""

from typing import NamedTuple, Self

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tasks.studio.moves import Framing

__all__ = ["Planes", "Plate"]

_Floats = NDArray[np.float32]


class Planes(NamedTuple):
    """One 4:2:0 picture in 8-bit limited-range BT.709: full-size luma, half-size chroma."""

    y: Image.Image
    u: Image.Image
    v: Image.Image

    @classmethod
    def of(cls, picture: Image.Image) -> Self:
        """From RGB with even sides."""
        red, green, blue = (np.asarray(band, np.float32) / np.float32(255) for band in picture.split())
        luma = np.float32(0.2126) * red + np.float32(0.7152) * green + np.float32(0.0722) * blue
        return cls(
            y=_plane(16 + 219 * luma),
            u=_halved(_plane(128 + 224 * (blue - luma) / np.float32(1.8556))),
            v=_halved(_plane(128 + 224 * (red - luma) / np.float32(1.5748))),
        )

    def mixed(self, other: "Planes", share: float) -> "Planes":
        """A dissolve: `share` (0..1) of the other picture."""
        return Planes(*(Image.blend(mine, its, share) for mine, its in zip(self, other, strict=True)))

    def video_frame(self, number: int) -> av.VideoFrame:
        """The frame for the encoder, `number` frames after the start."""
        width, height = self.y.size
        samples = np.concatenate([np.asarray(plane).ravel() for plane in self])
        frame = av.VideoFrame.from_ndarray(samples.reshape(height * 3 // 2, width), format="yuv420p")
        frame.pts = number
        return frame


class Plate:
    """A still, ready to be filmed at one frame size."""

    def __init__(self, still: Image.Image, size: tuple[int, int], tightest: float) -> None:
        self._size = size
        width, height = (2 * round(side * tightest / 2) for side in size)
        scaled = still.resize((width, height), Image.Resampling.LANCZOS, box=_cover(still.size, size))
        self._planes = Planes.of(scaled)

    def shot(self, framing: Framing) -> Planes:
        """What the camera sees there."""
        width, height = self._size
        y, u, v = self._planes.y, self._planes.u, self._planes.v
        half, box = (width // 2, height // 2), framing.box(*u.size)
        return Planes(
            y=y.resize(self._size, Image.Resampling.BICUBIC, box=framing.box(*y.size)),
            u=u.resize(half, Image.Resampling.BICUBIC, box=box),
            v=v.resize(half, Image.Resampling.BICUBIC, box=box),
        )


def _cover(still: tuple[int, int], frame: tuple[int, int]) -> tuple[float, float, float, float]:
    """The largest centred part of the still that has the frame's aspect."""
    scale = min(still[0] / frame[0], still[1] / frame[1])
    width, height = frame[0] * scale, frame[1] * scale
    left, top = max(0.0, (still[0] - width) / 2), max(0.0, (still[1] - height) / 2)
    return left, top, min(still[0], left + width), min(still[1], top + height)


def _plane(values: _Floats) -> Image.Image:
    return Image.fromarray(np.rint(values).astype(np.uint8))


def _halved(chroma: Image.Image) -> Image.Image:
    """Half-size chroma whose samples sit on the left of each pair, where H.264 players expect them."""
    width, height = chroma.size
    padded = Image.fromarray(np.pad(np.asarray(chroma), ((0, 0), (1, 0)), mode="edge"))
    return padded.resize((width // 2, height // 2), Image.Resampling.BILINEAR, box=(0.5, 0, width + 0.5, height))
