"""The declaration as JSON Schema, for editors that complete and check YAML while it is written."""

from __future__ import annotations

from typing import Any

from ocifree_pipeline.deployment.declaration import Declaration

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """What a schema can say: keys, types, choices, bounds and forms. What ties keys together is checked by `parse`."""
    schema = Declaration.model_json_schema()
    for model in (schema, *schema["$defs"].values()):
        for name, entry in model["properties"].items():
            if "patternProperties" in entry:
                entry["additionalProperties"] = False
            if "$ref" in entry and name not in model.get("required", ()):
                # `hunt:` with nothing under it is the same as no `hunt`, here as in `parse`.
                entry["anyOf"] = [{"$ref": entry.pop("$ref")}, {"type": "null"}]
    return {"$schema": DIALECT, **schema, "title": "ocifree deployment"}
