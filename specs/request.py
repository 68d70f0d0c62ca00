"""What is asked for one shot once the board's defaults and style are applied: complete, and the same for every provider."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["AUTO", "CutRequest", "ElementRequest", "Mode", "ShotRequest"]

Mode = Literal["std", "pro"]
AUTO: Literal["auto"] = "auto"


@dataclass(frozen=True, slots=True)
class CutRequest:
    """A part of a multi-shot shot: `duration` whole seconds, `prompt` with the board's style."""

    duration: int
    prompt: str


@dataclass(frozen=True, slots=True)
class ElementRequest:
    """A named subject: addresses of its frontal picture and of up to three more views, as the spec writes them."""

    name: str
    front: str
    references: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ShotRequest:
    """One shot, ready to be priced: addresses as the spec writes them (relative paths stay relative to the spec).

    `cuts` is None for one continuous shot, "auto" where the model splits, else the parts, whose seconds add up to `duration`.
    `take` is the take that the spec asks for (1 unless raised). `index` is its place in `shots` of the spec, from 0.
    """

    index: int
    shot: str
    take: int
    prompt: str
    negative_prompt: str | None
    duration: int
    mode: Mode
    audio: bool
    cuts: tuple[CutRequest, ...] | Literal["auto"] | None
    still: str
    end_still: str | None
    elements: tuple[ElementRequest, ...]

    @property
    def stills(self) -> tuple[str, ...]:
        """Every picture address of the shot, start still first, each once."""
        views = [view for element in self.elements for view in (element.front, *element.references)]
        return tuple(dict.fromkeys([self.still, *([self.end_still] if self.end_still else []), *views]))
