"""What a fault is: a name, the numbers of the fault catalogue it stands for, and the one thing it changes.

Each kind is bound to one sort of event and is consulted only there.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, ClassVar

from deployments.sandbox.orders import Order, Outcome
from deployments.sandbox.wire import Reply, Step

__all__ = [
    "CallbackFault",
    "CreateFault",
    "Fault",
    "FileFault",
    "JobFault",
    "Lie",
    "Note",
    "QueryFault",
    "Reshape",
    "Scene",
    "UploadFault",
]

Lie = Callable[[Reply], Iterator[Step]]
"""How a reply is sent, in place of honestly."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What a changed envelope may refer to: the job's id and its key in the envelope, another id, this server, a clip's address."""

    provider: str
    id_key: str
    job_id: str
    other_id: str
    base: str
    url: str = ""


Reshape = Callable[[dict[str, Any], Scene], Any]
"""Another JSON document in place of the honest envelope."""


@dataclass(frozen=True, slots=True)
class Note:
    """One callback to be sent: `slowly` drips it without end, `days_later` sends it again much later."""

    url: str
    body: bytes
    slowly: bool = False
    days_later: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """`ids` are numbers of the fault catalogue; `provider` limits it to one wire format; `text` says what happens."""

    event: ClassVar[str]
    name: str
    ids: tuple[str, ...]
    text: str
    provider: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class UploadFault(Fault):
    """The create request is cut while it comes in: nothing is accepted."""

    event: ClassVar[str] = "upload"


@dataclass(frozen=True, kw_only=True, slots=True)
class CreateFault(Fault):
    """Something wrong with a valid create.

    `accepts` decides whether the job is booked before the answer, `refuses` marks an answer that says no. `used` fires only on a connection that has carried a
    request before. `twice` books two jobs. `told_first` finishes the job and calls back before the answer. `foreign` has
    somebody else spend as much from the same balance. `number_id` gives the job an id of digits.
    """

    event: ClassVar[str] = "create"
    accepts: bool = True
    refuses: bool = False
    reshape: Reshape | None = None
    lie: Lie | None = None
    change: Callable[[Order], Order] | None = None
    factor: Decimal = Decimal(1)
    used: bool = False
    twice: bool = False
    told_first: bool = False
    foreign: bool = False
    number_id: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class JobFault(Fault):
    """The job is accepted and billed as it should be, and ends otherwise."""

    event: ClassVar[str] = "job"
    outcome: Outcome = field(default_factory=Outcome)


@dataclass(frozen=True, kw_only=True, slots=True)
class QueryFault(Fault):
    """One query of a known job is answered wrongly.

    `when_done` waits for a query of a finished job, `when_told` for one whose success has been told before.
    """

    event: ClassVar[str] = "query"
    reshape: Reshape | None = None
    lie: Lie | None = None
    when_done: bool = False
    when_told: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class CallbackFault(Fault):
    """Other notes in place of the one callback."""

    event: ClassVar[str] = "callback"
    notes: Callable[[Note, Mapping[str, Any], Scene], list[Note]] = lambda note, _body, _scene: [note]


@dataclass(frozen=True, kw_only=True, slots=True)
class FileFault(Fault):
    """One download of a clip goes wrong; `revokes` kills the address until the job is queried again."""

    event: ClassVar[str] = "file"
    lie: Lie | None = None
    revokes: bool = False
