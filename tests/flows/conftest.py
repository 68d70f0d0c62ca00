"""An installation of its own for each test, talking to one real Prefect server."""

from pathlib import Path

import pytest

from tests.fixtures.command import Installation
from tests.fixtures.prefect_server import prefect_api
from tests.fixtures.s3 import s3_server, s3_url

__all__ = ["prefect_api", "s3_server", "s3_url"]


@pytest.fixture
def house(tmp_path: Path, prefect_api: str) -> Installation:
    """An installation whose flows run against the shared Prefect server."""
    return Installation(tmp_path, {"PREFECT_API_URL": prefect_api})


@pytest.fixture
def offline(tmp_path: Path) -> Installation:
    """An installation for commands that never touch Prefect."""
    return Installation(tmp_path)


@pytest.fixture
def small_board(tmp_path: Path) -> Path:
    """Three short shots of small stills: quick to render, and all different."""
    from PIL import Image

    stills = tmp_path / "board" / "stills"
    stills.mkdir(parents=True)
    for name, colour in (("red", (180, 40, 30)), ("green", (40, 150, 60)), ("blue", (30, 60, 170))):
        picture = Image.linear_gradient("L").resize((480, 320)).convert("RGB")
        Image.blend(picture, Image.new("RGB", picture.size, colour), 0.6).save(stills / f"{name}.jpg")
    board = tmp_path / "board" / "board.yaml"
    board.write_text(
        "rushes: 1\ntitle: Three colours\ncode: COLOURS\ndefaults: {duration: 3}\nshots:\n"
        "  - {id: SH010, still: stills/red.jpg, prompt: Push in}\n"
        "  - {id: SH020, still: stills/green.jpg, prompt: Pan left}\n"
        "  - {id: SH030, still: stills/blue.jpg, prompt: Tilt up, audio: true}\n"
    )
    return board
