"""Store: fetch the result, compare what was delivered with what was ordered, publish the take, settle the money.

A clip that differs from its order is kept, flagged `suspect` and never bought again: it is paid for (F58).
"""

import asyncio
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from tasks.download import Downloaded, Expired, Undeliverable, download
from tasks.errors import StorageConflict, Transient
from tasks.ledger import Artifact, Intent, IntentState
from tasks.production import Production
from tasks.providers.interface import Snapshot, State
from tasks.settle import charged
from tasks.slips import facts_of, keep_slip
from tasks.storage import Missing
from tasks.studio.apart import DecoderLost
from tasks.studio.errors import ClipUnreadable
from tasks.studio.probe import Probe, probe_apart
from tasks.wait import poll_once

__all__ = ["Ordered", "clip_cache", "differences", "fetch_take", "keep_take", "store_take"]

MAX_CLIP_BYTES = 512 << 20  # fifteen seconds of 4K at 100 Mbit/s are under 200 MB
FETCHES = 3
RELINKS = (0.0, 5.0, 20.0)
"""Seconds before each question for a fresh link while a run waits; `collect` asks once, and goes on at the next try."""
FETCH_PAUSE = 2.0


@dataclass(frozen=True, slots=True)
class Ordered:
    """What the clip must be: whole seconds, sound or none, and the start still's width over height."""

    seconds: int
    audio: bool
    aspect: float | None


def ordered_of(intent: Intent) -> Ordered:
    """What was ordered, from the intent alone: a result may arrive long after its board has gone."""
    return Ordered(intent.seconds, intent.audio, json.loads(intent.request_json).get("aspect"))


async def store_take(production: Production, intent: Intent, *, relinks: Sequence[float] = RELINKS) -> Intent:
    """From SUCCEEDED to STORED, or RESULT_HELD where the paid result cannot be fetched or read. Safe to call again.

    A link that has expired is asked for anew after each pause of `relinks`, in seconds; a held result has its next try in
    the ledger, and nobody waits for it.
    """
    if intent.state is not IntentState.SUCCEEDED:
        return intent
    # Two runs may fetch the same result at once (F61): each into a file of its own.
    temporary = production.cache("downloads") / f"{intent.intent_id}-{production.rng.new_id()[-8:]}.mp4"
    for pause in (*relinks, None):
        try:
            fetched, probe = await _fetch(production, intent, temporary)
        except (Undeliverable, Transient, ClipUnreadable) as error:
            return await production.patiently(production.ledger.held, intent.intent_id, str(error))
        except Expired as error:
            if pause is None:
                return await production.patiently(production.ledger.held, intent.intent_id, str(error))
            intent = await _relinked(production, intent, pause)
            continue
        return await _publish(production, intent, temporary, fetched, probe)
    raise AssertionError("the last query returns")


async def _relinked(production: Production, intent: Intent, pause: float) -> Intent:
    """Ask for a fresh link after `pause` seconds."""
    await production.clock.sleep(pause)
    answer = await poll_once(production, intent)
    if isinstance(answer, Snapshot) and answer.state is State.SUCCEEDED and answer.urls:
        found = production.ledger.succeeded
        return await production.patiently(found, intent.intent_id, answer.urls, None)
    return intent


async def _fetch(production: Production, intent: Intent, to: Path) -> tuple[Downloaded, Probe]:
    """Download and read to the end; a file that is not a whole video is fetched again from the start.

    Raises:
        Expired, Undeliverable, Transient: as `download` does, which has its own tries.
        ClipUnreadable: when the last fetch was not a whole video either.
    """
    if not intent.urls:
        raise Undeliverable("the provider says done but names no video")
    for fetch in range(FETCHES):
        production.hooks("K18")
        fetched = await download(
            intent.urls[0],
            to,
            wire=production.wire,
            rules=production.rules(intent.base_url),
            max_bytes=MAX_CLIP_BYTES,
            clock=production.clock,
            stall=production.deadlines.stall,
        )
        try:
            return fetched, await probe_apart(to)
        except DecoderLost:
            to.unlink(missing_ok=True)
            raise
        except ClipUnreadable:
            to.unlink(missing_ok=True)
            if fetch == FETCHES - 1:
                raise
        await production.clock.sleep(FETCH_PAUSE)
    raise AssertionError("the last fetch returns or raises")


async def _publish(production: Production, intent: Intent, clip: Path, fetched: Downloaded, probe: Probe) -> Intent:
    """K19 to K22: the take under its final name, once; then the ledger; then the receipt, which can be made again."""
    production.hooks("K19")
    put = await _put_take(production, intent, clip, fetched.sha256)
    production.hooks("K20")
    artifact = Artifact(
        path=put.path,
        uri=put.uri,
        sha256=fetched.sha256,
        size=fetched.size,
        seconds=float(probe.seconds),
        probe=_probe_facts(probe),
        suspect="; ".join(differences(probe, ordered_of(intent))),
        verified_at=production.clock.now(),
    )
    billed = await charged(production, intent)
    stored = await production.patiently(production.ledger.stored, intent.intent_id, artifact, billed)
    production.hooks("K21")
    clip.replace(clip_cache(production, fetched.sha256))
    await asyncio.to_thread(write_receipt, production, stored)
    await asyncio.to_thread(keep_slip, production, stored)
    production.hooks("K22")
    return stored


