"""Job ids in odd replies: a find is a candidate until a query with our key confirms it."""

import re
from typing import Any

from tasks.providers.strictjson import Parsed, parse_json
from tasks.redaction import HIDDEN

__all__ = ["MOST", "candidates", "is_job_id", "named_ids"]

MOST = 6
_JOB_KEYS = ("job_id", "task_id", "id")
_KEYS = (*_JOB_KEYS, "request_id")
_USABLE = re.compile(r"[\x21-\x7e]{1,200}")
_PLACEHOLDERS = {"undefined", "null", "none", "nan", "true", "false", "0"}
_CUT_PAIR = re.compile(rb'"(job_id|task_id|id|request_id)"\s*:\s*"([\x21\x23-\x5b\x5d-\x7e]{1,200})"')
_UUID = re.compile(rb"\b[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\b")


def is_job_id(value: object) -> bool:
    """Whether a value can be polled with: printable ASCII text without blanks, no printed null, and nothing that was hidden."""
    if not isinstance(value, str) or HIDDEN in value:
        return False
    return bool(_USABLE.fullmatch(value)) and value.lower() not in _PLACEHOLDERS


def candidates(body: bytes) -> tuple[str, ...]:
    """Up to six possible job ids, best first: by key at any depth (also in cut or broken JSON), at last any UUID."""
    parsed = parse_json(body)
    pairs = parsed.pairs if isinstance(parsed, Parsed) else _cut_pairs(body)
    found = [text for key in _KEYS for name, value in pairs if name == key and is_job_id(text := _text(value))]
    found += [match.decode() for match in _UUID.findall(body)]
    return tuple(dict.fromkeys(found))[:MOST]


def named_ids(parsed: Parsed) -> tuple[str, ...]:
    """Ids that a reply calls a job's or a task's; `request_id` is left out, as refusals carry one for their own logs."""
    texts = [_text(value) for name, value in parsed.pairs if name in _JOB_KEYS]
    return tuple(dict.fromkeys(text for text in texts if is_job_id(text)))


def _text(value: Any) -> str:
    if isinstance(value, list):
        return _text(value[0]) if value else ""
    return str(value).strip() if isinstance(value, str | int) else ""


def _cut_pairs(body: bytes) -> list[tuple[str, Any]]:
    return [(name.decode(), value.decode()) for name, value in _CUT_PAIR.findall(body)]
