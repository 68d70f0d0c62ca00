"""What a reply that is no result means: by its phase, its status and, where a provider allows, its words."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime

from tasks.providers.evidence import Evidence
from tasks.providers.interface import Failure, Kind, Phase, Refusal, Reply
from tasks.providers.refusals import unlike_refusal
from tasks.providers.strictjson import Parsed, Unreadable, parse_json
from tasks.redaction import HIDDEN, redact, without_known

__all__ = [
    "MESSAGE_MAX",
    "ambiguous",
    "by_status",
    "contradiction",
    "first_text",
    "kind_of_words",
    "moderated",
    "ok",
    "other_job",
    "plain",
    "read_object",
    "refusal_text",
    "refused",
    "refused_by_status",
    "retry_after",
    "vouchable",
]

MESSAGE_MAX = 300
WHOLE_MAX = 1000
"""A longer text is no sentence that a person can vouch for."""
_LOOKED_AT = 10_000
RETRY_AFTER_MIN, RETRY_AFTER_MAX = 1.0, 7 * 86400.0
_ENVELOPE = frozenset(
    ["code", "error_code", "success", "request_id", "requestId", "trace_id", "traceId", "log_id", "timestamp"]
)
_ON_CREATE = {
    **dict.fromkeys((400, 404, 405, 413, 415, 422), Kind.INVALID),
    **dict.fromkeys((401, 403), Kind.AUTH),
    402: Kind.BALANCE,
    429: Kind.RATE,
}
_LATER = {401: Kind.AUTH, 402: Kind.BALANCE, 403: Kind.AUTH, 404: Kind.NOT_FOUND, 410: Kind.NOT_FOUND, 429: Kind.RATE}
_ON_DOWNLOAD = {403: Kind.NOT_FOUND, 404: Kind.NOT_FOUND, 410: Kind.NOT_FOUND, 429: Kind.RATE}

# A message with one of these admits that the provider itself does not know what became of the request.
_UNSURE = re.compile(r"\b(internal|time[d ]*-?out|timeout|try again|retry later|unknown)", re.IGNORECASE)
_MODERATION = r"\b(polic(y|ies)|sensitive|violat|moderat|risk control|safety|nsfw|content[_ ]check)"
_WORDS: tuple[tuple[Kind, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern, re.IGNORECASE))
    for kind, pattern in (
        (Kind.MODERATION, _MODERATION),
        (Kind.BALANCE, r"\b(insufficient|balance|credits?\b|quota|arrears)"),
        (Kind.AUTH, r"\b(unauthori[sz]ed|permission|forbidden|(api[ _-]?)?keys?\b(?! ?['\"])|not authori[sz]ed)"),
        (Kind.CONCURRENCY, r"\b(concurren|too many (\w+ )?(jobs|tasks|generations))"),
        (Kind.RATE, r"\b(too many (\w+ )?(requests|calls)|rate[ _-]?limit|too (fast|frequent)|request limit)"),
        (Kind.INVALID, r"\b(invalid|required|must|missing|unsupported|not supported|not found|too many|limit)"),
    )
)
_REFINES = {Kind.MODERATION, Kind.BALANCE, Kind.CONCURRENCY}


def kind_of_words(text: str) -> Kind | None:
    """The kind that a provider's refusal text speaks of; None where it speaks of none, or of not knowing."""
    if _UNSURE.search(text):
        return None
    return next((kind for kind, pattern in _WORDS if pattern.search(text)), None)


def moderated(text: str) -> bool:
    """Whether a failed job's text names risk control, safety, moderation, policy or sensitive content."""
    return bool(_WORDS[0][1].search(text))


def by_status(status: int, phase: Phase, text: str = "") -> Kind:
    """The kind of a non-2xx reply; on create everything unlisted is AMBIGUOUS, later it is TRANSIENT.

    `text` refines a listed status on create: money, moderation and full queues hide behind 400, 403 and 429.
    """
    match phase:
        case Phase.CREATE:
            kind = _ON_CREATE.get(status, Kind.AMBIGUOUS)
            words = kind_of_words(text)
            return words if words in _REFINES and kind not in {Kind.AMBIGUOUS, Kind.BALANCE} else kind
        case Phase.POLL | Phase.RESULT:
            return _LATER.get(status, Kind.TRANSIENT)
        case Phase.DOWNLOAD:
            return _ON_DOWNLOAD.get(status, Kind.TRANSIENT)


def ok(reply: Reply) -> bool:
    """Whether the status is 2xx."""
    return 200 <= reply.status < 300


def read_object(reply: Reply) -> Parsed | Unreadable:
    """The body as one whole JSON object; `Parsed.value` is a Mapping."""
    parsed = parse_json(reply.body)
    if reply.truncated:
        return Unreadable("the reply was cut short")
    if isinstance(parsed, Parsed) and not isinstance(parsed.value, Mapping):
        return Unreadable("the reply is no JSON object")
    return parsed


