"""Replies to a create from a grammar: code x text x ids x amounts x flags x status x shape, in both dialects.

A part of them name an accepted job in a form that no page knows (`ODD`), under a status or a code that refuses.

Each is written together with what it says, and judged by that: the judge knows the providers' pages, and nothing of the code
that reads a reply.
"""

import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tasks.providers import PROVIDERS
from tasks.providers.interface import Accepted, Failure, Kind, Reply

__all__ = ["Judged", "Said", "judge", "replies"]

LISTED = (400, 401, 402, 403, 404, 405, 413, 415, 422, 429)
UNLISTED = (301, 307, 408, 409, 418, 500, 502, 503, 504)
SEEN = ("invalid model", "unsupported task kind")
"""Whole texts that ShortAPI was seen to refuse with."""
PLAIN = (
    *SEEN,
    "image is required",
    "insufficient balance",
    "Insufficient credits, please top up",
    "unauthorized: invalid api key",
    "too many concurrent tasks",
    "invalid model: please check",
    "unknown error",
)
FOREIGN = "请求参数错误"
"""A refusal for whoever reads it; for the reader of replies it is a doubt, and a person may vouch for it."""
ACCEPTING = (
    "accepted, 0.429 credits were deducted, processing",
    "invalid model was replaced; job submitted",
    "insufficient balance: 0.429 USD charged, rest on hold",
    "your request is queued",
    "task created",
    "processing",
    "Success",
    "余额不足 已扣费",
)
TOLD = (
    "0.429 was taken from your wallet, id follows",
    "your request is being processed",
    "duplicate task, see your list",
    "payment captured",
    "you were invoiced",
    "your clip is on its way",
    "queue position 5",
    "balance after this order is low",
    "slow: https://api.example/api/v1/job/query?id=JOB",
    "votre commande est en cours",
    "Auftrag angenommen",
    "受け付けました",
    "\uff41\uff43\uff43\uff45\uff50\uff54\uff45\uff44",
    "acc\u200bepted, too many requests",
    "job JOB",
    "your credits were used for your generation, no error",
    "invalid model was mended, coming right up",
)
"""Texts that a provider with a job in hand may send; JOB stands for its id."""
ODD: tuple[dict[str, Any], ...] = (
    *(
        {key: "JOB"}
        for key in [
            "taskNo",
            "jobRef",
            "job_uuid",
            "run_id",
            "render_id",
            "order",
            "reference",
            "output_url",
            "query_url",
        ]
    ),
    {"job_id": {"value": "JOB"}},
    {"data": '{"job_id":"JOB","amount":"0.429"}'},
    {"detail": [{"loc": ["jobs", "JOB"], "msg": "slow down"}]},
    {"id": 5.0},
    {"status": 1},
    {"code": 200},
    *({key: 5} for key in ["queue_position", "eta_seconds", "progress", "paid", "total", "usage"]),
)
"""What such an answer may hold beside a text that refuses."""
HEADERS = (
    {"X-Job-Id": "JOB"},
    {"Location": "/api/v1/job/query?id=JOB"},
    {"X-Render-Ref": "JOB"},
    {"Link": "</tasks/JOB>; rel=monitor"},
    {"X-Result": "JOB"},
)
QUIET = {
    "X-Request-Id": "req-1",
    "CF-Ray": "8f2a-FRA",
    "X-RateLimit-Remaining": "0",
    "Server": "nginx",
    "Retry-After": "2",
}
BODIES = (
    b"job_id=JOB&amount=0.429",
    b"<job><id>JOB</id></job>",
    b'<html><a href="/jobs/JOB">slow down</a></html>',
    b"<html><!-- JOB --><body>slow down</body></html>",
    b"<html><script>job='JOB'</script></html>",
    b'{"message":"slow down","data":{"job_',
    b'["JOB"]',
    b"JOB",
    b"\xff\xfe\x00J",
)
MAPPED = (100, 101, 400, 401)
"""SJinn's numbers that refuse."""
AMOUNTS = {
    "1.287": "1.287",
    " 1.287 ": "1.287",
    1.287: "1.287",
    2: "2",
    "0.5": "0.5",
    "-1": None,
    "0,43": None,
    "1.287 EUR": None,
    "1000000000000": None,
}
"""An amount as sent, and what it is worth where it can be used."""
CHARGES = {"shortapi": ("amount", "credit", "chargedAmount"), "sjinn": ("cost_credits", "creditsUsed")}


