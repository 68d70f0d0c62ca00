"""The registry: every adapter is in it, and it is cheap to open."""

import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

import tasks.providers
from tasks.providers import PROVIDERS
from tasks.providers.capabilities import capabilities
from tasks.providers.interface import Provider

HEAVY = {"av", "PIL", "numpy", "httpx", "sqlalchemy", "prefect", "pydantic", "fsspec"}
METHODS = {name for name, _ in inspect.getmembers(Provider, inspect.isfunction) if not name.startswith("_")}


def test_every_adapter_is_registered() -> None:
    """The classes of the folder that offer a provider's methods are those of the registry, no more and no fewer."""
    modules = [
        importlib.import_module(f"tasks.providers.{one.name}") for one in pkgutil.iter_modules(tasks.providers.__path__)
    ]
    adapters = {
        kind
        for module in modules
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if kind.__module__ == module.__name__ and set(dir(kind)) >= METHODS and kind is not Provider
    }
    assert adapters == {type(provider) for provider in PROVIDERS.values()}


def test_names_agree() -> None:
    """Registry, capabilities and adapters use the same names."""
    assert set(PROVIDERS) == set(capabilities())
    assert all(provider.caps is capabilities()[name] for name, provider in PROVIDERS.items())
    assert all(provider.caps.provider == name for name, provider in PROVIDERS.items())


def test_the_registry_cannot_be_changed() -> None:
    """It is a view."""
    with pytest.raises(TypeError):
        PROVIDERS["other"] = PROVIDERS["animatic"]  # type: ignore[index]


def test_opening_the_registry_loads_nothing_heavy() -> None:
    """`rushes check` and `rushes plan` pay for no picture, video, HTTP or database library."""
    code = "import sys, tasks.providers, tasks.prices; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not HEAVY & set(loaded)
