"""Doubts: what only a person can settle, and the decisions that settle it. Each records who, when, why and the evidence."""

import getpass
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from specs.money import MAX_BILL, Money
from tasks.errors import Refused, SetupProblem
from tasks.hints import confirms, unconfirmed
from tasks.ledger import REFUTED, Answer, Cap, Intent, IntentState, Ledger, Named, PassedCap, Vouch
from tasks.production import Production, open_ledger, standing_caps
from tasks.settings import Settings
from tasks.shoot import owner

__all__ = [
    "Decision",
    "Questions",
    "needs_person",
    "open_questions",
    "question_json",
    "question_lines",
    "questions_now",
    "resolve",
    "resolve_now",
]

HORIZON = 60 * 60 + 60.0
"""Seconds after which "absent" may be said: no callback of a create that did arrive can still be under way by then."""
ONE_OF = "exactly one of --job-id ID, --absent, --write-off, --billed AMOUNT, --vouch KIND, --unvouch"
VOUCHABLE = ("balance", "invalid", "auth", "config", "moderation")
"""What a refusal may be vouched to mean; the kinds that are sent again by themselves are not among them."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person says of an intent: exactly one of the six, with the reason.

    `billed` is what the provider's own account says the job cost, as text: an amount in the intent's unit. `vouch` is the
    kind of refusal that its reply, and every later one with the same code and text, stands for; `unvouch` takes it back.
    """

    intent_id: str
    why: str
    job_id: str | None = None
    absent: bool = False
    write_off: bool = False
    billed: str | None = None
    vouch: str | None = None
    unvouch: bool = False

    @property
    def reason(self) -> str:
        """Why, in the person's words, else in those of the option that was chosen."""
        if self.why.strip():
            return self.why
        if self.absent:
            return "a person looked at the provider's list of jobs and did not find it"
        if self.billed is not None:
            return "a person read it in the provider's own account"
        return "given up by a person" if self.write_off else "named by a person, confirmed by a query"

    def check(self) -> None:
        """Refuse none or several decisions at once.

        Raises:
            Refused: naming them all, or what is missing.
        """
        if (
            sum(
                (
                    *(one is not None for one in (self.job_id, self.billed, self.vouch)),
                    self.absent,
                    self.write_off,
                    self.unvouch,
                )
            )
            != 1
        ):
            raise Refused(f"say {ONE_OF}")
        if self.vouch is not None and self.vouch not in VOUCHABLE:
            raise Refused(f"a refusal cannot be vouched for as {self.vouch!r}", f"One of {', '.join(VOUCHABLE)}.")
        if (self.vouch is not None or self.unvouch) and not self.why.strip():
            raise Refused(
                "a vouched refusal holds for every later one, so it needs evidence",
                'Say with --why what you compared, like --why "the balance is the same before and after".',
            )


@dataclass(frozen=True, slots=True)
class Questions:
    """What is open: intents about which something is asked, and the caps that bills of some of them have passed.

    By intent id: what the reply to its create said where that was odd, and jobs in it that no query has confirmed.
    `vouches` hold now.
    """

    intents: list[Intent]
    passed: list[PassedCap] = field(default_factory=list)
    replies: Mapping[str, Answer] = field(default_factory=dict)
    unconfirmed: Mapping[str, Sequence[Named]] = field(default_factory=dict)
    vouches: Sequence[Vouch] = ()
    unread: Mapping[str, str] = field(default_factory=dict)

    @property
    def need_a_person(self) -> bool:
        """Whether one of them waits for a person."""
        return bool(self.passed or self.unconfirmed) or any(map(needs_person, self.intents))


def open_questions(ledger: Ledger, caps: Sequence[Cap] = ()) -> Questions:
    """Outcomes that are unknown, jobs that a reply named and no query confirmed, bills that no person has confirmed.

    And failures that may have been billed. A bill is asked about where it is far above its quote, or where it has carried a cap past its limit.
    """
    failed = ledger.intents(states={IntentState.FAILED_UNSETTLED})
    passed = ledger.passed_caps(caps)
    bills = [intent for cap in passed for intent in cap.intents]
    replies = {event.intent_id: Answer.read(event.payload) for event in ledger.replies()}
    named = unconfirmed([event for intent_id in replies for event in ledger.events(intent_id)])
    asked = [*ledger.doubts(), *map(ledger.get, named), *ledger.unconfirmed_bills(), *bills, *failed]
    intents = list({intent.intent_id: intent for intent in asked}.values())
    unread = {intent.intent_id: ledger.unread_bill(intent.intent_id) for intent in intents}
    return Questions(intents, passed, replies, named, ledger.vouches(), unread)


