"""Guards of the real code, taken out one at a time in a copy of the package: each must turn the simulator red."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CONTROL", "MUTANTS", "Mutant", "killed", "survivors"]

PACKAGES = ("specs", "tasks", "flows", "tests/proof")
REPOSITORY = Path(__file__).parents[2]
NOTICED = 9
BROKEN = "is broken: "


@dataclass(frozen=True, slots=True)
class Mutant:
    """A guard: where it stands, what it says, what it says no longer, and the scripts that must notice; `thin` takes fewer."""

    name: str
    file: str
    guard: str
    without: str
    scripts: tuple[str, ...]
    thin: int = 1
    also: tuple[tuple[str, str, str], ...] = ()


MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "cap check",
        "tasks/ledger/reserving.py",
        "AND committed_micros + :micros <= :limit",
        "AND :limit = :limit",
        ("cap-for-one",),
    ),
    Mutant(
        "an approval is one for all its runs",
        "tasks/ledger/reserving.py",
        'Cap("approval", "", amount)',
        'Cap("run", "", amount)',
        ("approval-for-one",),
    ),
    Mutant(
        "doubt is no refusal",
        "tasks/submit.py",
        "if answer.kind is Kind.AMBIGUOUS:",
        "if answer.kind is Kind.NOT_FOUND:",
        ("create-lost-after",),
    ),
    Mutant(
        "no answer is no proof of not sending",
        "tasks/http.py",
        "if not arriving.head_sent and isinstance(error, (*NOT_SENT, httpx.LocalProtocolError)):",
        "if isinstance(error, Exception):",
        ("create-closed-after",),
    ),
    Mutant(
        "creates follow no redirect",
        "tasks/http.py",
        "            follow_redirects=False,",
        "            follow_redirects=True,",
        ("http-307-after",),
    ),
    Mutant(
        "the epoch and the lease before sending",
        "tasks/submit.py",
        "        if not ours:\n",
        "        if not intent.intent_id:\n",
        ("asleep-at-K5",),
    ),
    Mutant(
        "the slip before the request",
        "tasks/submit.py",
        "    if production.providers[intent.provider].caps.paid:\n",
        "    if not intent.intent_id:\n",
        ("ok",),
    ),
    Mutant(
        "a job id is a fact in every state",
        "tasks/ledger/acceptance.py",
        "    if record.job_id == job_id:\n",
        "    if record.state != S.SUBMITTING:\n        return intent_id\n    if record.job_id == job_id:\n",
        ("asleep-at-K10", "create-lost-after"),
    ),
    Mutant(
        "one job serves one shot",
        "tasks/ledger/acceptance.py",
        "    if owner:\n",
        "    if owner and not job_id:\n",
        ("id-of-another",),
    ),
    Mutant(
        "a doubt keeps its reservation",
        "tasks/ledger/steps.py",
        "    to_doubt(record, reason)\n",
        '    to_doubt(record, reason)\n    books.release(tx, record, "doubted")\n',
        ("create-lost-after",),
    ),
    Mutant(
        "settle at the price",
        "tasks/ledger/steps.py",
        'books.close(tx, record, "stored")',
        'books.settle(tx, record, 0, "stored")',
        ("ok",),
    ),
    Mutant(
        "a reservation only grows",
        "tasks/ledger/books.py",
        "    if micros > record.booked:\n",
        "    if micros != record.booked:\n",
        ("named-0.1",),
        thin=9,
    ),
    Mutant(
        "every charge is booked",
        "tasks/settle.py",
        "return sum(costs[1:], costs[0]) if",
        "return costs[0] if",
        ("sjinn-charged-twice",),
        thin=9,
    ),
    Mutant(
        "the overbilling breaker",
        "tasks/ledger/breakers.py",
        "return micros * under > record.quote_micros * over",
        "return micros * under < 0 > record.quote_micros * over",
        ("bill-30pct",),
    ),
    Mutant(
        "the breaker of key and credit",
        "tasks/submit.py",
        "opens_breaker=failure.kind in _STOPS_BUYING,",
        "opens_breaker=False,",
        ("http-402",),
    ),
    Mutant(
        "two doubts halt",
        "tasks/ledger/reserving.py",
        "if doubts >= DOUBT_HALT and order.quote.micros:",
        "if doubts > 99 >= DOUBT_HALT and order.quote.micros:",
        ("two-doubts-of-four",),
    ),
    Mutant(
        "the journal of answers",
        "tasks/ledger/recovery.py",
        'elif line.get("job_id") or line.get("answer"):',
        'elif line.get("job_id") == "":',
        ("ok",),
    ),
    Mutant(
        "what the journal says was billed",
        "tasks/ledger/recovery.py",
        "answer.job.amount, answer.job.note or FOUND",
        "None, FOUND",
        ("bill-3x",),
    ),
    Mutant(
        "every id of a reply is asked after",
        "tasks/hints.py",
        "        for one in named:\n",
        "        for one in named[:1]:\n",
        ("two-ids-list",),
    ),
    Mutant(
        "an odd reply's amount is booked with its job",
        "tasks/hints.py",
        "named.job_id, named.amount, note)",
        "named.job_id, None, note)",
        ("odd-bill-3x",),
        also=(("tasks/ledger/answers.py", "if answer.amount is not None and (", "if answer.amount is None and ("),),
    ),
    Mutant(
        "a status refuses only with a plain refusal",
        "tasks/providers/replies.py",
        "if listed is Kind.AMBIGUOUS or odd:",
        "if listed is Kind.AMBIGUOUS or said.acceptance:",
        ("the grammar of replies",),
    ),
    Mutant(
        "words refuse nothing",
        "tasks/providers/shortapi.py",
        "        if whole in _REFUSALS and not unlike_refusal(reply):\n",
        "        if kind_of_words(text):\n",
        ("says-accepting-after",),
        also=(("tasks/providers/shortapi.py", "_REFUSALS[whole], whole, code", "kind_of_words(text), text, code"),),
    ),
    Mutant(
        "takes are never overwritten",
        "tasks/store.py",
        'partial(production.store.put_once, clip, content_type="video/mp4", mend=True)',
        'partial(production.store.put, clip, content_type="video/mp4")',
        ("store-foreign",),
    ),
    Mutant(
        "the callback token stays out of the ledger",
        "tasks/submit.py",
        'if key != "callback_url"}',
        'if key != "callback"}',
        ("ok",),
    ),
    Mutant(
        "what is decided about a shot ends no question after its job",
        "tasks/ledger/asking.py",
        "                _in(CLOSED),\n",
        "                _in((S.SUBMITTED,)),\n",
        ("failed-for-a-day", "held-410-retake"),
    ),
    Mutant(
        "failures are settled in the end",
        "tasks/ledger/steps.py",
        "    for record in old:\n",
        "    for record in old[:0]:\n",
        ("failed-silent",),
    ),
    Mutant(
        "what is sent is heard out, whoever cancels",
        "tasks/submit.py",
        "await heard_out(section, told)",
        "await section",
        ("ok",),
    ),
    Mutant(
        "what one provider refuses for the shot's sake no other is asked",
        "flows/shooting.py",
        "return refusal_kind(production.ledger.events(intent.intent_id)) in PASSES_ON",
        "return True",
        ("failover-not-after-moderation",),
    ),
    Mutant(
        "who only reads or records waits for the ledger",
        "tasks/production.py",
        "passing = (LedgerAway, LedgerFull) if said else LedgerAway",
        "passing = ()",
        ("ledger-away-at-each-step",),
    ),
    Mutant(
        "a cut take is put in full",
        "tasks/store.py",
        'production.store.put_once, clip, content_type="video/mp4", mend=True)',
        'production.store.put_once, clip, content_type="video/mp4", mend=False)',
        ("store-cuts-the-take",),
    ),
    Mutant(
        "what was reserved and not told is taken back",
        "tasks/submit.py",
        "            if withdrawn is not None:\n                return withdrawn\n",
        "            del withdrawn\n",
        ("reserved-and-not-told",),
    ),
    Mutant(
        "a doubt holds its shot",
        "tasks/estimate.py",
        "    if row is None:\n",
        "    if row is None or row.state is IntentState.IN_DOUBT:\n",
        ("create-lost-after",),
        also=(
            (
                "tasks/ledger/migrations.py",
                "'SUBMITTING', 'IN_DOUBT', 'SUBMITTED', 'STALLED', 'SUCCEEDED', 'STORED'",
                "'SUBMITTING', 'SUBMITTED', 'STALLED', 'SUCCEEDED', 'STORED'",
            ),
            ("tasks/ledger/rows.py", "        IntentState.IN_DOUBT,\n", ""),
        ),
    ),
)

CONTROL = Mutant(
    "control",
    "tasks/submit.py",
    "RESENDS = 3\n",
    "RESENDS = 3\n",
    tuple(sorted({script for mutant in MUTANTS for script in mutant.scripts})),
    thin=5,
)
"""Nothing is taken out: must stay green, or what kills the others is not their missing guard."""

_RUN = """
import sys
from tests.proof.explore import Work, explore_one
from tests.proof.grammar import judge
GRAMMAR = "the grammar of replies"
def work():
    thin, scripts = int(sys.argv[1]), sys.argv[2:]
    for script in scripts:
        if script == GRAMMAR:
            continue
        for callback in (True, False):
            yield Work(script, callback, stride=3 * thin)
            yield Work(script, callback, first=2, stride=7 * thin)
        yield Work(script, callback=False, first=1 << 20, cancel=2 * thin, ways=2)
