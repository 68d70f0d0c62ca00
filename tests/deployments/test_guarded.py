"""The Prefect server of `rushes serve`, attacked by web pages and used by people: nothing happens without the login."""

import base64
import json
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fixtures.boards import board, stills
from tests.fixtures.command import Installation
from tests.fixtures.prefect_rest import Rest
from tests.fixtures.prefect_server import free_port
from tests.fixtures.quoting import Quoting, quoting, traces
from tests.fixtures.serving import eventually, serving

pytestmark = [pytest.mark.prefect, pytest.mark.browser, pytest.mark.xdist_group("prefect")]

ATTACK = """async (api) => {
    const tried = {};
    const ask = async (name, path, body, type) => {
        try {
            const options = body ? {method: "POST", headers: {"Content-Type": type}, body: JSON.stringify(body)} : {};
            const reply = await fetch(api + path, options);
            tried[name] = [reply.status, await reply.text()];
        } catch (error) { tried[name] = String(error); }
    };
    const secrets = {include_secrets: true};
    for (const type of ["application/json", "text/plain"]) {
        await ask("secret " + type, "/block_documents/filter", secrets, type);
        await ask("variable " + type, "/variables/", {name: "shortapi-base-url", value: "https://evil.example"}, type);
        await ask("render " + type, "/deployments/DEPLOYMENT/create_flow_run", {parameters: {spec: "SPEC", yes: true}}, type);
    }
    await ask("deployments", "/deployments/name/render/render");
    tried.socket = await new Promise((done) => {
        const socket = new WebSocket(api.replace("http", "ws") + "/events/in");
        socket.onopen = () => done("open");
        socket.onerror = () => done("refused");
    });
    return tried;
}"""

KEY = "sk-canary/5e+31=quoted-ba"
HOSTILE = "![a](SITE/t.png) <img src=SITE/h.png> [Approve](SITE/l) `c` # D ** wants 0.01 USD ** SITE/b | e"
FOREIGN = """site => [...document.querySelectorAll("a, img, iframe, object, embed, link, script, svg image")]
    .map(one => one.src || one.href || one.data || "").filter(one => String(one.baseVal ?? one).startsWith(site))"""
"""What a page holds of another site, fetched already or not yet."""


@dataclass(frozen=True)
class Guarded:
    """A house whose `rushes serve` has started a server of its own, with a key in a Secret block."""

    house: Installation
    rest: Rest
    port: int
    login: str
    theirs: Quoting

    @property
    def ui(self) -> str:
        """Where people see it."""
        return f"http://127.0.0.1:{self.port}"


@dataclass(frozen=True)
class Hostile:
    """A run that asks for approval, a page of its server, and the other site that its words point to."""

    guarded: Guarded
    run: str
    digest: str
    page: Any
    elsewhere: str
    asked: list[str]
    words: str
    pictures: Path

    def shows(self, path: str, *texts: str) -> None:
        """The page at `path` shows the texts as they are, and holds nothing of the other site."""
        if path:
            self.page.goto(self.guarded.ui + path)
        for text in texts:
            self.page.locator("body", has_text=text).wait_for()
        self.page.screenshot(path=self.pictures / f"{path.replace('/', '-') or 'form'}.png", full_page=True)
        assert self.page.evaluate(FOREIGN, self.elsewhere) == [], path


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """Started with nothing but a port; whoever tests it reads the login where the house keeps it."""
    folder = tmp_path_factory.mktemp("guarded")
    stills(folder / "stills")
    port = free_port()
    house = Installation(folder, {"PREFECT_HOME": str(folder / "prefect")})
    with quoting(KEY) as theirs:
        # Only what `serve` runs has the key: commands of the house buy nothing here.
        paid = {"SHORTAPI_KEY": KEY, "SHORTAPI_BASE_URL": theirs.url, "RUSHES_POLL_SECONDS": "0.3"}
        with serving(house, "--port", str(port), seconds=300, **paid) as served:
            login = (house.home / "prefect-login").read_text()
            rest = Rest(served.document["api_url"], login)
            yield Guarded(house, rest, port, login, theirs)
            rest.close()