def refused_by_status(
    reply: Reply, said: Evidence, text: str, *, kind: Kind | None = None, code: object = "", own: bool = False
) -> Failure:
    """A create answered with other than 2xx: definite where the status is listed and the reply is a plain refusal.

    `kind` is what the provider's own code says; it refines a listed status and nothing else. `own`: the reply is this
    machine's, which refuses in its own words.
    """
    listed = by_status(reply.status, Phase.CREATE, text)
    odd = said.acceptance or ("" if own and not reply.truncated else unlike_refusal(reply))
    if listed is Kind.AMBIGUOUS or odd:
        why = ": ".join(filter(None, [f"HTTP {reply.status}", odd, text]))
        return ambiguous(said, why, code or reply.status)
    return refused(reply, kind or listed, text, code or reply.status)


def refusal_text(reply: Reply, envelope: Parsed, said: Evidence, texts: Sequence[str]) -> str | None:
    """The whole text of a well-formed refusal; None where the reply holds anything but codes and texts."""
    if said.acceptance or envelope.duplicates or reply.truncated:
        return None
    found: list[str | None] = []
    for key, value in envelope.value.items():
        if key in texts or key == "data":
            found += _only_texts(value, texts)
        elif key not in _ENVELOPE:
            return None
    return None if None in found else "\n".join(dict.fromkeys(one.strip() for one in found if one and one.strip()))


def vouchable(code: int | None, text: str | None) -> Refusal | None:
    """A refusal for which a person may vouch: readable, and whole, so without anything that must be hidden."""
    if not text or len(text) > WHOLE_MAX or HIDDEN in redact(text) or code == 0 or 200 <= (code or 1) < 300:
        return None
    return Refusal("" if code is None else str(code), text)


def _only_texts(value: object, texts: Sequence[str]) -> "list[str | None]":
    """The texts in a value; a None among them for anything else."""
    if value in (None, "", [], {}):
        return []
    if isinstance(value, str):
        return [value]
    if not isinstance(value, Mapping):
        return [None]
    named = (*texts, "code", "type", "detail", "reason")
    return [one if isinstance(one, str) and key in named else None for key, one in value.items()]


def other_job(reply: Reply, asked: str, echoed: object) -> Failure | None:
    """The query answered for another job than ours (F42); None where it names ours, or none."""
    if echoed is None or str(echoed) == asked:
        return None
    return refused(reply, Kind.INVALID, f"asked for job {asked}, the answer is for job {echoed}", "other-job")


def contradiction(reply: Reply, envelope: Parsed, names: frozenset[str]) -> Failure | None:
    """A query whose reply has two different values under one of `names`: a failed poll, since either may be the true one."""
    named = [name for pairs in envelope.objects for name, _ in {(name, repr(value)) for name, value in pairs}]
    once = [name for pairs in envelope.objects for name in dict(pairs)]
    twice = sorted(name for name in names if named.count(name) > once.count(name))
    return (
        refused(reply, Kind.TRANSIENT, f"the query's reply contradicts itself in {', '.join(twice)}") if twice else None
    )


def refused(reply: Reply, kind: Kind, text: str, code: object = "") -> Failure:
    """A definite refusal on create, or a call that failed later: nothing was charged by it."""
    return Failure(
        kind,
        plain(text) or f"HTTP {reply.status}",
        code=plain(code),
        retry_after=retry_after(reply),
        may_be_charged=False,
    )


def ambiguous(said: Evidence, why: str, code: object = "", refusal: Refusal | None = None) -> Failure:
    """Nobody can tell what became of the create; every id and every amount in the reply is kept."""
    return Failure(
        Kind.AMBIGUOUS,
        plain(why),
        code=plain(code),
        candidates=said.named,
        amount=said.amount,
        amount_note=said.note,
        refusal=refusal,
    )


def retry_after(reply: Reply) -> float | None:
    """Seconds that the reply asks to wait, 1 s to 7 days; None for garbage. A date counts from the reply's own Date header."""
    headers = {name.lower(): value.strip() for name, value in reply.headers.items()}
    asked = headers.get("retry-after", "")
    if re.fullmatch(r"[0-9]{1,20}", asked):
        return _clamped(float(asked))
    until, since = _date(asked), _date(headers.get("date", ""))
    return None if until is None or since is None else _clamped((until - since).total_seconds())


def first_text(table: object, *keys: str) -> str:
    """The first of the keys whose value is non-empty text; looks one object deep, as error objects wrap their message."""
    if not isinstance(table, Mapping):
        return ""
    for key in keys:
        value = table.get(key)
        if isinstance(value, Mapping):
            value = first_text(value, "message", "msg", "detail", "reason", "code")
        if isinstance(value, str) and value.strip():
            return value.strip()
    return ""


def plain(text: object) -> str:
    """A stranger's text for logs and terminals: without keys, control characters escaped, at most 300 characters (S24)."""
    told = redact(without_known("" if text is None else str(text))[:_LOOKED_AT])[: MESSAGE_MAX + 1]
    shown = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in told)
    return shown if len(shown) <= MESSAGE_MAX else shown[: MESSAGE_MAX - 1] + "…"


def _clamped(seconds: float) -> float:
    return min(max(seconds, RETRY_AFTER_MIN), RETRY_AFTER_MAX)


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return found if found.tzinfo else None