@dataclass(slots=True)
class Said:
    """One reply and what it says; `words`: of acceptance, `clean`: an envelope with one text and nothing else in it."""

    provider: str
    status: int = 200
    code: Any = None
    success: Any = None
    texts: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    plain_id: str = ""
    amounts: list[str] = field(default_factory=list)
    priced: bool = False
    words: bool = False
    foreign: bool = False
    shape: str = "envelope"
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    truncated: bool = False

    @property
    def silent(self) -> bool:
        """Nothing in it speaks of acceptance."""
        return not (self.ids or self.priced or self.words or self.success is True or self.code == 0)

    @property
    def outcome(self) -> str:
        """What the pages and the rule about silence allow it to mean."""
        ok, envelope = 200 <= self.status < 300, self.shape == "envelope"
        if self.shape == "odd":
            return "doubt"
        if not ok:
            refusing = envelope or self.shape == "html"
            return "definite" if self.status in LISTED and refusing and self.silent and not self.foreign else "doubt"
        if not envelope:
            return "doubt"
        if self.provider == "sjinn":
            return self._sjinn()
        if self.code == 0 and self.plain_id:
            return "accepted" if self.success is not False and not self.texts else "any"
        seen = len(self.texts) == 1 and self.texts[0] in SEEN
        return "definite" if self.silent and isinstance(self.code, int) and seen else "doubt"

    def _sjinn(self) -> str:
        if self.success is True:
            return "accepted" if self.plain_id and not self.texts and not self.code else "doubt"
        refused = self.success is False and self.silent and self.code in MAPPED and not self.foreign
        return "definite" if refused else "doubt"


