"""The ledger's tables, for building statements. Constraints live in `migrations`; a test keeps the two alike.

Times are microseconds since 1970 UTC, money is micro-units of the row's `unit`, flags are 0 or 1.
"""

from typing import Any

from sqlalchemy import BigInteger, Column, Double, Integer, MetaData, SmallInteger, Table, Text
from sqlalchemy.types import TypeEngine

__all__ = [
    "approval",
    "artifact",
    "breaker",
    "cap",
    "event",
    "home",
    "intent",
    "ledger",
    "metadata",
    "migration",
    "money",
    "run",
    "vouched",
]

metadata = MetaData()


def _table(table: str, /, **columns: type[TypeEngine[Any]]) -> Table:
    return Table(table, metadata, *(Column(column, kind) for column, kind in columns.items()))


migration = _table("migration", name=Text, at=BigInteger)
ledger = _table("ledger", one=SmallInteger, ledger_id=Text, schema_no=Integer, recovery=Text, created_at=BigInteger)
home = _table("home", home_id=Text, journal_bytes=BigInteger)
approval = _table(
    "approval",
    seq=BigInteger,
    approval_id=Text,
    board=Text,
    digest=Text,
    approved_by=Text,
    reason=Text,
    caps=Text,
    shown=Text,
    made_at=BigInteger,
)
run = _table(
    "run",
    seq=BigInteger,
    run_id=Text,
    board=Text,
    spec_sha256=Text,
    digest=Text,
    caps=Text,
    approved_by=Text,
    approval=Text,
    begun_at=BigInteger,
    ended_at=BigInteger,
    exit_code=Integer,
    approval_id=Text,
    attempt_of=Text,
    owner=Text,
    open_until=BigInteger,
)
cap = _table("cap", scope=Text, scope_key=Text, unit=Text, limit_micros=BigInteger, committed_micros=BigInteger)
breaker = _table(
    "breaker",
    provider=Text,
    account=Text,
    kind=Text,
    is_open=SmallInteger,
    run_seq=BigInteger,
    reason=Text,
    probe=Text,
    opened_at=BigInteger,
)
intent = _table(
    "intent",
    seq=BigInteger,
    intent_id=Text,
    run_id=Text,
    board=Text,
    shot=Text,
    take=Integer,
    shot_key=Text,
    family=Text,
    attempt_no=Integer,
    provider=Text,
    model=Text,
    base_url=Text,
    account=Text,
    request_sha256=Text,
    request_json=Text,
    quote_micros=BigInteger,
    unit=Text,
    price_version=Text,
    rate=Text,
    mode=Text,
    audio=SmallInteger,
    seconds=Integer,
    state=Text,
    epoch=Integer,
    lease_owner=Text,
    lease_until=BigInteger,
    not_after=BigInteger,
    token_hash=Text,
    job_id=Text,
    amount_micros=BigInteger,
    reserved_micros=BigInteger,
    settled_micros=BigInteger,
    settled_at=BigInteger,
    round=Integer,
    doubt_reason=Text,
    reason=Text,
    urls=Text,
    extra=SmallInteger,
    moderated=SmallInteger,
    day=Text,
    month=Text,
    created_at=BigInteger,
    submitted_at=BigInteger,
    finished_at=BigInteger,
    updated_at=BigInteger,
    twin=SmallInteger,
    approval_id=Text,
    approved_by=Text,
    tries=Integer,
    next_try_at=BigInteger,
    gone=SmallInteger,
    slip=Text,
    slip_state=Text,
)
event = _table(
    "event",
    seq=BigInteger,
    intent_id=Text,
    at=BigInteger,
    actor=Text,
    kind=Text,
    state=Text,
    alert=SmallInteger,
    payload=Text,
)
money = _table(
    "money", seq=BigInteger, intent_id=Text, kind=Text, micros=BigInteger, round=Integer, evidence=Text, at=BigInteger
)
artifact = _table(
    "artifact",
    intent_id=Text,
    path=Text,
    uri=Text,
    sha256=Text,
    size=BigInteger,
    seconds=Double,
    probe=Text,
    suspect=Text,
    verified_at=BigInteger,
)
vouched = _table(
    "vouched",
    seq=BigInteger,
    provider=Text,
    code=Text,
    text=Text,
    kind=Text,
    holds=SmallInteger,
    who=Text,
    why=Text,
    intent_id=Text,
    at=BigInteger,
)
