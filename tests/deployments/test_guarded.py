"""The Prefect server of `rushes serve`, attacked by web pages and used by people: nothing happens without the login."""

import base64
import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
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
from tests.fixtures.serving import serving

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


@dataclass(frozen=True)
class Guarded:
    """A house whose `rushes serve` has started a server of its own, with a key in a Secret block."""

    house: Installation
    rest: Rest
    port: int
    login: str

    @property
    def ui(self) -> str:
        """Where people see it."""
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """Started with nothing but a port; whoever tests it reads the login where the house keeps it."""
    folder = tmp_path_factory.mktemp("guarded")
    stills(folder / "stills")
    port = free_port()
    house = Installation(folder, {"PREFECT_HOME": str(folder / "prefect")})
    with serving(house, "--port", str(port), seconds=300) as served:
        login = (house.home / "prefect-login").read_text()
        rest = Rest(served.document["api_url"], login)
        yield Guarded(house, rest, port, login)
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


def log_in(page: Any, guarded: Guarded, path: str = "/dashboard") -> None:
    """As a person does: the login goes into the one field of the page."""
    page.goto(f"{guarded.ui}{path}")
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
