"""What a definite refusal looks like: a whole reply of a known shape, in words that providers refuse with, and nothing else.

Any other reply is a doubt. What may speak of an accepted job has no end; how a refusal is written can be listed.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from tasks.providers.interface import Reply
from tasks.providers.strictjson import Parsed, Unreadable, parse_json
from tasks.redaction import HIDDEN

__all__ = ["job_header", "readable", "unlike_refusal"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TEXT_MAX, _PAGE_MAX, _DEPTH_MAX = 300, 4000, 4
_CODES = frozenset({"code", "errorcode", "errcode", "status", "statuscode"})
_LOGS = frozenset({"requestid", "traceid", "logid", "timestamp"})
_TEXTS = _words(
    """
    info message msg error errormsg errormessage errors detail details reason title type param field loc data
    """
)
_NAMES = frozenset({"code", "errorcode", "errcode", "type", "param", "field", "loc"})
"""Texts under these name what is wrong, and need not say that it is."""
_NOES = _words(
    """
    arrears bad blocked cannot denied disabled disallowed error errors exceed exceeded exceeds exhausted expired
    failed forbidden illegal inappropriate incorrect insufficient invalid limited locked malformed missing must no not
    overloaded prohibited refused rejected require required requires sensitive too unacceptable unauthenticated
    unauthorised unauthorized unavailable unknown unprocessable unrecognised unrecognized unsupported violate
    violates violation wrong
    """
)
# What such sentences are made of beside them. Nothing here tells of work that goes on, of a place in a queue or of money
# that has moved.
_OTHERS = _words(
    """
    a above access account again all allowed an and any api are args argument arguments array aspect at audio
    authentication authorised authorization authorized balance base64 be below between body boolean budget bytes
    call callback calls can character characters check code codes community concurrency concurrent configuration contact
    contain contains content credential credentials credit credits day down duration durations each element
    elements empty endpoint enough entity equal expected false fast field fields file for format found frequent
    from frontal funds greater guideline guidelines has have height here hour html http if image images in input integer is its jobs
    json key kind known large later least length less level limit many max maximum media membership method
    methods min minimum minute minutes mode model moderation most ms multi name needed negative null number object of often
    on one only or our page parameter parameters part parts payload payment per permission permissions permitted
    plan please policy prefix prompt provide provided quota rate ratio reached recharge reference request
    requested requests resource retry risk s safety sec second seconds security server service short shot shots
    since size slow slower small std string subscription such sum support supported system tail task tasks text
    than that the this times to token tokens tool top true try type unit up upgrade url urls use user users
    valid value values wait was when width with within without words you your
    """
)
_ALSO_NO = re.compile(
    r"\b(slow down|used up|membership needed|(limit|quota|max(imum)? [a-z ]{1,40}) reached|rate limit|max(imum)? [0-9]+ [a-z]+ per)\b"
    r"|^slow$"
)
"""Refusals none of whose words says no by itself."""
_DENIED = re.compile(r"\b(?:no|not|without)(?: any| an?)? (?!exceed|must)(\w+)")
_BARE_JOBS = frozenset({"job", "task"})
_MONEY = frozenset({"balance", "budget", "credit", "credits", "funds", "payment", "recharge"})
_UNITS = re.compile(r"([0-9]{1,4})(s|ms|sec|kb|mb|px|m|h)")
_KEY = re.compile(r"\bkey:? [a-z]{2}-[0-9a-z*]{16,}")
_WORD = re.compile(r"[^\W_]+")
_TAGS = _words("!doctype html head title meta body div main center h1 h2 h3 p b strong pre span br hr address")
_TAG = re.compile(r"</?(!doctype|[a-z][a-z0-9]*)((?:\s[^<>]*)?)>", re.IGNORECASE)
_SERVER = re.compile(r"\b(nginx|openresty|cloudflare|apache|tengine|awselb|envoy|caddy)(/[0-9.]{1,12})?", re.IGNORECASE)
_PADDING = "<!-- a padding to disable MSIE and Chrome friendly error page -->"
_QUIET = re.compile(
    r"""(\s+(html|public|lang|charset|bgcolor|align)(="?[a-z0-9-]{1,12}"?)?|\s+"-//ietf//dtd html 2\.0//en")*\s*/?""",
    re.IGNORECASE,
)
_TELLING = _words(
    """
    location refresh link job jobs task tasks order orders generation prediction render video clip run queue
    operation charge charged cost costs amount credit credits billed bill price usage paid invoice next result
    output
    """
)
_OWN_IDS = _words(
    """
    request requestid trace traceid correlation span session log ray cf amz amzn vercel edge served fly
    """
)
_IDS = frozenset({"id", "ids", "uuid", "ref", "reference", "number", "ticket"})
_HEADER_VALUE = re.compile(r"\b(job|task|order)s?[_/=-]|/query\b|[?&]id=|\b(accepted|queued|created)\b", re.IGNORECASE)


def unlike_refusal(reply: Reply) -> str:
    """What keeps a reply from being a plain refusal; "" for one."""
    if reply.truncated:
        return "the reply was cut short or cannot be decoded"
    if found := job_header(reply.headers):
        return found
    try:
        text = reply.body.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        return "the reply is no text"
    if not text:
        return ""
    parsed = parse_json(text.encode())
    if isinstance(parsed, Unreadable):
        return _page(text, reply.status) if text.startswith("<") else _odd_text(text)
    return next(_odd_parts(reply.status, parsed), "")


def job_header(headers: Mapping[str, str]) -> str:
    """A header that may name a job; "" where there is none. Ids of requests, traces and edge servers are for logs."""
    for name, value in headers.items():
        words = set(re.findall("[a-z]+", name.lower()))
        if (
            words & _TELLING
            or (words & _IDS and not words & _OWN_IDS)
            or (_HEADER_VALUE.search(value) and words.isdisjoint({"access", "vary"}))
        ):
            return f"its header {name} may name a job"
    return ""


def readable(text: str) -> str:
    """The text as a person sees it: wide letters as plain ones, and nothing between them that has no width."""
    return "".join(one for one in unicodedata.normalize("NFKC", text) if unicodedata.category(one) != "Cf")


def _odd_parts(status: int, parsed: Parsed) -> Iterator[str]:
    if parsed.duplicates:
        yield f"it names {parsed.duplicates[0]} twice"
    if isinstance(parsed.value, Mapping):
        yield from _odd_object(status, parsed.value, _DEPTH_MAX)
    else:
        yield _odd_text(parsed.value) if isinstance(parsed.value, str) else "it is no JSON object"


def _odd_object(status: int, table: Mapping[str, Any], depth: int) -> Iterator[str]:
    for key, value in table.items():
        name = re.sub("[_-]", "", key.lower())
        if name in _CODES:
            fits = value == status if name in {"status", "statuscode"} else value != 0 and not _is_success(value)
            if type(value) is int and not fits:
                yield f"it says {key} {value}"
            elif type(value) is not int:
                yield from _odd_value(status, value, depth, says_no=name not in _NAMES)
        elif name == "success" and value is not False:
            yield f"it says {key} {value}"
        elif name in _LOGS:
            if not isinstance(value, str | int | None) or len(str(value)) > _TEXT_MAX:
                yield f"its {key} is no plain id"
        elif name in _TEXTS:
            yield from _odd_value(status, value, depth, says_no=name not in _NAMES)
        elif name != "success":
            yield f"no refusal is known to have {key!r} in it"


def _odd_value(status: int, value: object, depth: int, *, says_no: bool) -> Iterator[str]:
    if isinstance(value, str):
        yield from filter(None, [_odd_text(value, says_no=says_no)])
    elif value in (None, [], {}):
        return
    elif not depth:
        yield "it is nested too deeply"
    elif isinstance(value, Mapping):
        yield from _odd_object(status, value, depth - 1)
    elif isinstance(value, list):
        for one in value:
            yield from _odd_value(status, one, depth - 1, says_no=says_no)
    else:
        yield "it holds a number or a flag where a text belongs"


def _is_success(code: object) -> bool:
    return isinstance(code, int) and 200 <= code < 300


def _odd_text(text: str, most: int = _TEXT_MAX, *, says_no: bool = True) -> str:
    """Why a text is not surely a refusal's: a word that none is made of, a figure of money, an id, or no word of refusing."""
    plain = _KEY.sub("key", readable(text).replace(HIDDEN, " ").casefold())
    if len(plain) > most:
        return "its text is long"
    if re.search(r"[0-9][.,][0-9]|[$€£¥₹{}<]|://", plain):
        return "its text holds a figure of money, an address or markup"
    words = _WORD.findall(plain.replace("used up", "exhausted"))
    numbers = [word for word in words if word.isdigit()]
    unknown = [one for one in words if not (one.isdigit() or one in _NOES or one in _OTHERS or _UNITS.fullmatch(one))]
    if unknown:
        return f"no refusal is known to say {unknown[0]!r}"
    if numbers and (set(words) & (_BARE_JOBS | _MONEY) or any(len(one) > 4 for one in numbers)):
        return f"its number {numbers[0]} may be a job or a charge"
    if any(one in _NOES for one in _DENIED.findall(plain)):
        return "its text takes its no back"
    said = not plain.strip() or set(words) & _NOES or _ALSO_NO.search(plain.strip())
    return "" if said or not says_no else f"it does not say no: {plain.strip()!r}"


def _page(text: str, status: int) -> str:
    """An edge server's error page: tags without anything in them, and a few words."""
    if len(text) > _PAGE_MAX:
        return "its page is long"
    bare = text.replace(_PADDING, "")
    if any(tag.lower() not in _TAGS or not _QUIET.fullmatch(inside) for tag, inside in _TAG.findall(bare)):
        return "its page has more than plain tags"
    words = _SERVER.sub(" ", _TAG.sub(" ", bare))
    # Some pages say their status and nothing else.
    return "" if words.replace(str(status), " ").strip() in {"", "edge"} else _odd_text(words, _PAGE_MAX)
