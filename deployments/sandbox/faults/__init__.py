"""Everything that the sandbox can do wrong on demand, by name."""

from collections.abc import Mapping
from itertools import chain
from types import MappingProxyType

from deployments.sandbox.faults.callbacks import callback_faults
from deployments.sandbox.faults.creates import create_faults
from deployments.sandbox.faults.files import file_faults
from deployments.sandbox.faults.jobs import job_faults
from deployments.sandbox.faults.kinds import Fault
from deployments.sandbox.faults.queries import query_faults

__all__ = ["ELSEWHERE", "FAULTS"]

FAULTS: Mapping[str, Fault] = MappingProxyType(
    {
        fault.name: fault
        for fault in chain(create_faults(), job_faults(), query_faults(), callback_faults(), file_faults())
    }
)
ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "F01": "refused_url: a port where nobody listens; https:// on the sandbox's own port fails in TLS",
        "F02": "silent_url: a port that never completes a connection",
        "F44": "start two sandboxes",
        "F52": "the receiver's own crash",
        "F61": "two downloads of one clip, which an honest server allows",
    }
)
"""Numbers up to F60 that are no fault of a running provider, and how to bring them about."""
