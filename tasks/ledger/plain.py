"""An intent as a row of plain values, for tables and cost reports."""

from typing import Any

from tasks.ledger.rows import Intent

__all__ = ["plain"]

_SAME = ("intent_id", "run_id", "board", "shot", "take", "provider", "model", "family", "mode", "audio", "seconds")


def plain(intent: Intent) -> dict[str, Any]:
    """Money as decimal strings in `unit`; `usd` is what was billed, else is booked, at the order's rate, or None."""
    spent = intent.billed or intent.reserved + intent.settled
    usd = intent.in_usd(spent)
    done = intent.finished_at or intent.updated_at
    return {
        **{name: getattr(intent, name) for name in _SAME},
        "attempt": intent.attempt_no,
        "state": intent.state.value,
        "quoted": intent.quote.text,
        "billed": intent.billed.text if intent.billed is not None else "",
        "reserved": intent.reserved.text,
        "unit": intent.quote.unit,
        "usd": usd.text if usd is not None else None,
        "job_id": intent.job_id or "",
        "created_at": intent.created_at,
        "submitted_at": intent.submitted_at,
        "finished_at": intent.finished_at,
        "wait_s": (done - intent.submitted_at).total_seconds() if intent.submitted_at else None,
        "sha256": intent.artifact.sha256 if intent.artifact else "",
        "uri": intent.artifact.uri if intent.artifact else "",
        "note": intent.doubt_reason if intent.state == "IN_DOUBT" else intent.reason,
    }
