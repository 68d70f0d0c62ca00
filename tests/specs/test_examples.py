"""The example boards: what a director reads first must load, fit, stay under its own caps and name its sources."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest
from PIL import Image

from specs.checks import warnings
from specs.loader import load_with_source
from specs.money import USD, Money
from specs.request import AUTO
from specs.source import Source
from specs.storyboard import Storyboard
from tasks.prices import quote
from tasks.providers import PROVIDERS, misfits

EXAMPLES = Path(__file__).parents[2] / "specs/examples"
BOARDS = sorted(
    path for path in EXAMPLES.iterdir() if path.suffix in {".yaml", ".csv"} and not path.name.endswith(".board.yaml")
)
MODELINE = "# yaml-language-server: $schema=../storyboard.schema.json"


@dataclass(frozen=True)
class Measured:
    """A still as its provider will see it."""

    format: str
    width: int
    height: int
    size: int


def read(path: Path) -> tuple[Storyboard, Source]:
    """A board of the examples, with its sidecar where it is a shot list."""
    beside = path.with_suffix(".board.yaml")
    sidecar = (beside.name, beside.read_bytes()) if path.suffix == ".csv" else None
    return load_with_source(path.read_bytes(), name=path.name, sidecar=sidecar)


def measured(board: Storyboard) -> dict[str, Measured]:
    """Every still of a board."""
    found: dict[str, Measured] = {}
    for address in {address for request in board.requests() for address in request.stills}:
        with Image.open(EXAMPLES / address) as picture:
            found[address] = Measured(str(picture.format), *picture.size, (EXAMPLES / address).stat().st_size)
    return found


def prices(board: Storyboard, provider: str) -> Iterator[Money]:
    """What each shot would cost there."""
    for request in board.requests():
        yield quote(provider, PROVIDERS[provider].caps.model, request).money


def test_there_are_boards_to_read() -> None:
    """The five boards of the documentation are there."""
    assert [path.name for path in BOARDS] == [
        "liftoff.yaml",
        "multishot.yaml",
        "shotlist.csv",
        "thirty.yaml",
        "vertical.yaml",
    ]


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.name)
def test_every_example_is_sound(path: Path) -> None:
    """It loads, and nothing about it is hardly meant."""
    board, source = read(path)
    assert not [str(issue) for issue in warnings(board, source)]


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.name)
def test_every_example_fits_the_providers_it_names_and_shortapi(path: Path) -> None:
    """Nothing of it would be refused, its stills included."""
    board, _ = read(path)
    stills = measured(board)
    for provider in {*board.provider, "animatic", "shortapi"}:
        caps = PROVIDERS[provider].caps
        assert not [found for request in board.requests() for found in misfits(request, caps, stills)]


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.name)
def test_every_example_could_be_bought_within_its_own_budget(path: Path) -> None:
    """Priced at ShortAPI, no shot and no board goes over its caps."""
    board, _ = read(path)
    amounts = list(prices(board, "shortapi"))
    assert board.budget
    assert board.budget.cap
    assert board.budget.per_shot
    assert sum(amounts, Money(0, USD)) <= board.budget.cap
    assert all(amount <= board.budget.per_shot for amount in amounts)


@pytest.mark.parametrize("path", [path for path in BOARDS if path.suffix == ".yaml"], ids=lambda path: path.name)
def test_every_example_names_its_schema_first(path: Path) -> None:
    """An editor with a YAML language server completes and checks the boards without any setting."""
    assert path.read_text(encoding="utf-8").splitlines()[0] == MODELINE
    assert (path.parent / MODELINE.partition("=")[2]).resolve().is_file()


def test_liftoff_shows_the_grammar_in_twenty_seconds_for_less_than_its_approval() -> None:
    """The first board has a pro shot, a shot with sound and one with an end still, and buys nothing unless told to."""
    board, _ = read(EXAMPLES / "liftoff.yaml")
    requests = board.requests()
    assert (board.code, board.provider) == ("LIFTOFF", ("animatic",))
    assert 18 <= sum(request.duration for request in requests) <= 22
    assert Counter(request.mode for request in requests)["pro"] == 1
    assert sum(request.audio for request in requests) == 1
    assert sum(request.end_still is not None for request in requests) == 1
    assert board.budget
    assert board.budget.auto_approve
    assert sum(prices(board, "shortapi"), Money(0, USD)) <= board.budget.auto_approve


def test_multishot_shows_every_way_to_cut() -> None:
    """A list of cuts, cuts by the model, elements, an end still and a second take stand side by side."""
    requests = read(EXAMPLES / "multishot.yaml")[0].requests()
    assert any(isinstance(request.cuts, tuple) for request in requests)
    assert any(request.cuts == AUTO for request in requests)
    assert any(request.elements and request.elements[0].references for request in requests)
    assert any(request.end_still for request in requests)
    assert any(request.take > 1 for request in requests)


def test_thirty_has_thirty_short_shots() -> None:
    """A long board of shots of 3 to 5 seconds, from few stills."""
    requests = read(EXAMPLES / "thirty.yaml")[0].requests()
    assert len(requests) == 30
    assert {request.duration for request in requests} <= {3, 4, 5}
    assert len({request.still for request in requests}) <= 12


def test_vertical_is_upright() -> None:
    """Every still of the phone board is higher than wide."""
    assert all(still.height > still.width for still in measured(read(EXAMPLES / "vertical.yaml")[0]).values())


def test_stills_suit_every_provider_and_stay_small() -> None:
    """JPEG, 300 px a side or more, 0.4 to 2.5 wide to high: the strictest limits known; together less than 1 MiB."""
    paths = sorted((EXAMPLES / "stills").iterdir())
    for path in paths:
        with Image.open(path) as picture:
            assert picture.format == "JPEG"
            assert min(picture.size) >= 300
            assert Decimal("0.4") <= Decimal(picture.width) / picture.height <= Decimal("2.5")
            assert not picture.getexif()
    assert sum(path.stat().st_size for path in paths) < 1 << 20


def test_every_still_is_used_and_credited() -> None:
    """No still lies about, and each has its source and its rights in CREDITS.md."""
    used = {address for path in BOARDS for request in read(path)[0].requests() for address in request.stills}
    stills = {f"stills/{path.name}" for path in (EXAMPLES / "stills").iterdir()}
    assert used == stills
    credits_ = (EXAMPLES / "CREDITS.md").read_text(encoding="utf-8")
    assert not [still for still in stills if f"`{still.removeprefix('stills/')}`" not in credits_]
