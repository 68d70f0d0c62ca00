"""Shoot: one planned shot from its reservation to its stored take, as plain calls that any orchestrator can wrap."""

import asyncio
import os
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from tasks.errors import Refused, RushesError, SetupProblem
from tasks.estimate import Action, Plan, PlannedShot, semantics_json
from tasks.gate import shortages
from tasks.ledger import Cap, Order
from tasks.production import Production
from tasks.providers.interface import Media
from tasks.publish import check_servable, publish_still
from tasks.settings import on_loopback
from tasks.slips import SLIP, in_the_way, read_slip, slip_path
from tasks.stills import Still
from tasks.stills.outgoing import outgoing
from tasks.submit import Submission

__all__ = [
    "Run",
    "check_announced",
    "check_ready",
    "check_setup",
    "media_of",
    "order_of",
    "owner",
    "submission_of",
    "unresolved",
]

FREE_ATTEMPTS = 1_000_000  # a local render that failed may be tried for ever
URL_LIFE = 24 * 3600  # seconds: longer than any queue that was seen


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a plan: its id, who buys for it in this process, and the caps that hold across runs.

    What was approved stands in the ledger, which holds every reservation against it.
    """

    run_id: str
    owner: str
    board: str
    caps: tuple[Cap, ...]


async def media_of(production: Production, shot: PlannedShot) -> Media:
    """Addresses of the shot's stills that its provider can fetch: local paths for the studio, else published ones."""
    stills = shot.checked.stills
    if not shot.caps.paid:
        return Media({address: str(still.path) for address, still in stills.items()})
    return Media({address: await _published(production, shot, still) for address, still in stills.items()})


async def _published(production: Production, shot: PlannedShot, still: Still) -> str:
    settings, base_url = production.settings, production.account(shot.provider).base_url
    if on_loopback(base_url) and not settings.publish:
        ready = await asyncio.to_thread(outgoing, still, shot.caps)
        return production.still_server.url(ready.content, ready.suffix, ready.content_type)
    return await publish_still(
        still,
        shot.caps,
        store=production.store,
        publish_url=settings.publish,
        public_base=settings.publish_base,
        seconds=URL_LIFE,
        rules=production.rules(base_url),
    )


async def submission_of(production: Production, run: Run, shot: PlannedShot) -> Submission:
    """The order for one shot with its stills where the provider can fetch them."""
    return Submission(order_of(production, run, shot), shot.request, await media_of(production, shot))


def order_of(production: Production, run: Run, shot: PlannedShot) -> Order:
    """What is asked, by whom, at which price and under which caps."""
    account = production.account(shot.provider)
    unit = shot.quote.money.unit
    return Order(
        run_id=run.run_id,
        board=run.board,
        shot=shot.request.shot,
        take=shot.take,
        shot_key=shot.key,
        family=shot.caps.family,
        provider=shot.provider,
        model=shot.caps.model,
        base_url=account.base_url,
        account=account.name,
        request_sha256="",
        request_json=semantics_json(shot.request, shot.caps.family, shot.checked.stills),
        quote=shot.quote.money,
        price_version=shot.quote.version,
        mode=shot.request.mode,
        audio=shot.request.audio,
        seconds=shot.request.duration,
        max_in_flight=account.max_in_flight or shot.caps.max_in_flight,
        caps=run.caps,
        rate=account.rate if unit != "USD" else Decimal(1),
        supersede=shot.decision.supersede,
        reason=shot.decision.note,
        owner=run.owner,
        token_hash="",
        max_attempts=1 if shot.caps.paid else FREE_ATTEMPTS,
    )


def check_ready(production: Production, plan: Plan) -> None:
    """Find what would stop every purchase before the first of them, and whether this is the ledger that bought what is there.

    Raises:
        SetupProblem: naming the settings that are missing.
        Refused: where the store holds takes or orders that this ledger knows nothing of.
    """
    check_setup(production, plan)
    check_announced(production, plan)


