"""Small pictures of takes and stills, for the contact sheet and the page."""

from io import BytesIO
from pathlib import Path
from tempfile import NamedTemporaryFile

import av
from PIL import Image

from tasks.rows import Row
from tasks.studio.apart import now_apart
from tasks.studio.clips import Limits, OpenClip, open_clip
from tasks.studio.errors import StudioError
from tasks.studio.stills import open_still

__all__ = ["jpeg", "poster", "still_picture"]


def poster(row: Row) -> Image.Image | None:
    """A picture from the middle of the take, None where there is none to show."""
    if row.clip is None:
        return None
    try:
        with NamedTemporaryFile(prefix="rushes-picture-") as file:
            size = now_apart("tasks.assemble.posters:middle_facts", row.clip, path=str(row.clip), to=file.name)
            return Image.frombytes("RGB", tuple(size), Path(file.name).read_bytes()) if size else None
    except (StudioError, OSError, ValueError):
        # The sheet and the page say that the picture is missing; the run's outcome does not hang on it.
        return None


def middle_facts(path: str, to: str) -> list[int] | None:
    """Write the picture from the middle of a clip to `to`, as RGB bytes; its width and height. For a process apart."""
    with open_clip(Path(path), Limits()) as clip:
        picture = _middle(clip)
    if picture is None:
        return None
    Path(to).write_bytes(picture.tobytes())
    return list(picture.size)


def _middle(clip: OpenClip) -> Image.Image | None:
    """Decode from the last key frame before the middle instead of from the start."""
    middle = (clip.video.start_time or 0) + (clip.video.duration or 0) // 2
    clip.container.seek(middle, stream=clip.video)
    shown: av.VideoFrame | None = None
    for frame in clip.container.decode(clip.video):
        shown = frame
        if frame.pts is None or frame.pts >= middle:
            break
    return Image.fromarray(shown.to_ndarray(format="rgb24")) if shown else None


def still_picture(still: Path | None, long_side: int) -> Image.Image | None:
    """The still, upright, at about that size; None where it is missing or is no picture."""
    if still is None:
        return None
    try:
        picture = open_still(still, long_side=long_side)
    except (StudioError, OSError):
        return None
    picture.thumbnail((long_side, long_side), Image.Resampling.LANCZOS)
    return picture


def jpeg(picture: Image.Image, long_side: int) -> bytes:
    """A JPEG of at most that size, without metadata."""
    small = picture.convert("RGB")
    small.thumbnail((long_side, long_side), Image.Resampling.LANCZOS)
    sink = BytesIO()
    small.save(sink, "JPEG", quality=82, optimize=True)
    return sink.getvalue()
