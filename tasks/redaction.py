"""Taking credentials out of text before it is logged, stored or shown: keys, and the queries of signed addresses."""

import logging
import re

__all__ = ["hush_http_logs", "redact"]

_HIDDEN = "[redacted]"
_RULES = (
    # Order matters: an address loses its user part, callback token and query before bare keys are looked for.
    (re.compile(r"(?i)\b(bearer|basic|key)\s+[A-Za-z0-9._~+/=-]{8,}"), rf"\1 {_HIDDEN}"),
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^\s/?#@'\"]*@"), rf"\1{_HIDDEN}@"),
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://[^\s?#'\"]*/cb/[^\s/?#'\"]+/)[^\s/?#'\"]+"), rf"\1{_HIDDEN}"),
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://[^\s?#'\"<>]*)[?#][^\s'\"<>]*"), rf"\1?{_HIDDEN}"),
    (re.compile(r"\b(?:ak-|sk[-_]|api-key-)[A-Za-z0-9_-]{8,}"), _HIDDEN),
)


def redact(text: str) -> str:
    """The text without what opens doors. Redact before truncating: half a key no longer looks like one."""
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


class _Redacting(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), None
        return True


def hush_http_logs() -> None:
    """Let httpx and httpcore log warnings only (their INFO holds whole addresses), and those without keys or queries."""
    for name in ("httpx", "httpcore"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING)
        if not any(isinstance(one, _Redacting) for one in logger.filters):
            logger.addFilter(_Redacting())