def needs_person(intent: Intent) -> bool:
    """Whether nothing but a person settles it: an unsettled failure counts as spent in full by itself after a day."""
    return intent.state is not IntentState.FAILED_UNSETTLED


def question_json(questions: Questions) -> list[dict[str, Any]]:
    """What `doubts --json` prints: the intents with the money at stake, and the reply that left them open."""
    return [
        {
            "intent": intent.intent_id,
            "state": intent.state,
            "board": intent.board,
            "shot": intent.shot,
            "take": intent.take,
            "provider": intent.provider,
            "reserved": intent.reserved.text,
            "quoted": intent.quote.text,
            "billed": intent.billed.text if intent.billed else None,
            "unit": intent.quote.unit,
            "job_id": intent.job_id,
            "reason": _why(intent, questions),
            "since": intent.updated_at.isoformat(),
            "unconfirmed": [one.facts() for one in questions.unconfirmed.get(intent.intent_id, ())],
            "reply": _reply_json(questions.replies.get(intent.intent_id)),
        }
        for intent in questions.intents
    ]


def _reply_json(answer: Answer | None) -> dict[str, Any] | None:
    """The odd reply; `vouchable` is the whole text that a person may vouch for."""
    if answer is None:
        return None
    return {"status": answer.status, "code": answer.code, "vouchable": answer.text, "body": answer.body}


def question_lines(questions: Questions) -> Iterator[str]:
    """What people read: each intent, the money at stake, why, what its reply said, and what can be said of it."""
    intents, passed = questions.intents, questions.passed
    for intent in intents:
        yield _line(intent, questions)
        yield from _reply_lines(intent, questions)
    yield from (f"{cap}; confirm each bill, or raise the cap" for cap in passed)
    doubts = [intent for intent in intents if intent.state is IntentState.IN_DOUBT]
    if doubts:
        yield "Look at the provider's own list of jobs, then: rushes resolve INTENT --job-id ID | --absent | --write-off"
    if any(answer.text for intent in doubts if (answer := questions.replies.get(intent.intent_id))):
        yield (
            "Where a reply is a plain refusal, vouch once for its code and whole text: rushes resolve INTENT "
            f"--vouch {'|'.join(VOUCHABLE)} --why EVIDENCE"
        )
    if len(doubts) < len(intents):
        yield "Look up what the provider's own account says of the job, then: rushes resolve INTENT --billed AMOUNT"
    if not intents:
        yield "no doubts"
    elif not questions.need_a_person:
        yield "none of these needs a person: they settle by themselves"
    for vouch in questions.vouches:
        yield (
            f"vouched for by {vouch.who} on {vouch.at:%Y-%m-%d}: {vouch.provider} code {vouch.code or 'none'} "
            f"{vouch.text!r} is a refusal ({vouch.kind}): {vouch.why}; taken back with "
            f"rushes resolve {vouch.intent_id} --unvouch --why REASON"
        )


def _reply_lines(intent: Intent, questions: Questions) -> Iterator[str]:
    answer, provider = questions.replies.get(intent.intent_id), intent.provider
    if answer is not None and intent.state is IntentState.IN_DOUBT:
        if answer.text is not None:
            yield f"  {provider} answered code {answer.code or 'none'}, whole text {answer.text!r}"
        else:
            yield f"  {provider} answered HTTP {answer.status}: {answer.body!r}"
    for one in questions.unconfirmed.get(intent.intent_id, ()):
        price = f" at {one.amount}" if one.amount else ""
        yield (
            f"  {provider} named job {one.job_id}{price} in that reply, and no query has confirmed it: `rushes collect` asks "
            f"again; if it is not there: rushes resolve {intent.intent_id} --absent"
        )


def _line(intent: Intent, questions: Questions) -> str:
    what = f"{intent.board} {intent.shot} TK{intent.take:02d}"
    return f"{intent.intent_id}  {what}  {intent.state}  {at_stake(intent)}: {_why(intent, questions)}"


def at_stake(intent: Intent) -> str:
    """The money of an intent, as it stands."""
    if intent.reserved.micros or intent.billed is None:
        return f"{intent.reserved} reserved at {intent.provider}"
    return f"{intent.billed} billed by {intent.provider} for a quote of {intent.quote}"


