"""What can go wrong with one query; the job itself is well, and the next query may say so."""

from collections.abc import Iterator
from typing import Any

from deployments.sandbox.faults import lies
from deployments.sandbox.faults.kinds import Fault, Lie, QueryFault, Reshape, Scene
from deployments.sandbox.wire import Reply, html_reply, json_reply

__all__ = ["query_faults"]

ANY_TIME: tuple[tuple[str, tuple[str, ...], Lie, str], ...] = (
    ("query-404", ("F30",), lies.answer(json_reply({"code": 404, "info": "not found"}, 404)), "HTTP 404"),
    ("query-500", ("F31",), lies.page(500), "HTTP 500"),
    ("query-502", ("F31",), lies.page(502), "HTTP 502"),
    ("query-503", ("F31",), lies.page(503), "HTTP 503"),
    ("query-504", ("F31",), lies.page(504), "HTTP 504"),
    ("query-429", ("F31",), lies.answer(html_reply("slow down", 429, ("Retry-After", "2"))), "HTTP 429 with Retry-After: 2"),
    ("query-html", ("F31",), lies.page(200), "HTTP 200 with an HTML page"),
    ("query-hang", ("F31",), lies.hang, "no answer"),
    ("query-close", ("F31",), lies.close, "the connection closes without a reply"),
    ("query-reset", ("F31",), lies.reset, "the connection is reset"),
    ("query-cut", ("F31",), lies.cut_json(0.5), "the JSON ends half way"),
    ("query-trickle", ("F31",), lies.trickle_body, "the body drips and never ends"),
    ("query-gzip-bomb", ("F31",), lies.gzip_bomb, "50 KB of gzip that inflate to 50 MB"),
    ("query-redirect", ("F31",), lies.answer(html_reply("", 302, ("Location", "http://169.254.169.254/latest/"))), "302 to a metadata address (S01, S21)"),
    ("query-403", ("F43",), lies.page(403), "HTTP 403"),
)  # fmt: skip


def query_faults() -> Iterator[Fault]:
    """Every fault of a query."""
    for name, ids, lie, text in ANY_TIME:
        yield QueryFault(name=name, ids=ids, lie=lie, text=text)
    yield QueryFault(
        name="query-401",
        ids=("F43",),
        reshape=_refusal(401, "unauthorized"),
        lie=_status(401),
        text="HTTP 401, the key is refused",
    )
    yield QueryFault(
        name="query-unknown",
        ids=("F30",),
        reshape=_refusal(404, "not found"),
        text="HTTP 200, and the envelope says not found",
    )
    yield QueryFault(
        name="query-empty",
        ids=("F30",),
        reshape=lambda body, _: body | {"data": {}},
        text="success, with an empty data object",
    )
    yield QueryFault(
        name="query-null", ids=("F30",), reshape=lambda body, _: body | {"data": None}, text="success, with data null"
    )
    yield QueryFault(name="query-of-another", ids=("F42",), reshape=_of_another, text="the answer names another job")
    yield from _statuses()
    yield from _results()


def _refusal(code: int, words: str) -> Reshape:
    def reshape(_: dict[str, Any], scene: Scene) -> dict[str, Any]:
        if scene.provider == "shortapi":
            return {"code": code, "info": words}
        return {"success": False, "errorMsg": words, "error_code": code}

    return reshape


def _status(status: int) -> Lie:
    return lambda reply: lies.answer(Reply(status, reply.body, reply.type))(reply)


def _of_another(body: dict[str, Any], scene: Scene) -> dict[str, Any]:
    key = "id" if scene.provider == "shortapi" else "task_id"
    return body | {"data": body["data"] | {key: scene.other_id}}


