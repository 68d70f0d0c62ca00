"""When a job is asked after again: a fact of its row, so that `collect` does what is due and ends, and no two ask at once.

A question is claimed before it is put: the row counts it and names the moment of the next one. Asking ends with the clip,
when the provider says for good that there is none, or a week after the job was taken.
"""

import datetime as dt

import sqlalchemy as sa

from tasks.ledger import schema
from tasks.ledger.database import Prepared, moment
from tasks.ledger.record import Record
from tasks.ledger.rows import IntentState
from tasks.ledger.transaction import WITH_ARTIFACT, Transaction

__all__ = ["ASKED_AFTER", "CLOSED", "OPEN", "WEEK", "ask_anew", "claim", "gone", "next_pause", "schedule"]

S = IntentState
OPEN = (S.SUBMITTING, S.IN_DOUBT, S.SUBMITTED, S.STALLED, S.SUCCEEDED, S.RESULT_HELD, S.FAILED_UNSETTLED)
"""States that nobody has closed yet."""
CLOSED = (S.FAILED_FINAL, S.ABANDONED, S.SUPERSEDED)
"""States in which the shot is decided; a paid job of it is asked after all the same."""
WEEK = dt.timedelta(days=7)
FIRST, LONGEST = 270.0, 3600.0  # seconds: a little under the five minutes between two scheduled collects, then hourly

_intent, _artifact = schema.intent, schema.artifact


def _in(states: tuple[IntentState, ...]) -> sa.ColumnElement[bool]:
    return _intent.c.state.in_([sa.literal_column(f"'{state}'") for state in states])


ASKED_AFTER = Prepared(
    WITH_ARTIFACT.where(
        sa.or_(
            _in(OPEN),
            sa.and_(
                _in(CLOSED),
                _intent.c.job_id.is_not(None),
                _artifact.c.intent_id.is_(None),
                _intent.c.quote_micros > sa.literal_column("0"),
                _intent.c.gone == sa.literal_column("0"),
                _intent.c.submitted_at > sa.bindparam("since"),
            ),
        )
    ).order_by(_intent.c.seq)
)


def next_pause(tries: int) -> float:
    """Seconds until the try after `tries` that brought nothing."""
    return min(FIRST * 2.0 ** min(tries, 10), LONGEST)


def claim(tx: Transaction, intent_id: str, tries: int, pause: float) -> bool:
    """Count a question and set the moment of the next one; False where somebody has asked since `tries` was read."""
    record = tx.load(intent_id)
    if record.tries != tries:
        return False
    schedule(tx, record, pause)
    tx.save(record)
    tx.event(intent_id, "asked", {"tries": record.tries, "next_try": moment(record.next_try_at or 0)})
    return True


def schedule(tx: Transaction, record: Record, pause: float) -> None:
    """Set the next try `pause` seconds from now; the caller saves the row."""
    record.tries, record.next_try_at = record.tries + 1, tx.now + round(pause * 1_000_000)


def ask_anew(record: Record) -> None:
    """The job has moved: its tries are counted from none again; the caller saves the row."""
    record.tries, record.next_try_at, record.gone = 0, None, 0


def gone(tx: Transaction, intent_id: str, why: str) -> None:
    """The provider says for good that there is no clip: nobody asks by himself any more."""
    record = tx.load(intent_id)
    if not record.gone:
        record.gone, record.reason = 1, why
        tx.save(record)
        tx.event(intent_id, "gone", {"why": why})
