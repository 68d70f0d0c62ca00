"""Plan: load a board, check every shot, price it. Spends nothing and does not know Prefect."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from specs.checks import warnings as board_warnings
from specs.errors import Issue, SpecError
from specs.loader import MAX_BYTES, load_with_source
from specs.request import ShotRequest
from specs.source import Source
from specs.storyboard import Storyboard
from tasks.errors import NoSuchSpec, Refused, foreseen
from tasks.estimate import Action, Plan, PlannedShot, bound, decimal_text, estimate, retake_note
from tasks.exits import ExitCode
from tasks.gate import warned
from tasks.ledger import Intent, Ledger
from tasks.production import Production
from tasks.providers import PROVIDERS
from tasks.settings import Settings
from tasks.shoot import check_announced
from tasks.slips import strangers
from tasks.storage import Missing, read_spec
from tasks.validate import CheckedShot, Checking, check_shot

__all__ = [
    "Ask",
    "LoadedBoard",
    "bound_by",
    "check_board",
    "load_board",
    "make_plan",
    "place_of",
    "plan_json",
    "plan_now",
    "saved_plan",
    "spec_text",
]

CheckShot = Callable[[ShotRequest, Sequence[str], Checking], Coroutine[Any, Any, CheckedShot]]


@dataclass(frozen=True, slots=True)
class Ask:
    """Which board, on which providers (the board's own when empty), and the shots that a person wants anew, with the reason.

    `confined`: the board came from a stranger, so its local stills must lie in its own folder.
    """

    spec: str
    providers: tuple[str, ...] = ()
    retakes: Mapping[str, str] = field(default_factory=dict)
    confined: bool = False


@dataclass(frozen=True, slots=True)
class LoadedBoard:
    """A valid board, where its keys stand in the file, and the hash of the file."""

    board: Storyboard
    source: Source
    spec: str
    sha256: str

    def issue(self, request: ShotRequest, path: Sequence[str | int], message: str, hint: str = "") -> Issue:
        """A problem of one shot, at its place in the file."""
        return self.source.issue(("shots", request.index, *path), message, hint)


def load_board(spec: str) -> LoadedBoard:
    """Read and check a storyboard file, with its sidecar where it is a shot list.

    Raises:
        SpecError: every problem of the file.
        NoSuchSpec, SetupProblem: when the file is not there or cannot be read.
    """
    text = spec_text(spec)
    name = PurePosixPath(spec).name if "://" in spec else spec
    board, source = load_with_source(text, name=name, sidecar=_sidecar(spec))
    return LoadedBoard(board, source, spec, hashlib.sha256(text).hexdigest())


def _sidecar(spec: str) -> tuple[str, bytes] | None:
    """`shots.board.yaml` beside `shots.csv` holds what a row cannot: title, code, budget, style, elements."""
    if not spec.lower().endswith(".csv"):
        return None
    beside = f"{spec[:-4]}.board.yaml"
    try:
        return beside, read_spec(beside)
    except Missing:
        return None


def spec_text(spec: str) -> bytes:
    """The bytes of a storyboard or a saved plan.

    Raises:
        NoSuchSpec: with the near names of its folder.
    """
    try:
        return read_spec(spec, limit=MAX_BYTES)
    except Missing:
        near = get_close_matches(PurePath(spec).name, _neighbours(spec), 3)
        hint = f"Did you mean {' or '.join(near)}?" if near else "Check the path."
        raise NoSuchSpec(f"there is no file {spec}", hint) from None


def _neighbours(spec: str) -> list[str]:
    folder = Path(spec).parent
    return [one.name for one in folder.iterdir()] if "://" not in spec and folder.is_dir() else []


def check_providers(loaded: LoadedBoard, chosen: Sequence[str]) -> tuple[str, ...]:
    """The providers to plan for, in order of preference.

    Raises:
        Refused: for a name that is no provider.
    """
    names = tuple(chosen) or loaded.board.provider
    for name in names:
        if name not in PROVIDERS:
            raise Refused(f"there is no provider {name!r}", f"Choose among {', '.join(PROVIDERS)}.")
    return names


async def check_board(
    production: Production, loaded: LoadedBoard, ask: Ask, check: CheckShot = check_shot
) -> list[CheckedShot]:
    """Check every shot at once.

    Raises:
        SpecError: every still that cannot be used, and every shot that no listed provider can do, at its place.
    """
    providers = check_providers(loaded, ask.providers)
    checking = Checking(
        loaded.spec, production.cache("cache", "stills"), production.rules(confined=ask.confined), production.wire
    )
    requests = await production.patiently(_requests, production, loaded, ask)
    try:
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(check(one, providers, checking)) for one in requests]
    except ExceptionGroup as failed:
        raise foreseen(failed) from None
    checked = [one.result() for one in running]
    issues = [issue for one in checked for issue in _problems(loaded, one)]
    if issues:
        error = SpecError(sorted(issues))
        if any(problem.exit_code == ExitCode.DEFECT for one in checked for _, problem in one.problems):
            error.exit_code = ExitCode.DEFECT
        raise error
    return checked


def _requests(production: Production, loaded: LoadedBoard, ask: Ask) -> list[ShotRequest]:
    """The board's shots; one that is to be retaken asks for the next take number."""
    requests = list(loaded.board.requests())
    unknown = set(ask.retakes) - {one.shot for one in requests}
    if unknown:
        raise Refused(f"{loaded.spec} has no shot {', '.join(sorted(unknown))}")
    return [
        _next_take(production, loaded, one, ask.retakes[one.shot]) if one.shot in ask.retakes else one
        for one in requests
    ]


def _next_take(production: Production, loaded: LoadedBoard, request: ShotRequest, reason: str) -> ShotRequest:
    """The take after the last one, or that last one where it was ordered for this very reason.

    So a run that is started again after a crash, or a command typed twice, asks for no second new take.
    """
    ledger, board = production.ledger, loaded.board.code
    earlier = ledger.intents(board=board, shot=request.shot)
    if earlier and _ordered_for(ledger, earlier[-1]) == retake_note(reason):
        return replace(request, take=int(json.loads(earlier[-1].request_json)["shot"]["take"]))
    return replace(request, take=max([request.take, *ledger.takes(board, request.shot)]) + 1)


def _ordered_for(ledger: Ledger, intent: Intent) -> str:
    facts = [event.payload for event in ledger.events(intent.intent_id) if event.kind == "reserved"]
    return str(facts[0].get("reason", "")) if facts else ""


def _problems(loaded: LoadedBoard, checked: CheckedShot) -> list[Issue]:
    request = checked.request
    if checked.problems:
        return [
            loaded.issue(request, place_of(request, address), error.message, error.hint)
            for address, error in checked.problems
        ]
    if checked.fitting:
        return []
    return [
        loaded.issue(request, one.path, one.message, one.hint) for found in checked.misfits.values() for one in found
    ]


def place_of(request: ShotRequest, address: str) -> tuple[str | int, ...]:
    """Where a shot names the still at `address`."""
    if address == request.still:
        return ("still",)
    return ("end_still",) if address == request.end_still else ("elements",)


async def make_plan(
    production: Production, ask: Ask, *, loaded: LoadedBoard | None = None, check: CheckShot = check_shot
) -> Plan:
    """Load, check and price.

    Raises:
        SpecError: every problem of the file, its stills and its shots.
        Refused: a price is missing, or a shot is above the cap per shot.
    """
    loaded = loaded or load_board(ask.spec)
    checked = await check_board(production, loaded, ask, check)
    notes = [str(issue) for issue in board_warnings(loaded.board, loaded.source)]
    notes += [
        f"{one.request.shot}: {name} passed over: {found[0].message}"
        for one in checked
        for name, found in one.misfits.items()
        if found
    ]
    return await production.patiently(
        estimate,
        loaded.board,
        checked,
        ledger=production.ledger,
        settings=production.settings,
        spec=loaded.spec,
        spec_sha256=loaded.sha256,
        warnings=notes,
        retakes=ask.retakes,
        providers=ask.providers,
    )


async def plan_now(ask: Ask) -> Plan:
    """Plan with the settings of this installation; what a render would be refused for is among the warnings.

    Raises:
        SpecError, Refused, SetupProblem: as `make_plan`, and where ledger or store cannot be used.
    """
    settings = Settings.load()
    async with Production.open(settings) as production:
        made = warned(await make_plan(production, ask), production.ledger, settings)
        try:
            check_announced(production, made)
        except Refused as error:
            return replace(made, warnings=(f"{error}: a render would be refused", *made.warnings))
        unknown = list(strangers(production, made.board))
        if not unknown:
            return made
        told = f"the store announces {len(unknown)} orders of this board that this ledger does not know"
        return replace(made, warnings=(f"{told}, the first by {unknown[0].who}; see `rushes doctor`", *made.warnings))


def plan_json(plan: Plan) -> dict[str, Any]:
    """The document that `plan --json` prints and `--out` writes: what an approval binds, and what people want to know besides."""
    facts = bound(plan)
    shown = zip(facts["shots"], plan.shots, strict=True)
    return {
        "rushes": 1,
        "digest": plan.digest,
        "board": plan.board,
        "title": plan.title,
        "spec": plan.spec,
        "spec_sha256": plan.spec_sha256,
        "providers": list(plan.providers),
        "totals": {"usd": decimal_text(plan.usd), "by_unit": facts["by_unit"]},
        "caps": facts["caps"],
        "per_shot": facts["per_shot"],
        "auto_approve": facts["auto_approve"],
        "shots": [{**one, **_besides(shot)} for one, shot in shown],
        "warnings": list(plan.warnings),
    }


def _besides(shot: PlannedShot) -> dict[str, Any]:
    """What the plan spends on a shot, and why."""
    spends = shot.usd if shot.decision.action is Action.CREATE else Decimal(0)
    return {"usd": decimal_text(spends), "note": shot.decision.note}


_BESIDES = {"usd", "note"}


def bound_by(document: Mapping[str, Any]) -> dict[str, Any]:
    """What a saved plan bound when it was written: its digest is of this, or the file was changed since."""
    return {
        "board": document["board"],
        "shots": [{name: fact for name, fact in shot.items() if name not in _BESIDES} for shot in document["shots"]],
        "by_unit": document["totals"]["by_unit"],
        "caps": document["caps"],
        "per_shot": document["per_shot"],
        "auto_approve": document["auto_approve"],
    }


def saved_plan(text: bytes, name: str) -> dict[str, Any]:
    """A plan that `plan --out` wrote.

    Raises:
        Refused: when the file is no such plan.
    """
    try:
        document = json.loads(text)
        _check_saved(document)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Refused(
            f"{name} is not a plan of this version ({type(error).__name__}: {error})",
            "Write it again with `rushes plan SPEC --out`.",
        ) from None
    return dict(document)


def _check_saved(document: dict[str, Any]) -> None:
    """Whether everything that is read of a saved plan is there; what it says of the shots is believed as far as its digest."""
    bound_by(document)
    words = [
        document["digest"],
        document["spec"],
        *document.get("providers", []),
        *(one["id"] for one in document["shots"]),
    ]
    if document["rushes"] != 1 or not all(isinstance(word, str) for word in words):
        raise ValueError("a fact of it has another type")
