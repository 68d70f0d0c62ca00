"""What the code would never do, the database refuses all the same: rules written as constraints, tried with bare SQL."""

import re

import pytest
import sqlalchemy as sa

from tasks.ledger import IntentState, schema
from tasks.ledger.database import parse_url
from tasks.ledger.migrations import STEPS
from tests.tasks.ledger.desk import Desk, in_state, order

S = IntentState
ENTRY = "INSERT INTO money (intent_id, kind, micros, round, evidence, at)"


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM event",
        "UPDATE event SET payload = '{}'",
        "DELETE FROM money",
        "UPDATE money SET micros = 0",
        "DELETE FROM artifact",
        "UPDATE artifact SET sha256 = ''",
        "DELETE FROM intent",
        "DELETE FROM run",
        "DELETE FROM approval",
        "UPDATE approval SET caps = '[[99000000, \"USD\"]]'",
    ],
)
def test_facts_are_never_changed_or_deleted(desk: Desk, statement: str) -> None:
    """I6: events, money and clips are append-only, rows of intents and runs stay."""
    in_state(desk.begun(), S.STORED)
    with pytest.raises(sa.exc.DBAPIError, match="never changed or deleted"):
        desk.execute(statement)


@pytest.mark.parametrize(
    ("state", "statement"),
    [
        (S.STORED, "UPDATE intent SET reserved_micros = 1"),
        (S.STORED, "UPDATE intent SET job_id = NULL"),
        (S.SUBMITTED, "UPDATE intent SET job_id = ''"),
        (S.SUBMITTED, "UPDATE intent SET reserved_micros = -1"),
        (S.SUBMITTED, "UPDATE intent SET state = 'REJECTED'"),
        (S.SUBMITTED, "UPDATE intent SET state = 'LOST'"),
        (S.SUBMITTED, "UPDATE cap SET committed_micros = -1"),
        (S.SUBMITTED, f"{ENTRY} SELECT intent_id, 'RESERVE', 1, 0, '', 0 FROM intent"),
        (S.SUBMITTED, f"{ENTRY} SELECT intent_id, 'REFUND', -1, 0, '', 0 FROM intent"),
        (S.SUBMITTED, f"{ENTRY} VALUES ('nobody', 'ADJUST', 1, 0, '', 0)"),
        (S.SUBMITTING, "UPDATE intent SET state = 'IN_DOUBT'"),
        (S.SUBMITTING, "UPDATE intent SET state = 'SUBMITTED'"),
    ],
)
def test_no_row_can_say_what_makes_no_sense(desk: Desk, state: IntentState, statement: str) -> None:
    """State, job and money that contradict each other, and money booked twice, are refused."""
    in_state(desk.begun(), state)
    with pytest.raises(sa.exc.IntegrityError):
        desk.execute(statement)


@pytest.mark.parametrize("column", ["shot_key", "shot"])
def test_the_double_spend_lock_is_a_unique_index(desk: Desk, column: str) -> None:
    """Two live rows of one shot, or of one content, cannot exist even if the code forgot to look."""
    ledger = desk.begun()
    in_state(ledger, S.SUBMITTED, order("SH010"), job="job-1")
    in_state(ledger, S.SUBMITTED, order("SH020"), job="job-2")
    value = {"shot_key": "key of SH010", "shot": "SH010"}[column]
    with pytest.raises(sa.exc.IntegrityError):
        desk.execute(f"UPDATE intent SET {column} = '{value}', attempt_no = 2 WHERE shot = 'SH020'")


def test_F20_one_job_cannot_be_two_intents_even_in_bare_sql(desk: Desk) -> None:
    """F108: a job id means something in the account that gave it, whatever address was asked."""
    ledger = desk.begun()
    in_state(ledger, S.SUBMITTED, order("SH010"), job="job-1")
    in_state(ledger, S.SUBMITTED, order("SH020", base_url="https://api.example/v2"), job="job-2")
    with pytest.raises(sa.exc.IntegrityError):
        desk.execute("UPDATE intent SET job_id = 'job-1'")


def test_the_tables_for_statements_are_the_migrated_ones(desk: Desk) -> None:
    """`schema` and `migrations` name the same columns in the same order."""
    desk.open()
    engine = sa.create_engine(parse_url(desk.url))
    found = {
        name: [column["name"] for column in sa.inspect(engine).get_columns(name)]
        for name in sa.inspect(engine).get_table_names()
    }
    engine.dispose()
    assert found == {name: [column.name for column in table.c] for name, table in schema.metadata.tables.items()}


def test_every_step_has_a_number_and_a_name() -> None:
    """Steps run in the order of their numbers, and `schema_no` counts them."""
    names = [step.name for step in STEPS]
    numbers = [int(name[:4]) for name in names]
    assert numbers == sorted(set(numbers))
    assert all(re.fullmatch(r"[0-9]{4}(-[a-z]+)+", name) for name in names)
