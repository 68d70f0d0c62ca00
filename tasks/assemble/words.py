"""How a state is said and coloured, the same on the contact sheet and on the page, and what a person can do about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tasks.rows import Row, State, without_secrets

__all__ = ["STATES", "VERDICTS", "Advice", "Word", "advice"]


@dataclass(frozen=True, slots=True)
class Word:
    """`label` for people, `tone` the class on the page, `colour` on dark ground."""

    label: str
    tone: str
    colour: str = ""


@dataclass(frozen=True, slots=True)
class Advice:
    """Something open: its name, what it means, and the command that helps."""

    label: str
    text: str
    command: str


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

VERDICTS: Mapping[int, Word] = MappingProxyType(
    {
        0: Word("Every shot is stored and nothing is in doubt.", "good"),
        1: Word("A defect of Rushes stopped the run.", "bad"),
        2: Word("The command was not understood.", "off"),
        3: Word("The spec or a still is invalid.", "bad"),
        4: Word("Refused before anything was spent.", "off"),
        5: Word("Finished, but some shots failed.", "bad"),
        6: Word("Money needs a person.", "warn"),
        7: Word("The set-up stopped the run.", "bad"),
        130: Word("Interrupted.", "wait"),
    }
)
"""What an exit code says about a run, in a sentence."""

_DOUBT = (
    "The order left us and no answer came, so it may have been bought. Its money stays reserved, and nothing is ordered "
    "again until somebody has looked at the provider's own list of jobs."
)


def advice(row: Row) -> Advice | None:
    """What is open about a row; None where nothing is."""
    intent = row.intent_id or "INTENT"
    match row.state:
        case "in_doubt":
            return Advice("in doubt", _DOUBT, f"rushes resolve {intent} --job-id ID | --absent | --write-off")
        case "held":
            return Advice("held", "The job is paid, but its clip could not be fetched.", "rushes collect")
        case "stalled":
            return Advice(
                "not finished", "The job runs on at the provider; its clip can be picked up later.", "rushes collect"
            )
        case "stored" | "failed" if row.overbilled:
            text = f"Quoted {row.quoted}, billed {row.billed}: nothing more is bought there unasked."
            return Advice("overbilled", text, f"rushes resolve {intent} --billed AMOUNT")
        case "stored" if row.suspect:
            text = f"Delivered, but not as ordered: {without_secrets(row.suspect)}."
            return Advice("suspect", text, f"rushes retake SPEC {row.shot} --reason TEXT")
        case _:
            return None