@dataclass(slots=True)
class Judged:
    """How many replies were read as what, and what was wrong."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[tuple[str, str]] = field(default_factory=list)


def replies(seed: int, many: int) -> Iterator[Said]:
    """So many replies, half in each dialect."""
    chance = random.Random(seed)
    for number in range(many):
        yield (_odd if number % 8 > 5 else _reply)(chance, ("shortapi", "sjinn")[number % 2])


def _odd(chance: random.Random, provider: str) -> Said:
    """A status or a code that refuses, and beside it a job, told in a way that nobody listed."""
    said = Said(provider, chance.choice((200, *LISTED)), shape="odd", headers=dict(QUIET))
    job, text = f"job-{chance.randrange(1000, 9999)}", chance.choice((*SEEN, "image is required"))
    code = chance.choice(MAPPED) if provider == "sjinn" else 1
    top: dict[str, Any] = {"success": False, "error_code": code} if provider == "sjinn" else {"code": code}
    key = "errorMsg" if provider == "sjinn" else "info"
    body = b""
    match chance.choice(("text", "text", "key", "key", "header", "body", "cut")):
        case "text":
            text = chance.choice(TOLD)
        case "key":
            top |= chance.choice(ODD)
        case "header":
            said.headers |= {name: value.replace("JOB", job) for name, value in chance.choice(HEADERS).items()}
        case "body":
            body = chance.choice(BODIES)
        case "cut":
            said.truncated = True
    # Whoever is asked to vouch for such a text reads it; beside a plain one nothing may be vouched for.
    said.words = text not in TOLD
    shown = json.dumps({**top, key: text}, ensure_ascii=chance.random() < 0.5).encode()
    said.body = (body or shown).replace(b"JOB", job.encode())
    return said


def _reply(chance: random.Random, provider: str) -> Said:
    said = Said(provider, chance.choice((*(200,) * 12, 201, 202, *LISTED, *UNLISTED)), headers=dict(QUIET))
    top: dict[str, Any] = {}
    data: dict[str, Any] = {}
    if provider == "shortapi":
        said.code = top["code"] = chance.choice((0, 0, 0, 1, 1, 2, 5, 400, 977))
    else:
        said.success = top["success"] = chance.choice((True, False, False))
        said.code = top["error_code"] = 0 if said.success else chance.choice((*MAPPED, *MAPPED, 404, 429, 977))
    for key in chance.sample(
        ("info", "message", "error") if provider == "shortapi" else ("errorMsg", "error"),
        chance.choice((0, 0, 1, 1, 1, 2)),
    ):
        text = chance.choice((*PLAIN, *PLAIN, *ACCEPTING, FOREIGN))
        said.words |= text in ACCEPTING
        said.foreign |= text == FOREIGN
        said.texts = list(dict.fromkeys([*said.texts, text]))
        top[key] = text
    _ids(chance, said, top, data)
    _amounts(chance, said, top, data)
    _flags(chance, said, top, data)
    if data:
        top["data"] = data
    _shaped(chance, said, top)
    return said


def _ids(chance: random.Random, said: Said, top: dict[str, Any], data: dict[str, Any]) -> None:
    own = "job_id" if said.provider == "shortapi" else "task_id"
    count = chance.choice((0, 0, 1, 1, 1, 2))
    for number in range(count):
        job = f"{'ABCD'[number]}-{chance.randrange(1000, 9999)}"
        place = chance.choice(("own", "own", "own", "own", "list", "number", "top", "deep", "camel"))
        if number or place != "own":
            said.plain_id = "" if place in {"list", "number"} or own not in data else said.plain_id
        match place:
            case "own" if own not in data:
                data[own] = said.plain_id = job
            case "list":
                data[own], said.ids = [job, job + "x"], [*said.ids, job + "x"]
                said.ids = [
                    one for one in said.ids if one != said.plain_id or one in json.dumps(top) + json.dumps(data)
                ]
                said.plain_id = ""
            case "number":
                job = str(chance.randrange(1000, 9999))
                data[own], said.plain_id = int(job), ""
            case "deep":
                data["job"] = {"detail": [{"id": job}]}
            case "camel":
                top["jobId"] = job
            case _:
                top[own] = job
        said.ids.append(job)
    shown = json.dumps([top, data])
    said.ids = [one for one in said.ids if f'"{one}"' in shown or f": {one}" in shown]


def _amounts(chance: random.Random, said: Said, top: dict[str, Any], data: dict[str, Any]) -> None:
    for _ in range(chance.choice((0, 0, 0, 1, 1, 2))):
        sent = chance.choice(tuple(AMOUNTS))
        key = chance.choice(CHARGES[said.provider])
        (data if chance.random() < 0.8 else top)[key] = sent
        said.priced = True
    held = [table[key] for table in (top, data) for key in CHARGES[said.provider] if key in table]
    said.amounts = [worth for sent in held if (worth := AMOUNTS[sent]) is not None]


def _flags(chance: random.Random, said: Said, top: dict[str, Any], data: dict[str, Any]) -> None:
    flag = chance.choice((None,) * 16 + ("accepted", "queued", "state"))
    if flag is not None:
        said.words = True
        table = chance.choice((top, data))
        table["state" if flag == "state" else flag] = "processing" if flag == "state" else True


def _shaped(chance: random.Random, said: Said, top: dict[str, Any]) -> None:
    text = json.dumps(top)
    said.shape = chance.choice(("envelope",) * 20 + ("list", "html", "cut", "deeper"))
    match said.shape:
        case "list":
            said.body = f"[{text}]".encode()
        case "html":
            said.ids, said.amounts, said.priced, said.code, said.success = [], [], False, None, None
            said.body = f"<html><body>{' '.join(said.texts)}</body></html>".encode()
            said.words = any(one in ACCEPTING for one in said.texts)
        case "cut":
            said.body = text[: len(text) // 2].encode()
        case "deeper":
            said.body = json.dumps({"response": top}).encode()
        case _:
            said.body = text.encode()


def judge(seed: int, many: int) -> Judged:
    """Read each reply as production does, and hold what it is taken for against what it may mean."""
    judged = Judged()
    for said in replies(seed, many):
        answer = PROVIDERS[said.provider].decode_submit(Reply(said.status, said.headers, said.body, said.truncated))
        judged.counts[_sort(answer)] += 1
        judged.wrong += [
            ("reply", f"{problem}: {said.provider} HTTP {said.status} {said.body!r}")
            for problem in _problems(said, answer)
        ]
    return judged


def _sort(answer: Accepted | Failure) -> str:
    if isinstance(answer, Accepted):
        return "accepted"
    return "doubt" if answer.kind is Kind.AMBIGUOUS else "definite"


def _problems(said: Said, answer: Accepted | Failure) -> Iterator[str]:
    allowed, found = said.outcome, _sort(answer)
    if said.shape == "cut":
        # Half a reply may lack what would have made it a doubt.
        if found != "doubt":
            yield f"{found}, and it is cut"
        return
    if found != allowed and (allowed != "any" or found == "definite"):
        yield f"read as {found}, it is {allowed}"
    if found == "definite":
        return
    jobs = [answer, *answer.others] if isinstance(answer, Accepted) else list(answer.candidates)
    if missing := [one for one in said.ids if one not in {job.job_id for job in jobs}]:
        yield f"the ids {missing} are not kept"
    named = [Decimal(one) for one in said.amounts]
    kept = [job.amount for job in jobs if job.amount is not None] + (
        [answer.amount] if answer.amount is not None else []
    )
    if named and (not kept or max(one.amount for one in kept) != max(named)):
        yield f"the amount {max(named)} is not kept"
    if (
        isinstance(answer, Failure)
        and answer.refusal is not None
        and not (said.silent and (said.texts or said.shape == "odd"))
    ):
        yield "a person could vouch for it, and it speaks of acceptance"
