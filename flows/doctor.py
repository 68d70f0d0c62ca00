"""Doctor: whether this installation can do its work, one finding a line, each with its cure. Spends nothing."""

import asyncio
import datetime as dt
import getpass
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flows.prefect_reach import unguarded
from tasks.adoption import adopt_slips, named, news
from tasks.disk import free_bytes
from tasks.download import RESERVE
from tasks.errors import Refused, RushesError, SetupProblem, Transient
from tasks.gate import CONFIRM
from tasks.ledger import Ledger
from tasks.production import Production, open_ledger, standing_caps
from tasks.providers import PROVIDERS
from tasks.providers.interface import Request
from tasks.settings import Settings, prefect_credentials, prefect_password, prefect_used
from tasks.shoot import owner
from tasks.slips import Slip
from tasks.storage import Store

__all__ = ["Finding", "adopt", "examine", "reconcile"]

REACH = 10.0
NAMED = 5
CLOCK_SKEW = 120.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `problem` is empty where it is fine, or `unset` and can be done without.

    `money`: a person must settle it, and nothing has to be set up.
    """

    subject: str
    state: str
    problem: str = ""
    cure: str = ""
    unset: bool = False
    money: bool = False

    def line(self) -> str:
        """As people read it."""
        if not self.problem:
            return f"{'unset' if self.unset else 'ok':<8} {self.subject}: {self.state}"
        return f"problem  {self.subject}: {self.problem.rstrip('.')}" + (f". {self.cure}" if self.cure else "")

    def document(self) -> dict[str, Any]:
        """As `doctor --json` prints it."""
        return {
            "subject": self.subject,
            "ok": not self.problem,
            "state": self.state,
            "problem": self.problem,
            "cure": self.cure,
        }


def reconcile(reason: str) -> None:
    """Let a person vouch for a ledger in recovery that nothing else can prove complete; who and why are recorded.

    Raises:
        Refused: without a reason.
        SetupProblem: when the ledger cannot be opened.
    """
    if not reason.strip():
        raise Refused("say why the ledger can be trusted: what it was compared with")
    ledger = open_ledger(Settings.load())
    try:
        ledger.recover(owner())
        ledger.reconcile(getpass.getuser(), reason)
    finally:
        ledger.close()


def adopt(lost: str, why: str) -> list[Finding]:
    """Take over the orders that the store's slips tell of and the ledger does not, also those of a `lost` ledger.

    Raises:
        Refused: another ledger is named without a reason.
        SetupProblem: ledger or store cannot be used.
    """
    if lost and not why.strip():
        raise Refused(f"say why the orders of ledger {lost} are taken over", "Add --why TEXT; it is recorded.")
    settings = Settings.load()
    production = Production.open(settings)
    try:
        production.ledger.recover(owner())
        why = why or "the home was put back from an older copy"
        found = adopt_slips(production, lost, getpass.getuser(), why)
    finally:
        production.ledger.close()
    if not found:
        return [Finding("adopted", "no slip in the store tells of an order that this ledger lost")]
    cure = "Put that right and run `rushes doctor --adopt` again; the slip is still in the store."
    return [
        Finding("adopted", "", line, cure, money=True) if one.problem else Finding("adopted", line)
        for one, line in zip(found, named(found), strict=True)
    ]


async def examine() -> list[Finding]:
    """Look at everything; what cannot be opened is a finding, never an exception."""
    try:
        settings = Settings.load()
    except SetupProblem as error:
        return [Finding("settings", "", str(error), error.hint)]
    ledger = _ledger(settings)
    store = await asyncio.to_thread(_store, settings)
    found = [_home(settings), ledger, store, _unapproved(settings), _callback(settings)]
    if not ledger.problem and not store.problem:
        async with Production.open(settings) as production:
            found += [
                Finding("caps", "", str(passed), CONFIRM, money=True)
                for passed in production.ledger.passed_caps(standing_caps(settings))
            ]
            found += await asyncio.to_thread(lambda: list(_slips(production)))
            found += [one async for one in _providers(production)]
            found.append(await _prefect(production))
    return found


def _ledger(settings: Settings) -> Finding:
    try:
        ledger: Ledger = open_ledger(settings)
    except RushesError as error:
        return Finding("ledger", "", str(error), error.hint)
    problems, open_doubts, halted = ledger.verify(), len(ledger.doubts()), ledger.halted()
    ledger.close()
    if halted:
        return Finding(
            "ledger",
            "",
            f"in recovery, nothing is bought: {halted}",
            "Compare `rushes costs` with the provider's own account, then `rushes doctor --reconcile REASON`.",
        )
    if problems:
        return Finding(
            "ledger", "", "; ".join(problems), "Keep a copy of it and report this: buying stops until it is understood."
        )
    return Finding("ledger", f"adds up, {open_doubts} in doubt")


def _home(settings: Settings) -> Finding:
    free = free_bytes(settings.home)
    if free < RESERVE:
        needs = f"{free / 1e6:,.0f} MB free at {settings.home}, where downloads keep {RESERVE / 1e6:,.0f} MB"
        return Finding("home", "", needs, "Make room there: no clip is fetched before.")
    return Finding("home", f"{settings.home}, {free / 1e6:,.0f} MB free")


def _store(settings: Settings) -> Finding:
    try:
        store = Store.open(settings.store)
        problems = store.probe()
    except RushesError as error:
        return Finding("store", "", str(error), error.hint)
    if problems:
        return Finding("store", "", "; ".join(problems), "Choose another RUSHES_STORE, or mend its permissions.")
    return Finding("store", f"{store.uri('')} can be written, read, and does not overwrite")


def _unapproved(settings: Settings) -> Finding:
    """What may be spent without a person; only a board's own `auto_approve` limits it where the operator has set nothing."""
    limits = [f"{settings.auto_cap} a run"] if settings.auto_cap else []
    limits += [f"{settings.auto_day_cap} a day"] if settings.auto_day_cap else []
    if limits:
        return Finding("unapproved runs", f"at most {' and '.join(limits)}")
    state = "RUSHES_AUTO_CAP and RUSHES_AUTO_DAY_CAP are not set: only a board's own auto_approve limits them"
    return Finding("unapproved runs", state, unset=True)


