"""Every recorded exchange of a provider becomes one case of its suite."""

import pytest

from tests.contract.exchanges import exchanges

KINDS = {"created": "create", "submitted": "submit", "polled": "poll"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Hand the suite's tests the files of the provider that their class names."""
    for argument, kind in KINDS.items():
        if argument in metafunc.fixturenames and metafunc.cls is not None:
            found = exchanges(metafunc.cls.name, kind)
            assert found, f"no {kind} exchanges for {metafunc.cls.name}"
            metafunc.parametrize(argument, found, ids=[one.path.stem for one in found])
