"""The JSON Schema: kept equal to the models, accepted by check-jsonschema, and as strict as a schema can be."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import regress
from check_jsonschema.cli import main as check_jsonschema  # type: ignore[import-untyped]  # publishes no types
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator  # type: ignore[import-untyped]  # publishes no types
from pydantic import TypeAdapter, ValidationError

from specs.fields import Address, Code, Identifier, MoneyText
from specs.json_text import compose_json
from specs.storyboard import json_schema
from specs.yaml_text import compose_yaml
from tests.strategies import boards

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "specs/storyboard.schema.json"
BAD = Path(__file__).parents[1] / "assets/specs/bad"
GOOD = [
    *(path for path in sorted((ROOT / "specs/examples").glob("*.yaml")) if not path.name.endswith(".board.yaml")),
    BAD.parent / "good/contract.yaml",
    BAD.parent / "good/contract.json",
]
BEYOND = {
    # What stands in two places: no schema compares them.
    "S03-ids-the-same.yaml",
    "S03-ids-the-same-but-for-case.yaml",
    "cuts-too-long.yaml",
    "cuts-too-short.yaml",
    "cuts-unlike-duration.yaml",
    "element-of-no-board.yaml",
    "element-unknown.yaml",
    "cut-prompt-too-long-with-style.yaml",
    "prompt-too-long-with-style.yaml",
    # What would burden every text with a pattern that no author should see.
    "S05-control-character.yaml",
    "S06-nul-escape.json",
    "S10-key-as-id.yaml",
    "S10-key-in-address.yaml",
    "S10-key-in-comment.yaml",
    "S10-key-in-json.json",
    "S10-key-in-style.yaml",
    # To JSON Schema 5.0 is a whole number.
    "duration-with-point.yaml",
}


def readable() -> list[Path]:
    """The bad specs whose form is sound: what is wrong with them is said of values, which is a schema's business."""
    found = []
    for path in sorted(BAD.iterdir()):
        if path.suffix not in {".yaml", ".json"} or path.name.endswith(".board.yaml"):
            continue
        text = path.read_bytes().decode("utf-8", errors="replace")
        composed = compose_json(text, path.name) if path.suffix == ".json" else compose_yaml(text, path.name)
        if composed.root is not None and not composed.issues:
            found.append(path)
    return found


def checked(paths: list[Path]) -> dict[str, Any]:
    """What check-jsonschema says of files."""
    arguments = ["--schemafile", str(SCHEMA), "--output-format", "json", *map(str, paths)]
    result: dict[str, Any] = json.loads(CliRunner().invoke(check_jsonschema, arguments).stdout)
    return result


@cache
def pattern(*keys: str) -> regress.Regex:
    """A pattern of the schema as ECMA 262 reads it, as editors do."""
    value: Any = json_schema()
    for key in keys:
        value = value[key]
    return regress.Regex(value["pattern"])


def test_the_committed_schema_is_that_of_the_models() -> None:
    """`rushes schema` prints the file; after a change of the models run `make schema`."""
    assert SCHEMA.read_text(encoding="utf-8") == json.dumps(json_schema(), indent=2) + "\n"


def test_the_schema_is_a_schema() -> None:
    """Draft 7, which every editor's language server knows, and check-jsonschema takes it."""
    Draft7Validator.check_schema(json_schema())
    assert CliRunner().invoke(check_jsonschema, ["--check-metaschema", str(SCHEMA)]).exit_code == 0


def test_check_jsonschema_accepts_every_example() -> None:
    """No editor underlines anything in a board that is sound."""
    assert GOOD
    assert checked(GOOD)["status"] == "ok"


def test_the_schema_refuses_every_flaw_that_a_schema_can_express() -> None:
    """What it lets pass is known by name, and is refused by the loader."""
    paths = readable()
    told = checked(paths)
    refused = {Path(one["filename"]).name for kind in ("errors", "parse_errors") for one in told[kind]}
    assert {path.name for path in paths} - refused == BEYOND


def test_the_schema_offers_nothing_that_is_refused() -> None:
    """No null, no default of null, no title that repeats a key; every key is described to its author."""
    text = json.dumps(json_schema())
    assert "null" not in text
    schema = json_schema()
    for name, part in [("Storyboard", schema), *schema["$defs"].items()]:
        assert part["additionalProperties"] is False
        assert part["description"]
        for key, one in part["properties"].items():
            assert "title" not in one, (name, key)
            assert "description" in one or "$ref" in one, (name, key)


@given(boards())
def test_the_schema_accepts_whatever_the_models_accept(board: dict[str, Any]) -> None:
    """A valid board is never underlined."""
    assert Draft7Validator(json_schema()).is_valid(board)


@given(
    st.text("aZ09._-/\\:@~?# \n%sShtp3gx", max_size=24)
    | st.builds(
        "{}{}".format,
        st.sampled_from(["https://", "s3://", "abfs://", "gs:/", "http://", "zip::", "CON", "con.", "LPT1", "../"]),
        st.text("aC1._-/:@? \n", max_size=10),
    ),
    st.sampled_from(
        [
            (Identifier, ("$defs", "Shot", "properties", "id")),
            (Address, ("$defs", "Shot", "properties", "still")),
            (Code, ("properties", "code")),
        ]
    ),
)
def test_patterns_and_models_agree(text: str, field: tuple[Any, tuple[str, ...]]) -> None:
    """A name or an address is underlined in an editor exactly when the loader refuses it."""
    assert bool(pattern(*field[1]).find(text)) == accepted(field[0], text)


@given(st.from_regex(r"[0-9]{0,8}(\.[0-9]{0,7})?[ ]{0,2}(USD|usd|EUR|sjinn-credits|sjin-credits)?\n?", fullmatch=True))
def test_amounts_and_models_agree(text: str) -> None:
    """The same for money."""
    assert bool(pattern("$defs", "Budget", "properties", "cap").find(text)) == accepted(MoneyText, text)


def accepted(field: Any, text: str) -> bool:
    """Whether the model takes the text."""
    try:
        TypeAdapter(field).validate_python(text)
    except ValidationError:
        return False
    return True
