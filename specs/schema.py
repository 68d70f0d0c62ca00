"""A model's JSON Schema as an editor wants it: draft 7, keys in the order of the model, nothing offered that is refused."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

__all__ = ["schema_of"]

_EDITORS_OWN = {"$schema": {"type": "string", "description": "Where an editor finds this schema."}}


class _ForEditors(GenerateJsonSchema):
    """A key is there with a value or not there: `null` and defaults of `null` are left out."""

    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:  # noqa: ARG002
        return value

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        return False

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        if schema.get("default") is None:
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)


def schema_of(model: type[BaseModel], *, title: str) -> Mapping[str, Any]:
    """The schema of files that hold one `model`; the editor's own key `$schema` may stand at their top."""
    made = _draft_7(model.model_json_schema(mode="validation", schema_generator=_ForEditors))
    definitions = made.pop("$defs")
    made["properties"] = {**_EDITORS_OWN, **made["properties"]}
    return {"$schema": "http://json-schema.org/draft-07/schema#", **made, "title": title, "$defs": definitions}


def _draft_7(schema: Any) -> Any:
    """Draft 7 ignores whatever stands beside a `$ref`, and names of keys are checked by `propertyNames`."""
    if isinstance(schema, list):
        return [_draft_7(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _draft_7(value) for key, value in schema.items()}
    if "$ref" in made and len(made) > 1:
        made = {"allOf": [{"$ref": made.pop("$ref")}], **made}
    if "patternProperties" in made:
        ((pattern, values),) = made.pop("patternProperties").items()
        made |= {"propertyNames": {"pattern": pattern}, "additionalProperties": values}
    return made
