"""Order slips: what a ledger tells the store of each purchase before it is sent, beside the take that it announces.

A ledger that was put back from a backup, or a second one on the same store, learns from them what it does not know: it
buys nothing of it, and `rushes doctor --adopt` takes it over. What is free has none.
"""

import asyncio
import datetime as dt
import itertools
import json
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tasks.errors import Refused, RushesError, SetupProblem, StorageConflict
from tasks.ledger import Intent, IntentState
from tasks.production import Production
from tasks.rows import without_secrets
from tasks.storage import Missing

__all__ = [
    "SLIP",
    "Slip",
    "announce",
    "facts_of",
    "in_the_way",
    "keep_slip",
    "read_slip",
    "slip_path",
    "strangers",
    "tend_slips",
]

SLIP = re.compile(r"[^/]+/shots/[^/]+/[^/]+_TK\d+\.order(\.\d+)?\.json")
LIMIT = 1 << 20
MOST_FAILURES = 3
_VOID = {IntentState.REJECTED, IntentState.CANCELLED}


@dataclass(frozen=True, slots=True)
class Slip:
    """A slip as it was read; `facts` are empty where the file is none of ours."""

    path: str
    facts: Mapping[str, Any]

    @property
    def intent_id(self) -> str:
        """The order that it announces."""
        return str(self.facts.get("intent_id", ""))

    @property
    def void(self) -> bool:
        """Whether the provider has certainly not taken the order: nothing was spent on it and nothing will be."""
        return self.facts.get("state") in _VOID

    @property
    def who(self) -> str:
        """Which ledger wrote it, where and when, and the job that came of it."""
        told = self.facts
        job = f"job {told['job_id']}" if told.get("job_id") else "no job id yet"
        return f"ledger {told.get('ledger_id', '?')} on {told.get('host', '?')} at {told.get('created_at', '?')}, {job}"


def slip_path(board: str, shot: str, take: int, number: int = 1) -> str:
    """Where attempt `number` of a take is announced: one writer a name, so that two ledgers never announce the same one."""
    chained = f".{number}" if number > 1 else ""
    return f"{board}/shots/{shot}/{shot}_TK{take:02d}.order{chained}.json"


def facts_of(intent: Intent) -> dict[str, Any]:
    """What receipt and slip tell of an order. The signature is cut from every link: the store has more readers (S09)."""
    facts = {
        "rushes": 1,
        "board": intent.board,
        "shot": intent.shot,
        "take": intent.take,
        "intent_id": intent.intent_id,
        "run_id": intent.run_id,
        "provider": intent.provider,
        "model": intent.model,
        "job_id": intent.job_id,
        "request": json.loads(intent.request_json),
        "request_sha256": intent.request_sha256,
        "shot_key": intent.shot_key,
        "quoted": intent.quote.text,
        "billed": intent.billed.text if intent.billed else None,
        "unit": intent.quote.unit,
        "price_version": intent.price_version,
        "submitted_at": _time(intent.submitted_at),
        "finished_at": _time(intent.finished_at),
        "clip": None,
        "suspect": None,
    }
    if intent.artifact is not None:
        artifact = intent.artifact
        facts["clip"] = {"sha256": artifact.sha256, "bytes": artifact.size, **artifact.probe}
        facts["suspect"] = artifact.suspect
    return {name: _unsigned(value) for name, value in facts.items()}


def _time(moment: dt.datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _unsigned(value: Any) -> Any:
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, dict):
        return {key: _unsigned(one) for key, one in value.items()}
    return [_unsigned(one) for one in value] if isinstance(value, list) else value


def _text(production: Production, intent: Intent) -> bytes:
    """Everything from which the ledger's row can be made again. The token's hash opens nothing: the token is 256 random bits."""
    facts = facts_of(intent) | {
        "ledger_id": production.ledger.ledger_id,
        "host": socket.gethostname(),
        "state": intent.state.value,
        "family": intent.family,
        "attempt_no": intent.attempt_no,
        "approval_id": intent.approval_id,
        "approved_by": intent.approved_by,
        "account": intent.account,
        "base_url": intent.base_url,
        "rate": None if intent.rate is None else str(intent.rate),
        "mode": intent.mode,
        "audio": intent.audio,
        "seconds": intent.seconds,
        "token_hash": intent.token_hash,
        "amount": intent.amount.text if intent.amount else None,
        "created_at": intent.created_at.isoformat(),
        "take_path": intent.artifact.path if intent.artifact else None,
        "verified_at": _time(intent.artifact.verified_at) if intent.artifact else None,
    }
    return json.dumps(facts, indent=2, sort_keys=True).encode()


def read_slip(production: Production, path: str) -> Slip:
    """The slip at `path`; a file that is none is a slip without facts, which stands in the way all the same.

    Raises:
        RushesError: the store cannot be read, or nothing is there.
    """
    try:
        facts = json.loads(production.store.read(path, limit=LIMIT))
    except ValueError:
        facts = {}
    return Slip(path, facts if isinstance(facts, dict) and facts.get("rushes") == 1 else {})