def _statuses() -> Iterator[Fault]:
    for name, value, text in (
        ("status-unknown", 99, "the number 99"),
        ("status-null", None, "null"),
        ("status-string", "1", 'the string "1"'),
        ("status-list", [1], "a list"),
        ("status-word", "Archiving", "a word of no map"),
    ):
        yield QueryFault(
            name=name,
            ids=("F32",),
            reshape=_with_status(value),
            text=f"the status is {text}",
        )
    yield QueryFault(
        name="status-missing",
        ids=("F32",),
        reshape=lambda body, _: body | {"data": {k: v for k, v in _without_result(body).items() if k != "status"}},
        text="there is no status",
    )
    yield QueryFault(
        name="status-two",
        ids=("F32",),
        provider="sjinn",
        reshape=_with_status(2),
        text="the disputed status number 2 without an error text",
    )
    yield QueryFault(
        name="status-backwards",
        ids=("F33",),
        when_told=True,
        reshape=_running,
        text="running again, after success was told",
    )
    yield QueryFault(
        name="status-failed-first",
        ids=("F34",),
        when_done=True,
        reshape=_failed,
        text="a finished job is called failed once; later it is a success",
    )


def _with_status(value: object) -> Reshape:
    return lambda body, _: body | {"data": _without_result(body) | {"status": value}}


def _without_result(body: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body["data"].items() if key not in {"result", "output_urls", "credit"}}


def _running(body: dict[str, Any], scene: Scene) -> dict[str, Any]:
    return body | {"data": _without_result(body) | {"status": 1 if scene.provider == "shortapi" else 0}}


def _failed(body: dict[str, Any], scene: Scene) -> dict[str, Any]:
    said = (
        {"status": 3, "result": None} if scene.provider == "shortapi" else {"status": -1, "error": "generation failed"}
    )
    return body | {"data": _without_result(body) | said}


def _results() -> Iterator[Fault]:
    yield _result("result-empty", lambda _: [], "the list of clips is empty")
    yield _result("result-two", lambda scene: [scene.url, scene.url + "&again=1"], "two addresses of the clip")
    yield _result(
        "result-audio-first",
        lambda scene: [f"{scene.base}/files/lies/sound.m4a", scene.url],
        "an audio file stands before the clip",
    )
    yield _result(
        "result-image", lambda scene: [f"{scene.base}/files/lies/picture.png"], "an image in place of the clip"
    )
    yield _result(
        "result-private",
        lambda _: ["http://169.254.169.254/latest/meta-data/clip.mp4"],
        "a metadata address in place of the clip (S01)",
        ("F41", "F60"),
    )
    yield _result(
        "result-file", lambda _: ["file:///etc/passwd"], "a file:// address in place of the clip (S01)", ("F41", "F60")
    )
    yield _shape("result-null", lambda _: None, "the result is null")
    yield _shape(
        "result-odd", lambda scene: {"outputs": {"first": {"address": scene.url}}}, "a shape that nobody knows"
    )
    yield _shape(
        "result-images",
        lambda scene: {"images": [{"url": scene.url}]},
        "the clip stands in images, as the page prints it",
        "shortapi",
    )
    yield _shape("result-strings", lambda scene: {"videos": [scene.url]}, "bare strings in videos", "shortapi")
    yield _shape("result-url", lambda scene: {"url": scene.url}, "the address stands in result.url", "shortapi")
    yield QueryFault(
        name="result-video-url",
        ids=("F41",),
        provider="sjinn",
        when_done=True,
        reshape=lambda body, scene: body | {"data": _without_result(body) | {"output": {"video_url": scene.url}}},
        text="the address stands in data.output.video_url",
    )


def _result(name: str, urls: Any, text: str, ids: tuple[str, ...] = ("F41",)) -> Fault:
    def reshape(body: dict[str, Any], scene: Scene) -> dict[str, Any]:
        if scene.provider == "shortapi":
            result: dict[str, Any] = {"result": {"videos": [{"url": url} for url in urls(scene)]}}
        else:
            result = {"output_urls": urls(scene)}
        return body | {"data": body["data"] | result}

    return QueryFault(name=name, ids=ids, when_done=True, reshape=reshape, text=text)


def _shape(name: str, result: Any, text: str, provider: str = "") -> Fault:
    def reshape(body: dict[str, Any], scene: Scene) -> dict[str, Any]:
        key = "result" if scene.provider == "shortapi" else "output_urls"
        return body | {"data": body["data"] | {key: result(scene)}}

    return QueryFault(name=name, ids=("F41",), provider=provider, when_done=True, reshape=reshape, text=text)
