"""How a state is said and coloured, the same on the contact sheet and on the page, and what a person can do about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tasks.rows import Row, State

__all__ = ["STATES", "Word", "advice"]


@dataclass(frozen=True, slots=True)
class Word:
    """`label` for people, `tone` the class on the page, `colour` on dark ground."""

    label: str
    tone: str
    colour: str


STATES: Mapping[State, Word] = MappingProxyType(
    {
        "stored": Word("stored", "good", "#58b368"),
        "failed": Word("failed", "bad", "#e5604d"),
        "in_doubt": Word("in doubt", "warn", "#e3a52f"),
        "held": Word("held", "warn", "#e3a52f"),
        "stalled": Word("not finished", "wait", "#6fa3d8"),
        "refused": Word("refused", "off", "#9a9ea6"),
        "cancelled": Word("cancelled", "off", "#9a9ea6"),
    }
)

_DOUBT = (
    "The order left us and no answer came, so it may have been bought. Its money stays reserved, and nothing is ordered "
    "again until somebody has looked at the provider's own list of jobs."
)


def advice(row: Row) -> tuple[str, str] | None:
    """What a person should know and the command that helps; None where nothing is open."""
    intent = row.intent_id or "INTENT"
    match row.state:
        case "in_doubt":
            return _DOUBT, f"rushes resolve {intent} --job-id ID | --absent | --write-off"
        case "held":
            return "The job is paid, but its clip could not be fetched.", "rushes collect"
        case "stalled":
            return "The job runs on at the provider; its clip can be picked up later.", "rushes collect"
        case "stored" if row.billed and row.quoted and row.billed.unit == row.quoted.unit and row.quoted < row.billed:
            return "The provider billed more than it quoted.", "rushes doubts"
        case "stored" if row.suspect:
            return f"Delivered, but not as ordered: {row.suspect}.", f"rushes retake SPEC {row.shot} --reason TEXT"
        case _:
            return None
