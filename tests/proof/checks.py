"""The invariants I1 to I10, read from the ledger and held against the oracle's truth."""

import hashlib
from collections.abc import Iterator, Sequence
from decimal import Decimal

from flows.collect import Collected, exit_code
from tasks.exits import ExitCode
from tasks.ledger import Event, Intent, IntentState
from tasks.production import Production
from tasks.store import take_path
from tests.proof.stage import CANARY, Stage
from tests.proof.truth import Job

__all__ = ["violations"]

S = IntentState
LISTED = {
    S.IN_DOUBT,
    S.STALLED,
    S.RESULT_HELD,
    S.FAILED_UNSETTLED,
    S.FAILED_FINAL,
    S.ABANDONED,
    S.SUBMITTED,
    S.SUCCEEDED,
}
"""Where an accepted job may rest without its clip: each is named in the report or by `rushes doubts`."""


def violations(stage: Stage, production: Production, collected: Sequence[Collected]) -> list[tuple[str, str]]:
    """What is wrong now, as kind and sentence."""
    intents, events = production.ledger.intents(), production.ledger.events()
    return [
        *_accepted_once(stage),
        *_nothing_lost(stage, intents),
        *(("books", problem) for problem in production.ledger.verify()),
        *_money(stage, intents),
        *_nothing_leaks(stage),
        *_no_strays(stage, intents, events),
        *_exit(stage, intents, collected),
        *_needless_doubt(stage, intents, events),
    ]


def _accepted_once(stage: Stage) -> Iterator[tuple[str, str]]:
    """I1: a shot is accepted once, and once more for each decision that risked it."""
    for request in stage.requests:
        accepted = sum(create.accepted for create in stage.oracle.creates if create.shot == request.shot)
        if accepted > 1 + stage.permits[request.shot]:
            yield "double", f"{request.shot} was accepted {accepted} times"


def _nothing_lost(stage: Stage, intents: Sequence[Intent]) -> Iterator[tuple[str, str]]:
    """I2: every accepted job is stored whole, or named."""
    by_job = {intent.job_id: intent for intent in intents if intent.job_id}
    doubted = {intent.shot for intent in intents if intent.state in {S.IN_DOUBT, S.ABANDONED} and not intent.job_id}
    for job in stage.oracle.jobs.values():
        intent = by_job.get(job.job_id)
        if intent is None:
            if job.shot not in doubted and not _second(stage, job):
                yield "lost", f"{job.job_id} of {job.shot} is not in the ledger"
        elif intent.state is S.STORED:
            yield from _stored(stage, intent)
        elif intent.state not in LISTED:
            yield "lost", f"{job.job_id} of {job.shot} is {intent.state}"


def _second(stage: Stage, job: Job) -> bool:
    """A job that one request made beside another and that no reply has named, or none that was kept: nobody can know of it."""
    kind = stage.script.create[:1]
    unheard = kind[0].startswith("two-ids") and job.job_id not in stage.named if kind else False
    return (kind == ("twice",) or unheard) and not job.queries


def _stored(stage: Stage, intent: Intent) -> Iterator[tuple[str, str]]:
    artifact = intent.artifact
    if artifact is None:
        yield "lost", f"{intent.shot} is STORED without a clip"
        return
    path = stage.files / artifact.path
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != artifact.sha256:
        yield "lost", f"{artifact.path} does not hold the clip of {intent.job_id}"
    elif stage.oracle.served.get(intent.job_id or "") != artifact.sha256 and not artifact.suspect:
        yield "lost", f"{artifact.path} is not what the provider made for {intent.job_id}"


def _money(stage: Stage, intents: Sequence[Intent]) -> Iterator[tuple[str, str]]:
    """I3 and I4 against the provider's account: never more owed than booked, and equal where the provider is honest."""
    units = {*(intent.quote.unit for intent in intents), *(job.unit for job in stage.oracle.jobs.values())}
    for unit in sorted(units):
        mine = [intent for intent in intents if intent.quote.unit == unit]
        yield from _money_in(stage, mine, [job for job in stage.oracle.jobs.values() if job.unit == unit])


