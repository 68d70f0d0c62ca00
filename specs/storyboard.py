"""The storyboard as its author writes it: frozen models that say what a field may be, and `requests()` with defaults applied."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, WithJsonSchema
from pydantic_core import PydanticCustomError

from specs.money import Money, MoneyError
from specs.request import AUTO, CutRequest, ElementRequest, Mode, ShotRequest

__all__ = [
    "PROVIDERS",
    "Budget",
    "Cut",
    "Defaults",
    "Element",
    "Shot",
    "Storyboard",
    "json_schema",
]

PROVIDERS = ("animatic", "shortapi", "sjinn")
PROMPT_MAX, CUT_PROMPT_MAX = 2500, 512
SECONDS = (3, 15)
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")
_ADDRESS = re.compile(r"(https|s3|gs|gcs|abfs|abfss|az)://[^\s]+")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


def _refuse(message: str, **facts: Any) -> PydanticCustomError:
    return PydanticCustomError("rushes", message, facts or None)


def _money(value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise _refuse('Write the amount with its unit, like "12.00 USD"')
    if not isinstance(value, str):
        return value
    try:
        money = Money.parse(value)
    except MoneyError as error:
        raise _refuse("{reason}", reason=str(error)) from error
    if money.unit != "USD" and not money.unit.endswith("-credits"):
        raise _refuse('The unit should be USD or a provider\'s credits, like "4000 sjinn-credits"')
    return money


def _identifier(value: str) -> str:
    if _DEVICES.fullmatch(value) or value.endswith("."):
        raise _refuse("No file can be named like that on every system")
    return value


def _not_blank(value: str) -> str:
    if not value.strip():
        raise _refuse("Say what should be seen: this is blank")
    return value


def _address(value: str) -> str:
    """A path beside the spec, or an address of one of the allowed kinds; no chained ones (S04)."""
    if "::" in value or (_SCHEME.match(value) and not _ADDRESS.fullmatch(value)):
        raise _refuse("Use a path beside the spec, or an https, s3, gs or abfs address")
    if value.startswith(("/", "\\", "~")) or "\\" in value or "\0" in value:
        raise _refuse("Keep stills beside the spec and write a relative path with forward slashes")
    return _not_blank(value)


def _providers(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _each_once(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(value)) != len(value):
        raise _refuse("Each provider should be named once")
    return value


def _cuts_kind(value: object) -> str:
    return "auto-cuts" if isinstance(value, str) else "cut-list"


_MONEY = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]{1,6})? (USD|[a-z]+-credits)$", "examples": ["12.00 USD"]}
MoneyText = Annotated[Money, BeforeValidator(_money), WithJsonSchema(_MONEY)]
Identifier = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\z",
        json_schema_extra={"pattern": r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"},
    ),
    AfterValidator(_identifier),
]
Address = Annotated[str, Field(min_length=1, max_length=2048), AfterValidator(_address)]
Seconds = Annotated[int, Field(ge=SECONDS[0], le=SECONDS[1])]
Prompt = Annotated[str, Field(max_length=PROMPT_MAX), AfterValidator(_not_blank)]
NegativePrompt = Annotated[str, Field(max_length=PROMPT_MAX)]
Take = Annotated[int, Field(ge=1, le=999)]


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

    duration: Annotated[int, Field(ge=1, le=SECONDS[1])] = Field(description="Whole seconds.")
    prompt: Annotated[str, Field(max_length=CUT_PROMPT_MAX), AfterValidator(_not_blank)]


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


class Shot(_Part):
    """One shot: a still, what happens to it, and for how long."""

    id: Identifier = Field(description="Names the shot and its files.", examples=["SH010", "SQ010_SH020"])
    still: Address = Field(description="The start picture: a path beside the spec, or an https/s3/gs/abfs address.")
    prompt: Prompt | None = Field(None, description="The motion. May be left out where `cuts` is a list.")
    end_still: Address | None = Field(None, description="The picture that the shot ends on.")
    negative_prompt: NegativePrompt | None = Field(
        None, description="What should not be seen; an empty text takes the board's default back."
    )
    duration: Seconds | None = Field(None, description="Whole seconds, 3 to 15; with a list of cuts, their sum.")
    mode: Mode | None = Field(None, description="std, or the dearer pro.")
    audio: bool | None = Field(None, description="Let the model make sound, where it can; changes the price.")
    cuts: Cuts | None = Field(None, description="`auto` lets the model split the shot; a list says how.")
    elements: Annotated[tuple[Identifier, ...], Field(strict=False, max_length=3)] = Field(
        (), description="Names from the board's `elements`."
    )
    take: Take = Field(1, description="Raise it to ask for a new take.")


def _code(value: str) -> str:
    if _DEVICES.fullmatch(value):
        raise _refuse("No folder can be named like that on every system")
    return value


class Storyboard(_Part):
    """A board: what every shot shares, and the shots in their order."""

    rushes: Literal[1] = Field(description="The version of this format.")
    title: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_not_blank)]
    code: Annotated[
        str,
        Field(pattern=r"^[A-Z0-9_-]{1,32}\z", json_schema_extra={"pattern": "^[A-Z0-9_-]{1,32}$"}),
        AfterValidator(_code),
    ] = Field(description="Names folders and files.", examples=["LIFTOFF"])
    provider: Annotated[
        tuple[Literal["animatic", "shortapi", "sjinn"], ...],
        Field(strict=False, min_length=1, max_length=3),
        BeforeValidator(_providers, json_schema_input_type=str | list[str]),
        AfterValidator(_each_once),
        WithJsonSchema(
            {
                "anyOf": [
                    {"enum": list(PROVIDERS)},
                    {"type": "array", "items": {"enum": list(PROVIDERS)}, "minItems": 1, "uniqueItems": True},
                ]
            }
        ),
    ] = Field(("animatic",), description="One name, or a list in order of preference.")
    budget: Budget | None = None
    style: Annotated[str, Field(max_length=1000)] = Field("", description="Appended to every prompt.")
    defaults: Defaults = Defaults()
    elements: dict[Identifier, Element] = Field(default_factory=dict)
    shots: Annotated[tuple[Shot, ...], Field(strict=False, min_length=1, max_length=10_000)]

    def requests(self) -> tuple[ShotRequest, ...]:
        """Every shot with defaults and style applied: what providers are asked for."""
        return tuple(self._request(index, shot) for index, shot in enumerate(self.shots))

    def _request(self, index: int, shot: Shot) -> ShotRequest:
        cuts = shot.cuts
        listed = (
            tuple(CutRequest(cut.duration, self._styled(cut.prompt)) for cut in cuts)
            if isinstance(cuts, tuple)
            else None
        )
        return ShotRequest(
            index=index,
            shot=shot.id,
            take=shot.take,
            prompt=self._styled(shot.prompt) if shot.prompt else "",
            negative_prompt=self._negative(shot),
            duration=sum(cut.duration for cut in listed) if listed else shot.duration or self.defaults.duration,
            mode=shot.mode or self.defaults.mode,
            audio=self.defaults.audio if shot.audio is None else shot.audio,
            cuts=listed or (AUTO if cuts == AUTO else None),
            still=shot.still,
            end_still=shot.end_still,
            elements=tuple(
                ElementRequest(name, self.elements[name].front, self.elements[name].references)
                for name in shot.elements
            ),
        )

    def _negative(self, shot: Shot) -> str | None:
        said = self.defaults.negative_prompt if shot.negative_prompt is None else shot.negative_prompt
        return (said or "").strip() or None

    def _styled(self, prompt: str) -> str:
        """The prompt, then the style as another clause."""
        style = self.style.strip()
        return f"{prompt.strip().rstrip(',')}, {style}" if style else prompt.strip()


def json_schema() -> Mapping[str, Any]:
    """The JSON Schema (2020-12) of a storyboard file, for editors and other tools."""
    schema = Storyboard.model_json_schema(mode="validation")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Rushes storyboard",
        **{key: value for key, value in schema.items() if key != "title"},
    }
