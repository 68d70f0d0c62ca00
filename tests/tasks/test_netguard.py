"""Which addresses are fetched from, and which never are (S01)."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import RushesError
from tasks.netguard import AddressRefused, AddressRules, Resolver, Unresolved


def names(*addresses: str) -> Resolver:
    """A resolver that answers the same for every name."""

    async def resolver(_host: str, _port: int) -> Sequence[str]:
        return addresses

    return resolver


def rules(*addresses: str, private: bool = False) -> AddressRules:
    """Rules over a name that leads to these addresses."""
    return AddressRules(allow_private=private, resolver=names(*addresses))


PRIVATE = [
    "127.0.0.1",
    "127.8.8.8",
    "::1",
    "10.0.0.5",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "fd00::1",
]
NEVER = [
    "0.0.0.0",
    "169.254.169.254",
    "192.0.0.192",
    "192.0.2.1",
    "198.18.0.1",
    "203.0.113.9",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "::ffff:169.254.169.254",
    "::ffff:8.8.8.8",
    "::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
]
PUBLIC = ["93.184.216.34", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::6810:84e5"]


@pytest.mark.parametrize("address", PUBLIC)
async def test_public_addresses_pass(address: str) -> None:
    """A public https host is vetted with the place to connect to."""
    vetted = await rules(address).vet("https://Files.Example/v.mp4?sig=a%2Fb")
    assert (vetted.host, vetted.port, vetted.address) == ("files.example", 443, address)
    assert vetted.url == "https://files.example/v.mp4?sig=a%2Fb"


@pytest.mark.parametrize("address", PRIVATE)
async def test_S01_private_addresses_pass_by_the_setting_alone(address: str) -> None:
    """Loopback, private and carrier networks are refused unless the setting admits them."""
    with pytest.raises(AddressRefused) as caught:
        await rules(address).vet("https://files.example/")
    assert "RUSHES_ALLOW_PRIVATE_URLS" in caught.value.diagnostics()
    assert (await rules(address, private=True).vet("https://files.example/")).address == address
    assert (await rules(address, private=True).vet("http://files.example:8080/")).port == 8080


@pytest.mark.parametrize("address", NEVER)
@pytest.mark.parametrize("private", [False, True])
async def test_S01_some_addresses_never_pass(address: str, private: bool) -> None:
    """Metadata services, multicast, reserved ranges and IPv6 that carries IPv4 inside: not even by the setting."""
    with pytest.raises(AddressRefused):
        await rules(address, private=private).vet("https://files.example/")


async def test_S01_one_bad_address_refuses_the_name() -> None:
    """A name that leads to a public and a private place is refused whole."""
    with pytest.raises(AddressRefused):
        await rules("93.184.216.34", "10.0.0.1").vet("https://files.example/")
    with pytest.raises(AddressRefused):
        await rules("93.184.216.34", "::ffff:127.0.0.1").vet("https://files.example/")


async def test_addresses_are_in_the_order_to_try() -> None:
    """IPv4 first, each once."""
    vetted = await rules("2606:4700::1", "93.184.216.34", "2606:4700::1").vet("https://files.example/")
    assert vetted.addresses == ("93.184.216.34", "2606:4700::1")


@pytest.mark.parametrize(
    "host",
    [
        "2852039166",
        "0xA9FEA9FE",
        "0xa9.0xfe.0xa9.0xfe",
        "0251.0376.0251.0376",
        "169.254.43518",
        "127.1",
        "0",
        "127.0.0.1.",
        "1.2.3.4.5",
        "foo.0x7f",
        "[::ffff:169.254.169.254]",
        "[::1%25eth0]",
        "127。0。0。1",
        "①②⑦.0.0.1",
    ],
)
async def test_S01_odd_ways_to_write_an_address_are_refused(host: str) -> None:
    """Decimal, octal, hexadecimal, short and dotted-tail forms never reach a resolver."""
    with pytest.raises(AddressRefused):
        await rules("93.184.216.34", private=True).vet(f"https://{host}/latest/meta-data")


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://files.example/v.mp4",
        "data:text/plain,x",
        "gopher://files.example/",
        "animatic://local/clips/x.mp4",
        "javascript:alert(1)",
        "//files.example/v.mp4",
        "files.example/v.mp4",
        "",
        "https://",
        "https:///v.mp4",
        "https://user:pass@files.example/",
        "https://user@files.example/",
        "https://@files.example/",
        "https://files.example\\@evil.example/",
        "https://files.example:99999/",
        "https://files.example:0/",
        "https://files .example/",
        "https://files.example/\n",
        "https://-files.example/",
        "https://files..example/",
        "https://a%2eexample/",
        "https://files.example/" + "x" * 9000,
    ],
)
async def test_S01_addresses_of_other_kinds_are_refused(url: str) -> None:
    """Only http and https, without user names, with a plain host and port."""
    with pytest.raises(AddressRefused):
        await rules("93.184.216.34", private=True).vet(url)


async def test_http_is_for_private_servers_only() -> None:
    """A public host without encryption is refused, with or without the setting."""
    for private in (False, True):
        with pytest.raises(AddressRefused, match="encryption"):
            await rules("93.184.216.34", private=private).vet("http://files.example/")


async def test_a_name_without_an_address_may_come_back() -> None:
    """No address now is no refusal."""

    async def fails(_host: str, _port: int) -> Sequence[str]:
        raise OSError("no such name")

    for resolver in (fails, names(), names("no address")):
        with pytest.raises(Unresolved):
            await AddressRules(allow_private=False, resolver=resolver).vet("https://files.example/")


async def test_the_systems_own_resolver_knows_this_machine() -> None:
    """Without a resolver of the test's own, localhost leads to loopback."""
    with pytest.raises(AddressRefused):
        await AddressRules(allow_private=False).vet("https://localhost/")
    assert (await AddressRules(allow_private=True).vet("http://localhost:81/")).address == "127.0.0.1"


@given(st.text(max_size=60) | st.text(max_size=30).map(lambda rest: f"https://{rest}"))
def test_any_text_is_vetted_or_refused(text: str) -> None:
    """No address, however odd, escapes as another exception."""
    checked = rules("93.184.216.34").vet(text)
    try:
        checked.send(None)
    except (StopIteration, RushesError):
        return
    raise AssertionError("the resolver of this test never waits")
