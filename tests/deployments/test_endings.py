"""A run that is ended while a create is unanswered: whoever ends it, the answer is heard and its job is recorded."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import pytest

from deployments.sandbox import Sandbox
from tasks.ledger import Intent, IntentState
from tasks.production import Production
from tasks.settings import Settings
from tests.fixtures.boards import board, stills
from tests.fixtures.command import Installation
from tests.fixtures.pool import pool_settings, worker
from tests.fixtures.prefect_rest import Rest
from tests.fixtures.serving import eventually, serving

pytestmark = [pytest.mark.prefect, pytest.mark.slow]
PATIENCE = 240


@dataclass
class Slow:
    """An installation whose providers take every job at once and answer the create ten seconds later."""

    house: Installation
    sandbox: Sandbox

    def spec(self, provider: str, code: str) -> str:
        """A board of two shots."""
        path = self.house.folder / f"{code.lower()}.yaml"
        path.write_text(board(code=code, provider=provider, shots=2).replace("prompt: Push", f"prompt: {code} push"))
        return str(path)

    def sent(self, code: str) -> bool:
        """Whether the provider has taken both jobs of a board, none of which it has told us of yet."""
        if sum(job.prompt.startswith(f"{code} ") for job in self.sandbox.account().jobs) < 2:
            return False
        assert {one.state for one in self.orders(code)} == {IntentState.SUBMITTING}
        return True

    def orders(self, code: str) -> list[Intent]:
        """What the ledger knows of a board."""
        production = Production.open(Settings.load().model_copy(update={"home": self.house.home}))
        try:
            return production.ledger.intents(board=code)
        finally:
            production.ledger.close()

    def assert_recorded(self, code: str) -> None:
        """The ledger names exactly the jobs that the provider took, and nothing is in doubt."""
        taken = {job.job_id for job in self.sandbox.account().jobs if job.prompt.startswith(f"{code} ")}
        orders = self.orders(code)
        assert {one.state for one in orders} == {IntentState.SUBMITTED}, [one.doubt_reason for one in orders]
        assert {one.job_id for one in orders} == taken


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slow]:
    """Its jobs take an hour."""
    folder = tmp_path_factory.mktemp("slow")
    stills(folder / "stills")
    with Sandbox(job_seconds=3600, key="sandbox", lag=1 / 3) as sandbox:
        sandbox.fault("late-reply", times=None)
        settings = {
            "PREFECT_HOME": str(folder / "prefect"),
            "SHORTAPI_BASE_URL": sandbox.shortapi_url,
            "RUSHES_AUTO_CAP": "40",
            "SHORTAPI_KEY": "sandbox",
            "SJINN_BASE_URL": sandbox.sjinn_url,
            "SJINN_API_KEY": "sandbox",
            "SJINN_USD_PER_CREDIT": "0.0007",
            "RUSHES_ALLOW_PRIVATE_URLS": "1",
            "RUSHES_POLL_SECONDS": "0.5",
            "SHORTAPI_MAX_IN_FLIGHT": "16",
        }
        yield Slow(Installation(folder, settings), sandbox)


@pytest.mark.xdist_group("prefect")
def test_F96_a_run_that_is_cancelled_or_whose_serve_ends_records_what_it_was_sent(slow: Slow, prefect_api: str) -> None:
    """Cancelled by the API at both providers; then SIGTERM to `rushes serve`: every job has its id, nothing is in doubt.

    What was cancelled is Cancelled, and what `serve` ended is scheduled again.
    """
    rest = Rest(prefect_api)
    with ExitStack() as stack:
        stack.callback(rest.close)
        served = stack.enter_context(serving(slow.house, seconds=PATIENCE, PREFECT_API_URL=prefect_api))
        runs = {"ENDED1": "shortapi", "ENDED2": "sjinn"}
        for code, provider in runs.items():
            runs[code] = started(rest, slow.spec(provider, code))
            eventually(partial(slow.sent, code), PATIENCE)
            set_state(rest, runs[code], "CANCELLING")
        for code, run in runs.items():
            rest.until(run, "Cancelled", seconds=PATIENCE)
            slow.assert_recorded(code)
        run = started(rest, slow.spec("shortapi", "TERM"))
        eventually(partial(slow.sent, "TERM"), PATIENCE)
        assert served.end(PATIENCE) == 0
        slow.assert_recorded("TERM")
        assert rest.run(run)["state"]["type"] == "SCHEDULED"
        set_state(rest, run, "CANCELLED", force=True)


def set_state(rest: Rest, run: str, kind: str, *, force: bool = False) -> None:
    """What the UI's buttons do."""
    rest.post(f"/flow_runs/{run}/set_state", {"state": {"type": kind}, "force": force}).raise_for_status()


def started(rest: Rest, spec: str) -> str:
    """A new run of `render`."""
    return str(rest.start("render/render", spec=spec, yes=True).raise_for_status().json()["id"])


@pytest.mark.xdist_group("prefect")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_F96_a_render_by_hand_hears_the_answer_however_often_it_is_interrupted(
    slow: Slow, prefect_api: str, number: signal.Signals
) -> None:
    """130, with the jobs that go on; the second and third signal change nothing."""
    code = f"HAND{number.name}"
    running = slow.house.start("render", slow.spec("shortapi", code), "--yes", PREFECT_API_URL=prefect_api)
    eventually(partial(slow.sent, code), PATIENCE)
    for _ in range(3):
        running.send_signal(number)
        with pytest.raises(subprocess.TimeoutExpired):
            running.wait(0.5)
    said = running.communicate(timeout=PATIENCE)[0]
    assert running.returncode == 130, said
    assert f"{code} SH010 TK01, {code} SH020 TK01" in said
    assert "the answer to what was sent is waited for" in said
    slow.assert_recorded(code)


@pytest.mark.postgres
@pytest.mark.redis
@pytest.mark.xdist_group("pool")
def test_F96_a_worker_that_is_told_to_end_lets_its_runs_hear_the_answer(slow: Slow, pool: Rest) -> None:
    """SIGTERM to the worker alone, as a container's end does it: it ends by itself, and every job has its id."""
    with worker(Installation(slow.house.folder, {**slow.house.settings, **pool_settings(pool.url)})) as process:
        started(pool, slow.spec("shortapi", "WORKER"))
        eventually(partial(slow.sent, "WORKER"), PATIENCE)
        process.terminate()
        assert process.wait(PATIENCE) == 0
    slow.assert_recorded("WORKER")
