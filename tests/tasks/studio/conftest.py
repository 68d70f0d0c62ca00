"""Stills and orders small enough to film in a moment."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tasks.studio.render import Animatic, Beat, render_animatic

Film = Callable[..., Path]


def textured(width: int, height: int, seed: int = 1) -> Image.Image:
    """A picture with detail at every scale and plenty of colour."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3))
    for cells in (3, 9, 40):
        grid = Image.fromarray(rng.integers(0, 256, (cells, cells, 3)).astype(np.uint8))
        picture += np.asarray(grid.resize((width, height), Image.Resampling.BICUBIC), float) / 3
    return Image.fromarray(picture.astype(np.uint8))


@pytest.fixture(scope="session")
def still(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 16:9 still."""
    path = tmp_path_factory.mktemp("stills") / "field.png"
    textured(640, 360).save(path)
    return path


@pytest.fixture(scope="session")
def other_still(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A still of another shape and other colours."""
    path = tmp_path_factory.mktemp("stills") / "square.jpg"
    textured(400, 400, seed=7).save(path, quality=92)
    return path


@pytest.fixture
def order(still: Path) -> Callable[..., Animatic]:
    """An order for a small animatic; keyword arguments override."""

    def build(prompt: str = "Slow push in", seconds: int = 3, **fields: Any) -> Animatic:
        beats = (Beat(prompt, seconds),)
        return replace(Animatic("SH010", 1, "LIFTOFF", still, None, beats, audio=False, long_side=160), **fields)

    return build


@pytest.fixture
def film(order: Callable[..., Animatic], tmp_path: Path) -> Film:
    """Renders an order to a new file and answers its path."""

    def render(*args: Any, **fields: Any) -> Path:
        out = tmp_path / f"clip{len(list(tmp_path.glob('clip*.mp4')))}.mp4"
        render_animatic(order(*args, **fields), out)
        return out

    return render


@pytest.fixture(scope="session")
def clip(still: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A healthy three-second clip with sound; not to be written to."""
    out = tmp_path_factory.mktemp("clips") / "healthy.mp4"
    beats = (Beat("Pan left", 3),)
    render_animatic(Animatic("SH010", 1, "LIFTOFF", still, None, beats, audio=True, long_side=160), out)
    return out
