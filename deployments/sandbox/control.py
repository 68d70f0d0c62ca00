"""The sandbox's own addresses under /_sandbox: the account, the script of faults, the clock, the key."""

from collections.abc import Iterable
from typing import Any

from deployments.sandbox.faults import FAULTS
from deployments.sandbox.faults.script import UnknownFault, parse
from deployments.sandbox.house import House
from deployments.sandbox.wire import Reply, Request, Step, html_reply, json_reply, plain

__all__ = ["control", "entry_text"]


async def control(house: House, request: Request) -> Iterable[Step]:
    """The answer to a request that no provider would know."""
    return plain(await _answer(house, request))


async def _answer(house: House, request: Request) -> Reply:
    match request.method, request.path:
        case "GET", "/_sandbox/account":
            return json_reply(house.account().to_json())
        case "GET" | "POST" | "DELETE", "/_sandbox/faults":
            return _faults(house, request)
        case "POST", "/_sandbox/advance":
            return _advance(house, request.json())
        case "POST", "/_sandbox/key":
            return _rekey(house, request.json())
        case "GET", path if path.startswith("/_sandbox/clips/"):
            return await _preview(house, path)
        case _:
            return json_reply({"error": "not found"}, 404)


def _faults(house: House, request: Request) -> Reply:
    if request.method == "DELETE":
        house.script.clear()
    elif request.method == "POST":
        try:
            house.script.add([parse(text, FAULTS) for text in _entries(request.json())])
        except UnknownFault as error:
            return json_reply({"error": str(error)}, 400)
    armed = [
        {"entry": str(one), "seen": one.seen, "fired": one.fired, "spent": one.spent} for one in house.script.armed
    ]
    return json_reply({"armed": armed})


def _entries(body: Any) -> list[str]:
    """Accepts "NAME", ["NAME@2", ...], {"fault": "NAME*3"} and {"name": ..., "at": ..., "times": ..., "chance": ...}."""
    match body:
        case str():
            return [body]
        case list() if all(isinstance(one, str) for one in body):
            return body
        case {"fault": str(text)}:
            return [text]
        case {"name": str(name)}:
            return [entry_text(name, body.get("at"), body.get("times", 1), body.get("chance"), body.get("provider"))]
        case _:
            raise UnknownFault('a fault is a text such as "hang-after@2", or an object with its name')


def entry_text(name: str, at: int | None, times: int | None, chance: float | None, provider: str | None) -> str:
    """An entry of the script; `times` None means every time."""
    return (
        (f"{provider}/" if provider else "")
        + name
        + (f"@{at}" if at is not None else "")
        + ("*" if times is None else f"*{times}" if times != 1 else "")
        + (f"%{chance}" if chance is not None else "")
    )


def _advance(house: House, body: Any) -> Reply:
    seconds = body.get("seconds") if isinstance(body, dict) else None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < 10**9:
        return json_reply({"error": "seconds is required, from 0"}, 400)
    house.advance(seconds)
    return json_reply({"now": house.clock.now()})


def _rekey(house: House, body: Any) -> Reply:
    key = body.get("key") if isinstance(body, dict) else None
    if not isinstance(key, str | None):
        return json_reply({"error": "key must be a string, or null for any"}, 400)
    house.set_key(key)
    return json_reply({"ok": True})


async def _preview(house: House, path: str) -> Reply:
    job = house.book.jobs.get(path.removeprefix("/_sandbox/clips/").removesuffix(".mp4"))
    if job is None or job.state(house.clock.now()) != "done":
        return html_reply("not found", 404)
    return Reply(200, await house.movie(job), "video/mp4")
