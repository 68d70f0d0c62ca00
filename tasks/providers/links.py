"""Video addresses in a result, whatever shape the provider gave it."""

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["MOST", "web_links"]

MOST = 20
_URL_MAX = 8192
_INNER = ("url", "video_url")


def web_links(table: object, keys: tuple[str, ...]) -> tuple[str, ...]:
    """The http(s) addresses under `keys` of `table`, in the order of `keys`, each once.

    A value may be an address, an object with `url` or `video_url`, or a list of either. Other schemes are left out: no
    reply may point into this machine.
    """
    if not isinstance(table, Mapping):
        return ()
    found = [link for key in keys for link in _links(table.get(key))]
    return tuple(dict.fromkeys(found))[:MOST]


def _links(value: Any) -> Iterator[str]:
    for item in value if isinstance(value, list) else [value]:
        addresses = [item.get(key) for key in _INNER] if isinstance(item, Mapping) else [item]
        yield from (one.strip() for one in addresses if isinstance(one, str) and _on_the_web(one.strip()))


def _on_the_web(address: str) -> bool:
    return address.lower().startswith(("https://", "http://")) and len(address) <= _URL_MAX and address.isprintable()
