"""Lint: what `rushes check` says of storyboards. No Prefect; no network unless the stills are asked for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from flows.plan import Ask, LoadedBoard, check_board, check_providers, load_board, place_of
from specs.checks import warnings
from specs.errors import Issue, SpecError
from tasks.errors import RushesError
from tasks.exits import ExitCode, worst
from tasks.providers import PROVIDERS, misfits
from tasks.settings import Settings
from tasks.storage.store import local_path

__all__ = ["Findings", "lint"]


@dataclass(frozen=True, slots=True)
class Findings:
    """Problems and warnings of several files, in the order given, with what could not be read at all.

    `codes` are the exit codes of the files with problems.
    """

    files: tuple[str, ...]
    issues: tuple[Issue, ...]
    warnings: tuple[Issue, ...]
    unreadable: tuple[tuple[str, RushesError], ...]
    codes: tuple[ExitCode, ...] = ()

    @property
    def exit_code(self) -> ExitCode:
        """3 for an invalid file, 2 for one that is not there, 7 for one that cannot be read."""
        return worst([*self.codes, *(ExitCode(error.exit_code) for _, error in self.unreadable)])

    def lines(self) -> Iterator[str]:
        """What people and editors read: `file:line:col: path: message`."""
        yield from map(str, self.issues)
        yield from (f"{name}: {error}" for name, error in self.unreadable)
        yield from (f"{issue} (warning)" for issue in self.warnings)
        bad = {issue.file for issue in self.issues} | {name for name, _ in self.unreadable}
        yield from (f"{name}: ok" for name in self.files if name not in bad)

    def document(self) -> dict[str, Any]:
        """What `check --json` prints."""
        names = ("file", "line", "column", "path", "message", "hint")
        return {
            "ok": self.exit_code is ExitCode.OK,
            "exit_code": int(self.exit_code),
            "files": list(self.files),
            "issues": [{name: getattr(issue, name) for name in names} for issue in self.issues],
            "warnings": [{name: getattr(issue, name) for name in names} for issue in self.warnings],
            "unreadable": [{"file": name, "message": str(error)} for name, error in self.unreadable],
        }


async def lint(specs: Sequence[str], *, stills: bool = False, providers: tuple[str, ...] = ()) -> Findings:
    """Check files against the grammar and against what their providers can do; with `stills`, fetch and measure those."""
    issues: list[Issue] = []
    noted: list[Issue] = []
    unreadable: list[tuple[str, RushesError]] = []
    codes: list[ExitCode] = []
    for spec in dict.fromkeys(map(_whole, specs)):
        try:
            loaded = load_board(spec)
            noted += [*warnings(loaded.board, loaded.source), *([] if stills else _absent(loaded))]
            await _check(loaded, Ask(spec, providers), stills=stills)
        except SpecError as error:
            issues += error.issues
            codes.append(ExitCode(error.exit_code))
        except RushesError as error:
            unreadable.append((spec, error))
    return Findings(
        tuple(dict.fromkeys(map(_whole, specs))), tuple(issues), tuple(noted), tuple(unreadable), tuple(codes)
    )


def _absent(loaded: LoadedBoard) -> Iterator[Issue]:
    """Stills beside a local spec that are not there: a render would refuse them."""
    spec = local_path(loaded.spec)
    if spec is None:
        return
    seen: dict[str, bool] = {}
    for request in loaded.board.requests():
        for address in request.stills:
            if "://" not in address and address not in seen:
                seen[address] = spec.parent.joinpath(address).is_file()
                if not seen[address]:
                    yield loaded.issue(
                        request, place_of(request, address), f"there is no file {address} beside the spec"
                    )


def _whole(spec: str) -> str:
    """The shot list of a sidecar (`shots.board.yaml` beside `shots.csv`), which is no board by itself; else the spec."""
    listed = spec.removesuffix(".board.yaml") + ".csv"
    beside = local_path(listed)
    return listed if spec.endswith(".board.yaml") and beside is not None and beside.is_file() else spec


async def _check(loaded: LoadedBoard, ask: Ask, *, stills: bool) -> None:
    if stills:
        from tasks.production import Production

        async with Production.open(Settings.load()) as production:
            await check_board(production, loaded, ask)
        return
    names = check_providers(loaded, ask.providers)
    found = [[list(misfits(request, PROVIDERS[name].caps)) for name in names] for request in loaded.board.requests()]
    issues = [
        loaded.issue(request, one.path, one.message, one.hint)
        for request, by_provider in zip(loaded.board.requests(), found, strict=True)
        if all(by_provider)
        for misfit_list in by_provider
        for one in misfit_list
    ]
    if issues:
        raise SpecError(sorted(issues))
