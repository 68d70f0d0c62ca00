"""Job ids in replies: what stands under a key that names a job, and what a query with our key might confirm to be one."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from tasks.providers.strictjson import Parsed, parse_json
from tasks.redaction import HIDDEN

__all__ = ["MOST", "Pairs", "candidates", "ids_of", "is_job_id", "key_words", "named_ids", "objects_of", "texts_of"]

MOST = 24
"""Ids that are read out of one reply; what asks after them asks for a few at a time."""
Pairs = Sequence[tuple[str, Any]]
_SURE = ("jobid", "jobids", "taskid", "taskids", "id", "ids")
_LIKELY = ("job", "jobs", "task", "tasks", "orderid", "generationid", "predictionid", "videoid", "uuid", "uuids")
_REQUEST = ("requestid",)
# Ids of our own request, account or session: refusals carry them for their own logs.
_OF_OTHERS = re.compile("request|trace|log|correlation|span|session|user|account|org|team|event")
_USABLE = re.compile(r"[\x21-\x7e]{1,200}")
_PLACEHOLDERS = {"undefined", "null", "none", "nan", "true", "false", "0"}
_CUT_PAIR = re.compile(r'"([^"\\]{1,60})"\s*:\s*(?:"([^"\\]{0,300})"|(-?[0-9][0-9.eE+-]{0,40})(?=\s*[,}\]]))')
_UUID = re.compile(r"\b[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\b")


def is_job_id(value: object) -> bool:
    """Whether a value can be polled with: printable ASCII text without blanks, no printed null, and nothing that was hidden."""
    if not isinstance(value, str) or HIDDEN in value:
        return False
    return bool(_USABLE.fullmatch(value)) and value.lower() not in _PLACEHOLDERS


def candidates(body: bytes) -> tuple[str, ...]:
    """Possible job ids, best first: by key at any depth (also in cut or broken JSON), at last any UUID."""
    objects = objects_of(body)
    found = [one for pairs in _by_rank(objects, (*_SURE, *_LIKELY, *_REQUEST)) for one in pairs]
    return tuple(dict.fromkeys([*found, *_UUID.findall(body.decode("latin-1"))]))[:MOST]


def named_ids(objects: Sequence[Pairs]) -> tuple[str, ...]:
    """Ids that a reply gives for a job, not for its own logs: by key at any depth, or a UUID in a text that is no address."""
    found = [one for pairs in _by_rank(objects, (*_SURE, *_LIKELY)) for one in pairs]
    others = (text for pairs in objects for key, value in pairs if not _of_others(key) for text in texts_of(value))
    loose = (one for text in others if "://" not in text for one in _UUID.findall(text))
    return tuple(dict.fromkeys([*found, *loose]))[:MOST]


def ids_of(pairs: Pairs) -> set[str]:
    """Ids that one object names, whatever it calls them."""
    return {one for found in _by_rank([pairs], (*_SURE, *_LIKELY, *_REQUEST)) for one in found}


def objects_of(body: bytes) -> Sequence[Pairs]:
    """The keys and values of every JSON object; of a body that is cut or no JSON, the pairs that can still be read."""
    parsed = parse_json(body)
    if isinstance(parsed, Parsed):
        texts = (text for pairs in parsed.objects for _, value in pairs for text in texts_of(value))
        # Some gateways put the answer behind them into a text.
        inner = [
            one for text in texts if text.lstrip().startswith("{") for one in objects_of(text.encode(errors="replace"))
        ]
        return [*parsed.objects, *inner]
    cut = _CUT_PAIR.findall(body.decode("latin-1"))
    return [[(key, number or text) for key, text, number in cut]]


def texts_of(value: Any) -> Iterator[str]:
    """Every text that a value is or lists; objects inside it have pairs of their own."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from texts_of(one)


def key_words(key: str) -> frozenset[str]:
    """`amountCharged` and `amount_charged` alike: the words of a key."""
    return frozenset(word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", key))


def _by_rank(objects: Sequence[Pairs], keys: Sequence[str]) -> Iterator[list[str]]:
    named = [(re.sub("[^a-z]", "", key.lower()), value) for pairs in objects for key, value in pairs]
    for wanted in keys:
        # Under a vaguer key stands a word as often as an id, and an id has a digit.
        yield [
            text
            for key, value in named
            if key == wanted
            for text in _usable(value)
            if wanted in (*_SURE, *_REQUEST) or re.search("[0-9]", text)
        ]


def _usable(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    texts = [str(one).strip() for one in values if isinstance(one, str | int) and not isinstance(one, bool)]
    return [text for text in texts if is_job_id(text)]


def _of_others(key: str) -> bool:
    return bool(_OF_OTHERS.search(key.lower()))
