"""The review page: complete in one file, and inert whatever a stranger wrote into a prompt."""

import base64
import hashlib
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from specs.money import Money
from tasks.assemble.review import make_review
from tasks.report import Row, RunReport
from tests.tasks.assemble.clips import studio_clip
from tests.tasks.reports import missing, report, row

ATTACKS = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "{{7*7}} {% raw %} ${7*7}",
    '" onmouseover="alert(1)" x=\'',
    "javascript:alert(1)",
    "</style><style>*{display:none}</style>",
    "line\u2028break \x1b[31mred \u202egnp.exe \ud800",
)


class Reader(HTMLParser):
    """Tags with their attributes, and all text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, tag: str, name: str) -> list[str]:
        """One attribute of all tags of a name, where they have it."""
        return [value for found, attrs in self.tags if found == tag and (value := attrs.get(name))]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A board's folder with one take, its still, and a run's folder."""
    board = tmp_path_factory.mktemp("store") / "LIFTOFF"
    take = board / "shots" / "SH010" / "SH010_TK01.mp4"
    take.parent.mkdir(parents=True)
    studio_clip(take, seconds=3)
    Image.effect_noise((320, 180), 80).convert("RGB").save(board / "still.jpg")
    (board / "runs" / "R1").mkdir(parents=True)
    return board


def stored(store: Path, **facts: object) -> Row:
    """The take of that folder."""
    return row("SH010", seconds=3, clip=store / "shots/SH010/SH010_TK01.mp4", still=store / "still.jpg", **facts)


def made(store: Path, whole: RunReport, **options: int) -> Reader:
    """The page as a browser reads it."""
    out = store / "runs" / "R1" / "report.html"
    make_review(whole, out, files=["reel.mp4", "costs.csv", "unknown.exe"], **options)
    return Reader(out.read_text(encoding="utf-8"))


def test_the_page_is_complete_in_one_file(store: Path) -> None:
    """Still, poster and clip are part of it; no script, no style sheet, no font is fetched."""
    page = made(store, report(stored(store)))
    (clip,) = page.values("source", "src")
    loaded = [*page.values("img", "src"), *page.values("video", "poster"), clip]

    assert (
        base64.b64decode(clip.removeprefix("data:video/mp4;base64,"))
        == (store / "shots/SH010/SH010_TK01.mp4").read_bytes()
    )
    assert len(loaded) == 3
    assert all(address.startswith("data:") for address in loaded)
    assert not {"script", "link", "iframe", "object", "base", "form"} & {tag for tag, _ in page.tags}


def test_large_clips_are_linked_by_their_place_in_the_store(store: Path) -> None:
    """The page stays small, and plays from a copy of the store or from the web; other schemes are no links."""
    web = made(store, report(stored(store, uri="https://cdn.example/a.mp4?sig=TOPSECRET")), embed_bytes=10)
    bucket = made(store, report(stored(store)), embed_bytes=10)

    assert web.values("source", "src") == ["../../shots/SH010/SH010_TK01.mp4", "https://cdn.example/a.mp4"]
    assert bucket.values("source", "src") == ["../../shots/SH010/SH010_TK01.mp4"]
    assert all(src.startswith("data:image/jpeg") for src in web.values("video", "poster"))


def test_only_known_files_that_exist_are_linked(store: Path) -> None:
    """The caller says which files lie beside the page."""
    links = made(store, report(stored(store))).values("a", "href")

    assert [href for href in links if not href.startswith(("#", "../"))] == ["reel.mp4", "costs.csv"]


@pytest.mark.parametrize("attack", ATTACKS)
def test_S13_S14_what_a_stranger_wrote_is_shown_as_typed_and_does_nothing(store: Path, attack: str) -> None:
    """Every text from outside, in every place, adds no tag, no attribute and no link, and is no template."""
    everywhere = dict.fromkeys(("prompt", "note", "suspect", "provider", "model", "job_id", "uri", "intent_id"), attack)
    rows = [stored(store, **everywhere), missing("SH020", **everywhere), row("SH030", state="in_doubt", **everywhere)]
    texts = {"title": attack, "digest": attack, "warnings": (attack,), "providers": (attack,), "store_uri": attack}
    page = made(store, report(*rows, **texts))
    plain = dict.fromkeys(everywhere, "words")
    tame = made(
        store,
        report(
            stored(store, **plain),
            missing("SH020", **plain),
            row("SH030", state="in_doubt", **plain),
            **{**texts, "title": "words"},
        ),
    )

    assert [tag for tag, _ in page.tags] == [tag for tag, _ in tame.tags]
    assert [sorted(attrs) for _, attrs in page.tags] == [sorted(attrs) for _, attrs in tame.tags]
    assert all(re.match(r"#|\.\./|data:|https?://|reel|costs", href) for href in page.values("a", "href"))
    assert attack.encode("utf-8", "backslashreplace").decode() in page.text


