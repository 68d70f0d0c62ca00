"""What every provider adapter must keep, whatever it speaks; a provider's own file names it and its flags."""

import copy
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.errors import ShotInvalid
from tasks.providers import PROVIDERS
from tasks.providers.interface import (
    Accepted,
    Failure,
    Handle,
    Kind,
    Media,
    Phase,
    Provider,
    Reply,
    Request,
    Snapshot,
    State,
)
from tests.contract.exchanges import Exchange, exchanges
from tests.contract.orders import fitting, media_for, shot

DEFINITE = {400, 401, 402, 403, 404, 405, 413, 415, 422, 429}
PAGES = (
    b"<html><head><title>403 Forbidden</title></head><body><center><h1>403 Forbidden</h1></center><hr>nginx/1.18.0</body></html>",
    b"<html><body>Not Allowed</body></html>\r\n<!-- a padding to disable MSIE and Chrome friendly error page -->\r\n",
    b'<!DOCTYPE HTML PUBLIC "-//IETF//DTD HTML 2.0//EN"><html><body><h1>Not Found</h1></body></html>',
)
"""What edge servers send."""
ORDINARY = tuple(
    json.dumps(one).encode()
    for one in (
        {"detail": [{"loc": ["body", "args", "duration"], "msg": "field required", "type": "value_error.missing"}]},
        {"error": {"message": "Rate limit exceeded, try again in 30 s", "type": "rate_limit_error", "code": None}},
        {"message": "max 10 requests per minute", "request_id": "req-7f3a"},
        {"success": False, "errorMsg": "insufficient balance", "error_code": 100, "data": None},
        {"code": 402, "info": "Insufficient credits, please top up"},
        {"title": "Unauthorized", "detail": "Invalid API key"},
    )
)
"""Plain refusals as gateways and validators write them."""
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=8,
)
REPLACEMENTS: tuple[Any, ...] = (None, "", [], {}, -1, 1e308, "x", True, [["a"]])
STATUSES = st.sampled_from(
    [200, 201, 202, 204, 301, 307, 400, 401, 402, 403, 404, 408, 409, 418, 422, 429, 500, 503, 504]
)

# One property runs in several classes on purpose; without a database no example of one class is replayed in another.
inherited = settings(suppress_health_check=[HealthCheck.differing_executors], database=None, deadline=None)


def _mutants(document: Any) -> Iterator[Any]:
    """The document with one node at a time taken out or replaced by something of another type."""
    for path in _paths(document):
        for value in REPLACEMENTS:
            mutant = copy.deepcopy(document)
            parent = mutant
            for key in path[:-1]:
                parent = parent[key]
            parent[path[-1]] = value
            yield mutant


