"""F85, S18: whatever bytes a provider delivers and whatever a decoder does with them, the run goes on."""

import asyncio
import os
import random
import time
from pathlib import Path

import pytest

from tasks.ledger import IntentState
from tasks.studio.apart import Bounds, DecoderLost, apart, now_apart
from tasks.studio.errors import ClipUnreadable
from tasks.studio.probe import Probe, probe_apart, probe_clip
from tests.proof.movies import clip
from tests.proof.scripts import SCRIPTS
from tests.tasks.stages import shooting
from tests.tasks.studio import misdeeds

TIGHT = Bounds(memory=2 << 30, cpu=1, wall=6.0, file=1 << 20)
CLIP = Path("clip.mp4")


def _does(deed: str, **facts: object) -> object:
    return now_apart(f"{misdeeds.__name__}:{deed}", CLIP, bounds=TIGHT, **facts)


@pytest.mark.parametrize("deed", ["crash", "spin", "hang"])
def test_F85_a_decoder_that_dies_or_hangs_ends_as_a_clip_that_cannot_be_read(deed: str) -> None:
    """The next clip is read by another one."""
    with pytest.raises(DecoderLost, match="cannot be read: its decoder"):
        _does(deed)
    assert _does("harmless", number=7) == 7


@pytest.mark.parametrize("deed", ["bomb", "trip", "nested"])
def test_F85_whatever_a_decoder_raises_is_said_of_the_clip(deed: str) -> None:
    """Memory without end and errors that nobody foresaw among it; the worker lives on."""
    with pytest.raises(ClipUnreadable, match="cannot be read"):
        _does(deed)
    assert _does("harmless", number=8) == 8


def test_F85_a_file_without_end_is_cut_off(tmp_path: Path) -> None:
    """What a worker writes has a limit too."""
    with pytest.raises(ClipUnreadable):
        _does("write", to=str(tmp_path / "huge"))
    assert (tmp_path / "huge").stat().st_size <= TIGHT.file


def test_F85_a_worker_has_no_prefect_no_key_and_a_session_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C is for the run."""
    monkeypatch.setenv("SHORTAPI_KEY", "canary-key-0451")
    with pytest.raises(DecoderLost):
        _does("crash")  # so that the next worker is born with this environment around it
    found = _does("surroundings")
    assert isinstance(found, dict)
    assert not [name for name in found["modules"] if name.split(".")[0] in {"prefect", "httpx"}]
    assert "canary-key-0451" not in str(found["environment"])
    assert found["session"] != os.getsid(0)
    assert found["memory"] == TIGHT.memory


async def test_F85_eight_clips_at_once_are_read_side_by_side(tmp_path: Path) -> None:
    """And each answer belongs to its clip."""
    paths = [tmp_path / f"{number}.mp4" for number in range(8)]
    for number, path in enumerate(paths):
        path.write_bytes(clip(f"job-{number}", seconds=1 + number % 3))
    found = await asyncio.gather(*(probe_apart(path) for path in paths))
    assert found == [probe_clip(path) for path in paths]


async def test_F85_whoever_is_cancelled_waits_for_no_decoder() -> None:
    """Ctrl-C over a hanging clip ends at once."""
    waiting = asyncio.create_task(apart(f"{misdeeds.__name__}:hang", CLIP, bounds=Bounds(wall=300.0)))
    await asyncio.sleep(2.0)
    began = time.monotonic()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.get_running_loop().shutdown_default_executor()
    assert time.monotonic() - began < 60


def test_F85_a_forked_process_has_workers_of_its_own(tmp_path: Path) -> None:
    """Two processes never share a pipe."""
    assert _does("harmless", number=1) == 1
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if _does("harmless", number=2) == 2 else 1)
        finally:
            os._exit(9)
    assert _does("harmless", number=3) == 3
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("seed", range(4))
def test_F85_a_damaged_clip_is_measured_or_unreadable(seed: int, tmp_path: Path) -> None:
    """Bytes flipped, cut out and put in at seeded places: no other end."""
    chance, whole, path = random.Random(seed), clip("job"), tmp_path / "clip.mp4"
    loop = asyncio.new_event_loop()
    for _ in range(60):
        movie = bytearray(whole)
        for _ in range(chance.randint(1, 6)):
            at = chance.randrange(len(movie))
            match chance.randrange(3):
                case 0:
                    movie[at] ^= 1 << chance.randrange(8)
                case 1:
                    del movie[at : at + chance.randint(1, 40)]
                case _:
                    movie[at : at + 4] = chance.randbytes(4)
        path.write_bytes(movie)
        try:
            assert isinstance(loop.run_until_complete(probe_apart(path)), Probe)
        except ClipUnreadable:
            continue
    loop.close()


def test_F85_a_clip_that_kills_its_decoder_is_held_and_the_next_shot_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paid, settled and named; fetched once, for the same bytes would kill again."""

    async def deadly(_path: Path) -> Probe:
        await apart(f"{misdeeds.__name__}:crash", CLIP, bounds=TIGHT)
        raise AssertionError("it has crashed")

    with shooting(SCRIPTS["two-shots"], tmp_path) as shoot:
        first, second = (shoot.wait(shoot.submit(number)) for number in range(2))
        with monkeypatch.context() as patched:
            patched.setattr("tasks.store.probe_apart", deadly)
            held = shoot.store(first)
        stored = shoot.store(second)
        assert shoot.production.ledger.verify() == []
    assert (held.state, stored.state) == (IntentState.RESULT_HELD, IntentState.STORED)
    assert "its decoder died" in held.reason
    assert held.settled == held.quote
