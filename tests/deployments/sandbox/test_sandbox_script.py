"""The script of faults, the command line, the page, and the promise to be an outside witness."""

import ast
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import deployments.sandbox
from deployments.sandbox import ELSEWHERE, FAULTS, Sandbox, UnknownFault
from deployments.sandbox.__main__ import main
from deployments.sandbox.faults.kinds import CreateFault
from deployments.sandbox.faults.script import Armed, Script, parse
from deployments.sandbox.shelf import PLAIN

WEB = httpx.Client(verify=PLAIN, headers={"Connection": "close"}, timeout=120)
"""On a fresh connection each time; loading certificates would cost 40 ms a client."""


def fired(entry: str, events: int, seed: int = 0, provider: str = "shortapi") -> list[int]:
    """The numbers of the events at which the entry happens."""
    script = Script(seed)
    script.add([parse(entry, FAULTS)])
    return [number for number in range(1, events + 1) if script.next(CreateFault, provider)]


@pytest.mark.parametrize(
    ("entry", "numbers"),
    [
        ("hang-after", [1]),
        ("hang-after@3", [3]),
        ("hang-after*2", [1, 2]),
        ("hang-after@2*2", [2, 3]),
        ("hang-after*", [1, 2, 3, 4, 5]),
        ("hang-after@4*", [4, 5]),
        ("shortapi/hang-after", [1]),
        ("sjinn/hang-after", []),
        ("hang-after%1", [1, 2, 3, 4, 5]),
        ("hang-after%0", []),
        ("hang-after*2%1.0", [1, 2]),
        ("stuck", []),
    ],
)
def test_an_entry_happens_at_the_events_it_names(entry: str, numbers: list[int]) -> None:
    """Out of five creates."""
    assert fired(entry, 5) == numbers


def test_a_chance_is_decided_by_the_seed_alone() -> None:
    """The same seed gives the same events, another seed others, and about a fifth of them all."""
    first = fired("hang-after%0.2", 1000, seed=7)
    assert first == fired("hang-after%0.2", 1000, seed=7)
    assert first != fired("hang-after%0.2", 1000, seed=8)
    assert 150 < len(first) < 250


def test_two_entries_that_want_the_same_event_take_turns() -> None:
    """The first that was armed has it; both count all events."""
    script = Script(0)
    script.add(parse(entry, FAULTS) for entry in ("hang-after", "http-500-after", "id-null@2"))
    happened = [script.next(CreateFault, "shortapi") for _ in range(4)]
    assert [fault and fault.name for fault in happened] == ["hang-after", "http-500-after", "id-null", None]


@pytest.mark.parametrize(
    "entry", ["", "nothing-like-it", "hang-after@0", "hang-after*0", "hang-after%2", "fal/stuck", "stuck@"]
)
def test_an_unknown_entry_is_refused(entry: str) -> None:
    """By name or by grammar."""
    with pytest.raises(UnknownFault):
        parse(entry, FAULTS)


@given(
    st.builds(
        Armed,
        fault=st.sampled_from(list(FAULTS.values())),
        at=st.integers(1, 99),
        times=st.none() | st.integers(1, 99),
        chance=st.none() | st.sampled_from([0.0, 0.25, 1.0]),
        provider=st.sampled_from(["", "shortapi", "sjinn"]),
    )
)
def test_an_entry_reads_back_as_it_is_printed(armed: Armed) -> None:
    """Whatever it is made of; once with a chance is the one form without a text of its own."""
    if armed.chance is not None and armed.times == 1:
        armed.times = 2
    assert parse(str(armed), FAULTS) == armed


def test_every_number_up_to_F60_is_a_fault_or_is_brought_about_elsewhere() -> None:
    """Nothing of the catalogue is forgotten."""
    known = {number for fault in FAULTS.values() for number in fault.ids}
    assert {f"F{number:02}" for number in range(1, 61)} <= known | set(ELSEWHERE)
    assert known.isdisjoint(ELSEWHERE)


def test_faults_are_armed_read_and_cleared_while_it_runs(shortapi: Any) -> None:
    """By text, by list, or field by field."""
    address = f"{shortapi.sandbox.url}/_sandbox/faults"
    WEB.post(address, json="hang-after@9")
    WEB.post(address, json=["stuck", "sjinn/clip-black*2"])
    WEB.post(address, json={"fault": "query-500*3"})
    WEB.post(address, json={"name": "http-402", "at": 2, "times": None, "provider": "shortapi"})
    entries = [row["entry"] for row in WEB.get(address).json()["armed"]]
    assert entries == ["hang-after@9", "stuck", "sjinn/clip-black*2", "query-500*3", "shortapi/http-402@2*"]
    assert WEB.post(address, json="no-such").status_code == 400
    assert WEB.post(address, json=7).status_code == 400
    assert WEB.delete(address).json() == {"armed": []}
    assert shortapi.create().json()["code"] == 0


