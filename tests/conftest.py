"""A clean environment for every test, and tests that need a system package skipped where it is absent (never in CI)."""

import os
import shutil
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

NEEDS = {"browser": "chromium", "ffprobe": "ffprobe", "melt": "melt", "redis": "redis-server"}


def pytest_configure() -> None:
    """A suite that was started in the background ignores Ctrl-C, and so would every process that it starts.

    No property is about time: what is slow on a busy machine is no flaw.
    """
    settings.register_profile("rushes", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("rushes")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what cannot run here; with RUSHES_TESTS_REQUIRE_ALL nothing is skipped, so that CI is whole."""
    if os.environ.get("RUSHES_TESTS_REQUIRE_ALL"):
        return
    for item in items:
        for mark, program in NEEDS.items():
            if item.get_closest_marker(mark) and shutil.which(program) is None:
                item.add_marker(pytest.mark.skip(reason=f"needs {program}, which is not installed"))


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the developer's reaches a test; ledger, store and Prefect's home lie in the test's own folder."""
    for name in list(os.environ):
        if (
            name.startswith(("RUSHES_", "SHORTAPI_", "SJINN_", "ANIMATIC_", "PREFECT_"))
            and name != "RUSHES_TESTS_REQUIRE_ALL"
        ):
            monkeypatch.delenv(name)
    monkeypatch.setenv("RUSHES_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RUSHES_STORE", str(tmp_path / "store"))
