"""The providers that Rushes can order from: adapters, what they can do, and what of a shot does not fit them.

Importing this loads no HTTP, picture or video library: `rushes check` and `rushes plan` start without them.
"""

from collections.abc import Mapping
from types import MappingProxyType

from tasks.providers.animatic import Animatic
from tasks.providers.capabilities import Misfit, Picture, misfits
from tasks.providers.interface import Provider
from tasks.providers.shortapi import ShortAPI
from tasks.providers.sjinn import SJinn

__all__ = ["PROVIDERS", "Misfit", "Picture", "misfits"]

PROVIDERS: Mapping[str, Provider] = MappingProxyType(
    {"animatic": Animatic(), "shortapi": ShortAPI(), "sjinn": SJinn()},
)