def _paths(node: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield (*above, key)
        yield from _paths(value, (*above, key))


class ProviderSuite:
    """Inherited by one test class a provider. `price_facts` reads mode, audio, seconds and cuts back out of a body."""

    name: ClassVar[str]
    known_states: ClassVar[tuple[Any, ...]]

    @staticmethod
    def price_facts(body: Mapping[str, Any]) -> Mapping[str, Any]:
        raise NotImplementedError

    @staticmethod
    def status_reply(status: object) -> object:
        raise NotImplementedError

    @property
    def provider(self) -> Provider:
        return PROVIDERS[self.name]

    def encode(self, request: Any, **changes: Any) -> Request:
        circumstances: dict[str, Any] = {
            "base_url": "https://api.example",
            "intent_id": "01INTENT",
            "callback_url": None,
            "board": "LIFTOFF",
            "take": 2,
        }
        media = changes.pop("media", None) or media_for(request)
        return self.provider.encode(request, media, **{**circumstances, **changes})

    def handle(self, job_id: str = "J-1") -> Handle:
        return Handle(self.name, self.provider.caps.model, "https://api.example", "default", job_id)

    def test_body_is_the_recorded_one(self, created: Exchange) -> None:
        """A shot becomes exactly the body on file."""
        document = created.document
        request = self.encode(
            shot(**document["shot"]), media=Media(document["media"]), callback_url=document["callback_url"]
        )
        assert request.method == "POST"
        assert request.body == document["body"]

    def test_body_keeps_every_field_of_the_page(self, created: Exchange) -> None:
        """Where the file quotes the provider's page, our body says the same in every field that the page sends."""
        document = created.document
        page, body = document.get("page"), document["body"]
        if page is None:
            return
        for key, value in page.items():
            if isinstance(value, dict):
                assert {name: body[key][name] for name in value} == value
            elif key != "callback_url":
                assert body[key] == value

    def test_submit_reply_means_what_is_recorded(self, submitted: Exchange) -> None:
        """Every recorded answer to a create is read as on file."""
        submitted.check(self.provider.decode_submit(submitted.reply))

    def test_poll_reply_means_what_is_recorded(self, polled: Exchange) -> None:
        """Every recorded answer to a query is read as on file."""
        polled.check(self.provider.decode_poll(self.handle(), polled.reply))

    @inherited
    @given(st.data())
    def test_every_field_that_bears_on_the_price_is_sent(self, data: st.DataObject) -> None:
        """Mode, audio, seconds and cuts can be read back from the body of any shot that fits; nothing is left to a default."""
        request = data.draw(fitting(self.provider.caps))
        body = self.encode(request).body
        assert body is not None
        wanted = {
            "mode": request.mode,
            "audio": request.audio,
            "seconds": request.duration,
            "cuts": request.cuts is not None,
        }
        facts = self.price_facts(body)
        assert facts == {name: wanted[name] for name in facts}

    @inherited
    @given(st.data())
    def test_what_is_encoded_can_be_priced(self, data: st.DataObject) -> None:
        """Every shot that fits has a dated price in the provider's unit, and encodes to JSON without loss."""
        request = data.draw(fitting(self.provider.caps))
        quote = self.provider.quote(request)
        assert quote.money.unit == self.provider.caps.unit
        assert quote.money.micros > 0 or not self.provider.caps.paid
        assert quote.version.startswith(f"{self.name}/{self.provider.caps.model}@")
        body = self.encode(request).body
        assert json.loads(json.dumps(body)) == body

    def test_F44_requests_go_where_the_handle_says(self) -> None:
        """The base URL comes from the caller and from the handle, with or without a slash at its end."""
        for base in ("http://127.0.0.1:8099", "http://127.0.0.1:8099/"):
            assert self.encode(shot(), base_url=base).url.startswith("http://127.0.0.1:8099/")
            assert "//" not in self.encode(shot(), base_url=base).url.partition("://")[2]
        handle = Handle(self.name, "m", "http://127.0.0.1:1234/", "old", "J-1")
        assert self.provider.poll_request(handle).url.startswith("http://127.0.0.1:1234/")

    def test_job_ids_cannot_change_the_query(self) -> None:
        """A hostile job id stays inside its place in the query."""
        request = self.provider.poll_request(self.handle("../x?y=1&id=2#z"))
        assert re.fullmatch(r"https://api\.example/[^?#&]*(\?id=[^?#&]*)?", request.url)

    def test_a_misfit_is_never_encoded(self) -> None:
        """A shot outside the capabilities is refused, not bent."""
        with pytest.raises(ShotInvalid):
            self.encode(shot(duration=16))

    @pytest.mark.parametrize("status", sorted({*range(300, 309), 408, 409, 418, 425, *range(500, 512)}))
    def test_unlisted_statuses_leave_a_doubt(self, status: int) -> None:
        """5xx, 408, 409, 3xx and unlisted statuses never free the money, whatever the body says."""
        for body in (b"", b"{}", *(one.reply.body for one in exchanges(self.name, "submit"))):
            answer = self.provider.decode_submit(Reply(status, {}, body))
            assert isinstance(answer, Failure)
            assert answer.kind is Kind.AMBIGUOUS
            assert answer.may_be_charged is None

    @pytest.mark.parametrize("status", sorted(DEFINITE))
    def test_listed_statuses_are_definite(self, status: int) -> None:
        """400, 401, 402, 403, 404, 405, 413, 415, 422 and 429 refuse with nothing, or with a refusal's words alone."""
        for body in (b"", b"<html>", b"{}", b"slow down", b'{"error": "unknown"}', *PAGES, *ORDINARY):
            answer = self.provider.decode_submit(Reply(status, {}, body))
            assert isinstance(answer, Failure)
            assert answer.kind is not Kind.AMBIGUOUS
            assert answer.may_be_charged is False

    @pytest.mark.parametrize("status", sorted(DEFINITE))
    def test_F88_a_listed_status_with_anything_else_is_a_doubt(self, status: int) -> None:
        """A body that is cut or no text, a header that names a job: whatever is no plain refusal may hide a job."""
        named = {"X-Job-Id": "job-7", "Location": "/api/v1/job/query?id=job-7", "X-Render-Ref": "7"}
        replies = [Reply(status, {}, b"\xff\xfea"), Reply(status, {}, b'{"error": "unknown"}', truncated=True)]
        for reply in (*replies, *(Reply(status, {name: value}, b"") for name, value in named.items())):
            answer = self.provider.decode_submit(reply)
            assert isinstance(answer, Failure)
            assert answer.kind is Kind.AMBIGUOUS or not (self.provider.caps.paid or reply.truncated or reply.headers)

    @inherited
    @given(JSON)
    def test_F32_unlisted_states_are_unknown(self, status: Any) -> None:
        """A state outside the provider's map is neither failed nor done."""
        if any(status == known and type(status) is type(known) for known in self.known_states) or type(status) is int:
            return
        if isinstance(status, str) and status.strip().lower() in self.known_states:
            return
        body = json.dumps(self.status_reply(status)).encode()
        answer = self.provider.decode_poll(self.handle(), Reply(200, {}, body))
        assert isinstance(answer, Snapshot)
        assert answer.state is State.UNKNOWN

    @inherited
    @given(STATUSES, st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()), st.booleans())
    def test_nothing_that_a_server_sends_raises(self, status: int, body: bytes, truncated: bool) -> None:
        """Arbitrary bytes are read as a doubt, a refusal or a failed poll, with short printable words."""
        reply = Reply(status, {"retry-after": "soon"}, body, truncated=truncated)
        answers = [self.provider.decode_submit(reply), self.provider.decode_poll(self.handle(), reply)]
        answers += [self.provider.classify(reply, phase) for phase in Phase]
        for answer in answers:
            if isinstance(answer, Failure):
                assert len(answer.message) <= 300
                assert not answer.message or answer.message.isprintable()

    def test_mutated_replies_never_raise_and_never_invent_a_job(self) -> None:
        """One node of an accepted reply replaced by anything: no exception, and no other job id than the one sent."""
        accepted = next(one for one in exchanges(self.name, "submit") if one.path.stem == "submit.accepted")
        job = accepted.document["expect"]["job_id"]
        for mutant in _mutants(accepted.document["body"]):
            answer = self.provider.decode_submit(Reply(200, {}, json.dumps(mutant).encode()))
            assert not isinstance(answer, Accepted) or answer.job_id in {job, "x"}

    def test_mutated_polls_never_fail_a_job(self) -> None:
        """One node of any recorded success replaced by anything that is not a failure's number: never FAILED."""
        for one in exchanges(self.name, "poll"):
            if one.document["expect"].get("state") != State.SUCCEEDED or "body" not in one.document:
                continue
            for mutant in _mutants(one.document["body"]):
                answer = self.provider.decode_poll(self.handle(), Reply(200, {}, json.dumps(mutant).encode()))
                failed = isinstance(answer, Snapshot) and answer.state is State.FAILED
                assert not failed or "-1" in json.dumps(mutant)

    @inherited
    @given(STATUSES.filter(lambda status: status >= 300), st.binary(max_size=60))
    def test_F31_a_refused_poll_changes_nothing(self, status: int, body: bytes) -> None:
        """No status of a query says that a job failed, or that its outcome is in doubt."""
        answer = self.provider.decode_poll(self.handle(), Reply(status, {}, body))
        assert isinstance(answer, Failure)
        assert answer.kind not in {Kind.AMBIGUOUS, Kind.GENERATION, Kind.MODERATION}

    def test_S24_foreign_words_are_escaped_and_short(self) -> None:
        """Newlines, colours and kilobytes of a provider's text never reach a log as they are."""
        text = "bad\n2026-01-01 INFO forged\x1b[31m\u202e" + "x" * 5000
        for key in ("info", "errorMsg", "error"):
            body = json.dumps({"code": 1, "success": False, "error_code": 400, key: text}).encode()
            answer = self.provider.decode_submit(Reply(400, {}, body))
            assert isinstance(answer, Failure)
            assert answer.message.isprintable()
            assert len(answer.message) <= 300

    def test_F16_deep_and_broken_bodies_leave_a_doubt(self) -> None:
        """Nesting, lone surrogates, NaN and half characters in a 2xx answer to a create are doubts."""
        bodies = [
            b"[" * 100_000,
            b'{"a":' * 100_000,
            b'"' + b"\\" * 99_999,
            b'{"code": NaN}',
            b"\xff\xfe\x00",
            b'{"a": "\xc3',
        ]
        for body in bodies:
            answer = self.provider.decode_submit(Reply(200, {}, body))
            assert isinstance(answer, Failure)
            assert answer.kind is Kind.AMBIGUOUS

    def test_no_key_is_part_of_a_request(self) -> None:
        """Adapters build requests without credentials; the sender fills the header's template."""
        request = self.encode(shot())
        assert "authorization" not in json.dumps(request.body).lower()
        assert self.provider.auth_header in {"", "Bearer {key}"}
        assert bool(self.provider.auth_header) is self.provider.caps.paid