def _money_in(stage: Stage, intents: Sequence[Intent], jobs: Sequence[Job]) -> Iterator[tuple[str, str]]:
    booked = sum((intent.reserved.amount + intent.settled.amount for intent in intents), Decimal(0))
    owed = sum((job.net for job in jobs), Decimal(0))
    unknowable = any(_second(stage, job) for job in jobs) or (
        stage.script.overbills and any(intent.state is S.IN_DOUBT for intent in intents)
    )
    unheard = any(_second(stage, job) for job in jobs)
    # A bill that only a reply named which died with its reader, where the job's query names none.
    unheard |= stage.script.query[:1] == ("silent*",) and any(job.job_id not in stage.named for job in jobs)
    if owed > booked and not (unknowable or unheard):
        yield "unreserved", f"the provider charges {owed}, the ledger has booked {booked}"
    resting = {S.STORED, S.FAILED_FINAL, S.REJECTED, S.CANCELLED, S.RESULT_HELD}
    if stage.script.exact and all(intent.state in resting for intent in intents) and owed != booked and not unheard:
        yield "books", f"the provider charged {owed}, the ledger says {booked}"
    price = max((intent.quote.amount for intent in intents), default=Decimal(0))
    if not stage.script.overbills and stage.script.exact and owed > price * stage.script.cap:
        yield "overspend", f"{owed - price * stage.script.cap}"


def _nothing_leaks(stage: Stage) -> Iterator[tuple[str, str]]:
    """I8: neither the key nor a callback token is in any file."""
    secrets = [CANARY.encode(), *(token.encode() for token in stage.rng.tokens)]
    for folder in (stage.home, stage.files):
        for path in folder.rglob("*"):
            if path.is_file() and path.suffix != ".mp4":
                content = path.read_bytes()
                yield from (("leak", f"a secret is in {path.name}") for secret in secrets if secret in content)
    if stage.oracle.authorized_files:
        yield "leak", "the key went to the file host"


def _no_strays(stage: Stage, intents: Sequence[Intent], events: Sequence[Event]) -> Iterator[tuple[str, str]]:
    """I9: no clip under a final name that the ledger does not know, or has not raised an alert about (F67)."""
    known = {intent.artifact.path for intent in intents if intent.artifact} | stage.foreign
    if stage.forgetful:
        # A home that was put back no longer knows of its take where the order's slip could not be rewritten: it is the take of
        # an order in doubt, which a person is asked about.
        known |= {take_path(intent) for intent in intents if intent.state is S.IN_DOUBT}
    beside = {str(event.payload.get("stored_as", "")).partition("-")[0] for event in events if event.alert}
    known |= {f"{path}.mp4" for path in beside if path}
    for name in stage.foreign:
        if (stage.files / name).read_bytes() != b"somebody else's bytes":
            yield "stray", f"{name} was overwritten"
    if stage.script.store == ("cut",):
        yield from (("stray", f"{one} stands beside the take that was cut") for one in sorted(beside) if one)
    for path in stage.files.rglob("*.mp4"):
        name = path.relative_to(stage.files).as_posix()
        if name not in known and not any(intent.state is S.SUCCEEDED for intent in intents):
            yield "stray", f"{name} is in no artifact"


def _exit(stage: Stage, intents: Sequence[Intent], collected: Sequence[Collected]) -> Iterator[tuple[str, str]]:
    """I10: `collect` ends with 0 only where nothing is open, and no id that a reply named is unanswered."""
    named = {S.IN_DOUBT, S.STALLED, S.RESULT_HELD, S.SUBMITTED, S.SUBMITTING, S.SUCCEEDED, S.FAILED_UNSETTLED}
    unsettled = any(intent.state in named for intent in intents) or any(one.asked for one in collected)
    if (exit_code(collected) is ExitCode.OK) == unsettled:
        yield "exit", f"exit code {exit_code(collected)} with {[intent.state.value for intent in intents]}"


def _needless_doubt(stage: Stage, intents: Sequence[Intent], events: Sequence[Event]) -> Iterator[tuple[str, str]]:
    """Once a job id is in the journal, no crash brings back the doubt; a run that is cancelled leaves none at all."""
    if stage.gentle:
        yield from (("doubt", f"{one.intent_id}: {one.payload}") for one in events if one.state == S.IN_DOUBT)
    if stage.journalled:
        bound = {intent.job_id for intent in intents}
        yield from (("doubt", f"{job} was in the journal") for job in stage.journalled - bound)
