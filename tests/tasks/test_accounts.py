"""Whose jobs they are: the provider's account, however its address is spelled; a stand-in's play money is never the same."""

import pytest

from tasks.settings import Account, on_loopback

REAL = [
    "https://api.shortapi.ai",
    "https://api.shortapi.ai/",
    "HTTPS://API.ShortAPI.ai:443/v1",
    "http://ada@api.shortapi.ai",
    "http://127.0.0.1:8000@api.shortapi.ai",
    "https://127.0.0.1.example",
    "https://localhost.example",
    "https://[not-an-address",
]
HERE = [
    "http://127.0.0.1:8000",
    "http://127.0.0.1:9000/",
    "HTTP://LocalHost:8000/v1",
    "https://localhost",
    "http://localhost.:8000",
    "http://sjinn.localhost:8000",
    "http://ada@127.0.0.1:8000",
    "http://127.1:8000",
    "http://0x7f000001:8000",
    "http://2130706433:8000",
    "http://127.8.9.10",
    "http://[::1]:8000",
    "http://[0:0:0:0:0:0:0:1]:8000",
    "http://[::ffff:127.0.0.1]:8000",
    "http://0.0.0.0:8000",
]


def _name(base_url: str) -> str:
    return Account(base_url=base_url, key=None, rate=None, max_in_flight=None, usual="").name


def test_F108_an_account_is_the_same_in_every_spelling_of_its_address() -> None:
    """Slash, case, port, path, scheme and user part make no other account."""
    assert {_name(url) for url in REAL} == {"default"}


def test_F108_a_stand_in_on_this_machine_is_never_the_real_account() -> None:
    """Whatever this machine is called."""
    assert {_name(url) for url in HERE} == {"stand-in"}


@pytest.mark.parametrize("url", REAL)
def test_an_address_that_only_looks_like_this_machine_is_not(url: str) -> None:
    """What a sandbox may do, a stranger who names himself like one may not."""
    assert not on_loopback(url)