def _why(intent: Intent, questions: Questions) -> str:
    caps = [f"the {cap.scope} cap of {cap.limit}" for cap in questions.passed if intent in cap.intents]
    match intent.state:
        case IntentState.IN_DOUBT:
            return intent.doubt_reason
        case IntentState.FAILED_UNSETTLED:
            return f"{intent.reason or 'failed'}; counted as spent a day after it failed, unless a refund is seen"
        case _ if unread := questions.unread.get(intent.intent_id):
            return f"{unread}; buying stops there until a person confirms the bill"
        case _ if caps:
            return f"{', '.join(caps)} is passed: nobody has confirmed this bill"
        case _ if intent.twin:
            return "its job stands at an older intent as well"
        case _:
            return intent.reason or "a bill far above its quote stops buying there until a person confirms it"


def questions_now(settings: Settings) -> Questions:
    """Every open question of this installation, a create whose process has died under way among them."""
    ledger = open_ledger(settings)
    try:
        ledger.recover(owner())
        return open_questions(ledger, standing_caps(settings))
    finally:
        ledger.close()


async def resolve_now(decision: Decision, say: Callable[[str], None]) -> Intent:
    """Resolve with the settings of this installation; `say` hears first what is at stake, then what follows."""
    decision.check()
    async with Production.open(Settings.load()) as production:
        before = production.ledger.get(decision.intent_id)
        say(f"{before.board} {before.shot} TK{before.take:02d} is {before.state}: {at_stake(before)}")
        after = await resolve(production, decision)
        say(f"{after.intent_id} is {after.state}; {_next(after)}")
        return after


def _next(intent: Intent) -> str:
    """What the person does now."""
    match intent.state:
        case IntentState.SUBMITTED | IntentState.STALLED | IntentState.SUCCEEDED | IntentState.RESULT_HELD:
            return "`rushes collect` fetches its clip"
        case IntentState.REJECTED:
            return "the next render buys the shot again"
        case IntentState.STORED | IntentState.SUPERSEDED:
            return f"its bill is settled at {intent.settled}"
        case _:
            return f"{intent.settled} count as spent; `rushes retake` would buy a new take"


async def resolve(production: Production, decision: Decision) -> Intent:
    """Carry out a person's decision; the ledger refuses the wrong intent, a used job id, and "absent" said too early.

    Raises:
        Refused: where a guard stands in the way.
        SetupProblem: where a job id cannot be confirmed because the key is missing or the provider does not answer.
        MoneyError: an amount that is none.
    """
    decision.check()
    who, why = getpass.getuser(), decision.reason
    ledger, intent_id = production.ledger, decision.intent_id
    if decision.job_id is not None:
        return await _attach(production, ledger.get(intent_id), decision.job_id, why)
    if decision.billed is not None:
        return ledger.settle(intent_id, _amount(decision.billed, ledger.get(intent_id)), why, who)
    if decision.vouch is not None:
        return ledger.vouch(intent_id, decision.vouch, who, why)
    if decision.unvouch:
        return ledger.take_back_vouch(intent_id, who, why)
    return ledger.write_off(intent_id, who, why) if decision.write_off else _absent(ledger, intent_id, who, why)


def _absent(ledger: Ledger, intent_id: str, who: str, why: str) -> Intent:
    """Not created: the intent's own job, or, where that is known, the others that its reply named."""
    others = unconfirmed(ledger.events(intent_id)).get(intent_id, [])
    if others and ledger.get(intent_id).job_id is not None:
        for one in others:
            ledger.note(intent_id, REFUTED, {"job_id": one.job_id, "why": why}, actor=who)
        return ledger.get(intent_id)
    return ledger.absent(intent_id, who, why, evidence=why, horizon_seconds=HORIZON)


def _amount(text: str, intent: Intent) -> Money:
    parse = partial(Money.parse, most=MAX_BILL)
    return parse(text) if " " in text.strip() else Money.of(text.strip(), intent.quote.unit, most=MAX_BILL)


async def _attach(production: Production, intent: Intent, job: str, why: str) -> Intent:
    if not await confirms(production, intent, job):
        raise SetupProblem(
            f"{intent.provider} does not confirm job {job}",
            "Check the id on the provider's own page, and that the provider can be reached (`rushes doctor`).",
        )
    return production.ledger.attach(intent.intent_id, job, getpass.getuser(), why, confirmed=True)