def check_setup(production: Production, plan: Plan) -> None:
    """Find what would stop every purchase before the first of them: a key, a store that takes nothing, unservable stills.

    Raises:
        SetupProblem: naming the settings that are missing.
    """
    for shot in plan.shots:
        if shot.decision.action is not Action.CREATE or not shot.caps.paid:
            continue
        production.auth(shot.provider, production.account(shot.provider).base_url)
        if on_loopback(production.account(shot.provider).base_url):
            continue
        for address in shot.checked.stills:
            check_servable(address, shot.provider, production.store, production.settings.publish)
    buys = any(shot.decision.action is Action.CREATE and shot.caps.paid for shot in plan.shots)
    if buys and (short := shortages(plan, production.settings)):
        raise SetupProblem(
            "; ".join(short), "Make room, or set RUSHES_HOME and RUSHES_STORE to a larger disk. Nothing was bought."
        )
    if any(shot.decision.action is Action.CREATE for shot in plan.shots) and (problems := production.store.probe()):
        raise SetupProblem(
            f"the store cannot be used: {'; '.join(problems)}", "Nothing was bought; `rushes doctor` tells more."
        )


def check_announced(production: Production, plan: Plan) -> None:
    """Hold what is to be bought against what the store announces: a ledger that knows less than the store is the wrong one.

    One listing, and nothing is read but slips that this ledger did not write. Whoever buys is asked again by `announce`.

    Raises:
        Refused: a take is announced, or its very content is, and this ledger has never heard of it.
    """
    wanted = {shot.key: shot for shot in plan.shots if shot.caps.paid and shot.decision.action is Action.CREATE}
    if not wanted:
        return
    names = production.store.list(f"{plan.board}/shots")
    stems = {slip_path(plan.board, one.request.shot, one.take).partition(".order")[0] for one in wanted.values()}
    known = production.ledger.slips(plan.board)
    for path in names:
        if not SLIP.fullmatch(path) or path in known:
            continue
        slip = read_slip(production, path)
        stands = path.partition(".order")[0] in stems or slip.facts.get("shot_key") in wanted
        if stands and (refusal := in_the_way(production, slip)):
            raise refusal
    _check_receipts(production, plan.board, wanted, names)


_RECEIPT = re.compile(r"(.+_TK\d+)(-[0-9a-f]{12})?\.json")


def _check_receipts(
    production: Production, board: str, wanted: Mapping[str, PlannedShot], names: Sequence[str]
) -> None:
    """The same for takes that were bought before there were slips, which only their receipts tell of."""
    announced = {path.partition(".order")[0] for path in names if SLIP.fullmatch(path)}
    receipts = [path for path in names if (found := _RECEIPT.fullmatch(path)) and found[1] not in announced]
    if not receipts:
        return
    intents = production.ledger.intents(board=board)
    mine = {one.artifact.path.removesuffix(".mp4") for one in intents if one.artifact}
    for path in receipts:
        stem = path.removesuffix(".json")
        shot = None if stem in mine else wanted.get(str(read_slip(production, path).facts.get("shot_key")))
        if shot is not None and not _has_take(production, shot.key):
            raise Refused(
                f"{shot.request.shot}: the store holds this very take already ({stem}.mp4), "
                "but the ledger has no record of buying it",
                "Use the RUSHES_HOME and RUSHES_LEDGER that bought it, or raise `take:` to buy another.",
            )


def _has_take(production: Production, key: str) -> bool:
    """Another run may have bought it since the plan was made."""
    known = production.ledger.find(key)
    return known is not None and known.artifact is not None


def unresolved(error: RushesError) -> str:
    """The sentence for a shot that stopped with `error`."""
    return f"{error}. {error.hint}" if error.hint else str(error)


def owner() -> str:
    """Who holds the leases of this process."""
    return f"{socket.gethostname()}:{os.getpid()}"
