"""Rehearsal: the same render against stand-in providers on this machine, in a ledger and a store of its own, for nothing."""

import json
import select
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tasks.errors import SetupProblem
from tasks.seams import SystemRng
from tasks.settings import Settings, override, prefect_credentials

__all__ = ["rehearsal_home", "rehearsing"]

START = 30.0


@contextmanager
def rehearsing(faults: Sequence[str], *, speed: float) -> Iterator[str]:
    """Start a sandbox, point the settings of this process at it, and end it; yields the address of its page.

    Jobs take as long as real ones divided by `speed`. Ledger, store and the sandbox's account lie under `rehearsal` in the
    installation's home and store, and stay: a rehearsal can be gone on with like a render.
    """
    settings = Settings.load()
    home = settings.home / "rehearsal"
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    words = [word for fault in faults for word in ("--fault", fault)]
    command = ["-m", "flows.cli", "sandbox", "--json", "--port", "0", "--speed", str(speed), *words]
    account = home / "sandbox.jsonl"
    process = subprocess.Popen(
        [sys.executable, *command, "--account", str(account)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        urls = _urls(process)
        override(prefect_credentials(settings.home) | _pointed(settings, home, urls))
        yield urls["url"]
    finally:
        process.terminate()
        process.wait(START)


def rehearsal_home() -> Path:
    """The home of the rehearsal that this process is in."""
    return Settings.load().home


def _urls(process: "subprocess.Popen[str]") -> Mapping[str, str]:
    """The sandbox's first line."""
    assert process.stdout is not None
    assert process.stderr is not None
    ready, _, _ = select.select([process.stdout], [], [], START)
    line = process.stdout.readline() if ready else ""
    if not line:
        process.terminate()
        raise SetupProblem(
            f"the sandbox did not start: {process.stderr.read().strip()[-500:]}", "Try `rushes sandbox`."
        )
    urls: Mapping[str, str] = json.loads(line)
    return urls


def _pointed(settings: Settings, home: Path, urls: Mapping[str, str]) -> dict[str, str]:
    rate, key = settings.sjinn_usd_per_credit, SystemRng().token()
    return {
        "RUSHES_HOME": str(home),
        "RUSHES_STORE": f"{settings.store.rstrip('/')}/rehearsal",
        "RUSHES_LEDGER": "",
        "RUSHES_PUBLISH": "",
        "RUSHES_CALLBACK_URL": "",
        "SHORTAPI_KEY": key,
        "SHORTAPI_BASE_URL": urls["shortapi_url"],
        "SJINN_API_KEY": key,
        "SJINN_BASE_URL": urls["sjinn_url"],
        "SJINN_USD_PER_CREDIT": str(rate) if rate else "",
        **({} if settings.poll_seconds else {"RUSHES_POLL_SECONDS": "0.5"}),
    }