def _slips(production: Production) -> Iterator[Finding]:
    """Orders that the store announces and the ledger does not know: bought by a lost life of it, or by another ledger."""
    try:
        slips = list(news(production))
    except RushesError as error:
        yield Finding("orders", "", str(error), error.hint)
        return
    mine = [slip for slip in slips if slip.facts.get("ledger_id") == production.ledger.ledger_id]
    others = [slip for slip in slips if slip not in mine]
    if mine:
        cure = "The ledger was put back from an older copy: `rushes doctor --adopt`, then `rushes collect`."
        yield _strange(mine, "the ledger has lost", cure)
    if others:
        cure = "Use the RUSHES_HOME and RUSHES_LEDGER that wrote them; if they are lost for good, "
        yield _strange(others, "another ledger made", f"{cure}`rushes doctor --adopt LEDGER --why TEXT`.")
    if not slips:
        yield Finding("orders", "the store announces none that this ledger does not know")


def _strange(slips: list[Slip], what: str, cure: str) -> Finding:
    told = [f"{slip.path} ({slip.who})" for slip in slips[:NAMED]]
    more = f" and {len(slips) - NAMED} more" if len(slips) > NAMED else ""
    problem = f"the store announces {len(slips)} orders that {what}: {'; '.join(told)}{more}"
    return Finding("orders", "", problem, cure, money=True)


def _callback(settings: Settings) -> Finding:
    if settings.callback_url is None:
        return Finding(
            "callbacks",
            "RUSHES_CALLBACK_URL is not set: jobs are polled, every lost reply waits for a person",
            unset=True,
        )
    return Finding("callbacks", "the provider is told where to call")


async def _providers(production: Production) -> AsyncIterator[Finding]:
    for name, provider in PROVIDERS.items():
        if not provider.caps.paid:
            yield Finding(name, "local, needs no key")
            continue
        try:
            account = production.account(name)
        except SetupProblem as error:
            yield Finding(name, "", str(error), error.hint)
            continue
        try:
            auth = production.auth(name, account.base_url)
        except SetupProblem as error:
            yield Finding(name, f"no key, so boards that name it cannot be bought. {error.hint}", unset=True)
            continue
        yield _stopped(production, name) or await _reached(production, name, auth)


def _stopped(production: Production, name: str) -> Finding | None:
    """A bill far above its quote, which stops buying until a person has looked at it."""
    breaker = production.ledger.breaker_state(name, production.account(name).name)
    if breaker is None or breaker.kind != "money":
        return None
    cure = "`rushes doubts` names the bill, `rushes resolve INTENT --billed AMOUNT` confirms it."
    return Finding(name, "", f"nothing is bought there unasked: {breaker.reason}", cure)


async def _reached(production: Production, name: str, auth: str | None) -> Finding:
    """A read-only call where the provider has one; the answer's Date also tells how far our clock is off."""
    provider, account = PROVIDERS[name], production.account(name)
    probe = getattr(provider, "balance_request", None)
    request = probe(account.base_url) if probe else Request("GET", account.base_url)
    try:
        reply = await production.wire.call(request, auth=auth if probe else None, deadline=REACH)
    except Transient as error:
        return Finding(name, "", f"cannot be reached: {error}", "Check the network and its base URL.")
    skew = _skew(production, reply.headers)
    if abs(skew) > CLOCK_SKEW:
        return Finding(name, "", f"our clock is {skew:.0f} s off the provider's", "Set the clock of this machine.")
    if not probe:
        return Finding(name, f"key set, answers (HTTP {reply.status}); it has no free call that would check the key")
    return Finding(name, f"key set, answers (HTTP {reply.status})")


def _skew(production: Production, headers: Mapping[str, str]) -> float:
    stated = next((value for name, value in headers.items() if name.lower() == "date"), "")
    if not stated:
        return 0.0
    try:
        moment = dt.datetime.strptime(stated, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=dt.UTC)
    except ValueError:
        return 0.0
    return (production.clock.now() - moment).total_seconds()


async def _prefect(production: Production) -> Finding:
    url = prefect_used()
    if not url:
        state = "PREFECT_API_URL is not set: each render starts a temporary server (8 to 17 s)"
        return Finding("prefect", state, unset=True)
    url = url.rstrip("/")
    try:
        reply = await production.wire.call(Request("GET", f"{url}/health"), auth=None, deadline=REACH)
    except Transient as error:
        return Finding("prefect", "", f"{url} does not answer: {error}", "Start it, or unset PREFECT_API_URL.")
    own = prefect_credentials(production.settings.home).get("PREFECT_API_AUTH_STRING")
    problem = await asyncio.to_thread(unguarded, url, prefect_password() or own)
    if problem:
        cure = (
            "Set PREFECT_SERVER_API_AUTH_STRING and PREFECT_SERVER_CORS_ALLOWED_ORIGINS (the UI's own address) for the "
        )
        return Finding("prefect", "", f"{url} {problem}", f"{cure}server, and PREFECT_API_AUTH_STRING here.")
    return Finding("prefect", f"{url} answers (HTTP {reply.status}), with a login")
