"""Credentials do not survive redaction, and ordinary words do."""

import json
import logging

import pytest

from tasks.providers.candidates import is_job_id
from tasks.redaction import conceal, redact, scrub
from tests.fixtures.quoting import forms, traces

KEY = "sk-Canary/51+9f=0e"


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer canary-0123456789",
        "authorization: bearer canary.0123456789=",
        "Authorization: Key canary-0123456789",
        "https://cdn.example/v.mp4?X-Amz-Signature=canary",
        "GET https://cdn.example/v.mp4?a=1&sig=canary#frag failed",
        "see <https://cdn.example/v.mp4?sig=canary>",
        "https://user:canary@files.example/v.mp4",
        "https://rushes.example/cb/01INTENT/canary",
        "postgresql://rushes:canary@db/ledger",
        "key ak-canary0123456789abcdef is wrong",
        "key sk_canary0123456789 is wrong",
        "api-key-canary0123456789",
    ],
)
def test_S08_keys_and_signed_queries_are_taken_out(text: str) -> None:
    """Whatever opens a door is replaced."""
    assert "canary" not in redact(text)
    assert "[redacted]" in redact(text)


@pytest.mark.parametrize(
    "text", ["image is required", "https://cdn.example/v.mp4 answered 404", "the key light is too bright", "task-sk_1"]
)
def test_ordinary_words_stay(text: str) -> None:
    """Nothing else is touched."""
    assert redact(text) == text


@pytest.mark.parametrize("form", forms(KEY))
def test_F99_a_known_secret_is_found_in_every_form_and_the_text_around_it_stays(form: str) -> None:
    """Bytes as they come in, in the encodings that JSON may have; the document is still one."""
    conceal([KEY])
    quoted = forms(KEY)[form]
    for encoding in ("utf-8", "utf-16", "utf-32"):
        body = json.dumps({"a": f"before {quoted} behind", "n": 1}).replace("\\\\u", "\\u").encode(encoding)
        clean = scrub(body).decode(encoding)
        assert json.loads(clean)["a"].startswith("before ")
        assert json.loads(clean)["a"].endswith(" behind")
        assert not any(trace in scrub(body) for trace in traces(KEY))
        assert "[redacted]" in clean


def test_F99_half_a_secret_at_the_end_of_a_reply_that_was_cut_goes_too() -> None:
    """A cap on a body would else leave most of a key."""
    conceal([KEY])
    for quoted in (KEY, forms(KEY)["base64-0"]):
        for size in range(4, len(quoted) - 6):
            assert scrub(f"it is {quoted[:size]}".encode(), cut=True) == b"it is [redacted]", quoted[:size]
    assert scrub(b"it is over", cut=True) == b"it is over"


def test_F99_a_short_secret_goes_where_it_stands_alone_and_shreds_no_text() -> None:
    """Under eight characters a key is likely part of other words; under four it hides nothing."""
    conceal(["pl4y", "ab9"])
    assert redact('key "pl4y" is wrong') == 'key "[redacted]" is wrong'
    assert redact("pl4yback of pl4y-list, /pl4y/1.mp4, ab9") == "pl4yback of pl4y-list, /pl4y/1.mp4, ab9"


def test_F99_what_was_hidden_is_no_job_and_a_callback_address_keeps_its_token() -> None:
    """A job that is named like our key cannot be asked after; a token goes from an address in any spelling."""
    assert not is_job_id("[redacted]-1")
    for address in ("https://h/cb/{}/{}", "https:\\/\\/h\\/cb\\/{}\\/{}", "https%3A%2F%2Fh%2fcb%2F{}%2F{}"):
        assert b"tOkEn" not in scrub(address.format("0" * 26, "tOkEn-" * 7).encode())


def test_F99_no_logger_says_a_known_secret(caplog: pytest.LogCaptureFixture) -> None:
    """Not in a message, an argument or a traceback, whichever library logs."""
    from tasks.redaction import hush_http_logs

    conceal([KEY])
    hush_http_logs()
    try:
        dict[str, str]()[KEY]
    except KeyError:
        logging.getLogger("elsewhere").exception("with %s", KEY)
    assert "[redacted]" in caplog.text
    assert KEY not in caplog.text
