"""Questions: the state of a job, and SJinn's balance and list of credits used."""

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from deployments.sandbox import sjinn
from deployments.sandbox.dialects import Dialect
from deployments.sandbox.faults.kinds import QueryFault
from deployments.sandbox.house import House
from deployments.sandbox.orders import Job, Refused
from deployments.sandbox.wire import Request, Step, json_reply, plain

__all__ = ["ACCOUNT_STATUS", "CREDITS_USAGE", "asked_job", "balance", "query", "usage"]

ACCOUNT_STATUS = "/api/un-api/query_account_status"
CREDITS_USAGE = "/api/un-api/query_credits_usage"


def asked_job(house: House, dialect: Dialect, request: Request) -> Job | None:
    """The job that a query is about, if this provider has it."""
    job = house.book.jobs.get(dialect.asked(request))
    return job if job is not None and job.provider == dialect.NAME else None


def query(house: House, dialect: Dialect, request: Request) -> tuple[Iterable[Step], str]:
    """The answer to a query of one job, and the name of the fault in it."""
    if not house.admits(request.headers.get("authorization", "")):
        return plain(dialect.unauthorized()), ""
    job = asked_job(house, dialect, request)
    if job is None:
        return plain(dialect.unknown()), ""
    state = job.state(house.clock.now())
    done, told = state == "done", job.job_id in house.told
    fault = house.script.next(
        QueryFault, dialect.NAME, fits=lambda fault: (done or not fault.when_done) and (told or not fault.when_told)
    ) or QueryFault(name="", ids=(), text="")
    if done and not fault.name:
        house.told.add(job.job_id)
    envelope: Any = dialect.snapshot(job, state, [house.clip_url(job)] if done else [])
    if fault.reshape is not None:
        envelope = fault.reshape(envelope, house.scene(job))
    return (fault.lie or plain)(json_reply(envelope)), fault.name


def balance(house: House, request: Request) -> Iterable[Step]:
    """SJinn's query_account_status."""
    if not house.admits(request.headers.get("authorization", "")):
        return plain(sjinn.unauthorized())
    return plain(json_reply(sjinn.balance(house.book.balance)))


def usage(house: House, request: Request) -> Iterable[Step]:
    """SJinn's query_credits_usage: newest first, `limit` 50 by default and 200 at most, times inclusive."""
    if not house.admits(request.headers.get("authorization", "")):
        return plain(sjinn.unauthorized())
    body = request.json() if request.method == "POST" else None
    asked: Mapping[str, Any] = body if isinstance(body, dict) else request.query
    try:
        limit = min(max(int(asked.get("limit", 50)), 1), 200)
        rows = list(_matching(house, asked))
    except (ValueError, TypeError, binascii.Error):
        return plain(sjinn.refused(Refused("invalid parameters", code=400)))
    page = rows[:limit]
    more = base64.urlsafe_b64encode(str(page[-1]["id"]).encode()).decode() if len(rows) > limit else None
    return plain(json_reply(sjinn.usage(page, more)))


def _matching(house: House, asked: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    below = int(base64.urlsafe_b64decode(asked["cursor"])) if asked.get("cursor") else None
    since, until = (_moment(asked.get(name)) for name in ("start_time", "end_time"))
    for number, spend in reversed(list(enumerate(house.book.spends, 1))):
        if (
            (below is None or number < below)
            and (since is None or spend["at"] >= since)
            and (until is None or spend["at"] <= until)
            and asked.get("task_type", sjinn.TASK_TYPE) == sjinn.TASK_TYPE
        ):
            yield {
                "id": number,
                "task_type": sjinn.TASK_TYPE,
                "task_id": spend["task_id"],
                "chat_id": None,
                "cost_credits": int(spend["amount"]),
                "created_at": datetime.fromtimestamp(spend["at"], UTC).isoformat(),
            }


def _moment(text: Any) -> float | None:
    if not text:
        return None
    moment = datetime.fromisoformat(str(text))
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
