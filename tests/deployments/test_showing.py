"""What the Prefect UI shows of a run whose store gives links: the reel, the contact sheet, and a picture of each take."""

import shutil
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests.deployments.conftest import S3Server
from tests.fixtures.boards import board, stills
from tests.fixtures.command import Installation
from tests.fixtures.prefect_rest import Rest

pytestmark = [pytest.mark.prefect, pytest.mark.s3, pytest.mark.xdist_group("prefect")]


@pytest.fixture
def shown(
    tmp_path: Path, prefect_api: str, s3_server: S3Server, s3_url: str
) -> Iterator[tuple[Rest, dict[str, dict[str, str]]]]:
    """A board of two shots, rendered to a bucket: the artifacts of its run, by key."""
    stills(tmp_path / "stills")
    (tmp_path / "board.yaml").write_text(board(code="SHOWN", shots=2))
    settings = {"PREFECT_API_URL": prefect_api, "RUSHES_STORE": s3_url, **s3_server.environment()}
    printed = Installation(tmp_path, settings).run("render", str(tmp_path / "board.yaml"), "--json")
    assert printed.code == 0, printed.err
    rest = Rest(prefect_api)
    wanted = {"flow_runs": {"name": {"any_": [f"SHOWN {printed.document['run_id']}"]}}}
    (run,) = rest.post("/flow_runs/filter", wanted).raise_for_status().json()
    yield rest, {one["key"]: one for one in rest.artifacts(run["id"])}
    rest.close()


@pytest.mark.browser
def test_each_stored_take_has_a_picture_that_a_browser_shows(shown: tuple[Rest, dict[str, dict[str, str]]]) -> None:
    """A small JPEG from the middle of the clip, behind a link of the store, in the artifact's own page."""
    from playwright.sync_api import sync_playwright

    rest, artifacts = shown
    takes = [artifacts[f"rushes-shown-take-{shot}"] for shot in ("sh010", "sh020")]
    assert [one["description"] for one in takes] == ["SH010 TK01, 3 s", "SH020 TK01, 3 s"]
    for one in takes:
        picture = Image.open(BytesIO(httpx.get(one["data"], trust_env=False).raise_for_status().content))
        assert (picture.format, max(picture.size)) == ("JPEG", 480)
    assert {"rushes-shown-reel", "rushes-shown-contact", "rushes-shown-summary"} <= artifacts.keys()
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-background-networking", "--disable-component-update"]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=options)
        page = browser.new_page()
        page.set_default_timeout(240_000)
        page.goto(f"{rest.url.removesuffix('/api')}/artifacts/artifact/{takes[0]['id']}")
        page.wait_for_function("[...document.images].some(one => one.naturalWidth === 480)")
        browser.close()
