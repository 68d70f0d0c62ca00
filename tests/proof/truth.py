"""What a script says will happen, and what the provider knows of it in truth: its creates and its jobs."""

from dataclasses import dataclass
from decimal import Decimal

__all__ = ["Create", "Job", "Script"]


@dataclass(slots=True)
class Job:
    """One accepted job: the truth about it. `served` are the hashes of what its links gave."""

    job_id: str
    shot: str
    provider: str
    accepted_at: float
    billed: Decimal
    outcome: str = "ok"
    refunded: Decimal = Decimal(0)
    callback: str = ""
    queries: int = 0
    told_done: bool = False
    version: int = 0
    charged_twice: bool = False

    @property
    def dead_link(self) -> str:
        """What its link gives for a while in place of the clip."""
        return self.outcome.removeprefix("dead:") if self.outcome.startswith("dead:") else ""

    @property
    def net(self) -> Decimal:
        """What stays paid."""
        return self.billed - self.refunded

    @property
    def unit(self) -> str:
        """What it is paid in."""
        return "USD" if self.provider == "shortapi" else "sjinn-credits"


@dataclass(slots=True)
class Create:
    """One create request that reached a provider.

    `definite`: refused for certain; `stops`: for want of a key or credit; `final`: for what the shot itself is.
    """

    shot: str
    provider: str
    accepted: bool = False
    definite: bool = False
    stops: bool = False
    final: bool = False
    run: int = 0


@dataclass(frozen=True, slots=True)
class Script:
    """How the provider, the file host, the disk and the database behave; each list is used up one event after another.

    `shots` on the board; `cap` the run's cap as a multiple of one shot's price; `exact`: at the end the ledger's money
    equals the provider's to the micro. `ends`: the state in which every shot must be at last. `pause`:
    the point at which the process sleeps past its lease, while another one recovers the ledger. `lies`: it
    names another shot's job, which nobody can tell while that one's own answer is lost; then only buying twice is judged.
    `one_approval`: every life acts under the same approval, and `cap` is what that allows; there is no other limit.
    `patient`: the first render gets everything stored by itself, without a later one or a person.
    `also`: who is asked where the first provider refuses, at `rate` USD a credit. `at_once`: jobs that may run side by side.
    `decides`: what a person does, in this order, about a first take that is held.
    """

    name: str
    create: tuple[str, ...] = ()
    query: tuple[str, ...] = ()
    file: tuple[str, ...] = ()
    store: tuple[str, ...] = ()
    receipt: tuple[str, ...] = ()
    slip: tuple[str, ...] = ()
    rewrite: tuple[str, ...] = ()
    ledger: tuple[str, ...] = ()
    job: tuple[str, ...] = ()
    provider: str = "shortapi"
    shots: int = 1
    cap: int = 3
    exact: bool = True
    ends: str = "STORED"
    overbills: bool = False
    pause: str = ""
    lies: bool = False
    one_approval: bool = False
    patient: bool = False
    also: tuple[str, ...] = ()
    rate: Decimal | None = None
    at_once: int | None = None
    decides: tuple[str, ...] = ()

    @property
    def providers(self) -> tuple[str, ...]:
        """In the order of preference."""
        return (self.provider, *self.also)