def clip_cache(production: Production, sha256: str) -> Path:
    """Where this machine keeps a verified copy of a clip, for the reel."""
    return production.cache("cache", "clips") / f"{sha256}.mp4"


def fetch_take(production: Production, artifact: Artifact, to: Path) -> bool:
    """Copy the take from the store to `to`, if its very bytes are there."""
    fetched = to.with_name(f"{to.stem}-{production.rng.new_id()[-8:]}.part")
    try:
        production.store.fetch(artifact.path, fetched)
        with fetched.open("rb") as stream:
            whole = hashlib.file_digest(stream, "sha256").hexdigest() == artifact.sha256
        if whole:
            fetched.replace(to)
    except Missing:
        return False
    finally:
        fetched.unlink(missing_ok=True)
    return whole


def keep_take(production: Production, intent: Intent) -> bool:
    """Whether the take of a finished intent is in the store; one that is gone is put back from this machine's copy.

    Its size is looked at, not its bytes: a reuse should not read every film again.
    """
    artifact = intent.artifact
    if artifact is None:
        return False
    size = production.store.size(artifact.path)
    if size is not None:
        if production.store.size(receipt_path(artifact)) is None:
            write_receipt(production, intent)  # the store refused it when the take was published
        return size == artifact.size
    copy = clip_cache(production, artifact.sha256)
    if not copy.exists():
        return False
    production.store.put_once(copy, artifact.path, content_type="video/mp4", mend=True)
    write_receipt(production, intent)
    return True


def take_path(intent: Intent, suffix: str = ".mp4") -> str:
    """`LIFTOFF/shots/SH010/SH010_TK01.mp4`, relative to the store."""
    return f"{intent.board}/shots/{intent.shot}/{intent.shot}_TK{intent.take:02d}{suffix}"


async def _put_take(production: Production, intent: Intent, clip: Path, sha256: str) -> "TakePut":
    """Publish the take; where the name is taken by other bytes, beside it under its hash, with an alert (F67)."""
    path = take_path(intent)
    put_once = partial(production.store.put_once, clip, content_type="video/mp4", mend=True)
    try:
        return TakePut(path, (await asyncio.to_thread(put_once, path)).uri)
    except StorageConflict as error:
        path = take_path(intent, f"-{sha256[:12]}.mp4")
        facts = {"message": str(error), "stored_as": path}
        await production.patiently(production.ledger.note, intent.intent_id, "alert", facts)
        return TakePut(path, (await asyncio.to_thread(put_once, path)).uri)


@dataclass(frozen=True, slots=True)
class TakePut:
    """Where a take was published: in the store, and in full."""

    path: str
    uri: str


def _probe_facts(probe: Probe) -> dict[str, Any]:
    return {
        "seconds": str(probe.seconds),
        "frames": probe.frames,
        "width": probe.width,
        "height": probe.height,
        "fps": str(probe.fps),
        "video_codec": probe.video_codec,
        "audio_codec": probe.audio_codec,
        "has_audio": probe.has_audio,
    }


SECONDS_TOLERANCE = Decimal("0.5")  # providers round to whole frames; half a second is a different cut
SILENCE = -80.0  # dB rms: far below any room tone
ASPECT_TOLERANCE = 0.05  # even sides and a provider's own sizes move the aspect by a few percent at most


def differences(probe: Probe, ordered: Ordered) -> list[str]:
    """What was delivered against what was ordered, in words; empty where they agree."""
    found = []
    if abs(probe.seconds - ordered.seconds) > SECONDS_TOLERANCE:
        found.append(f"{probe.seconds.normalize():f} s delivered, {ordered.seconds} s ordered")
    if ordered.aspect and abs(probe.width / probe.height / ordered.aspect - 1) > ASPECT_TOLERANCE:
        found.append(f"{probe.width}x{probe.height} does not have the still's aspect of {ordered.aspect:.2f}")
    if ordered.audio and not probe.has_audio:
        found.append("paid for with sound, delivered without")
    elif ordered.audio and probe.audio_rms_db is not None and probe.audio_rms_db < SILENCE:
        found.append("paid for with sound, delivered silent")
    if probe.black:
        found.append("the picture is black")
    elif probe.frozen:
        found.append("the picture does not move")
    return found


def write_receipt(production: Production, intent: Intent) -> None:
    """The take's receipt beside it: request, hashes, quote, billed, job id, times, probe."""
    artifact = intent.artifact
    if artifact is None:
        return
    text = json.dumps(facts_of(intent), indent=2, sort_keys=True)
    production.store.put(text.encode(), receipt_path(artifact), content_type="application/json")


def receipt_path(artifact: Artifact) -> str:
    """Beside the take, under its name."""
    return artifact.path.removesuffix(".mp4") + ".json"
