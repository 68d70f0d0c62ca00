"""The storyboard as its author writes it: frozen models, and `requests()` with defaults and style applied."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag
from pydantic.config import JsonDict

from specs.fields import (
    PROVIDERS,
    Address,
    Code,
    CutPrompt,
    CutSeconds,
    Identifier,
    MoneyText,
    NegativePrompt,
    Prompt,
    Providers,
    Seconds,
    Style,
    Take,
    Title,
)
from specs.request import AUTO, CutRequest, ElementRequest, Mode, ShotRequest
from specs.schema import schema_of

__all__ = [
    "PROVIDERS",
    "Budget",
    "Cut",
    "Defaults",
    "Element",
    "Shot",
    "Storyboard",
    "json_schema",
    "styled",
]


def styled(prompt: str, style: str) -> str:
    """The prompt, then the style as one more clause."""
    said, style = prompt.strip(), style.strip()
    if not style:
        return said
    return f"{said} {style}" if said.endswith((".", "!", "?", ",", ";", ":")) else f"{said}, {style}"


def _cuts_kind(value: object) -> str:
    return "auto-cuts" if isinstance(value, str) else "cut-list"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Budget(_Part):
    """What the board may cost. Above `auto_approve` a person is asked; without it every paid render asks."""

    cap: MoneyText | None = Field(None, description="The board as a whole, over all its runs, never costs more.")
    per_shot: MoneyText | None = Field(None, description="No single shot costs more.")
    auto_approve: MoneyText | None = Field(None, description="A run that costs no more than this needs no approval.")


class Element(_Part):
    """A subject that should look the same in several shots."""

    front: Address = Field(description="The frontal picture.", examples=["stills/pilot.jpg"])
    references: Annotated[tuple[Address, ...], Field(strict=False, max_length=3)] = Field(
        (), description="Up to three more views."
    )


class Cut(_Part):
    """A part of a multi-shot shot."""

    duration: CutSeconds = Field(description="Whole seconds.")
    prompt: CutPrompt = Field(description="The motion in this part.", examples=["Push into the spiral"])


class Defaults(_Part):
    """What a shot has where it does not say otherwise."""

    mode: Mode = Field("std", description="std, or the dearer pro.")
    duration: Seconds = Field(5, description="Whole seconds, 3 to 15.")
    audio: bool = Field(default=False, description="Let the model make sound, where it can; changes the price.")
    negative_prompt: NegativePrompt | None = Field(None, description="What should not be seen.")


CutList = Annotated[tuple[Cut, ...], Field(strict=False, min_length=1, max_length=6)]
Cuts = Annotated[
    Annotated[Literal["auto"], Tag("auto-cuts")] | Annotated[CutList, Tag("cut-list")], Discriminator(_cuts_kind)
]
_CUTS_HAVE_PROMPTS: JsonDict = {
    "if": {"properties": {"cuts": {"type": "array"}}, "required": ["cuts"]},
    "then": {},
    "else": {"required": ["prompt"]},
}


class Shot(_Part):
    """One shot: a still, what happens to it, and for how long."""

    model_config = ConfigDict(json_schema_extra=_CUTS_HAVE_PROMPTS)

    id: Identifier = Field(description="Names the shot and its files.", examples=["SH010", "SQ010_SH020"])
    still: Address = Field(
        description="The start picture: a path beside the spec, or an https/s3/gs/abfs address.",
        examples=["stills/rocket.jpg"],
    )
    prompt: Prompt | None = Field(
        None,
        description="The motion. May be left out where `cuts` is a list.",
        examples=["Slow push in as the engines light"],
    )
    end_still: Address | None = Field(None, description="The picture that the shot ends on.")
    negative_prompt: NegativePrompt | None = Field(
        None,
        description="What should not be seen; an empty text takes the board's default back.",
        examples=["text, watermark"],
    )
    duration: Seconds | None = Field(None, description="Whole seconds, 3 to 15; with a list of cuts, their sum.")
    mode: Mode | None = Field(None, description="std, or the dearer pro.")
    audio: bool | None = Field(None, description="Let the model make sound, where it can; changes the price.")
    cuts: Cuts | None = Field(None, description="`auto` lets the model split the shot; a list says how.")
    elements: Annotated[tuple[Identifier, ...], Field(strict=False, max_length=3)] = Field(
        (), description="Names from the board's `elements`.", json_schema_extra={"uniqueItems": True}
    )
    take: Take = Field(1, description="Raise it to ask for a new take.")


class Storyboard(_Part):
    """A board: what every shot shares, and the shots in their order."""

    rushes: Literal[1] = Field(description="The version of this format.")
    title: Title = Field(description="What people call the board.", examples=["Liftoff"])
    code: Code = Field(description="Names folders and files.", examples=["LIFTOFF"])
    provider: Providers = Field(("animatic",), description="One name, or a list in order of preference.")
    budget: Budget | None = Field(None, description="What the board may cost.")
    style: Style = Field("", description="Appended to every prompt.", examples=["35mm film, soft light"])
    defaults: Defaults = Field(default_factory=Defaults, description="What a shot has where it does not say otherwise.")
    elements: dict[Identifier, Element] = Field(
        default_factory=dict, description="Subjects that should look the same in several shots, by name."
    )
    shots: Annotated[tuple[Shot, ...], Field(strict=False, min_length=1, max_length=10_000)] = Field(
        description="The shots, in the order of the reel."
    )

    def requests(self) -> tuple[ShotRequest, ...]:
        """Every shot with defaults and style applied: what providers are asked for."""
        return tuple(self._request(index, shot) for index, shot in enumerate(self.shots))

    def _request(self, index: int, shot: Shot) -> ShotRequest:
        listed = self._listed(shot)
        return ShotRequest(
            index=index,
            shot=shot.id,
            take=shot.take,
            prompt=styled(shot.prompt, self.style) if shot.prompt else "",
            negative_prompt=self._negative(shot),
            duration=sum(cut.duration for cut in listed) if listed else shot.duration or self.defaults.duration,
            mode=shot.mode or self.defaults.mode,
            audio=self.defaults.audio if shot.audio is None else shot.audio,
            cuts=listed or (AUTO if shot.cuts == AUTO else None),
            still=shot.still,
            end_still=shot.end_still,
            elements=tuple(
                ElementRequest(name, self.elements[name].front, self.elements[name].references)
                for name in shot.elements
            ),
        )

    def _listed(self, shot: Shot) -> tuple[CutRequest, ...]:
        cuts = shot.cuts if isinstance(shot.cuts, tuple) else ()
        return tuple(CutRequest(cut.duration, styled(cut.prompt, self.style)) for cut in cuts)

    def _negative(self, shot: Shot) -> str | None:
        said = self.defaults.negative_prompt if shot.negative_prompt is None else shot.negative_prompt
        return said or None


def json_schema() -> Mapping[str, Any]:
    """The JSON Schema (draft 7, the one that editors know best) of a storyboard file."""
    return schema_of(Storyboard, title="Rushes storyboard")
