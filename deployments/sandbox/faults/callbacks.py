"""What can go wrong with a callback."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from deployments.sandbox.faults.kinds import CallbackFault, Fault, Note, Scene

__all__ = ["callback_faults"]

Notes = Callable[[Note, Mapping[str, Any], Scene], list[Note]]
MEBI = 1024 * 1024


def callback_faults() -> Iterator[Fault]:
    """Every fault of a callback."""
    for name, ids, notes, text in TABLE:
        yield CallbackFault(name=name, ids=ids, notes=notes, text=text)


def _hundred(note: Note, _body: Mapping[str, Any], _scene: Scene) -> list[Note]:
    return [note] * 100


def _backwards(note: Note, body: Mapping[str, Any], scene: Scene) -> list[Note]:
    running = {"id": scene.job_id, "status": 1}
    return [note, _with(note, {**body, "data": running})]


def _forged(note: Note, _body: Mapping[str, Any], _scene: Scene) -> list[Note]:
    address, _slash, token = note.url.rpartition("/")
    return [dataclasses.replace(note, url=f"{address}/{'0' * max(1, len(token))}")]


def _foreign(note: Note, body: Mapping[str, Any], scene: Scene) -> list[Note]:
    return [_with(note, {**body, "data": {**body["data"], "id": scene.other_id}})]


def _replayed(note: Note, _body: Mapping[str, Any], _scene: Scene) -> list[Note]:
    return [note, dataclasses.replace(note, days_later=3)]


def _huge(note: Note, body: Mapping[str, Any], _scene: Scene) -> list[Note]:
    return [_with(note, {**body, "padding": "x" * (2 * MEBI)})]


def _not_json(note: Note, _body: Mapping[str, Any], _scene: Scene) -> list[Note]:
    return [dataclasses.replace(note, body=b"<xml>done</xml>")]


def _slow(note: Note, _body: Mapping[str, Any], _scene: Scene) -> list[Note]:
    return [dataclasses.replace(note, slowly=True)]


def _never(_note: Note, _body: Mapping[str, Any], _scene: Scene) -> list[Note]:
    return []


def _with(note: Note, body: Mapping[str, Any]) -> Note:
    return dataclasses.replace(note, body=json.dumps(body).encode())


TABLE: tuple[tuple[str, tuple[str, ...], Notes, str], ...] = (
    ("callback-100-times", ("F45",), _hundred, "the callback is delivered 100 times"),
    ("callback-backwards", ("F46",), _backwards, "after success comes a callback that says running"),
    ("callback-forged", ("F47",), _forged, "the callback goes to the address with zeros for its last part"),
    ("callback-foreign", ("F48",), _foreign, "the right address, and the id of another job"),
    ("callback-replayed", ("F49",), _replayed, "the callback comes again three days later"),
    ("callback-huge", ("F50",), _huge, "the callback has 2 MiB"),
    ("callback-not-json", ("F50",), _not_json, "the callback is XML"),
    ("callback-slow", ("F50",), _slow, "the callback comes a byte a lag and does not end"),
    ("callback-never", ("F51",), _never, "no callback"),
)
