"""Which addresses Rushes fetches from: public https, resolved once, and connected to exactly where they resolved.

Ranges: the IANA special-purpose registries for IPv4 and IPv6. They are spelled out because `ipaddress.is_global` changes
between Python's patch releases and knows nothing of addresses that carry an IPv4 one inside.
"""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import httpx

from tasks.errors import Terminal, Transient

__all__ = ["AddressRefused", "AddressRules", "Resolver", "Unresolved", "Vetted", "readable", "resolve"]

Address = IPv4Address | IPv6Address
Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""From a host name and a port to its addresses as text; raises OSError where there are none."""

_URL_MAX = 8192
_HOST = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PORTS = {"https": 443, "http": 80}


def _networks(*texts: str) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(map(ip_network, texts))


_PRIVATE = _networks(
    "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "::1/128", "fc00::/7"
)
_NEVER_4 = _networks(
    "0.0.0.0/8",
    "169.254.0.0/16",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
)
# Outside 2000::/3 nothing is public (IPv4-mapped and NAT64 lie there too); inside it: IETF assignments with Teredo and ORCHID, documentation, 6to4.
_PUBLIC_6 = ip_network("2000::/3")
_NEVER_6 = _networks("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")


class AddressRefused(Terminal):
    """An address that is not fetched, for what it is or where it leads."""


class Unresolved(Transient):
    """A host name that has no address just now."""


@dataclass(frozen=True, slots=True)
class Vetted:
    """An address that may be fetched, and the only places to connect to for it: IPv4 first."""

    url: str
    host: str
    port: int
    addresses: tuple[str, ...]

    @property
    def address(self) -> str:
        """The first place to connect to."""
        return self.addresses[0]


async def resolve(host: str, port: int) -> Sequence[str]:
    """The system's answer."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(place[0]) for *_, place in found]


@dataclass(frozen=True, slots=True)
class AddressRules:
    """`allow_private` admits loopback and private networks, over http too; link-local ones (metadata services) never pass.

    `allow_loopback` admits this machine alone: what a sandbox that runs here may name.
    `confined`: the spec came from a stranger, so local paths must stay below it (kept here for whoever reads stills).
    """

    allow_private: bool
    confined: bool = False
    allow_loopback: bool = False
    resolver: Resolver = resolve

    async def vet(self, url: str) -> Vetted:
        """Look at the address and at every place that its host name leads to.

        Raises:
            AddressRefused: when the scheme, the host's form or any of its addresses is not allowed.
            Unresolved: when the name has no address.
        """
        parsed = _parsed(url)
        port = parsed.port or _PORTS[parsed.scheme]
        found = await self._addresses(parsed.host, port)
        for address in found:
            self._check(parsed, address)
        ordered = sorted(found, key=lambda address: address.version)
        return Vetted(str(parsed), parsed.host, port, tuple(map(str, ordered)))

    async def _addresses(self, host: str, port: int) -> Sequence[Address]:
        literal = _literal(host)
        if literal is not None:
            return [literal]
        try:
            texts = await self.resolver(host, port)
            # A scope ("fe80::1%eth0") names an interface of this machine.
            found = [ip_address(text.partition("%")[0]) for text in dict.fromkeys(texts)]
        except (OSError, UnicodeError, ValueError):
            raise Unresolved(f"{host} has no address") from None
        if not found:
            raise Unresolved(f"{host} has no address")
        return found

    def _check(self, url: httpx.URL, address: Address) -> None:
        private = _is_private(address)
        if private is None:
            raise AddressRefused(f"{url.host} leads to {address}, which is never fetched from")
        if private and not (self.allow_private or (self.allow_loopback and address.is_loopback)):
            raise AddressRefused(
                f"{url.host} leads to the private address {address}",
                "Set RUSHES_ALLOW_PRIVATE_URLS=1 if you run that server yourself.",
            )
        if url.scheme != "https" and not private:
            raise AddressRefused(f"{url.host} is only offered without encryption", "Use an https address.")


def _parsed(url: str) -> httpx.URL:
    # Parsers disagree about these characters, and a provider's parser is not ours.
    if len(url) > _URL_MAX or not url.isascii() or not url.isprintable() or re.search(r"[\\\s]", url):
        raise AddressRefused("the address is too long or holds characters that no address has")
    parsed = readable(url)
    if parsed.scheme not in _PORTS:
        raise AddressRefused(f"addresses of the kind {parsed.scheme[:20] or '(none)'}: are not fetched", "Use https.")
    if "@" in re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0]:
        raise AddressRefused("an address with a user name or password in it is not fetched")
    if parsed.port is not None and not 0 < parsed.port < 65536:
        raise AddressRefused("the address names no usable port")
    return parsed


def readable(url: str, reads: str = "the address cannot be read") -> httpx.URL:
    """The address in its parts.

    Raises:
        AddressRefused: with what `reads` says; httpx names only some of what its parsers and idna raise.
    """
    try:
        parsed = httpx.URL(url)
        _ = parsed.host, parsed.port  # an xn-- host is decoded only when it is asked for
    except (httpx.InvalidURL, ValueError, TypeError, IndexError):
        raise AddressRefused(reads) from None
    return parsed


def _literal(host: str) -> Address | None:
    """The address that a host is written as; None for a name. Octal, hexadecimal, short and decimal forms are refused."""
    try:
        return ip_address(host)
    except ValueError:
        pass
    name = host.removesuffix(".")
    if not _HOST.fullmatch(name) or len(name) > 253:
        raise AddressRefused("the address names no usable host")
    if _NUMBER.fullmatch(name.rpartition(".")[2]):
        raise AddressRefused(
            f"{host} is an odd way to write an address", "Write it as four decimal numbers, or as a name."
        )
    return None


def _is_private(address: Address) -> bool | None:
    """True for loopback and private networks, False for public ones, None for what is never fetched from."""
    if isinstance(address, IPv4Address):
        if any(address in network for network in _NEVER_4):
            return None
        return any(address in network for network in _PRIVATE)
    if address.scope_id:
        return None
    if any(address in network for network in _PRIVATE):
        return True
    return False if address in _PUBLIC_6 and not any(address in network for network in _NEVER_6) else None
