"""The animatic's dialect: the same calls as a paid provider's, answered on this machine by `local_studio` for nothing."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote as percent

from specs.money import Money
from specs.request import ShotRequest
from tasks import prices
from tasks.providers.candidates import is_job_id
from tasks.providers.capabilities import capabilities, require_fit
from tasks.providers.evidence import Evidence, read_evidence
from tasks.providers.interface import (
    Accepted,
    Failure,
    Handle,
    Kind,
    Media,
    Phase,
    Reply,
    Request,
    Snapshot,
    State,
)
from tasks.providers.replies import (
    ambiguous,
    by_status,
    first_text,
    ok,
    other_job,
    plain,
    read_object,
    refused,
    refused_by_status,
)
from tasks.providers.strictjson import Parsed, Unreadable

__all__ = ["SCHEME", "Animatic"]

SCHEME = "animatic"
_STATES = {
    "queued": State.QUEUED,
    "rendering": State.RUNNING,
    "done": State.SUCCEEDED,
    "failed": State.FAILED,
}
_LONGEST_PAIR = 9


class Animatic:
    """`animatic://local`: media addresses are paths of this machine, the job id is the intent's own."""

    caps = capabilities()["animatic"]
    auth_header = ""

    def quote(self, request: ShotRequest) -> prices.Quote:
        """Nothing."""
        return prices.quote(self.caps.provider, self.caps.model, request)

    def encode(
        self,
        request: ShotRequest,
        media: Media,
        *,
        base_url: str,
        intent_id: str,
        callback_url: str | None,  # noqa: ARG002 - nobody calls back on this machine
        board: str,
        take: int,
    ) -> Request:
        """The shot as beats: one for a continuous shot, one a cut; `auto` is split here, as the model would."""
        require_fit(request, self.caps)
        body = {
            "id": intent_id,
            "board": board,
            "shot": request.shot,
            "take": take,
            "still": media[request.still],
            "end_still": media[request.end_still] if request.end_still else None,
            "beats": _beats(request),
            "audio": request.audio,
        }
        return Request("POST", f"{base_url.rstrip('/')}/jobs", body)

    def decode_submit(self, reply: Reply) -> Accepted | Failure:
        """Accepted with 2xx and an id."""
        envelope, said = read_object(reply), _evidence(reply)
        if not ok(reply):
            return refused_by_status(reply, said, _message(envelope), own=True)
        if isinstance(envelope, Unreadable) or not is_job_id(envelope.value.get("id")):
            return ambiguous(said, "the local studio named no job")
        if envelope.duplicates:
            return ambiguous(said, f"{', '.join(envelope.duplicates)} is named twice")
        return Accepted(envelope.value["id"], Money(0, self.caps.unit))

    def poll_request(self, handle: Handle) -> Request:
        """The query of one job."""
        return Request("GET", f"{handle.base_url.rstrip('/')}/jobs/{percent(handle.job_id, safe='')}")

    def decode_poll(self, handle: Handle, reply: Reply) -> Snapshot | Failure:
        """The state of a render; a failed one costs nothing and may be asked for again."""
        envelope = read_object(reply)
        if not ok(reply):
            return self.classify(reply, Phase.POLL)
        if isinstance(envelope, Unreadable):
            return refused(reply, Kind.TRANSIENT, envelope.reason)
        echoed = envelope.value.get("id")
        return other_job(reply, handle.job_id, echoed) or _snapshot(envelope.value, echoed)

    def classify(self, reply: Reply, phase: Phase) -> Failure:
        """What a reply that is no result means in its phase."""
        text = _message(read_object(reply))
        if phase is Phase.CREATE:
            return refused_by_status(reply, _evidence(reply), text, own=True)
        return refused(reply, by_status(reply.status, phase), text, reply.status)


def _evidence(reply: Reply) -> Evidence:
    """Nothing that this machine renders is billed."""
    return read_evidence(reply, Animatic.caps.unit, lambda _words: False)


def _beats(request: ShotRequest) -> list[dict[str, Any]]:
    if isinstance(request.cuts, tuple):
        return [{"prompt": cut.prompt, "seconds": cut.duration} for cut in request.cuts]
    lengths = [request.duration] if request.cuts is None else _split(request.duration)
    return [{"prompt": request.prompt, "seconds": seconds} for seconds in lengths]


def _split(seconds: int) -> list[int]:
    """Even beats, the longest first: two up to 9 s, else three."""
    count = 2 if seconds <= _LONGEST_PAIR else 3
    return [seconds // count + (place < seconds % count) for place in range(count)]


def _message(envelope: Parsed | Unreadable) -> str:
    return "" if isinstance(envelope, Unreadable) else first_text(envelope.value, "error")


def _snapshot(job: Mapping[str, Any], echoed: object) -> Snapshot:
    status, clip = job.get("status"), job.get("clip")
    state = _STATES.get(status, State.UNKNOWN) if isinstance(status, str) else State.UNKNOWN
    ours = isinstance(clip, str) and clip.startswith(f"{SCHEME}://") and clip.isprintable()
    failed = state is State.FAILED
    return Snapshot(
        state,
        job_id=None if echoed is None else plain(echoed),
        urls=(str(clip),) if ours and state is State.SUCCEEDED else (),
        reason=plain(first_text(job, "error")) if failed else "",
        kind=Kind.GENERATION if failed else None,
        cost=Money(0, Animatic.caps.unit),
        refunded=True if failed else None,
        raw_state=plain(str(status)),
    )
