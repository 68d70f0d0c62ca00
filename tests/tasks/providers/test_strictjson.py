"""Strict JSON: what is refused, what is flagged, and that nothing raises (F16, S06)."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.providers.strictjson import MAX_DEPTH, MAX_DIGITS, Parsed, Unreadable, parse_json


def read(body: bytes) -> Parsed:
    """The document, which must be readable."""
    parsed = parse_json(body)
    assert isinstance(parsed, Parsed), parsed
    return parsed


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b"{",
        b"[1,]",
        b"{} {}",
        b"NaN",
        b"[Infinity]",
        b'{"a": -Infinity}',
        b'{"a": ' + b"9" * (MAX_DIGITS + 1) + b"}",
        b"[1e" + b"9" * 30 + b"]",
        b"[0." + b"1" * 60 + b"]",
        b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
        b"[" * 500_000,
        b'{"a":' * 200_000,
        b'"\xff"',
        b'{"a": "\x01"}',
        b"\xff\xfe\x00",
        b"\x00",
    ],
)
def test_S06_what_is_not_strict_and_modest_is_a_value(body: bytes) -> None:
    """NaN, infinities, huge numbers, depth, cut text and wrong encodings say why they cannot be read."""
    parsed = parse_json(body)
    assert isinstance(parsed, Unreadable)
    assert parsed.reason


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-32-be"])
def test_F16_marked_encodings_are_read(encoding: str) -> None:
    """A byte order mark, or the zeros of JSON's first characters, tell the encoding."""
    assert read('{"job_id": "Ö"}'.encode(encoding)).value == {"job_id": "Ö"}


def test_numbers_are_exact() -> None:
    """Fractions are Decimal, whole numbers int."""
    assert read(b"[0.1, 1e2, 7]").value == [Decimal("0.1"), Decimal("1E+2"), 7]


def test_S06_duplicate_keys_are_flagged_and_both_values_kept() -> None:
    """At any depth; the last one is in the value, every one among the pairs."""
    parsed = read(b'{"data": {"job_id": "a", "job_id": "b"}, "code": 0}')
    assert parsed.duplicates == ("job_id",)
    assert [value for pairs in parsed.objects for name, value in pairs if name == "job_id"] == ["a", "b"]
    assert read(b'[{"a": 1}, {"a": 2}]').duplicates == ()


def test_depth_counts_brackets_outside_text_only() -> None:
    """Brackets in a prompt are no nesting, escaped quotes do not end it."""
    assert read(json.dumps({"prompt": '["' * 500}).encode()).value == {"prompt": '["' * 500}
    assert read(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH).value


@pytest.mark.parametrize("piece", [b'"', b'\\"', b'"\\', b"[", b'{"a":', b'"a'])
def test_a_megabyte_of_one_hostile_token_is_read_to_its_end(piece: bytes) -> None:
    """No token makes the scan start over at each character; with that flaw this test takes minutes."""
    assert isinstance(parse_json(piece * (1_000_000 // len(piece))), Unreadable)


@given(st.binary(max_size=100))
def test_any_bytes_are_a_value(body: bytes) -> None:
    """Nothing raises."""
    assert isinstance(parse_json(body), Parsed | Unreadable)


@given(st.recursive(st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.text(), st.lists, max_leaves=10))
def test_ordinary_documents_come_back_whole(value: object) -> None:
    """What json writes is read as it was."""
    assert read(json.dumps(value).encode()).value == value