wrong = judge(1, 2000).wrong if GRAMMAR in sys.argv else []
if wrong:
    print(wrong[0])
    sys.exit(9)
for one in work():
    wrong = explore_one(one, stop_at_first=True).wrong
    if wrong:
        print(wrong[0])
        sys.exit(9)
"""


def killed(mutant: Mutant) -> str:
    """What the simulator says about the mutant; "" when it notices nothing, `BROKEN` and why where the code does not even run.

    Raises:
        ValueError: the guard is no longer in the file: the mutant must be written anew.
    """
    with tempfile.TemporaryDirectory(prefix="rushes-mutant-") as folder:
        root = Path(folder)
        for package in PACKAGES:
            skip = shutil.ignore_patterns("examples")  # what is compiled stays: only the mutated file is compiled again
            shutil.copytree(REPOSITORY / package, root / package, ignore=skip)
        for file, guard, without in ((mutant.file, mutant.guard, mutant.without), *mutant.also):
            text = (root / file).read_text()
            if guard not in text:
                raise ValueError(f"{file} does not contain the guard of {mutant.name!r}")
            (root / file).write_text(text.replace(guard, without))
        environment = {**os.environ, "PYTHONPATH": str(root)}
        command = [sys.executable, "-c", _RUN, str(mutant.thin), *mutant.scripts]
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    said = (done.stdout.strip() or done.stderr.strip().splitlines()[-1])[:300]
    return said if done.returncode == NOTICED and "a defect of Rushes" not in said else f"{BROKEN}{said}"


def survivors(mutants: Sequence[Mutant] = MUTANTS, *, side_by_side: int = 2) -> list[str]:
    """The names of the mutants that nothing noticed, or whose code is only broken: that proves nothing about the guard."""
    with ThreadPoolExecutor(side_by_side) as pool:
        control, *said = pool.map(killed, (CONTROL, *mutants))
    if control:
        return [f"{CONTROL.name}: {control}", *(mutant.name for mutant in mutants)]
    pairs = zip(mutants, said, strict=True)
    return [f"{mutant.name} {found}".strip() for mutant, found in pairs if not found or found.startswith(BROKEN)]
