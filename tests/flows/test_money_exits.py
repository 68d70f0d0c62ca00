"""The exit codes of the contract, and what the doctor says, through the command line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.till import Till, paid_board, till

BAD = paid_board().replace("prompt:", "promt:")

EXITS: dict[str, tuple[int, Callable[[Till], list[str]]]] = {
    "a good board": (0, lambda here: ["check", str(here.board())]),
    "an unknown command": (2, lambda _: ["rendr"]),
    "an unknown option": (2, lambda here: ["plan", str(here.board()), "--colour"]),
    "an amount that is none": (2, lambda here: ["render", str(here.board()), "--max-cost", "much"]),
    "a board that is not there": (2, lambda here: ["plan", str(here.folder / "bord.yaml")]),
    "a bad board": (3, lambda here: ["plan", str(here.board(BAD))]),
    "a still that is not there": (
        3,
        lambda here: ["plan", str(here.board(paid_board().replace("still.jpg", "no.jpg")))],
    ),
    "no approval": (4, lambda here: ["render", str(here.board())]),
    "an unknown provider": (4, lambda here: ["plan", str(here.board()), "--provider", "nobody"]),
    "an unknown provider in json": (4, lambda here: ["plan", str(here.board()), "--provider", "nobody", "--json"]),
}


@pytest.mark.parametrize("name", EXITS)
def test_a_command_leaves_with_the_contract_s_exit_code_and_no_traceback(name: str, tmp_path: Path) -> None:
    """One code for one kind of trouble; with --json the document carries it too."""
    code, words = EXITS[name]
    with till(tmp_path) as here:
        command = words(here)
        printed = here.run(*command)
    assert (printed.code, "Traceback" in printed.err) == (code, False), printed.err
    if "--json" in command:
        assert json.loads(printed.out)["exit_code"] == code


def test_F65_a_ledger_that_cannot_be_used_is_exit_7(tmp_path: Path) -> None:
    """Nothing is priced on top of an account that cannot be kept."""
    with till(tmp_path, more={"RUSHES_LEDGER": "sqlite:////proc/ledger.db"}) as here:
        printed = here.run("plan", str(here.board()))
    assert (printed.code, "Traceback" in printed.err) == (7, False), printed.err


def test_a_store_that_cannot_be_written_is_exit_7_before_anything_is_bought(tmp_path: Path) -> None:
    """A clip that is paid and cannot be kept helps nobody."""
    with till(tmp_path, more={"RUSHES_STORE": "/dev/null/store"}) as here:
        printed = here.run("render", str(here.board()), "--yes")
        assert not here.truth.creates
    assert (printed.code, "Traceback" in printed.err) == (7, False), printed.err
    assert "store" in printed.err


@pytest.mark.prefect
@pytest.mark.xdist_group("prefect")
@pytest.mark.parametrize(("fault", "code"), [("http-400", 5), ("overbill-30pct", 6)])
def test_a_finished_render_leaves_with_what_became_of_its_shots(
    fault: str, code: int, tmp_path: Path, prefect_api: str
) -> None:
    """Some shots failed: 5. Money that needs a person: 6, though every take is stored."""
    with till(tmp_path, fault, more={"PREFECT_API_URL": prefect_api}) as here:
        printed = here.run("render", str(here.board()), "--yes", "--json")
    assert (printed.code, printed.document["exit_code"]) == (code, code), printed.err


def _problems(document: Any) -> dict[str, str]:
    return {finding["subject"]: finding["problem"] for finding in document if not finding["ok"]}


def test_the_doctor_finds_nothing_where_all_is_well(tmp_path: Path) -> None:
    """Ledger, store, both providers; nothing is created, and the key is not shown."""
    with till(tmp_path) as here:
        printed = here.run("doctor", "--json")
        assert not here.truth.creates
    assert (printed.code, _problems(printed.document)) == (0, {})
    assert {"ledger", "store", "shortapi", "sjinn"} <= {finding["subject"] for finding in printed.document}
    assert "canary" not in printed.out + printed.err


def test_the_doctor_names_a_provider_that_is_not_there(tmp_path: Path) -> None:
    """A dead address is exit 7 with its cure."""
    with till(tmp_path) as here:
        printed = here.run("doctor", "--json", SHORTAPI_BASE_URL=here.sandbox.refused_url)
    assert printed.code == 7
    assert set(_problems(printed.document)) == {"shortapi"}


def test_the_doctor_names_a_store_that_cannot_be_written(tmp_path: Path) -> None:
    """It goes on to the other findings."""
    with till(tmp_path, more={"RUSHES_STORE": "/dev/null/store"}) as here:
        printed = here.run("doctor", "--json")
    assert printed.code == 7
    assert set(_problems(printed.document)) == {"store"}
