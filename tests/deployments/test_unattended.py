"""Drops, approval and the run form on a real Prefect server: what nobody watches must still go right."""

import json
import shutil
from pathlib import Path

import httpx
import pytest

from specs.loader import MAX_BYTES
from tests.deployments.conftest import CANARY, Served
from tests.fixtures.boards import board
from tests.fixtures.serving import eventually

pytestmark = [pytest.mark.prefect, pytest.mark.xdist_group("prefect")]


def receipts(inbox: Path, name: str) -> dict[str, object] | None:
    """The receipt of a processed board."""
    found = inbox / "processed" / f"{name}.receipt.json"
    return dict(json.loads(found.read_bytes())) if found.exists() else None


def test_dropped_boards_are_rendered_once_each_whatever_was_dropped_beside_them(served: Served) -> None:
    """A whole one, its copy, a half-written one that is completed, a marked one, a bad, a huge and a hostile one."""
    inbox = served.inbox
    whole = board(code="WHOLE")
    (inbox / "whole.yaml").write_text(whole)
    (inbox / "whole-again.yaml").write_text(whole)
    half = board(code="HALF")
    (inbox / "half.yaml").write_text(half[:60])
    (inbox / "bad.yaml").write_text(board(code="BAD").replace("prompt:", "promt:"))
    (inbox / "escape.yaml").write_text(board(code="ESCAPE").replace("stills/red.jpg", "../secret.jpg"))
    shutil.copy(inbox / "stills" / "red.jpg", inbox.parent / "secret.jpg")
    (inbox / "huge.yaml").write_bytes(b"# " + b"x" * MAX_BYTES)
    (inbox / "uncapped.yaml").write_text(
        board(code="UNCAPPED", provider="shortapi", budget="{auto_approve: 50.00 USD}")
    )
    (inbox / "notes.txt").write_text("no storyboard")
    eventually((inbox / "rejected" / "half.yaml.problems.txt").exists)
    (inbox / "half.yaml").write_text(half)
    done = eventually(lambda: receipts(inbox, "half.yaml"))
    assert done["exit_code"] == 0
    eventually(lambda: list((inbox / "processed").glob("whole*.duplicate.txt")))
    assert receipts(inbox, "whole.yaml") or receipts(inbox, "whole-again.yaml")
    dropped = {"whole.yaml", "whole-again.yaml", "half.yaml", "bad.yaml", "escape.yaml", "huge.yaml", "uncapped.yaml"}
    boards = [one["parameters"].get("board") for one in served.rest.runs("drop/drop")]
    runs = [one for one in boards if one in {*dropped, "notes.txt"}]
    first = [one for one in ("whole.yaml", "whole-again.yaml") if one in runs]
    assert len(first) == 1
    assert sorted(runs) == sorted(["bad.yaml", "escape.yaml", "half.yaml", "half.yaml", "uncapped.yaml", *first])
    problems = {one.name: one.read_text() for one in (inbox / "rejected").glob("*.problems.txt")}
    assert 'shots.0.promt: Extra inputs are not permitted, did you mean "prompt"?' in problems["bad.yaml.problems.txt"]
    assert problems["bad.yaml.problems.txt"].startswith("bad.yaml:8:")
    assert "outside the folder of the spec" in problems["escape.yaml.problems.txt"]
    assert "a storyboard has at most" in problems["huge.yaml.problems.txt"]
    assert "needs a cap" in problems["uncapped.yaml.problems.txt"]
    assert (inbox / "huge.yaml").exists()
    assert (inbox / "notes.txt").exists()
    assert sorted(one.name for one in inbox.glob("*.yaml")) == ["huge.yaml"]
    assert len(list(served.house.store.glob("WHOLE/runs/*"))) == 1
    assert served.sandbox.account().jobs == ()


def test_a_wrong_parameter_is_refused_with_its_field_and_the_form_explains_each(served: Served) -> None:
    """The server holds a run's parameters against the schema that the form is made of."""
    schema = served.rest.deployment("render/render")["parameter_openapi_schema"]["properties"]
    assert {"title", "description"} <= schema["spec"].keys()
    assert schema["spec"]["examples"]
    assert "animatic" in json.dumps(schema["provider"])
    refused = served.rest.start("render/render", spec="board.yaml", max_cost="a lot")
    assert refused.status_code in {400, 409, 422}
    assert "max_cost" in refused.text
    assert "provider" in served.rest.start("render/render", spec="board.yaml", provider=["nobody"]).text


def _paid(served: Served, code: str) -> str:
    spec = served.inbox.parent / f"{code.lower()}.yaml"
    text = board(code=code, shots=2, provider="shortapi", budget="{cap: 12.00 USD, auto_approve: 0.10 USD}")
    spec.write_text(text.replace("stills/", "inbox/stills/"))
    return str(spec)