def test_S13_the_policy_allows_one_style_sheet_and_embedded_media_only(store: Path) -> None:
    """default-src is 'none'; the style sheet is named by its hash; no attribute carries style."""
    page = made(store, report(stored(store)))
    html = (store / "runs/R1/report.html").read_text(encoding="utf-8")
    (css,) = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    policy = next(attrs["content"] for _, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()

    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; media-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    assert not [attrs for _, attrs in page.tags if "style" in attrs]


def test_S09_no_signature_reaches_the_page(store: Path) -> None:
    """Addresses are shown without what signs them."""
    signed = "https://user:TOPSECRET@cdn.example/a.mp4?sig=TOPSECRET#TOPSECRET"
    made(
        store, report(stored(store, uri=signed, note=signed, suspect=signed), missing(note=signed), warnings=(signed,))
    )

    assert "TOPSECRET" not in (store / "runs/R1/report.html").read_text(encoding="utf-8")


def test_each_state_of_money_is_told_apart(store: Path) -> None:
    """Quoted, billed, reserved and in doubt have their own sums, credits beside USD."""
    credit = {"provider": "sjinn", "quoted": Money.of(300, "sjinn-credits"), "billed": Money.of(290, "sjinn-credits")}
    page = made(
        store,
        report(
            stored(store),
            row("SH020", state="stalled", billed=None, reserved=Money.of("0.50")),
            row("SH030", state="in_doubt", billed=None, in_doubt=Money.of("0.60")),
            row("SH040", **credit),
        ),
    )
    tiles = re.sub(r"\s+", " ", page.text)

    assert "Quoted 1.26 USD 300 sjinn-credits" in tiles
    assert "Billed 0.42 USD 290 sjinn-credits" in tiles
    assert "Reserved 0.50 USD" in tiles
    assert "In doubt 0.60 USD" in tiles
    assert "Not in the USD sums, for want of a rate: sjinn-credits." in tiles


def test_what_is_open_is_named_with_the_command_that_helps(store: Path) -> None:
    """Doubt, a held result, an unfinished job, an overbilled and a suspect take each say what to do."""
    page = made(
        store,
        report(
            row("SH010", state="in_doubt", billed=None, in_doubt=Money.of("0.42"), intent_id="01JINTENT"),
            row("SH020", state="held"),
            row("SH030", state="stalled"),
            row("SH040", billed=Money.of("0.90"), overbilled=True, intent_id="01JBILL"),
            row("SH050", suspect="4 s long, 5 s ordered"),
            row("SH060"),
        ),
    )
    section = page.text[page.text.index("Needs a person") : page.text.index("Cost per shot")]

    assert "rushes resolve 01JINTENT --job-id ID | --absent | --write-off" in section
    assert "0.42 USD at stake" in section
    assert section.count("rushes collect") == 2
    assert "Quoted 0.42 USD, billed 0.90 USD" in section
    assert "rushes resolve 01JBILL --billed AMOUNT" in section
    assert "rushes retake SPEC SH050 --reason TEXT" in section
    assert "SH060" not in section


@pytest.mark.parametrize("code", [0, 1, 2, 3, 4, 5, 6, 7, 130])
def test_every_exit_code_has_a_verdict(store: Path, code: int) -> None:
    """The first line under the title says how it went."""
    words = {0: "Every shot is stored", 1: "A defect", 5: "some shots failed", 6: "needs a person", 130: "Interrupted"}

    assert words.get(code, "") in made(store, report(stored(store), exit_code=code)).text


def test_a_run_without_rows_has_a_page(store: Path) -> None:
    """Refused at once, and said so."""
    assert "Refused before anything was spent." in made(store, report(exit_code=4)).text


def test_a_missing_still_and_a_broken_clip_leave_the_page_whole(store: Path, tmp_path: Path) -> None:
    """What cannot be shown is said."""
    broken = tmp_path / "broken"
    broken.write_bytes(b"neither picture nor film")
    page = made(store, report(row(still=broken, clip=broken), row("SH020", still=tmp_path / "gone.jpg")))

    assert page.text.count("no still at hand") == 2
    assert not page.values("video", "poster")


def test_equal_runs_give_equal_pages(store: Path) -> None:
    """Nothing of the clock or the machine is written."""
    out = store / "runs/R1/report.html"
    pages = []
    for _ in range(2):
        made(store, report(stored(store)))
        pages.append(out.read_bytes())

    assert pages[0] == pages[1]
    assert str(store).encode() not in pages[0]


CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="module")
def browser_page() -> Iterator[Page]:
    """A tab of Debian's Chromium that reaches no network."""
    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking"]
        )
        yield browser.new_page()
        browser.close()


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium")
@pytest.mark.parametrize("embed_bytes", [30_000_000, 0], ids=["embedded", "linked"])
@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_plays_the_takes_and_reports_nothing(
    store: Path, browser_page: Page, embed_bytes: int, width: int
) -> None:
    """The clips load under the page's own policy, nothing else is asked for, and nothing sticks out sideways."""
    made(store, report(stored(store), missing("SH020_WITH_A_LONG_NAME", prompt="word" * 60)), embed_bytes=embed_bytes)
    said: list[str] = []
    browser_page.on("console", lambda message: said.append(message.text))
    browser_page.on("pageerror", lambda error: said.append(str(error)))
    browser_page.set_viewport_size({"width": width, "height": 900})
    browser_page.goto((store / "runs/R1/report.html").as_uri())
    length = browser_page.evaluate(
        "async () => { const v = document.querySelector('video'); v.preload = 'auto'; v.load();"
        " await new Promise((done, fail) => { v.onloadeddata = done; v.onerror = fail;"
        " v.querySelector('source').onerror = fail }); return v.duration }"
    )

    assert length == pytest.approx(3.0, abs=0.01)
    assert said == []
    assert browser_page.evaluate("document.documentElement.scrollWidth") <= width
