"""SJinn's balance and ledger of credits."""

import datetime as dt
import json
from decimal import Decimal
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specs.money import Money
from tasks.providers.interface import Failure, Kind, Reply
from tasks.providers.sjinn_account import (
    Charge,
    Usage,
    balance_request,
    decode_balance,
    decode_usage,
    usage_request,
)


def answered(data: object, **envelope: object) -> Reply:
    """A successful query."""
    return Reply(
        200, {}, json.dumps({"success": True, "errorMsg": "", "error_code": 0, "data": data, **envelope}).encode()
    )


def credits_of(amount: int | str) -> Money:
    """SJinn's unit."""
    return Money.of(amount, "sjinn-credits")


@pytest.mark.parametrize(("balance", "amount"), [(1234, "1234"), (1234.5, "1234.5"), (0, "0"), (" 1234 ", "1234")])
def test_the_balance_is_exact(balance: float, amount: str) -> None:
    """A JSON number, whole or not, becomes exact credits."""
    reply = answered({"email": "a@b.example", "name": "A", "balances": balance, "subscription": None})
    assert decode_balance(reply) == credits_of(amount)


@pytest.mark.parametrize("balance", ["many", None, -5, True, 1e12, [1], 0.00000001])
def test_an_unusable_balance_is_no_balance(balance: object) -> None:
    """It is told, not guessed."""
    found = decode_balance(answered({"balances": balance}))
    assert isinstance(found, Failure)
    assert found.kind is Kind.TRANSIENT


def test_a_refused_balance_names_its_kind() -> None:
    """A wrong key is a wrong key."""
    reply = Reply(200, {}, b'{"success": false, "errorMsg": "Unauthorized", "error_code": 401}')
    found = decode_balance(reply)
    assert isinstance(found, Failure)
    assert found.kind is Kind.AUTH


def test_the_requests_are_free_reads() -> None:
    """GETs below the base URL; the ledger is asked for our tool between two instants."""
    assert balance_request("http://127.0.0.1:1/").url == "http://127.0.0.1:1/api/un-api/query_account_status"
    start = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
    request = usage_request("http://127.0.0.1:1", start=start, end=start + dt.timedelta(hours=1), cursor="a&b")
    asked = parse_qs(urlsplit(request.url).query)
    assert (request.method, request.body) == ("GET", None)
    assert asked == {
        "limit": ["200"],
        "task_type": ["tool_kling3-image-to-video-api"],
        "start_time": ["2026-11-22T12:00:00+00:00"],
        "end_time": ["2026-11-22T13:00:00+00:00"],
        "cursor": ["a&b"],
    }


def test_charges_are_read_wherever_the_rows_lie() -> None:
    """The page does not name the list; rows without a task are left out."""
    row = {
        "id": 1,
        "task_type": "tool_x",
        "task_id": "T-1",
        "chat_id": None,
        "cost_credits": 1000,
        "created_at": "2026-11-22",
    }
    page = {
        "items": [row, {"id": 2, "task_id": None}, "x", {**row, "task_id": "T-2", "cost_credits": "many"}],
        "next_cursor": "c",
    }
    note = "the provider's amount is no plain decimal: 'many'"
    expected = (
        Charge("T-1", "tool_x", credits_of(1000), "2026-11-22", entry="1"),
        Charge("T-2", "tool_x", None, "2026-11-22", entry="1", note=note),
    )
    assert decode_usage(answered(page)) == Usage(expected, "c")
    assert decode_usage(answered({"list": [], "cursor": None})) == Usage((), None)


def test_F89_the_charges_are_the_list_whose_rows_look_like_charges() -> None:
    """An empty list of errors before them, or one of notes, hides none."""
    row = {"id": 1, "task_type": "tool_x", "task_id": "T-1", "cost_credits": 600}
    for other in ([], ["slow today"], [{"note": "x"}] * 3):
        found = decode_usage(answered({"errors": other, "items": [row]}))
        assert isinstance(found, Usage)
        assert [one.task_id for one in found.charges] == ["T-1"]


@pytest.mark.parametrize(
    ("said", "cursor"),
    [
        ({"nextCursor": "b", "has_more": True}, "b"),
        ({"nextCursor": "b"}, "b"),
        ({"cursor": "a", "has_more": False}, None),
        ({"next_cursor": "", "hasMore": False}, None),
    ],
)
def test_F89_the_next_page_is_found_under_every_name_that_clients_read(said: dict[str, object], cursor: str) -> None:
    """Where the page says that there is no more, its cursor is that of this page."""
    assert decode_usage(answered({"items": [], **said})) == Usage((), cursor)


@pytest.mark.parametrize("said", [{"has_more": True}, {"hasMore": True, "next_cursor": ""}, {"next_cursor": 7}])
def test_F89_a_page_that_speaks_of_more_and_does_not_say_where_is_no_answer(said: dict[str, object]) -> None:
    """A part of the list is no sum."""
    assert isinstance(decode_usage(answered({"items": [], **said})), Failure)


def test_a_page_without_rows_is_told() -> None:
    """No list, no answer."""
    assert isinstance(decode_usage(answered({})), Failure)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["balances", "items", "task_id", "cost_credits", "cursor"]), inner)
        ),
    )
)
def test_any_data_is_read(data: object) -> None:
    """Nothing raises."""
    decode_balance(answered(data))
    decode_usage(answered(data))


def test_credits_keep_their_fractions() -> None:
    """No float in between."""
    found = decode_balance(Reply(200, {}, b'{"success": true, "data": {"balances": 0.1}}'))
    assert isinstance(found, Money)
    assert found.amount == Decimal("0.1")
