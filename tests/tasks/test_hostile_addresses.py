"""F85: an address that a parser trips over is refused at its place, as a result, as a redirect and as a still."""

import string
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.download import Undeliverable, download
from tasks.errors import RushesError, StillInvalid, Transient
from tasks.http import Wire
from tasks.netguard import AddressRefused, AddressRules
from tasks.providers.interface import Request
from tasks.seams import SystemClock
from tasks.stills import fetch_still
from tests.fixtures.command import Installation
from tests.fixtures.filehost import Answer, file_host

HOSTILE = [
    "https://xn--a/x.mp4",
    "https://xn--/x.mp4",
    "https://a.xn--0.example/x.mp4",
    "https://xn--iñvalid.example/x.mp4",
    "https://xn--999999999/x.mp4",
    f"https://xn--{'a' * 70}.example/x.mp4",
    "https://[::1/x.mp4",
    "https://[v1.x]/x.mp4",
    "https://host:port/x.mp4",
    "https://host:99999999999999999999/x.mp4",
    "https://%zz/x.mp4",
    "https://a\u3002b/x.mp4",
    "https://./x.mp4",
    "https:///x.mp4",
]


async def _nowhere(_host: str, _port: int) -> Sequence[str]:
    raise OSError("no such name")


OPEN = AddressRules(allow_private=True, resolver=_nowhere)


class QuickClock(SystemClock):
    """Nobody sleeps."""

    async def sleep(self, seconds: float) -> None:
        """Go on at once."""


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    """The HTTP layer, as in production."""
    wire = Wire(clock=SystemClock())
    yield wire
    await wire.close()


@pytest.mark.parametrize("url", HOSTILE)
async def test_F85_a_hostile_address_is_refused_as_a_result_and_as_a_still(
    url: str, wire: Wire, tmp_path: Path
) -> None:
    """`https://xn--a/` raises idna's own error out of httpx: here it is a refusal like any other."""
    clip, clock = tmp_path / "clip.mp4", QuickClock()
    with pytest.raises((Undeliverable, Transient), match="address"):
        await download(url, clip, wire=wire, rules=OPEN, max_bytes=1 << 20, clock=clock, stall=1.0)
    with pytest.raises(StillInvalid):
        await fetch_still(url, base=str(tmp_path), cache=tmp_path / "cache", rules=OPEN, wire=wire)


@pytest.mark.parametrize("url", [one for one in HOSTILE if one.isascii()])
async def test_F85_a_redirect_to_a_hostile_address_is_no_defect(url: str, wire: Wire, tmp_path: Path) -> None:
    """Httpx reads the Location of every answer by itself, of a query's too."""
    async with file_host() as host:
        host.offer("/a.mp4", Answer(b"", 302, {"Location": url}))
        with pytest.raises((Undeliverable, AddressRefused, Transient)):
            async with wire.stream(f"{host.url}/a.mp4", {}, rules=OPEN):
                pass
        try:
            reply = await wire.call(Request("GET", f"{host.url}/a.mp4", None), auth=None, deadline=10)
        except Transient:
            return
    assert reply.status == 302


_LABEL = st.text(string.ascii_letters + string.digits + "-_.~%[]:@!$&'()*+,;=", max_size=30)


@given(st.sampled_from(["https", "http"]), _LABEL, _LABEL)
def test_F85_any_host_of_the_xn_kind_is_vetted_or_refused(scheme: str, label: str, rest: str) -> None:
    """Whatever stands behind `xn--`."""

    async def resolver(_host: str, _port: int) -> Sequence[str]:
        return ["93.184.216.34"]

    checked = AddressRules(allow_private=True, resolver=resolver).vet(f"{scheme}://xn--{label}/{rest}")
    try:
        checked.send(None)
    except (StopIteration, RushesError):
        return
    raise AssertionError("the resolver of this test never waits")


def test_F85_plan_and_check_name_the_place_of_a_hostile_still(tmp_path: Path) -> None:
    """Exit 3 and file:line:col, no traceback."""
    board = tmp_path / "board.yaml"
    board.write_text(
        "rushes: 1\ntitle: T\ncode: HOST\nprovider: animatic\ndefaults: {duration: 3}\nshots:\n"
        "  - id: SH010\n    still: https://xn--a/x.jpg\n    prompt: Push in\n"
    )
    for words in (["plan"], ["check", "--stills"]):
        printed = Installation(tmp_path).run(*words, str(board))
        assert printed.code == 3, printed.err
        assert "board.yaml:8:5: shots.0.still: https://xn--a/x.jpg: the address cannot be read" in (
            printed.out + printed.err
        )
        assert "Traceback" not in printed.err


async def test_F85_a_defect_in_a_still_is_told_at_its_place_and_is_exit_1(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A wire that trips over one still: both stills are told, that one with exit code 1."""
    from flows.plan import Ask, make_plan
    from specs.errors import SpecError
    from tasks.production import Production
    from tasks.settings import Settings

    board = tmp_path / "board.yaml"
    board.write_text(
        "rushes: 1\ntitle: T\ncode: HOST\nprovider: animatic\ndefaults: {duration: 3}\nshots:\n"
        "  - {id: SH010, still: https://files.example/a.jpg, prompt: Push in}\n"
        "  - {id: SH020, still: gone.jpg, prompt: Push in}\n"
    )
    settings = Settings.load({"RUSHES_HOME": str(tmp_path / "home"), "RUSHES_STORE": str(tmp_path / "store")})
    async with Production.open(settings) as production:
        production.wire.stream = None  # type: ignore[assignment, method-assign]
        with pytest.raises(SpecError) as caught:
            await make_plan(production, Ask(str(board)))
    first, second = map(str, caught.value.issues)
    assert caught.value.exit_code == 1
    assert "shots.0.still: cannot be used: a defect of Rushes (TypeError" in first
    assert "gone.jpg: not found" in second
    assert "Traceback" in caplog.text