def in_the_way(production: Production, slip: Slip) -> Refused | None:
    """Why this ledger may not buy what another one has announced; None where it knows the order or the order is void.

    An order of its own never stands in the way here: whether it may be bought again is the reservation's question.
    """
    if slip.void or (slip.intent_id and production.ledger.known(slip.intent_id)):
        return None
    told, mine = slip.facts, production.ledger.ledger_id
    shot = slip.path.rpartition("/")[2].partition("_TK")[0]
    what = f"is announced already ({slip.path})"
    if told.get("clip"):
        what = f"is there: the store holds this very take already ({slip.path.partition('.order')[0]}.mp4)"
    if not told:
        return Refused(f"{shot}: {slip.path} is no order slip", "Move that file away if nobody needs it.")
    cure = "This ledger was put back from an older copy: `rushes doctor --adopt` takes over what it lost."
    if told.get("ledger_id") != mine:
        cure = "Use the RUSHES_HOME and RUSHES_LEDGER that bought it; if they are lost for good, "
        cure += f"`rushes doctor --adopt {told.get('ledger_id')} --why TEXT` takes over their orders."
    return Refused(f"{shot} {what}, and this ledger has no record of buying it: {slip.who}", cure)


def announce(production: Production, intent: Intent) -> Intent:
    """Put the slip of a reservation, once, before anything is sent.

    The first name that no order has is created exclusively; names of orders that this ledger knows to be ended, and of
    void ones, are passed. So of two ledgers that want the same take one is told of the other's order.

    Raises:
        Refused: another ledger has announced this take; the reservation is given back.
        SetupProblem: the store takes no slip; the reservation is given back, and nothing may be sent.
    """
    ledger, text = production.ledger, _text(production, intent)
    mine = {one.slip for one in ledger.intents(board=intent.board, shot=intent.shot)}
    for number in itertools.count(1):
        path = slip_path(intent.board, intent.shot, intent.take, number)
        if path in mine:
            continue
        production.hooks("slip")
        try:
            production.store.put_once(text, path, content_type="application/json")
        except StorageConflict:
            refusal = _refusal(production, intent, path)
            if refusal is None:
                continue
            ledger.cancelled(intent.intent_id, intent.epoch, str(refusal))
            raise refusal from None
        except RushesError as error:
            raise _not_announced(production, intent, path, error) from None
        production.hooks("slip put")
        return ledger.announced(intent.intent_id, intent.epoch, path)
    raise AssertionError("counting never ends")


def _refusal(production: Production, intent: Intent, path: str) -> Refused | None:
    try:
        return in_the_way(production, read_slip(production, path))
    except RushesError as error:
        raise _not_announced(production, intent, path, error) from None


def _not_announced(production: Production, intent: Intent, path: str, error: RushesError) -> SetupProblem:
    """Give the reservation back; the slip may be there all the same, so `tend_slips` looks after it."""
    production.ledger.slip_told(intent.intent_id, path, "")
    message = f"{intent.shot}: the store took no order slip, so nothing was sent ({error})"
    production.ledger.cancelled(intent.intent_id, intent.epoch, message)
    return SetupProblem(message, error.hint or "`rushes doctor` tries the store step by step.")


def keep_slip(production: Production, intent: Intent) -> bool:
    """Let the slip tell what became of its order. A store that does not take it costs nothing: `collect` tries again."""
    silent = intent.state in {IntentState.SUBMITTING, IntentState.IN_DOUBT}
    if not intent.slip or silent or intent.slip_state == intent.state:
        return True
    try:
        if intent.slip_state or _is_there(production, intent):
            production.store.put(_text(production, intent), intent.slip, content_type="application/json")
        production.ledger.slip_told(intent.intent_id, intent.slip, intent.state)
    except RushesError as error:
        with suppress(RushesError):
            if all(event.kind != "slip-behind" for event in production.ledger.events(intent.intent_id)):
                production.ledger.note(intent.intent_id, "slip-behind", {"slip": intent.slip, "why": str(error)})
        return False
    return True


def _is_there(production: Production, intent: Intent) -> bool:
    """Whether a slip whose put had failed stands in the store after all."""
    try:
        return read_slip(production, intent.slip).intent_id == intent.intent_id
    except Missing:
        return False


async def tend_slips(production: Production) -> None:
    """Bring slips up to date that a crash or the store has left behind; a store that is down is not asked for long."""
    failures = 0
    for intent in await asyncio.to_thread(production.ledger.slips_behind):
        failures += not await asyncio.to_thread(keep_slip, production, intent)
        if failures == MOST_FAILURES:
            return


def strangers(production: Production, board: str = "") -> Iterator[Slip]:
    """Slips in the store, of one board or of all, that are not this ledger's; void ones are nobody's concern."""
    known = production.ledger.slips(board or None)
    for path in production.store.list(f"{board}/shots" if board else ""):
        if path not in known and SLIP.fullmatch(path):
            slip = read_slip(production, path)
            if not slip.void and not (slip.intent_id and production.ledger.known(slip.intent_id)):
                yield slip
