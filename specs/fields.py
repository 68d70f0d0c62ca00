"""What single values of a storyboard may be: names, money, addresses of stills, prompts, each with its JSON Schema."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

from specs.money import USD, Money, MoneyError

__all__ = [
    "CUT_PROMPT_MAX",
    "PROMPT_MAX",
    "PROVIDERS",
    "SECONDS",
    "UNITS",
    "Address",
    "Code",
    "CutPrompt",
    "CutSeconds",
    "Identifier",
    "MoneyText",
    "NegativePrompt",
    "Prompt",
    "Providers",
    "Seconds",
    "Style",
    "Take",
    "Title",
]

PROVIDERS = ("animatic", "shortapi", "sjinn")
UNITS = (USD, "sjinn-credits")
PROMPT_MAX, CUT_PROMPT_MAX = 2500, 512
SECONDS = (3, 15)
_AMOUNT = rf"([0-9]{{1,6}}(\.[0-9]{{1,6}})?|1000000(\.0{{1,6}})?) ({'|'.join(UNITS)})"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_CODE = re.compile(r"[A-Z0-9_-]{1,32}")
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
_AZURE = ("abfs", "abfss", "az")
_SCHEMES = ("https", "s3", "gs", "gcs", *_AZURE)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_ADDRESS = re.compile(rf"({'|'.join(_SCHEMES)})://[^\s/?#]+/[^\s]+")
_NO_DEVICE = r"(?!(?:[Cc][Oo][Nn]|[Pp][Rr][Nn]|[Aa][Uu][Xx]|[Nn][Uu][Ll]|[Cc][Oo][Mm][0-9]|[Ll][Pp][Tt][0-9])(?:\.|$))"


def _refuse(message: str, **facts: Any) -> PydanticCustomError:
    return PydanticCustomError("rushes", message, facts or None)


def _money(value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise _refuse("Write the amount with its unit, like 12.00 USD")
    if not isinstance(value, str):
        return value
    try:
        money = Money.parse(value)
    except MoneyError as error:
        raise _refuse("{reason}", reason=str(error)) from error
    if money.unit in UNITS and not re.fullmatch(_AMOUNT, value):
        raise _refuse("Write the amount, one space and its unit, like 12.00 USD")
    if money.unit not in UNITS:
        raise _refuse("{unit} is no unit of money here: write {units}", unit=money.unit, units=" or ".join(UNITS))
    return money


def _identifier(value: str) -> str:
    if not _ID.fullmatch(value):
        raise _refuse("Use 1 to 64 letters, digits, dots, dashes and underscores, beginning with a letter or digit")
    if _DEVICES.fullmatch(value) or value.endswith("."):
        raise _refuse("No file can be named like that on every system")
    return value


def _code(value: str) -> str:
    if not _CODE.fullmatch(value):
        raise _refuse("Use 1 to 32 capital letters, digits, dashes and underscores")
    if _DEVICES.fullmatch(value):
        raise _refuse("No folder can be named like that on every system")
    return value


def _said(value: str) -> str:
    if not value.strip():
        raise _refuse("This is blank")
    return value.strip()


def _address(value: str) -> str:
    """A path beside the spec, or an address of an allowed kind; no chained ones (S04)."""
    _said(value)
    scheme = _SCHEME.match(value)
    if "::" in value:
        raise _refuse("Chained addresses (::) are not allowed")
    if scheme and len(scheme[1]) > 1:
        return _remote(value, scheme[1])
    if scheme or value.startswith(("/", "\\", "~")):
        raise _refuse("Keep stills beside the spec and write a relative path, so that the board can be moved")
    if "\\" in value or ":" in value or "\n" in value or value != value.strip():
        raise _refuse("Write a path with / between folders, without colons, line breaks or outer spaces")
    return value


def _remote(value: str, scheme: str) -> str:
    if scheme not in _SCHEMES:
        raise _refuse(
            "A still is a path beside the spec or an https, s3, gs or abfs address, not {scheme}:", scheme=scheme[:16]
        )
    if not _ADDRESS.fullmatch(value):
        raise _refuse("The address is incomplete or holds spaces: write {scheme}://place/path", scheme=scheme)
    host = value.split("/")[2]
    if "@" in host and (scheme not in _AZURE or ":" in host):
        raise _refuse("Take the user name and password out of the address")
    return value


def _providers(value: object) -> object:
    if not isinstance(value, str | list | tuple):
        raise _refuse("Write one provider's name, or a list of names")
    return (value,) if isinstance(value, str) else value


def _each_once(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(value)) != len(value):
        raise _refuse("Each provider should be named once")
    return value


def _text(pattern: str, **more: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, **more})


MoneyText = Annotated[
    Money,
    BeforeValidator(_money),
    PlainSerializer(str, return_type=str),
    _text(f"^{_AMOUNT}$", examples=["12.00 USD", "4000 sjinn-credits"]),
]
Identifier = Annotated[
    str, AfterValidator(_identifier), _text(rf"^{_NO_DEVICE}[A-Za-z0-9]([A-Za-z0-9._-]{{0,62}}[A-Za-z0-9_-])?$")
]
Code = Annotated[str, AfterValidator(_code), _text(rf"^{_NO_DEVICE}[A-Z0-9_-]{{1,32}}$")]
Address = Annotated[
    str,
    Field(max_length=2048),
    AfterValidator(_address),
    _text(
        r"^((?!.*::)((https|s3|gs|gcs)://[^\s/?#@]+|(abfss?|az)://[^\s/?#:]+)/\S+|(?![/~\s])[^:\\\n]*[^:\\\s])$",
        maxLength=2048,
        examples=["stills/rocket.jpg"],
    ),
]
Seconds = Annotated[int, Field(ge=SECONDS[0], le=SECONDS[1])]
Title = Annotated[str, Field(max_length=200), AfterValidator(_said), _text(r"\S", maxLength=200)]
Prompt = Annotated[str, Field(max_length=PROMPT_MAX), AfterValidator(_said), _text(r"\S", maxLength=PROMPT_MAX)]
CutPrompt = Annotated[
    str, Field(max_length=CUT_PROMPT_MAX), AfterValidator(_said), _text(r"\S", maxLength=CUT_PROMPT_MAX)
]
NegativePrompt = Annotated[str, Field(max_length=PROMPT_MAX), AfterValidator(str.strip)]
Providers = Annotated[
    tuple[Literal["animatic", "shortapi", "sjinn"], ...],
    Field(strict=False, min_length=1),
    BeforeValidator(_providers),
    AfterValidator(_each_once),
    WithJsonSchema(
        {
            "oneOf": [
                {"enum": list(PROVIDERS)},
                {"type": "array", "items": {"enum": list(PROVIDERS)}, "minItems": 1, "uniqueItems": True},
            ]
        }
    ),
]
Style = Annotated[str, Field(max_length=1000), AfterValidator(str.strip)]
CutSeconds = Annotated[int, Field(ge=1, le=SECONDS[1])]
Take = Annotated[int, Field(ge=1, le=999)]
