"""Settle: what the provider really charged for a job, where it tells only afterwards."""

from datetime import timedelta

from specs.money import Money
from tasks.errors import SetupProblem, Transient
from tasks.ledger import Intent
from tasks.production import Production
from tasks.providers import sjinn_account
from tasks.providers.interface import Failure

__all__ = ["charged"]

PAGES = 5
MARGIN = timedelta(minutes=10)
"""Their clock and ours may differ by this much."""


async def charged(production: Production, intent: Intent) -> Money | None:
    """The charge that the provider's own list of charges names for this job; None where it keeps none or names none.

    A list that cannot be read is no reason to hold a paid clip back: the quote is settled then.
    """
    if intent.provider != "sjinn":
        return None
    start, end = (intent.submitted_at or intent.created_at) - MARGIN, production.clock.now() + MARGIN
    cursor: str | None = None
    for _ in range(PAGES):
        request = sjinn_account.usage_request(intent.base_url, start=start, end=end, cursor=cursor)
        try:
            auth = production.auth(intent.provider, intent.base_url)
            reply = await production.wire.call(request, auth=auth, deadline=production.deadlines.poll)
        except (Transient, SetupProblem):
            return None
        usage = sjinn_account.decode_usage(reply)
        if isinstance(usage, Failure):
            return None
        found = next((charge.cost for charge in usage.charges if charge.task_id == intent.job_id), None)
        if found is not None or usage.cursor is None:
            return found
        cursor = usage.cursor
    return None
