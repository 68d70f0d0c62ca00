"""Job ids in odd replies (F17)."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.providers.candidates import MOST, candidates, is_job_id, named_ids, objects_of

UUID = "550e8400-e29b-41d4-a716-446655440000"


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"data": {"job_id": "J-1"}}', ("J-1",)),
        (b'{"request_id": "r", "id": "i", "data": [{"task_id": "t", "job_id": "j"}]}', ("j", "t", "i", "r")),
        (b'{"job_id": 7712}', ("7712",)),
        (b'{"job_id": ["a", "b"]}', ("a", "b")),
        (b'{"job_id": " a "}', ("a",)),
        (b'{"job_id": {"id": "deep"}}', ("deep",)),
        (b'{"job_id": "a", "job_id": "b"}', ("a", "b")),
        (b'{"job_id": "cut", "amou', ("cut",)),
        (f"created {UUID}, thank you".encode(), (UUID,)),
        (b"\xff\xfe" + f'"task_id":"{UUID}"'.encode(), (UUID,)),
        (b'{"job_id": ""}', ()),
        (b'{"job_id": null}', ()),
        (b'{"job_id": "undefined"}', ()),
        (b'{"job_id": true}', ()),
        (b'{"job_id": "has blank"}', ()),
        (b"<html>no</html>", ()),
        (b"", ()),
    ],
)
def test_F17_candidates_are_found_best_first(body: bytes, found: tuple[str, ...]) -> None:
    """By key at any depth, in broken JSON too, at last any UUID."""
    assert candidates(body) == found


def test_F48_an_id_inside_an_address_names_no_job() -> None:
    """A link to a file or a picture has an id of its own; a text that is none may name a job."""
    link = {"url": f"https://files.example/{UUID}.mp4"}
    assert named_ids(objects_of(json.dumps({"id": "J-1", "result": link}).encode())) == ("J-1",)
    assert named_ids(objects_of(json.dumps({"info": f"see {UUID}", "request_id": UUID[::-1]}).encode())) == (UUID,)


def test_candidates_are_few() -> None:
    """A hostile reply does not start a thousand queries."""
    body = b"[" + b",".join(b'{"id": "%d"}' % number for number in range(1, 999)) + b"]"
    assert len(candidates(body)) == MOST


@pytest.mark.parametrize(
    "value", ["", " ", "a b", "é", "x" * 201, "null", "None", "NaN", "undefined", 7, None, [], "a\n"]
)
def test_what_cannot_be_polled_with_is_no_job_id(value: object) -> None:
    """Printed nulls and blanks included."""
    assert not is_job_id(value)


@given(st.binary(max_size=300))
def test_any_bytes_give_usable_ids_or_none(body: bytes) -> None:
    """Nothing raises, and every find can be polled with."""
    assert all(is_job_id(found) for found in candidates(body))
