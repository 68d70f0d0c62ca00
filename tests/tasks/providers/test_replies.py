"""What statuses, words and headers of a provider mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.providers.interface import Kind, Phase, Reply
from tasks.providers.replies import MESSAGE_MAX, by_status, first_text, kind_of_words, moderated, plain, retry_after


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("invalid model", Kind.INVALID),
        ("unsupported task kind", Kind.INVALID),
        ("image is required", Kind.INVALID),
        ("prompt exceeds the limit of 2500 characters", Kind.INVALID),
        ("too many elements", Kind.INVALID),
        ("Insufficient balance", Kind.BALANCE),
        ("not enough credits", Kind.BALANCE),
        ("quota used up", Kind.BALANCE),
        ("Unauthorized", Kind.AUTH),
        ("invalid API key", Kind.AUTH),
        ("permission denied", Kind.AUTH),
        ("missing key 'image'", Kind.INVALID),
        ("too many requests", Kind.RATE),
        ("rate limit exceeded", Kind.RATE),
        ("too many running tasks", Kind.CONCURRENCY),
        ("concurrency limit", Kind.CONCURRENCY),
        ("content policy violation", Kind.MODERATION),
        ("prompt contains sensitive words", Kind.MODERATION),
        ("internal error: invalid state", None),
        ("timeout while checking balance", None),
        ("request timed out, invalid", None),
        ("invalid, please try again", None),
        ("unknown error", None),
        ("nope", None),
        ("", None),
    ],
)
def test_words_of_a_refusal(text: str, kind: Kind | None) -> None:
    """Known words name a kind; a message that admits not knowing names none (F18)."""
    assert kind_of_words(text) is kind


def test_words_of_moderation() -> None:
    """Failed jobs name risk control, safety, moderation, policy or sensitive content."""
    for text in ("Risk Control", "safety system", "moderation failed", "policy", "sensitive"):
        assert moderated(text)
    assert not moderated("render error")


@pytest.mark.parametrize(
    ("status", "phase", "kind"),
    [
        (400, Phase.CREATE, Kind.INVALID),
        (429, Phase.CREATE, Kind.RATE),
        (418, Phase.CREATE, Kind.AMBIGUOUS),
        (500, Phase.CREATE, Kind.AMBIGUOUS),
        (200, Phase.CREATE, Kind.AMBIGUOUS),
        (400, Phase.POLL, Kind.TRANSIENT),
        (404, Phase.POLL, Kind.NOT_FOUND),
        (401, Phase.POLL, Kind.AUTH),
        (500, Phase.RESULT, Kind.TRANSIENT),
        (403, Phase.DOWNLOAD, Kind.NOT_FOUND),
        (410, Phase.DOWNLOAD, Kind.NOT_FOUND),
        (503, Phase.DOWNLOAD, Kind.TRANSIENT),
    ],
)
def test_one_status_means_different_things_in_each_phase(status: int, phase: Phase, kind: Kind) -> None:
    """A 403 refuses a create, stops polls for want of a key, and says of a download that its link has expired."""
    assert by_status(status, phase) is kind


def test_words_refine_a_listed_status_only() -> None:
    """Money, moderation and full queues hide behind 400, 403 and 429; no word makes a 500 definite."""
    assert by_status(403, Phase.CREATE, "User is locked: balance exhausted") is Kind.BALANCE
    assert by_status(429, Phase.CREATE, "concurrency limit") is Kind.CONCURRENCY
    assert by_status(400, Phase.CREATE, "content policy violation") is Kind.MODERATION
    assert by_status(400, Phase.CREATE, "unauthorized") is Kind.INVALID
    assert by_status(500, Phase.CREATE, "insufficient balance") is Kind.AMBIGUOUS


NOON = "Sun, 22 Nov 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30", 30.0),
        ("0", 1.0),
        ("1000000000", 604800.0),
        ("Sun, 22 Nov 2026 12:00:40 GMT", 40.0),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 1.0),
        ("Sun, 22 Nov 2099 12:00:00 GMT", 604800.0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("9" * 400, None),
        ("Sun, 99 Nov 2026 12:00:40 GMT", None),
        ("\u0663", None),
    ],
)
def test_F11_retry_after_is_bounded(value: str, seconds: float | None) -> None:
    """Seconds or a date, within 1 s and 7 days; garbage is no answer."""
    assert retry_after(Reply(429, {"Retry-After": value, "Date": NOON}, b"")) == seconds


def test_F11_a_date_without_a_date_to_count_from_is_no_answer() -> None:
    """The adapter has no clock."""
    assert retry_after(Reply(429, {"retry-after": NOON}, b"")) is None


@given(st.text(max_size=50), st.text(max_size=50))
def test_any_header_is_read(value: str, date: str) -> None:
    """Nothing raises."""
    found = retry_after(Reply(429, {"retry-after": value, "date": date}, b""))
    assert found is None or 1 <= found <= 604800


@given(st.text(max_size=2000))
def test_S24_foreign_text_is_printable_and_short(text: str) -> None:
    """Whatever was sent."""
    shown = plain(text)
    assert len(shown) <= MESSAGE_MAX
    assert not shown or shown.isprintable()


def test_S08_text_is_redacted_before_it_is_cut() -> None:
    """A key that straddles the cut is not half shown."""
    assert "sk_" not in plain("x" * 280 + " sk_canary0123456789abcdefghij")
    assert plain("see https://cdn.example/v.mp4?sig=canary") == "see https://cdn.example/v.mp4?[redacted]"


def test_the_first_text_is_found_one_object_deep() -> None:
    """Error objects wrap their message; other types are passed over."""
    assert (
        first_text({"info": " ", "message": 7, "error": {"code": "E1", "message": "bad"}}, "info", "message", "error")
        == "bad"
    )
    assert first_text(["x"], "error") == ""
