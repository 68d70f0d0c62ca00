"""The ledger checked against itself; everything that does not fit is a sentence.

I3: caps hold what their intents say. I6: the facts alone tell the same story. State and money agree.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from specs.money import Money
from tasks.ledger import books, schema
from tasks.ledger.database import Prepared, rows_of
from tasks.ledger.reading import FORCED
from tasks.ledger.record import COLUMNS, Record
from tasks.ledger.rows import IntentState, Replayed

__all__ = ["replay", "verify"]

S = IntentState
_intent, _event, _money, _cap = schema.intent, schema.event, schema.money, schema.cap
_OPEN = {S.SUBMITTING, S.IN_DOUBT, S.SUBMITTED, S.STALLED, S.SUCCEEDED, S.FAILED_UNSETTLED}
_GIVEN_BACK = {S.REJECTED, S.CANCELLED}
_SIGNS = {"RESERVE": (1, 0), "ADJUST": (1, 0), "SETTLE": (-1, 1), "RELEASE": (-1, 0), "REFUND": (0, -1)}

_TOLD = Prepared(
    sa.select(_event.c.intent_id, _event.c.state, _event.c.payload)
    .where(_event.c.state != sa.literal_column("''"))
    .order_by(_event.c.seq)
)
_ENTRIES = Prepared(sa.select(_money.c.intent_id, _money.c.kind, _money.c.micros))
_ROWS = Prepared(sa.select(*(_intent.c[name] for name in COLUMNS)).order_by(_intent.c.seq))
_CLIPS = Prepared(sa.select(schema.artifact.c.intent_id))
_CAPS = Prepared(sa.select(_cap))
_FORCED = Prepared(sa.select(_money.c.intent_id, _money.c.micros).where(FORCED))
_LOWERED = Prepared(sa.select(_event.c.payload).where(_event.c.kind == sa.literal_column("'cap-lowered'")))


def replay(connection: Connection) -> dict[str, Replayed]:
    """State, job and money of every intent from events and money entries alone (I6)."""
    states: dict[str, str] = {}
    jobs: dict[str, str] = {}
    for intent_id, state, payload in rows_of(connection, _TOLD, {}):
        states[intent_id] = state
        if job := json.loads(payload).get("job_id"):
            jobs[intent_id] = job
    sums = _entries(connection)
    return {key: Replayed(state, jobs.get(key), *sums.get(key, (0, 0))) for key, state in states.items()}


def _entries(connection: Connection) -> dict[str, tuple[int, int]]:
    sums: dict[str, tuple[int, int]] = {}
    for intent_id, kind, micros in rows_of(connection, _ENTRIES, {}):
        reserved, settled = sums.get(intent_id, (0, 0))
        for_reserved, for_settled = _SIGNS[kind]
        sums[intent_id] = (reserved + for_reserved * micros, settled + for_settled * micros)
    return sums


def verify(connection: Connection) -> list[str]:
    """What is wrong, intent by intent and bucket by bucket; empty when the ledger is sound."""
    records = [Record(*row) for row in rows_of(connection, _ROWS, {})]
    clips = {intent_id for (intent_id,) in rows_of(connection, _CLIPS, {})}
    told = replay(connection)
    problems = [
        f"intent {record.intent_id}: {problem}"
        for record in records
        for problem in (*_against_facts(record, told), *_own_sense(record, clips))
    ]
    strays = sorted(told.keys() - {record.intent_id for record in records})
    problems += [f"intent {intent_id}: facts without a row" for intent_id in strays]
    return [*problems, *_buckets(connection, records)]


def _against_facts(record: Record, told: Mapping[str, Replayed]) -> Iterator[str]:
    row = Replayed(record.state, record.job_id, record.reserved_micros, record.settled_micros)
    fact = told.get(record.intent_id)
    if fact != row:
        yield f"the row says {row}, its facts say {fact}"


def _own_sense(record: Record, clips: set[str]) -> Iterator[str]:
    state = S(record.state)
    if state in _OPEN and record.settled_at is None and record.booked < record.expected:
        yield f"{state} with {record.money(record.booked)} booked, it may cost {record.money(record.expected)}"
    if state not in _OPEN and record.reserved_micros:
        yield f"{state} with {record.money(record.reserved_micros)} still reserved"
    if state in _GIVEN_BACK and record.settled_micros:
        yield f"{state} with {record.money(record.settled_micros)} settled"
    if state is S.STORED and record.intent_id not in clips:
        yield "STORED without a clip"
    if record.intent_id in clips and state not in {S.STORED, S.SUPERSEDED, S.ABANDONED}:
        yield f"{state} with a clip"


def _buckets(connection: Connection, records: Sequence[Record]) -> Iterator[str]:
    wanted: dict[tuple[str, str, str], int] = defaultdict(int)
    for record in records:
        for one in books.buckets(record):
            moved = books.moved(record, 0, record.booked, one["unit"])
            wanted[one["scope"], one["scope_key"], one["unit"]] += moved
    excess = _recorded_excess(connection, records)
    for scope, key, unit, limit, committed in rows_of(connection, _CAPS, {}):
        place = (scope, key, unit)
        if committed != wanted.pop(place, 0):
            yield f"cap {scope} {key}: {Money(committed, unit)} committed is not the sum of its intents"
        if limit is not None and committed - limit > excess.get(place, 0):
            yield f"cap {scope} {key}: {Money(committed, unit)} committed passes {Money(limit, unit)} without a recorded bill"
    yield from (f"cap {scope} {key}: missing" for (scope, key, _), micros in wanted.items() if micros)


def _recorded_excess(connection: Connection, records: Sequence[Record]) -> dict[tuple[str, str, str], int]:
    """How far facts may have carried a bucket past its limit.

    Bills above the quote, jobs that came to light late, a purchase found in the journal, a limit that was lowered.
    """
    by_id = {record.intent_id: record for record in records}
    excess: dict[tuple[str, str, str], int] = defaultdict(int)
    for intent_id, micros in rows_of(connection, _FORCED, {}):
        record = by_id[intent_id]
        for one in books.buckets(record):
            excess[one["scope"], one["scope_key"], one["unit"]] += books.moved(record, 0, micros, one["unit"])
    for (payload,) in rows_of(connection, _LOWERED, {}):
        fact = json.loads(payload)
        excess[fact["scope"], fact["scope_key"], fact["unit"]] += fact["from"] - fact["to"]
    return excess
