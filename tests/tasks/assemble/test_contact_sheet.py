"""The contact sheet shows every shot, whatever became of it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks.assemble.contact_sheet import make_contact_sheet
from tests.tasks.assemble.clips import foreign_clip
from tests.tasks.reports import missing, report, row

CELL = (360, 202)


@pytest.fixture(scope="module")
def bright(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of one bright shade, 16:9."""
    return foreign_clip(tmp_path_factory.mktemp("clips") / "bright.mp4", frames=24, fps=24, size=(320, 180), rate=None)


def cell(sheet: Image.Image, column: int, line: int) -> np.ndarray:
    """The picture area of one place on a sheet of 16:9 shots."""
    left, top = 40 + column * (CELL[0] + 24), 96 + line * (CELL[1] + 84)
    return np.asarray(sheet.convert("L"))[top : top + CELL[1], left : left + CELL[0]]


def test_takes_show_a_picture_and_missing_shots_a_slate(tmp_path: Path, bright: Path) -> None:
    """The first place is the clip's picture, the second a dark slate with words on it."""
    out = tmp_path / "contact.jpg"
    make_contact_sheet(report(row("SH010", clip=bright), missing("SH020", note="moderated")), out)

    with Image.open(out) as sheet:
        taken, gone = cell(sheet, 0, 0), cell(sheet, 1, 0)
    assert taken[4:-4, 4:-4].min() > 150
    assert gone[190, 10] < 60
    assert gone.max() > 100
    assert [path.name for path in tmp_path.iterdir()] == ["contact.jpg"]


def test_thirty_shots_stay_legible_on_six_columns(tmp_path: Path, bright: Path) -> None:
    """Each shot keeps 360 pixels of width."""
    rows = [row(f"SH{number:03}", clip=bright if number < 2 else None) for number in range(30)]
    make_contact_sheet(report(*rows), tmp_path / "contact.jpg")

    with Image.open(tmp_path / "contact.jpg") as sheet:
        assert sheet.size == (40 + 6 * (360 + 24) - 24 + 40, 96 + 40 + 5 * (202 + 84))


@pytest.mark.parametrize("name", ["\u4e2d\u6587 title", "x" * 300, "\ud800", ""])
def test_any_title_and_note_can_be_drawn(tmp_path: Path, name: str) -> None:
    """What the font cannot write is shown as a question mark; what is too long is shortened."""
    make_contact_sheet(report(missing(note=name), title=name), tmp_path / "contact.jpg")

    assert (tmp_path / "contact.jpg").stat().st_size > 1000


def test_a_broken_clip_is_a_slate(tmp_path: Path) -> None:
    """The sheet is made all the same."""
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no clip")
    make_contact_sheet(report(row(clip=broken)), tmp_path / "contact.jpg")

    with Image.open(tmp_path / "contact.jpg") as sheet:
        assert cell(sheet, 0, 0)[190, 10] < 60


def test_a_run_without_rows_has_an_empty_sheet(tmp_path: Path) -> None:
    """Nothing to show is no error."""
    make_contact_sheet(report(), tmp_path / "contact.jpg")

    assert (tmp_path / "contact.jpg").exists()
