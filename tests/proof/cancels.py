"""Real flow runs of `render`, cancelled through Prefect's API while their creates are under way: the sandbox's account judges."""

import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from deployments.sandbox import Job, Sandbox
from tests.fixtures.command import Installation
from tests.fixtures.prefect_rest import Rest
from tests.fixtures.prefect_server import PrefectServer
from tests.fixtures.serving import serving
from tests.proof import worker
from tests.proof.forks import forks
from tests.proof.kills import compared
from tests.proof.worker import KEY, Place

__all__ = ["Cancelled", "cancel_many"]

SHOTS = 3
ANSWER = 3.0
"""Seconds for which each create is unanswered: far below our deadline, so that every answer can be heard."""
AT_ONCE = 3
PATIENCE = 240.0
SETTINGS = {
    "SJINN_API_KEY": KEY,
    "SJINN_USD_PER_CREDIT": "0.0007",
    "RUSHES_ALLOW_PRIVATE_URLS": "1",
    "RUSHES_AUTO_CAP": "400",
    "SHORTAPI_MAX_IN_FLIGHT": "4",
    "SJINN_MAX_IN_FLIGHT": "4",
}


@dataclass(slots=True)
class Cancelled:
    """Runs that were cancelled, jobs that were accepted by then and whose answer was still under way, and what was wrong."""

    runs: int = 0
    jobs: int = 0
    unanswered: int = 0
    wrong: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class House:
    """One installation, its sandbox, and the server through which its runs are cancelled."""

    folder: Path
    sandbox: Sandbox
    rest: Rest

    def place(self, code: str) -> Place:
        """Where a board is finished by a plain process."""
        more = {"SJINN_BASE_URL": self.sandbox.sjinn_url, **SETTINGS}
        return Place(self.folder, self.sandbox.url, f"{code.lower()}.yaml", tuple(more.items()))

    def jobs(self, code: str = "") -> list[Job]:
        """What the provider has accepted, for a board or for all."""
        return [job for job in self.sandbox.account().jobs if job.prompt.endswith(code)]


def cancel_many(runs: int, *, seed: int = 1) -> Cancelled:
    """So many runs, some at a time; then each board is collected, looked at, and rendered to its end.

    Raises:
        AssertionError, TimeoutError: no Prefect server or no `rushes serve` comes up: then nothing is proved.
    """
    done, folder = Cancelled(), Path(tempfile.mkdtemp(prefix="rushes-cancels-"))
    server = PrefectServer(Path(tempfile.mkdtemp(prefix="server-", dir=folder)))
    try:
        with Sandbox(job_seconds=1, lag=ANSWER / 30, size=64, key=KEY, callback=False) as sandbox:
            server.start()
            with closing(Rest(server.url)) as rest:
                house = House(folder, sandbox, rest)
                sandbox.fault("late-reply", times=None)
                codes = [_board(folder, number) for number in range(runs)]
                with _served(house, server.url):
                    for at in range(0, runs, AT_ONCE):
                        _cancel_some(house, codes[at : at + AT_ONCE], seed, done)
                sandbox.clear_faults()
                _judge(house, codes, done)
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)
    return done


def _board(folder: Path, number: int) -> str:
    """A board of its own at one provider or the other; its code."""
    still = folder / "still.jpg"
    if not still.exists():
        Image.linear_gradient("L").resize((480, 320)).convert("RGB").save(still)
    code, provider = f"CANCEL{number:04d}", ("shortapi", "sjinn")[number % 2]
    shots = "".join(
        f"  - {{id: SH{at:02d}0, still: still.jpg, prompt: shot {at} of {code}}}\n" for at in range(1, SHOTS + 1)
    )
    (folder / f"{code.lower()}.yaml").write_text(
        f"rushes: 1\ntitle: Cancel me\ncode: {code}\nprovider: {provider}\ndefaults: {{duration: 3}}\n"
        f"budget: {{cap: 4.00 USD, auto_approve: 4.00 USD}}\nshots:\n{shots}"
    )
    return code


@contextmanager
def _served(house: House, api: str) -> Iterator[None]:
    settings = {
        "PREFECT_HOME": str(house.folder / "prefect"),
        "PREFECT_API_URL": api,
        "SHORTAPI_BASE_URL": house.sandbox.shortapi_url,
        "SHORTAPI_KEY": KEY,
        "SJINN_BASE_URL": house.sandbox.sjinn_url,
        "RUSHES_POLL_SECONDS": "0.5",
        **SETTINGS,
    }
    with serving(Installation(house.folder, settings), "--limit", str(AT_ONCE), seconds=PATIENCE):
        yield


def _cancel_some(house: House, codes: list[str], seed: int, done: Cancelled) -> None:
    """Start runs side by side, and cancel each a seeded moment after the provider took its first job."""
    waiting: dict[str, tuple[str, float]] = {}
    for code in codes:
        asked = house.rest.start("render/render", spec=str(house.folder / f"{code.lower()}.yaml"), yes=True)
        moment = random.Random(f"{seed} {code}").uniform(0.0, 1.4 * ANSWER)
        waiting[code] = (str(asked.raise_for_status().json()["id"]), moment)
    runs, end = {code: run for code, (run, _) in waiting.items()}, time.monotonic() + PATIENCE
    while waiting and time.monotonic() < end:
        for code, (run, moment) in [*waiting.items()]:
            taken = [job.accepted_at for job in house.jobs(code)]
            if taken and time.time() >= min(taken) + moment:
                body = {"state": {"type": "CANCELLING"}, "force": False}
                house.rest.post(f"/flow_runs/{run}/set_state", body).raise_for_status()
                done.unanswered += sum(time.time() < accepted + ANSWER for accepted in taken)
                del waiting[code]
        time.sleep(0.05)
    done.wrong += [("stuck", f"{code} bought nothing within {PATIENCE:.0f} seconds") for code in waiting]
    for code in runs.keys() - waiting.keys():
        house.rest.until(runs[code], "Cancelled", seconds=PATIENCE)
        done.runs += 1


def _judge(house: House, codes: list[str], done: Cancelled) -> None:
    """Every answer came in time: collect stores every job, in doubt is none; then each board costs what it should."""
    jobs = house.jobs()
    done.jobs = len(jobs)
    if _ended(worker.collect_all, house.place("any")) != 0:
        done.wrong.append(("lost", "collect leaves something open"))
    done.wrong += compared("cancelled", house.sandbox, jobs, worker.verdict(house.place("any")))
    for code in codes:
        if _ended(worker.render, house.place(code)) != 0:
            done.wrong.append(("stuck", f"{code} is not finished by the next render"))
    jobs = house.jobs()
    if len(jobs) != SHOTS * len(codes):
        done.wrong.append(("books", f"{len(jobs)} jobs for {SHOTS * len(codes)} shots"))
    done.wrong += compared("finished", house.sandbox, jobs, worker.verdict(house.place("any")))


def _ended(work: Callable[[Place], None], place: Place) -> int | None:
    """The exit code of a process of its own; None where it does not end."""
    process = forks().Process(target=work, args=(place,))
    process.start()
    process.join(PATIENCE)
    code = process.exitcode
    process.kill()
    return code
