"""The command line: `rushes`. It owns the exit codes and the words to people; everything else is below it."""

import asyncio
import datetime as dt
import json
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter

from flows.interruption import term_like_ctrl_c
from specs.errors import SpecError
from specs.money import Money, MoneyError
from tasks.errors import RushesError, as_foreseen, foreseen
from tasks.exits import ExitCode, worst
from tasks.redaction import without_known

if TYPE_CHECKING:
    from rich.console import Console


__all__ = ["app", "main", "run"]

app = App(
    name="rushes",
    help="Storyboards in, rushes out: check a board, say what it costs, buy no shot twice.",
    help_format="plaintext",
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,  # `run` says how to go on
)

Json = Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON document on stdout.")]
Spec = Annotated[str, Parameter(help="A storyboard (.yaml, .json, .csv): a path, or an fsspec URL like s3://...")]
Providers = Annotated[
    list[str] | None,
    Parameter(
        name="--provider", negative="", consume_multiple=False, help="Use this provider instead of the board's own."
    ),
]


def main(argv: Sequence[str] | None = None) -> None:
    """The console script; leaves with the contract's exit code."""
    with term_like_ctrl_c():
        sys.exit(run(argv))


def run(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; a user's mistake is said in words, never as a traceback."""
    words = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in words
    try:
        return _dispatch(words)
    except SpecError as error:
        return _fail_spec(as_json, error)
    except BrokenPipeError:
        return ExitCode.OK
    except KeyboardInterrupt as stopped:
        again = f"What is done is kept; `{shlex.join(['rushes', *words])}` goes on from here and buys nothing twice."
        return _fail(as_json, ExitCode.INTERRUPTED, "interrupted", "\n  ".join(filter(None, [str(stopped), again])))
    except Exception as error:  # noqa: BLE001 - the last exit: nothing may leave without its exit code
        return _fail(as_json, *_told(error))


def _dispatch(words: Sequence[str]) -> int:
    outside = _outside_command(words)
    if outside is not None:
        return outside(words[1:]) or 0
    return int(app(words, exit_on_error=False, print_error=False, result_action="return_value") or 0)


def _told(error: Exception) -> tuple[ExitCode, str, str]:
    """Exit code, message and cure; what we did not foresee is a defect of ours, shown whole."""
    error = as_foreseen(error)
    match error:
        case CycloptsError():
            return ExitCode.USAGE, str(error), "See `rushes --help`."
        case MoneyError():
            return ExitCode.USAGE, str(error), "Write amounts like 5.00."
        case ExceptionGroup() if (inner := foreseen(error)) is not error:
            return _told(inner)
        case RushesError():
            return ExitCode(error.exit_code), str(error), error.diagnostics()
        case _:
            print(without_known("".join(traceback.format_exception(error))), file=sys.stderr)
            return ExitCode.DEFECT, "a defect of Rushes, not of your board", "Please report the lines above."


def _outside_command(words: Sequence[str]) -> Callable[[Sequence[str]], int | None] | None:
    """A command that a layer above offers (`serve`, `sandbox`), found by its entry point: flows import nothing of it."""
    if not words:
        return None
    found = [one for one in entry_points(group="rushes.commands") if one.name == words[0]]
    command: Callable[[Sequence[str]], int | None] | None = found[0].load() if found else None
    return command


def _fail(as_json: bool, code: ExitCode, message: str, hint: str) -> int:
    message, hint = without_known(message), without_known(hint)
    if as_json:
        _print_json({"error": message, "hint": hint, "exit_code": int(code)})
    _say(f"rushes: {message}")
    if hint:
        _say(f"  {hint}")
    return int(code)


def _fail_spec(as_json: bool, error: SpecError) -> int:
    if as_json:
        _print_json({"error": "the spec is invalid", "exit_code": int(error.exit_code), "issues": _issues(error)})
    _say(str(error))
    _say(f"  {error.diagnostics()}")
    return int(error.exit_code)


def _issues(error: SpecError) -> list[dict[str, Any]]:
    names = ("file", "line", "column", "path", "message", "hint")
    return [{name: getattr(issue, name) for name in names} for issue in error.issues]


def _print_json(document: Any) -> None:
    print(json.dumps(document, indent=2, default=str))


def _say(line: str) -> None:
    """A line for people, kept off stdout; control characters in a message never reach the terminal (S14)."""
    clean = "".join(one if one.isprintable() or one == "\n" else f"\\x{ord(one):02x}" for one in line)
    print(clean, file=sys.stderr)


def _people(as_json: bool) -> "Console":
    """Where people's words go: stdout, or stderr when stdout carries the document."""
    from flows.terminal import console

    return console(stderr=as_json)


@app.command
def check(
    specs: Annotated[list[str], Parameter(help="Storyboards: YAML, JSON, or a CSV shot list.")],
    /,
    *,
    stills: Annotated[bool, Parameter(negative="", help="Fetch and measure the stills too.")] = False,
    provider: Providers = None,
    as_json: Json = False,
) -> int:
    """Lint storyboards: every problem as file:line:col, in one pass. Spends nothing and touches no network without --stills.

    Example: rushes check specs/examples/liftoff.yaml
    """
    from flows.lint import lint

    found = asyncio.run(lint(specs, stills=stills, providers=tuple(provider or ())))
    if as_json:
        _print_json(found.document())
    for line in found.lines():
        (_say if as_json else print)(line)
    return int(found.exit_code)


@app.command
def schema() -> int:
    """Print the JSON Schema of the storyboard, for editors and other tools.

    Example: rushes schema > storyboard.schema.json
    """
    from specs.storyboard import json_schema

    print(json.dumps(json_schema(), indent=2))
    return 0


@app.command
def plan(
    spec: Spec,
    /,
    *,
    provider: Providers = None,
    out: Annotated[Path | None, Parameter(help="Write the plan here, for `rushes render plan.json`.")] = None,
    as_json: Json = False,
) -> int:
    """Price every shot: create, reuse, resume or held. Spends nothing; prints the digest that an approval binds to.

    Example: rushes plan specs/examples/liftoff.yaml --provider shortapi --out plan.json
    """
    from flows.plan import Ask, plan_json, plan_now
    from flows.terminal import print_plan

    made = asyncio.run(plan_now(Ask(spec, tuple(provider or ()))))
    document = plan_json(made)
    if out is not None:
        out.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    if as_json:
        _print_json(document)
    else:
        print_plan(made, _people(as_json))
    return 0


@app.command
def render(
    spec: Spec,
    /,
    *,
    provider: Providers = None,
    max_cost: Annotated[str | None, Parameter(help="Refuse to spend more than this many USD in this run.")] = None,
    yes: Annotated[bool, Parameter(negative="", help="Approve the plan without being asked.")] = False,
    approve: Annotated[str | None, Parameter(help="Approve exactly the plan with this digest.")] = None,
    rehearse: Annotated[
        bool, Parameter(negative="", help="Against stand-in providers on this machine, for $0.")
    ] = False,
    fault: Annotated[
        list[str] | None,
        Parameter(negative="", help="With --rehearse: what goes wrong; `rushes sandbox --faults` lists."),
    ] = None,
    speed: Annotated[float, Parameter(help="With --rehearse: jobs take 2 to 8 minutes divided by this.")] = 60.0,
    as_json: Json = False,
) -> int:
    """Render a storyboard, or exactly a plan that `rushes plan --out` wrote.

    Example: rushes render specs/examples/liftoff.yaml
    """
    from contextlib import nullcontext

    from flows.rehearsal import rehearsal_home, rehearsing
    from flows.session import render_spec
    from tasks.gate import Wish

    wish = Wish(_usd(max_cost), yes, approve)
    with rehearsing(fault or (), speed=speed) if rehearse else nullcontext() as page:
        if page:
            _say(f"rehearsal: nothing is bought; the stand-in's own account is at {page}")
        code = render_spec(spec, tuple(provider or ()), wish, as_json=as_json, out=_people(as_json))
        if page and code == ExitCode.MONEY_NEEDS_A_PERSON:
            _say(f"  this was a rehearsal, with a ledger of its own: RUSHES_HOME={rehearsal_home()} rushes doubts")
        return code


@app.command
def retake(
    spec: Spec,
    shot: Annotated[str, Parameter(help="The id of the shot.")],
    /,
    *,
    reason: Annotated[str, Parameter(help="Why; recorded with the new take.")],
    provider: Providers = None,
    max_cost: Annotated[str | None, Parameter(help="Refuse to spend more than this many USD.")] = None,
    yes: Annotated[bool, Parameter(negative="", help="Approve without being asked.")] = False,
    approve: Annotated[str | None, Parameter(help="Approve exactly the plan with this digest.")] = None,
    as_json: Json = False,
) -> int:
    """Ask for a new take of one shot, through the same gate.

    Example: rushes retake board.yaml SH020 --reason "the visor is too dark"
    """
    from flows.session import render_spec
    from tasks.gate import Wish

    wish = Wish(_usd(max_cost), yes, approve)
    return render_spec(spec, tuple(provider or ()), wish, retakes={shot: reason}, as_json=as_json, out=_people(as_json))


@app.command
def collect(*, as_json: Json = False) -> int:
    """Pick up paid results that are late, held or in doubt. Buys nothing; runs safely at any time.

    Example: rushes collect
    """
    from flows.collect import collect_now

    collected, passed, code = asyncio.run(collect_now())
    if as_json:
        _print_json({"exit_code": int(code), "intents": [one.document() for one in collected], "passed_caps": passed})
    out = _people(as_json)
    for one in collected:
        out.print(one.line(), markup=False, soft_wrap=True)
    for sentence in passed:
        out.print(sentence, markup=False, soft_wrap=True)
    if not collected and not passed:
        out.print("nothing is open")
    return int(code)


@app.command
def doubts(*, as_json: Json = False) -> int:
    """List what only a person can settle: unknown outcomes and bills far above their quotes, with the money at stake.

    Example: rushes doubts
    """
    from flows.doubts import question_json, question_lines, questions_now
    from tasks.settings import Settings

    found = questions_now(Settings.load())
    if as_json:
        _print_json(question_json(found))
    out = _people(as_json)
    for line in question_lines(found):
        out.print(line, markup=False, soft_wrap=True)
    return int(ExitCode.MONEY_NEEDS_A_PERSON if found.need_a_person else ExitCode.OK)


@app.command
def resolve(
    intent: Annotated[str, Parameter(help="The intent, as `rushes doubts` names it.")],
    /,
    *,
    job_id: Annotated[str | None, Parameter(help="The job that was created after all; confirmed by a query.")] = None,
    absent: Annotated[bool, Parameter(negative="", help="It was never created: you looked at the dashboard.")] = False,
    write_off: Annotated[bool, Parameter(negative="", help="Give it up and count it as paid in full.")] = False,
    billed: Annotated[str | None, Parameter(help="What the provider's own account says it cost: 0.56, or 0.")] = None,
    vouch: Annotated[
        Literal["balance", "invalid", "auth", "config", "moderation"] | None,
        Parameter(help="Its reply is a refusal of this kind, now and whenever its code and whole text come again."),
    ] = None,
    unvouch: Annotated[bool, Parameter(negative="", help="Take back what was vouched for with this intent.")] = False,
    why: Annotated[str, Parameter(help="The evidence or reason; recorded.")] = "",
    as_json: Json = False,
) -> int:
    """Settle one open question about money by a person's recorded decision.

    Example: rushes resolve 01JD... --job-id 550e8400-e29b --why "seen on the dashboard"
    Example: rushes resolve 01JD... --vouch balance --why "the balance was the same before and after"
    """
    from flows.doubts import ONE_OF, Decision, Questions, question_json, resolve_now

    if sum((*(one is not None for one in (job_id, billed, vouch)), absent, write_off, unvouch)) != 1:
        raise CycloptsError(msg=f"say {ONE_OF}")
    out = _people(as_json)
    decision = Decision(intent, why, job_id, absent, write_off, billed, vouch, unvouch)
    settled = asyncio.run(resolve_now(decision, lambda line: out.print(line, markup=False, soft_wrap=True)))
    if as_json:
        _print_json(question_json(Questions([settled]))[0])
    return 0


@app.command
def costs(
    *,
    since: Annotated[dt.date | None, Parameter(help="Only orders of this day (2026-03-01, UTC) and later.")] = None,
    by: Annotated[Literal["day", "board", "provider", "shot"], Parameter(help="What to add up by.")] = "day",
    csv: Annotated[Path | None, Parameter(help="Write the lines here, for a spreadsheet.")] = None,
    parquet: Annotated[Path | None, Parameter(help="Write the lines here, with exact decimals.")] = None,
    html: Annotated[Path | None, Parameter(help="Write a page with a chart here.")] = None,
    as_json: Json = False,
) -> int:
    """Add up spend across runs, from the ledger: quoted, settled, reserved and in doubt, always apart. Spends nothing.

    Example: rushes costs --by board --since 2026-03-01 --html costs.html
    """
    from flows.costs import spend_report, write_files
    from tasks.settings import Settings

    report = spend_report(Settings.load(), since, by)
    written = write_files(report, csv=csv, parquet=parquet, html=html)
    if as_json:
        _print_json(report.document())
    out = _people(as_json)
    out.print(report.shown())
    out.print(report.summary(), markup=False, soft_wrap=True)
    for path in written:
        out.print(f"written {path}", markup=False, soft_wrap=True)
    return 0


@app.command
def doctor(
    ledger: Annotated[
        str, Parameter(help="With --adopt: also take over the orders of this ledger, which is lost for good.")
    ] = "",
    /,
    *,
    adopt: Annotated[
        bool, Parameter(negative="", help="Take over what the store's order slips tell and the ledger has lost.")
    ] = False,
    why: Annotated[str, Parameter(help="With --adopt LEDGER: the reason; recorded.")] = "",
    reconcile: Annotated[
        str | None, Parameter(help="Leave recovery after a restored or damaged ledger: what you compared it with.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Check keys, ledger, storage, Prefect, the clock and whether the providers can be reached. Spends nothing.

    After a restored backup, `--adopt` takes over the orders that the backup does not know; `rushes collect` fetches them.

    Example: rushes doctor
    Example: rushes doctor --adopt
    """
    from flows import doctor as surgery

    if (ledger or why) and not adopt:
        raise CycloptsError(msg="a ledger is named, or a reason given, with --adopt only")
    if reconcile is not None:
        surgery.reconcile(reconcile)
    findings = surgery.adopt(ledger, why) if adopt else []
    findings += asyncio.run(surgery.examine())
    if as_json:
        _print_json([finding.document() for finding in findings])
    out = _people(as_json)
    for finding in findings:
        out.print(finding.line(), markup=False, soft_wrap=True)
    problems = [finding for finding in findings if finding.problem]
    return int(worst(ExitCode.MONEY_NEEDS_A_PERSON if one.money else ExitCode.SET_UP for one in problems))


Passed = Annotated[str, Parameter(show=False, allow_leading_hyphen=True)]


@app.command
def serve(*words: Passed) -> int:
    """Serve the deployments (render, drop, collect, costs), the drop watcher and the callback receiver. See its own --help.

    Example: rushes serve
    """
    return _dispatch(["serve", *words])


@app.command
def sandbox(*words: Passed) -> int:
    """Stand-in ShortAPI and SJinn on loopback, with their own account of charges. See its own --help.

    Example: rushes sandbox --fault lost-reply@2
    """
    return _dispatch(["sandbox", *words])


def _usd(text: str | None) -> Money | None:
    """`5.00` and `5.00 USD` are both taken."""
    if text is None:
        return None
    return Money.parse(text) if " " in text.strip() else Money.of(text.strip())


if __name__ == "__main__":
    main()
