"""What is looked at the very moment a create reaches the provider, or is accepted: read from the ledger's file, past our own code."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tests.proof.truth import Create

if TYPE_CHECKING:
    from tests.proof.stage import Stage

__all__ = ["accepted_wrongly", "freed_early", "sent_wrongly"]


def sent_wrongly(stage: "Stage", create: Create) -> Iterator[tuple[str, str]]:
    """I5 and I7, and that nothing is sent again, here or elsewhere, unless the one before was definitely refused."""
    shot = create.shot
    earlier = [one for one in stage.oracle.creates if one is not create]
    unrefused = [one for one in earlier if one.shot == shot and not one.definite]
    if len(unrefused) > stage.permits[shot]:
        yield "double" if any(one.accepted for one in unrefused) else "resent", shot
    sending = f"shot = '{shot}' AND state = 'SUBMITTING' AND provider = '{create.provider}'"
    if not stage.rows("1 FROM intent", sending):
        yield "unreserved", f"{shot} was sent without a committed intent"
    slips = [path.read_text() for path in stage.files.glob(f"*/shots/{shot}/*.order*.json")]
    for (intent_id,) in stage.rows("intent_id FROM intent", sending):
        if not any(intent_id in slip for slip in slips):
            yield "unannounced", f"{shot} was sent before its slip was in the store"
    if any(one.shot == shot and one.final and one.provider != create.provider for one in earlier):
        yield "evaded", f"{shot} went to {create.provider} after a refusal of the shot itself"
    yield from (("halted", f"{shot} was sent {why}") for why in _halts(stage, create, earlier))


def _halts(stage: "Stage", create: Create, earlier: Sequence[Create]) -> Iterator[str]:
    """Why nothing should have been sent now."""
    if stage.rows("1 FROM ledger", "recovery <> ''"):
        yield "in RECOVERY"
    here = f"provider = '{create.provider}'"
    if stage.rows("1 FROM breaker", f"is_open = 1 AND {here} AND run_seq >= (SELECT max(run.seq) FROM run)"):
        yield "through an open breaker"
    if any(one.stops and one.run == create.run and one.provider == create.provider for one in earlier):
        yield "after the provider had refused key or credit"
    mine = f"(SELECT created_at FROM intent WHERE shot = '{create.shot}' AND state = 'SUBMITTING')"
    if len(stage.rows("1 FROM intent", f"state = 'IN_DOUBT' AND {here} AND updated_at < {mine}")) >= 2:
        yield "beside two doubts"
    if not stage.person and stage.rows("1 FROM intent", "amount_micros * 4 > quote_micros * 5"):
        yield "after a bill far above its quote"


def accepted_wrongly(stage: "Stage", create: Create) -> Iterator[tuple[str, str]]:
    """I4: what the provider bills is already reserved."""
    enough = "reserved_micros + settled_micros >= quote_micros"
    if not stage.rows("1 FROM intent", f"shot = '{create.shot}' AND provider = '{create.provider}' AND {enough}"):
        yield "unreserved", f"{create.shot} was accepted with nothing reserved"


def freed_early(stage: "Stage") -> Iterator[tuple[str, str]]:
    """A7: while its bill is open, no less than its quote is booked for a job, whatever amounts were named."""
    less = "settled_at IS NULL AND state NOT IN ('REJECTED', 'CANCELLED') AND reserved_micros + settled_micros < quote_micros"
    yield from (("freed", f"{shot} has less than its quote booked") for (shot,) in stage.rows("shot FROM intent", less))
