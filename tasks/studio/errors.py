"""What can be wrong with a picture or a clip.

StudioError(Exception)
|-- StillUnreadable      a still is no usable picture
|-- ClipUnreadable       a file is no whole, bounded MP4 video
`-- RenderCancelled      the caller asked to stop
"""

from pathlib import Path

__all__ = ["ClipUnreadable", "RenderCancelled", "StillUnreadable", "StudioError"]


class StudioError(Exception):
    """Base of everything that the studio raises on purpose: which file, and what is wrong with it."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path.name}: {self.reason}"


class StillUnreadable(StudioError):
    """The still cannot be decoded, is too large, or has a shape that no frame can hold."""


class ClipUnreadable(StudioError):
    """The clip is truncated, is no MP4 video at all, or exceeds what a shot can be."""


class RenderCancelled(StudioError):
    """The caller's `cancelled` answered yes; nothing is left at the output path."""
