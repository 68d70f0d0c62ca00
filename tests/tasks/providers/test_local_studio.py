"""The local studio: renders for nothing, over the same wire, and loses nothing when it is stopped or killed."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tasks.http import Wire
from tasks.netguard import AddressRules
from tasks.providers import PROVIDERS
from tasks.providers.interface import Accepted, Failure, Handle, Kind, Media, Reply, Request, Snapshot, State
from tasks.providers.local_studio import LocalStudio
from tasks.seams import SystemClock
from tests.contract.orders import shot

ANIMATIC = PROVIDERS["animatic"]
BASE = "animatic://local"


@pytest.fixture
def still(tmp_path: Path) -> Path:
    """A small picture, so that rendering is quick."""
    path = tmp_path / "still.png"
    Image.radial_gradient("L").resize((320, 180)).convert("RGB").save(path)
    return path


class Bench:
    """A wire with a studio, as production opens it."""

    def __init__(self, home: Path, progress: Callable[[str, float], None] | None = None) -> None:
        self.wire = Wire(clock=SystemClock(), mounts={"animatic://": LocalStudio(home, threads=1, progress=progress)})

    async def create(self, still: Path, intent: str = "01JOB", **changes: Any) -> Reply:
        """Ask for a three-second shot."""
        request = shot(**{"duration": 3, **changes})
        media = Media({request.still: str(still)})
        asked = ANIMATIC.encode(
            request, media, base_url=BASE, intent_id=intent, callback_url=None, board="LIFTOFF", take=1
        )
        return await self.wire.create(asked, auth=None, deadline=10)

    async def poll(self, intent: str = "01JOB") -> Snapshot | Failure:
        """Ask once."""
        handle = Handle("animatic", "animatic", BASE, "default", intent)
        return ANIMATIC.decode_poll(handle, await self.wire.call(ANIMATIC.poll_request(handle), auth=None, deadline=10))

    async def finished(self, intent: str = "01JOB") -> Snapshot:
        """Ask until the job is over."""
        while True:
            answer = await self.poll(intent)
            assert isinstance(answer, Snapshot)
            if answer.state not in {State.QUEUED, State.RUNNING}:
                return answer
            await asyncio.sleep(0.02)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """A studio in the test's folder."""
    bench = Bench(tmp_path / "home")
    yield bench
    await bench.wire.close()


async def test_a_shot_is_rendered_and_downloaded(tmp_path: Path, still: Path) -> None:
    """Create, poll to the end, stream the clip; progress rises to the whole."""
    heard: list[float] = []
    bench = Bench(tmp_path / "home", lambda job, share: heard.append(share) if job == "01JOB" else None)
    accepted = ANIMATIC.decode_submit(await bench.create(still))
    assert isinstance(accepted, Accepted)
    done = await bench.finished(accepted.job_id)
    assert (done.state, done.urls) == (State.SUCCEEDED, ("animatic://local/clips/01JOB.mp4",))
    async with bench.wire.stream(done.urls[0], {}, rules=AddressRules(allow_private=False)) as stream:
        clip = b"".join([chunk async for chunk in stream.chunks()])
    assert stream.headers["content-type"] == "video/mp4"
    assert int(stream.headers["content-length"]) == len(clip)
    assert clip[4:8] == b"ftyp"
    assert heard == sorted(heard)
    assert heard[-1] == 1.0
    await bench.wire.close()


async def test_creating_twice_is_one_job(bench: Bench, still: Path, tmp_path: Path) -> None:
    """The same order again is the same job; another order under its id is refused."""
    first, again = [ANIMATIC.decode_submit(await bench.create(still)) for _ in range(2)]
    assert first == again
    other = ANIMATIC.decode_submit(await bench.create(still, prompt="Something else"))
    assert isinstance(other, Failure)
    assert other.kind is Kind.INVALID
    assert [one.name for one in (tmp_path / "home" / "animatic").iterdir()] == ["01JOB"]


async def test_a_bad_still_fails_its_job_for_nothing(bench: Bench, tmp_path: Path) -> None:
    """The reason names the file, the cost is zero, and a new process says the same."""
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    await bench.create(broken)
    failed = await bench.finished()
    assert (failed.state, failed.refunded, failed.kind) == (State.FAILED, True, Kind.GENERATION)
    assert "broken.jpg" in failed.reason
    other = Bench(tmp_path / "home")
    assert await other.finished() == failed
    await other.wire.close()


async def test_closing_stops_the_render_and_a_query_starts_it_again(tmp_path: Path, still: Path) -> None:
    """Nothing whole lies under the final name until a later process finishes the job."""
    first = Bench(tmp_path / "home")
    await first.create(still, duration=6)
    await first.wire.close()
    folder = tmp_path / "home" / "animatic" / "01JOB"
    assert sorted(one.name for one in folder.iterdir()) == ["request.json"]
    second = Bench(tmp_path / "home")
    running = await second.poll()
    assert isinstance(running, Snapshot)
    assert running.state is State.RUNNING
    assert (await second.finished()).state is State.SUCCEEDED
    await second.wire.close()


async def test_a_killed_process_leaves_a_job_that_is_taken_up(bench: Bench, tmp_path: Path, still: Path) -> None:
    """A folder with an order and half a clip, as a kill leaves it, is rendered on the first query."""
    await bench.create(still, intent="01SEED")
    await bench.finished("01SEED")
    order = json.loads((tmp_path / "home" / "animatic" / "01SEED" / "request.json").read_text(encoding="utf-8"))
    folder = tmp_path / "home" / "animatic" / "01KILLED"
    folder.mkdir()
    (folder / "request.json").write_text(json.dumps({**order, "id": "01KILLED"}), encoding="utf-8")
    (folder / "clip.1.part.mp4").write_bytes(b"half")
    assert (await bench.finished("01KILLED")).urls == ("animatic://local/clips/01KILLED.mp4",)


async def test_an_unknown_job_is_not_found(bench: Bench) -> None:
    """Nothing is made up."""
    answer = await bench.poll("01NOBODY")
    assert isinstance(answer, Failure)
    assert answer.kind is Kind.NOT_FOUND


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "../escape"},
        {"id": "a/b"},
        {"id": "x\n"},
        {"id": ""},
        {"id": None},
        {"beats": []},
        {"beats": [{"prompt": "x", "seconds": 0}]},
        {"beats": [{"prompt": "x", "seconds": True}]},
        {"beats": [{"prompt": None, "seconds": 3}]},
        {"beats": "x"},
        {"take": "1"},
        {"audio": 1},
        {"still": None},
    ],
)
async def test_S03_an_order_that_is_wrong_is_refused(bench: Bench, tmp_path: Path, changes: dict[str, Any]) -> None:
    """Ids that leave the folder, and fields of the wrong type, make no job."""
    order = {
        "id": "01JOB",
        "board": "B",
        "shot": "SH010",
        "take": 1,
        "still": "x.png",
        "end_still": None,
        "beats": [{"prompt": "x", "seconds": 3}],
        "audio": False,
    }
    reply = await bench.wire.create(Request("POST", f"{BASE}/jobs", {**order, **changes}), auth=None, deadline=10)
    assert reply.status == 422
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    "path", ["/", "/jobs/..%2f..%2fetc", "/clips/..%2fx.mp4", "/clips/01JOB.mp4", "/jobs/a/b", "/other"]
)
async def test_S03_other_paths_lead_nowhere(bench: Bench, path: str) -> None:
    """Only jobs and clips by plain names."""
    reply = await bench.wire.call(Request("GET", f"{BASE}{path}"), auth=None, deadline=10)
    assert reply.status == 404
