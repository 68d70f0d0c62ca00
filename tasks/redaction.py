"""Taking credentials out of text before it is logged, stored or shown.

The configured ones are found in whatever form they are quoted back, others by what they look like: keys, callback addresses,
the queries of signed addresses. Foreign bytes pass `scrub` where they come in (`tasks/http.py`, callbacks), so that no
decoder, journal or ledger sees a key.
"""

import base64
import html
import json
import logging
import re
from collections.abc import Iterable
from urllib.parse import quote

__all__ = ["HIDDEN", "SHORT", "conceal", "hush_http_logs", "redact", "scrub", "without_known"]

HIDDEN = "[redacted]"
SHORT = 8
"""Characters below which a secret is replaced where it stands alone, and in no other form: else it would shred every text."""
LEAST = 4
"""Below this a secret hides nothing, and is left where it is."""
_RULES = (
    # Order matters: an address loses its user part, callback token and query before bare keys are looked for.
    (re.compile(r"(?i)\b(bearer|basic|key)\s+[A-Za-z0-9._~+/=-]{8,}"), rf"\1 {HIDDEN}"),
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^\s/?#@'\"]*@"), rf"\1{HIDDEN}@"),
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://[^\s?#'\"]*/cb/[^\s/?#'\"]+/)[^\s/?#'\"]+"), rf"\1{HIDDEN}"),
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://[^\s?#'\"<>]*)[?#][^\s'\"<>]*"), rf"\1?{HIDDEN}"),
    (re.compile(r"\b(?:ak-|sk[-_]|api-key-)[A-Za-z0-9_-]{8,}"), HIDDEN),
)


class _Known:
    """The secrets of this process, and one pattern that finds them all."""

    def __init__(self) -> None:
        self.secrets: frozenset[str] = frozenset()
        self.pattern = re.compile(r"(?!)")
        self.openings: tuple[str, ...] = ()

    def learn(self, secrets: Iterable[str]) -> None:
        """Look for these as well from now on."""
        more = self.secrets | {one for one in secrets if len(one) >= LEAST}
        if more == self.secrets:
            return
        forms = [form for secret in sorted(more, key=len, reverse=True) for form in _forms(secret)]
        self.secrets, self.pattern = more, re.compile("|".join(forms))
        self.openings = tuple(secret for secret in more if len(secret) >= SHORT)


def _forms(secret: str) -> list[str]:
    """Patterns of the ways in which a program quotes a text: as it is, escaped for JSON, HTML or an address, in hexadecimal, in Base64."""
    if len(secret) < SHORT:
        return [rf"(?<![\w./-]){re.escape(secret)}(?![\w./-])"]
    octets = secret.encode()
    # What is escaped differs from program to program, so each character may be, whatever its neighbours are.
    spelled = "".join(map(_spelled, secret))
    return [f"(?i:{spelled})", f"(?i:{octets.hex()})", *map(re.escape, _runs(secret))]


def _spelled(one: str) -> str:
    code = ord(one)
    percent = "".join(f"%(?:25)*{octet:02x}" for octet in one.encode())
    ways = [re.escape(one), percent, rf"\\+u{code:04x}", rf"\\+x{code:02x}", rf"\\+{re.escape(one)}"]
    ways += [rf"&\#0*{code};", rf"&\#x0*{code:x};", *([re.escape(html.escape(one))] if html.escape(one) != one else [])]
    return f"(?:{'|'.join(ways)})"


def _runs(secret: str) -> list[str]:
    """What is in Base64, of both alphabets, whatever stands before and behind the secret: the characters that hang on it alone."""
    octets: bytes = secret.encode()
    found: dict[str, None] = {}
    for altchars in (b"+/", b"-_"):
        for shift in range(3):
            text = base64.b64encode(b"\0" * shift + octets, altchars).decode().rstrip("=")
            found[text[-(-shift * 8 // 6) : (shift + len(octets)) * 8 // 6]] = None
    return list(found)


_known = _Known()
_SLASH = r"(?:\\*/|%(?:25)*2f|\\+u002f)"
_CALLBACK = re.compile(rf"(?i)(cb{_SLASH})[0-9A-HJKMNP-TV-Z]{{26}}{_SLASH}[A-Za-z0-9_-]{{16,}}")
# An intent's id begins with 0 until the year 2248 (ULID); what follows is longer than any chance likeness.
_CALLBACK_64 = re.compile(rf"(?:{'|'.join(map(re.escape, _runs('/cb/0')))})[A-Za-z0-9+/_-]{{60,}}")


def conceal(secrets: Iterable[str]) -> None:
    """Let `scrub`, `redact` and the logs of this process take these texts out, in every form that is known."""
    _known.learn(secrets)


def without_known(text: str) -> str:
    """The text without the concealed secrets and the tokens of callback addresses, and otherwise as it is."""
    return _CALLBACK_64.sub(HIDDEN, _CALLBACK.sub(rf"\1{HIDDEN}", _known.pattern.sub(HIDDEN, text)))


def scrub(body: bytes, *, cut: bool = False) -> bytes:
    """Foreign bytes without the concealed secrets.

    `cut` says that the bytes break off, so that half a secret may stand at their end. A JSON text may be UTF-16 or UTF-32
    (RFC 4627, 3): it is looked through as it will be read.
    """
    encoding = json.detect_encoding(body)
    try:
        text = body.decode("latin-1" if encoding.startswith("utf-8") else encoding)
    except UnicodeError:
        encoding, text = "utf-8", body.decode("latin-1")
    clean = without_known(text)
    if cut:
        clean = _without_half(clean)
    return body if clean == text else clean.encode("latin-1" if encoding.startswith("utf-8") else encoding)


def _without_half(text: str) -> str:
    for secret in _known.openings:
        for form in (secret, quote(secret, safe=""), *_runs(secret)):
            half = next((size for size in range(len(form) - 1, LEAST - 1, -1) if text.endswith(form[:size])), 0)
            if half:
                return text[:-half] + HIDDEN
    return text


def redact(text: str) -> str:
    """The text without what opens doors. Redact before truncating: half a key no longer looks like one."""
    text = without_known(text)
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


class _Redacting(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), None
        return True


def hush_http_logs() -> None:
    """Let httpx and httpcore log warnings only (their INFO holds whole addresses), and no logger a concealed secret."""
    for name in ("httpx", "httpcore"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING)
        if not any(isinstance(one, _Redacting) for one in logger.filters):
            logger.addFilter(_Redacting())
    # A factory, not a filter: a logger's filter does not see what its children say, and Prefect has handlers of its own.
    if logging.getLogRecordFactory() is logging.LogRecord:
        logging.setLogRecordFactory(_record)


def _record(*given: object, **named: object) -> logging.LogRecord:
    record = logging.LogRecord(*given, **named)  # type: ignore[arg-type]
    try:
        message = record.getMessage()
    except (TypeError, ValueError, KeyError):
        return record  # whoever formats it will say what is wrong with it
    if (clean := without_known(message)) != message:
        record.msg, record.args = clean, None
    if record.exc_info and record.exc_info[0] is not None:
        record.exc_text = without_known(logging.Formatter().formatException(record.exc_info))
    return record
