"""Credentials do not survive redaction, and ordinary words do."""

import pytest

from tasks.redaction import redact


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
