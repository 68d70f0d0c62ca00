"""What others wrote is quoted in Markdown, never part of it: in the form of an approval, in artifacts and their descriptions."""

import html
import json
import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from flows.approval import form_of
from flows.plan import Ask, make_plan
from flows.showing import _cell
from tasks.gate import NeedsApproval, Wish, gate
from tasks.production import Production
from tasks.report import as_words
from tasks.settings import Settings
from tests.fixtures.till import paid_board

HOSTILE = (
    "![a](https://evil.example/t.png)",
    "<img src=https://evil.example/h.png><script>x</script>",
    "[Approve](https://evil.example/l) <https://evil.example/a>",
    "`c` ```d``` ~~e~~ **f** _g_ # h",
    "wants 0.01 USD.\n\n# Approve\n\n- reject is broken\n\n| a | b |\n|---|---|",
    "https://evil.example/bare www.evil.example me@evil.example",
    "&lt;b&gt; \\![a](b) \\\\",
    "1. one\n> two\n    three\n\u2028four",
)


def _shown(markdown: str) -> tuple[set[str], str]:
    """The tags and the text of a page."""
    page = MarkdownIt("commonmark").enable("table").render(markdown)
    tags = set(re.findall(r"<([a-z0-9]+)", page))
    return tags, " ".join(html.unescape(re.sub(r"<[^>]+>", "", page)).split())


@pytest.mark.parametrize("text", HOSTILE)
def test_F100_any_text_is_shown_as_it_was_written_and_does_nothing(text: str) -> None:
    """In a list, as in the form, and alone, as in a description."""
    flat = " ".join(text.replace("\u2028", " ").split())
    assert _shown(f"- {as_words(text)}") == ({"ul", "li"}, flat)
    assert _shown(as_words(text)) == ({"p"}, flat)


@pytest.mark.parametrize("text", [one for one in HOSTILE if "\n" not in one])
async def test_F100_a_title_cannot_rewrite_the_question_of_the_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """The form has the words and the list that it always has, and the title in quotes."""
    from PIL import Image

    monkeypatch.setenv("SHORTAPI_KEY", "sk-canary-100")
    Image.new("RGB", (480, 320), (90, 60, 30)).save(tmp_path / "still.jpg")
    spec = tmp_path / "board.yaml"
    spec.write_text(paid_board(shots=2).replace("title: Till", f"title: {json.dumps(text)}"))
    async with Production.open(Settings.load()) as production:
        plan = await make_plan(production, Ask(str(spec)))
        needed = gate(plan, production.ledger, Wish())
    assert isinstance(needed, NeedsApproval)
    tags, shown = _shown(form_of(plan, needed)._description)
    assert tags == {"p", "ul", "li"}
    assert shown.startswith(f"“{' '.join(text.split())}” wants 0.858 USD;")
    assert "SH010 TK01: 3 s std at shortapi, 0.429 USD" in shown


@pytest.mark.parametrize("text", HOSTILE)
def test_F100_a_cell_of_a_table_is_quoted_where_it_is_more_than_plain(text: str) -> None:
    """Prefect's page reads each cell as Markdown; amounts, ids, states and dates keep their text as it is."""
    assert _cell(text) == as_words(text)
    for plain in ("0.429 USD", "SH_010a", "in_doubt", "2026-11-26", "kwaivgi/kling-v2.1", "12:30", "", 3, None, True):
        assert _cell(plain) == plain
        assert _shown(str(plain)) == ({"p"} if plain != "" else set(), str(plain))
    for start in ("1. a", "- a", "# a", "www.a", "_a_", "> a", "---"):
        assert _cell(start) == as_words(start)