@contextmanager
def site(page: str = "") -> Iterator[tuple[str, list[str]]]:
    """Another web site on this machine: its address, and the paths that it was asked for."""
    asked: list[str] = []

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(f"<title>another site</title>{page}".encode())

        def log_message(self, *_: Any) -> None:
            """Nothing on the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def browser(*more: str) -> Iterator[Any]:
    """Chromium, with a page."""
    from playwright.sync_api import sync_playwright

    options = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", *more]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=options)
        page = chromium.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(90_000)
        yield page
        chromium.close()


def log_in(page: Any, guarded: Guarded, path: str) -> None:
    """As a person does: the login goes into the one field of the page, which not every page of the server leads to."""
    page.goto(f"{guarded.ui}/deployments")
    page.locator("input").first.fill(guarded.login)
    page.locator("input").first.press("Enter")
    page.wait_for_url(lambda url: "login" not in url)
    page.goto(f"{guarded.ui}{path}")


def test_F97_no_web_page_reads_a_key_starts_a_render_or_sets_a_variable(guarded: Guarded) -> None:
    """From another origin, and from a name that its owner has bound to 127.0.0.1: every answer is hidden, and nothing happened."""
    secret = guarded.rest.get("/block_types/slug/secret")["id"]
    schema = guarded.rest.post("/block_schemas/filter", {"block_schemas": {"block_type_id": {"any_": [secret]}}}).json()
    document = {"name": "shortapi-key", "data": {"value": "sk-canary-77"}, "block_type_id": secret}
    guarded.rest.post("/block_documents/", document | {"block_schema_id": schema[0]["id"]}).raise_for_status()
    spec = guarded.house.folder / "board.yaml"
    spec.write_text(board(code="PAGE"))
    deployment = guarded.rest.deployment("render/render")["id"]
    attack = ATTACK.replace("DEPLOYMENT", deployment).replace("SPEC", str(spec))
    with site() as (elsewhere, _), browser("--host-resolver-rules=MAP evil.test 127.0.0.1") as page:
        page.goto(elsewhere)
        across = page.evaluate(attack, f"{guarded.ui}/api")
        page.goto(f"http://evil.test:{guarded.port}/")
        assert "under its own address only" in page.content()
        rebound = page.evaluate(attack, f"http://evil.test:{guarded.port}/api")
    assert across.pop("socket") == rebound.pop("socket") == "refused"
    assert all("Failed to fetch" in told for told in across.values()), across
    assert all(told[0] == 403 for told in rebound.values()), rebound
    assert len(across) == len(rebound) == 7
    assert guarded.rest.runs("render/render") == []
    assert guarded.rest.post("/variables/filter").json() == []


def test_F97_nobody_is_let_in_without_the_login_and_it_lies_in_no_log(guarded: Guarded) -> None:
    """Not by its API, which says so to any page; and `rushes doctor` of the same house finds nothing to mend."""
    api = f"{guarded.ui}/api"
    assert httpx.post(f"{api}/variables/filter", json={}, trust_env=False).status_code == 401
    reply = httpx.get(f"{api}/admin/version", headers={"Origin": "https://evil.example"}, trust_env=False)
    assert (reply.status_code, reply.headers.get("access-control-allow-origin")) == (403, None)
    wrong = base64.b64encode(b"rushes:wrong").decode()
    headers = {"Authorization": f"Basic {wrong}", "Origin": guarded.ui}
    assert httpx.get(f"{api}/admin/version", headers=headers, trust_env=False).status_code == 401
    said = (guarded.house.folder / "serve.log").read_text()
    assert said.count(guarded.login) == 1, "it is shown once"
    assert "prefect-login" in said
    printed = guarded.house.run("doctor", "--json", PREFECT_API_URL=api)
    assert {one["subject"]: one["problem"] for one in printed.document if not one["ok"]} == {}
    stranger = Installation(
        guarded.house.folder / "stranger", {"PREFECT_API_URL": api, "PREFECT_HOME": str(guarded.house.folder)}
    )
    problems = {one["subject"]: one["problem"] for one in stranger.run("doctor", "--json").document}
    assert "asks for a login" in problems["prefect"]


def test_F97_a_person_logs_in_and_a_command_of_the_house_needs_no_more(guarded: Guarded, tmp_path: Path) -> None:
    """The UI shows the deployments after its login page; `rushes render` of the same house finds the login by itself."""
    with browser() as page:
        log_in(page, guarded, "/deployments")
        page.get_by_role("link", name="render", exact=True).first.wait_for()
        page.screenshot(path=tmp_path / "ui.png")
    spec = guarded.house.folder / "hand.yaml"
    spec.write_text(board(code="HAND"))
    printed = guarded.house.run("render", str(spec), "--json", PREFECT_API_URL=f"{guarded.ui}/api")
    assert printed.code == 0, printed.err
    assert guarded.login not in printed.out + printed.err
    assert guarded.login not in guarded.rest.everything()
    assert json.loads(printed.out)["board"] == "HAND"


@pytest.fixture(scope="module")
def hostile(guarded: Guarded, tmp_path_factory: pytest.TempPathFactory) -> Iterator["Hostile"]:
    """A board whose title attacks, approved by hand, at a provider whose replies attack and quote our key in every form."""
    with site() as (elsewhere, asked):
        words = HOSTILE.replace("SITE", elsewhere)
        guarded.theirs.aside = words
        prompts = ["loud 0", *(f"refused {number}" for number in range(4)), "failed 1", "odd 0"]
        spec = guarded.house.folder / "hostile.yaml"
        text = board(
            code="HOSTILE", shots=len(prompts), provider="shortapi", budget="{cap: 12.00 USD, auto_approve: 0.10 USD}"
        )
        text = text.replace("title: Colours of HOSTILE", f"title: {json.dumps(words)}")
        for number, prompt in enumerate(prompts, start=1):
            text = text.replace(f"prompt: Push in {number}}}", f"prompt: {prompt} push in}}")
        spec.write_text(text)
        run = guarded.rest.start("render/render", spec=str(spec)).raise_for_status().json()["id"]
        digest = guarded.rest.asks(run)["properties"]["digest"]["default"]
        with browser() as page:
            log_in(page, guarded, f"/runs/flow-run/{run}")
            yield Hostile(guarded, run, digest, page, elsewhere, asked, words, tmp_path_factory.mktemp("pictures"))


def test_F100_what_strangers_write_stays_words_in_the_form_and_in_every_artifact(hostile: Hostile) -> None:
    """Pictures, links, HTML, headings and a rewritten question, in a title and in a provider's reply: shown as written, and nothing is fetched."""
    rest, page, run = hostile.guarded.rest, hostile.page, hostile.run
    page.get_by_role("button", name="Resume").first.click()
    hostile.shows("", f"“{hostile.words}” wants 3.003 USD; budget.auto_approve is 0.10 USD.")
    rest.resume(run, decision="approve", digest=hostile.digest)
    rest.until(run, "Needs a person")
    shown = {one["key"].removeprefix("rushes-hostile-"): one["id"] for one in rest.artifacts(run)}
    assert shown.keys() == {"plan", "progress", "summary", "costs"}
    hostile.shows(f"/artifacts/artifact/{shown['plan']}", f"Plan of “{hostile.words}”", "0.429 USD")
    hostile.shows(f"/artifacts/artifact/{shown['summary']}", hostile.words)
    hostile.shows(f"/artifacts/artifact/{shown['costs']}", hostile.words, "0.429 USD")
    hostile.shows("/artifacts", "rushes-hostile-costs")
    hostile.shows("/runs", "HOSTILE")
    assert hostile.asked == []


def test_F99_a_key_that_is_quoted_back_is_nowhere_in_prefect(hostile: Hostile) -> None:
    """Every row of the server's database is read: logs, states, artifacts, inputs and events among them; and what `serve` said."""
    folder = hostile.guarded.house.folder
    rows = eventually(lambda: _rows_of_an_ended_run(folder / "prefect" / "prefect.db"))
    assert len(hostile.guarded.theirs.prompts) == 7, "every form was quoted"
    for table in ("log", "artifact", "task_run_state", "events"):
        assert any("redacted" in row for row in rows if row.startswith(f'INSERT INTO "{table}"')), table
    # JSON in JSON doubles the backslashes of the forms that have some.
    held = "\n".join([*rows, (folder / "serve.log").read_text()]).replace("\\\\", "\\").lower()
    assert [one for one in traces(KEY) if one.decode().lower() in held] == []


def _rows_of_an_ended_run(database: Path) -> list[str]:
    """Every row as text, once the run's last line and last event are among them: the server writes those some seconds later."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as opened:
        rows = [row for row in opened.iterdump() if row.startswith("INSERT")]
    last = ("Finished in state Needs a person", "prefect.flow-run.Needs a person")
    return rows if all(any(mark in row for row in rows) for mark in last) else []
