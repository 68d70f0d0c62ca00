"""Publish: a still becomes an address that a provider can fetch, and nothing else of the house does.

Presigned from the store where it signs links, or put into RUSHES_PUBLISH and served under RUSHES_PUBLISH_BASE.
"""

import asyncio
import hashlib

from tasks.errors import SetupProblem, StillInvalid
from tasks.netguard import AddressRefused, AddressRules
from tasks.providers.interface import Caps
from tasks.stills import Still
from tasks.stills.outgoing import Outgoing, goes_as_it_is, outgoing
from tasks.stills.sources import shown
from tasks.storage import Store

__all__ = ["check_servable", "publish_still"]

_FOLDER = "published"
_NOWHERE = (
    "Set RUSHES_PUBLISH to a storage URL that stills are put in, and RUSHES_PUBLISH_BASE to the public https address "
    "under which it is served; or use an s3, gs or abfs store, which signs links by itself."
)


async def publish_still(
    still: Still,
    caps: Caps,
    *,
    store: Store,
    publish_url: str | None,
    public_base: str | None,
    seconds: int,
    rules: AddressRules,
) -> str:
    """An address of the still that lives for `seconds` (a presigned one a week at most).

    A public still that needs no conversion keeps its own address, unless that may run out (it has a query) and we can
    serve it ourselves. Everything else is stripped of metadata and put, once, under the hash of its new bytes.

    Raises:
        SetupProblem: nothing here can serve it, or only at a private address; says which settings would.
        StillInvalid: the still cannot be made to fit.
    """
    served = publish_url or await asyncio.to_thread(store.link, f"{_FOLDER}/x", seconds=seconds)
    lasting = not (served and "?" in still.address)
    if _is_web(still) and lasting and await asyncio.to_thread(goes_as_it_is, still, caps):
        await _vet_still(still, rules)
        return still.address
    if not served:
        raise _unserved(still.address, caps.provider)
    ready = await asyncio.to_thread(outgoing, still, caps)
    name = hashlib.sha256(ready.content).hexdigest() + ready.suffix
    if publish_url is None:
        return await _served(ready, store, f"{_FOLDER}/{name}", None, seconds, rules)
    return await _served(ready, Store.open(publish_url), name, public_base, seconds, rules)


def check_servable(address: str, provider: str, store: Store, publish_url: str | None) -> None:
    """Whether `publish_still` would find a way to serve `address`; puts nothing anywhere.

    Raises:
        SetupProblem: saying which two settings would.
    """
    if publish_url or address.startswith("https://") or store.link(f"{_FOLDER}/x", seconds=60):
        return
    raise _unserved(address, provider)


def _unserved(address: str, provider: str) -> SetupProblem:
    return SetupProblem(f"{provider} has to fetch {shown(address)}, and nothing here can serve it", _NOWHERE)


def _is_web(still: Still) -> bool:
    return still.address.startswith(("https://", "http://"))


async def _served(ready: Outgoing, store: Store, path: str, base: str | None, seconds: int, rules: AddressRules) -> str:
    url = f"{base.rstrip('/')}/{path}" if base else await asyncio.to_thread(store.link, path, seconds=seconds)
    if url is None:
        raise SetupProblem("RUSHES_PUBLISH signs no links, and RUSHES_PUBLISH_BASE is not set", _NOWHERE)
    try:
        await rules.vet(url)
    except AddressRefused as error:
        what = "RUSHES_PUBLISH_BASE" if base else "the storage's endpoint"
        raise SetupProblem(f"a provider cannot fetch from {what}: {error.message}", error.hint or _NOWHERE) from None
    await asyncio.to_thread(store.put_once, ready.content, path, content_type=ready.content_type)
    return url


async def _vet_still(still: Still, rules: AddressRules) -> None:
    try:
        await rules.vet(still.address)
    except AddressRefused as error:
        raise StillInvalid(f"{shown(still.address)}: {error.message}", error.hint) from None