def test_S07_a_plan_above_its_limit_waits_for_a_person_and_buys_exactly_what_was_approved(served: Served) -> None:
    """Suspended with the plan as an artifact and nothing reserved; stale decisions refused; then bought once; no key anywhere."""
    spec = _paid(served, "PAID")
    run = _accepted(served.rest.start("render/render", spec=spec))
    schema = served.rest.asks(run)
    old = schema["properties"]["digest"]["default"]
    assert schema["properties"]["decision"]["enum"] == ["approve", "approve up to a lower cap", "reject"]
    table = next(one for one in served.rest.artifacts(run) if one["key"] == "rushes-paid-plan")
    assert [row["id"] for row in json.loads(table["data"])] == ["SH010", "SH020"]
    assert served.house.run("doubts").code == 0
    assert served.sandbox.account().jobs == ()
    Path(spec).write_text(Path(spec).read_text().replace("Push in 2", "Pull out 2"))
    served.rest.resume(run, decision="approve", digest=old)
    new = served.rest.asks(run, 2)["properties"]["digest"]["default"]
    assert new != old
    assert served.sandbox.account().jobs == ()
    served.rest.resume(run, decision="approve", digest=new, reason="as discussed")
    ended = served.rest.until(run, "Completed")
    assert ended["state"]["message"] == "2 shots stored"
    assert len(served.sandbox.account().jobs) == 2
    assert {one["key"] for one in served.rest.artifacts(run)} >= {"rushes-paid-plan", "rushes-paid-costs"}
    assert CANARY not in served.rest.everything()
    log = (served.house.folder / "serve.log").read_text()
    assert CANARY not in log


def test_a_decision_outside_its_bounds_is_refused_in_the_flow(served: Served) -> None:
    """A lower cap above the total is none; a rejection keeps its reason; neither buys anything."""
    before = len(served.sandbox.account().jobs)
    asked = [_accepted(served.rest.start("render/render", spec=_paid(served, code))) for code in ("CAPPED", "NO")]
    digests = [served.rest.asks(run)["properties"]["digest"]["default"] for run in asked]
    served.rest.resume(asked[0], decision="approve up to a lower cap", lower_cap="99", digest=digests[0])
    served.rest.resume(asked[1], decision="reject", reason="too dark", digest=digests[1])
    capped = served.rest.until(asked[0], "Refused")
    rejected = served.rest.until(asked[1], "Refused")
    assert "not between" in capped["state"]["message"]
    assert "too dark" in rejected["state"]["message"]
    assert len(served.sandbox.account().jobs) == before


@pytest.mark.browser
def test_a_producer_fills_the_form_and_approves_the_plan_in_a_browser(served: Served) -> None:
    """Deployments, Custom run, the form; the suspended run's form; Completed, with its artifacts."""
    from playwright.sync_api import sync_playwright

    spec, before = _paid(served, "BROWSED"), len(served.sandbox.account().jobs)
    # Its own words: a take of the same content is reused, whichever board it was bought for.
    Path(spec).write_text(Path(spec).read_text().replace("Push in", "Drift right"))
    ui = served.rest.url.removesuffix("/api")
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-background-networking", "--disable-component-update"]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=options)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(240_000)
        page.goto(f"{ui}/deployments")
        page.get_by_role("link", name="render", exact=True).first.click()
        page.get_by_role("button", name="Run", exact=True).first.click()
        page.get_by_text("Custom run").click()
        page.get_by_text("a path on the machine that renders").wait_for()
        page.locator("textarea").first.fill(spec)
        page.get_by_role("button", name="Submit").click()
        page.get_by_role("button", name="View run").last.click()
        page.get_by_text("Suspended", exact=True).first.wait_for(timeout=400_000)
        [run] = [one["id"] for one in served.rest.runs("render/render") if one["parameters"]["spec"] == spec]
        served.rest.asks(run)
        page.get_by_role("button", name="Resume").first.click()
        page.get_by_text("SH020 TK01: 3 s std at shortapi").wait_for()
        page.locator(".schema-form-property-string .p-select-button__control").first.press("Space")
        page.locator(".p-select-option").get_by_text("approve", exact=True).click()
        page.get_by_role("button", name="Submit").last.click()
        page.get_by_text("Completed", exact=True).first.wait_for(timeout=400_000)
        page.get_by_text("Artifacts", exact=True).first.click()
        page.get_by_text("rushes-browsed-costs").first.wait_for()
        browser.close()
    assert served.rest.run(run)["state"]["message"] == "2 shots stored"
    assert len(served.sandbox.account().jobs) == before + 2


def _accepted(reply: httpx.Response) -> str:
    """The id of a run that the server took."""
    assert reply.status_code == 201, reply.text
    return str(reply.json()["id"])