def test_clock_and_key_are_set_over_http(slow_sandbox: Sandbox, customer_of: Any) -> None:
    """For tests that run in another process."""
    shortapi = customer_of(slow_sandbox, "shortapi")
    job = shortapi.buy()
    assert WEB.post(f"{slow_sandbox.url}/_sandbox/advance", json={"seconds": 100}).status_code == 200
    assert slow_sandbox.account().states[job.job_id] == "done"
    assert WEB.post(f"{slow_sandbox.url}/_sandbox/key", json={"key": "new"}).status_code == 200
    assert shortapi.query(job.job_id).status_code == 401
    for body in ({}, {"seconds": -1}, {"seconds": True}):
        assert WEB.post(f"{slow_sandbox.url}/_sandbox/advance", json=body).status_code == 400
    assert WEB.post(f"{slow_sandbox.url}/_sandbox/key", json={"key": 7}).status_code == 400
    assert WEB.get(f"{slow_sandbox.url}/_sandbox/other").status_code == 404


def test_a_job_takes_two_to_eight_minutes_by_length_and_mode(customer_of: Any) -> None:
    """Divided by the speed; SJinn's page gives the range."""
    with Sandbox(clock="manual", speed=2) as running:
        shortapi = customer_of(running, "shortapi")
        jobs = [shortapi.buy(duration="3"), shortapi.buy(duration="15", mode="pro")]
    assert [job.takes for job in jobs] == [60, 240]


def test_S13_the_page_shows_jobs_and_charges_as_text(shortapi: Any) -> None:
    """Words of an order are never markup; nothing else is loaded; it reloads itself."""
    shortapi.create(prompt="<script>alert(1)</script> {{7*7}}")
    shortapi.create(mode="best")
    reply = WEB.get(shortapi.sandbox.url)
    assert reply.headers["content-security-policy"].startswith("default-src 'none'")
    assert "<script>" not in reply.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; {{7*7}}" in reply.text
    assert "0.715 USD" in reply.text
    assert "invalid mode: must be one of pro, std" in reply.text
    assert 'http-equiv="refresh"' in reply.text


def test_the_page_plays_a_finished_clip_without_counting_a_download(shortapi: Any) -> None:
    """A look is not a delivery."""
    job = shortapi.buy()
    reply = WEB.get(f"{shortapi.sandbox.url}/_sandbox/clips/{job.job_id}.mp4")
    assert reply.content[4:8] == b"ftyp"
    assert shortapi.sandbox.account().job(job.job_id).downloads == 0
    assert WEB.get(f"{shortapi.sandbox.url}/_sandbox/clips/none.mp4").status_code == 404


def test_the_faults_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """One line each with its numbers and what happens, or one JSON document."""
    assert main(["--faults"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(FAULTS) + len(ELSEWHERE)
    assert main(["--faults", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["faults"]
    assert {"name": "hang-after", "event": "create", "ids": ["F04"], "provider": ""}.items() <= rows[2].items()


def test_wrong_use_is_said_in_words(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Exit code 2 for a fault that does not exist, 7 for a port or an account in use; never a traceback."""
    assert main(["--port", "0", "--fault", "lost"]) == 2
    assert "there is no fault 'lost'" in capsys.readouterr().err
    with Sandbox(account_path=tmp_path / "account.jsonl") as running:
        assert main(["--port", "0", "--account", str(tmp_path / "account.jsonl")]) == 7
        assert "choose another --account" in capsys.readouterr().err
        assert main(["--port", running.url.rpartition(":")[2], "--account", str(tmp_path / "other.jsonl")]) == 7
        assert "address already in use" in capsys.readouterr().err


@pytest.mark.parametrize(
    "option", ["--port=99999", "--size=0", "--speed=0", "--speed=nan", "--job-seconds=-1", "--lag=x"]
)
def test_a_number_out_of_range_is_a_usage_error(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and the option is named."""
    with pytest.raises(SystemExit) as ended:
        main([option])
    assert ended.value.code == 2
    assert option.partition("=")[0] in capsys.readouterr().err


def test_the_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    """With a fault in it."""
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "rushes sandbox --port 8077 --speed 60 --fault hang-after@2" in capsys.readouterr().out


def test_the_sandbox_imports_nothing_of_the_pipeline() -> None:
    """Its account is independent evidence only as long as this holds."""
    root = Path(deployments.sandbox.__file__).parent
    names: set[str] = set()
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Import():
                    names |= {alias.name for alias in node.names}
                case ast.ImportFrom():
                    names.add(node.module or "")
                case _:
                    pass
    assert {name.partition(".")[0] for name in names}.isdisjoint({"specs", "tasks", "flows", "prefect"})
    assert all(name.startswith("deployments.sandbox") for name in names if name.startswith("deployments"))
