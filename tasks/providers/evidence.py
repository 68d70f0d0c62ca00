"""What the answer to a create shows beside its envelope: ids, amounts, and whether anything in it speaks of acceptance.

A refusal is definite only where none of them is there; an id is a candidate until a query with our key confirms it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from specs.money import Money
from tasks.providers.amounts import BILL_WORDS, NAMED_NONE, Bills, read_bill
from tasks.providers.candidates import Pairs, candidates, ids_of, key_words, named_ids, objects_of, texts_of
from tasks.providers.interface import Accepted, Reply
from tasks.providers.refusals import job_header, readable
from tasks.providers.strictjson import Parsed, parse_json

__all__ = ["Evidence", "read_evidence"]

_MONEY = BILL_WORDS | {"balance", "balances", "cents", "money", "usd"}
_FIGURE = re.compile(r"[$€£¥]\s*\d|\d[\d.,]*\s*(credits?|usd|eur|gbp|cny|rmb|dollars?|euros?|cents?)\b", re.IGNORECASE)
_WORDS = re.compile(
    r"\b(accept(ed|ance|ing)|acknowledged|admitted|charged?|billed|deduct(ed|ion)|debit(ed)?|consumed|processing"
    r"|rendering|generating|progress|under way|underway|queued|enqueued|scheduled|created|submitted|dispatched"
    r"|started|pending|completed?|finished|succeeded|success(ful|fully)?|thanks?|thank you|reserved"
    r"|(in|on) (the|our|a) queue|(is|was|been|be|being) (\w+ )?(received|placed|paid|generated|made|handled|running)"
    r"|duplicate|invoiced|captured|on (its|the) way|queue position|position in|(your|this|the new) order|taken from"
    r"|(job|task|order|request|generation) (was |has been |is )?(received|placed|running|ok)|already (exists|running))\b"
    r"|^\s*ok(ay)?\W*$|成功|受理|接受|已提交|提交成功|处理中|生成中|排队|扣除|扣费|扣款|已创建|已扣",
    re.IGNORECASE,
)
_FLAGS = frozenset({"success", "ok", "accepted", "succeeded", "valid", "result"})


@dataclass(frozen=True, slots=True)
class Evidence:
    """`named`: every id of a job, the likeliest first, with what is said of its price. `others`: those beyond the plain one.

    `amount` is the largest usable price that is named anywhere, None where there is none, and then `note` says why.
    `acceptance` is what forbids to read a refusal as definite: an id, an amount, a flag, a word or a header; "" where there is nothing.
    """

    named: tuple[Accepted, ...]
    amount: Money | None
    note: str
    acceptance: str

    def beside(self, body: bytes, job_id: str) -> tuple[Accepted, ...]:
        """Ids of other jobs in a reply that plainly gives `job_id`."""
        jobs = named_ids(objects_of(body))
        return tuple(one for one in self.named if one.job_id != job_id and one.job_id in jobs)


def read_evidence(reply: Reply, unit: str, bills: Bills) -> Evidence:
    """Read all of it; never raises, whatever the body is."""
    objects = objects_of(reply.body)
    amount, note = read_bill(objects, unit, bills)
    named = []
    for job_id in candidates(reply.body):
        own = read_bill([pairs for pairs in objects if job_id in ids_of(pairs)], unit, bills)
        # Where no price stands beside the id itself, the largest that is named may be its own.
        named.append(Accepted(job_id, *(own if own[1] != NAMED_NONE else (amount, note))))
    return Evidence(tuple(named), amount, note, _acceptance(reply.body, objects) or job_header(reply.headers))


def _acceptance(body: bytes, objects: Sequence[Pairs]) -> str:
    if ids := named_ids(objects):
        return f"it names job {ids[0]}"
    for key, value in (pair for pairs in objects for pair in pairs):
        words = key_words(key)
        if words & _MONEY and re.search("[0-9]", str(value)):
            return f"it names an amount ({key})"
        # 0 is the code of success in every dialect that has codes.
        succeeded = type(value) is int and value == 0 and words in ({"code"}, {"error", "code"})
        if succeeded or (value in (True, "true", "True", "yes") and words & _FLAGS):
            return f"it says {key} {value}"
        for text in (*texts_of(value), *([" ".join(words)] if value else [])):
            if found := _spoken(text):
                return found
    parsed = parse_json(body)
    loose = texts_of(parsed.value) if isinstance(parsed, Parsed) else [body.decode("utf-8", "replace")]
    return next((found for text in loose if (found := _spoken(text))), "")


def _spoken(text: str) -> str:
    text = readable(text)
    found = _WORDS.search(text) or _FIGURE.search(text)
    return f"it says {found[0].strip()!r}" if found else ""
