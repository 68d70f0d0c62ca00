"""Stand-in ShortAPI and SJinn over real HTTP, with their own account of charges.

An outside witness: it imports nothing of the pipeline, so what its account says is independent evidence. It speaks the
providers' wire formats, renders real clips, and can misbehave on demand (`faults`).
"""

from deployments.sandbox.account import Account, Called, Create, Seen, Total
from deployments.sandbox.book import InUse
from deployments.sandbox.faults import ELSEWHERE, FAULTS
from deployments.sandbox.faults.script import UnknownFault
from deployments.sandbox.orders import Job, Outcome
from deployments.sandbox.server import Sandbox

__all__ = [
    "ELSEWHERE",
    "FAULTS",
    "Account",
    "Called",
    "Create",
    "InUse",
    "Job",
    "Outcome",
    "Sandbox",
    "Seen",
    "Total",
    "UnknownFault",
]
