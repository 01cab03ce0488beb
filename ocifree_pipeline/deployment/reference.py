"""The reference of the declaration as Markdown, made from the models so that it cannot lag behind them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ocifree_pipeline.deployment.schema import json_schema

_INTRODUCTION = """\
# The declaration

One YAML file says what the platform shall be. `ocifree init` writes it, `ocifree validate` checks it.
This page is made from the program's own models; a test keeps the two equal.

- Only what has no default must be written. A section that is left out, or left empty, takes its defaults.
- An unknown key is an error, and so is a key that is written twice.
- A secret is never written here. Wherever this page says *secret reference*, write `env:NAME` (an environment
  variable), `sops:FILE#KEY` (an entry of a SOPS file), `vault:KEY` (an entry of the deployment's own vault), or
  `secret:NAME` for one that the section `secrets` names.
- `ocifree validate` reports everything that is wrong at once: where it stands, why it is wrong, and what to write.
"""

_FORMS = {
    "cidr": "range in CIDR notation",
    "secret-reference": "secret reference",
    "secret-reference-or-local-address": "secret reference or local address",
}

Schema = Mapping[str, Any]


def reference_markdown() -> str:
    """The whole page."""
    schema = json_schema()
    shown: dict[str, str] = {}
    sections = [
        part for name, entry in schema["properties"].items() for part in _sections(name, entry, schema["$defs"], shown)
    ]
    return "\n".join([_INTRODUCTION, "## The file\n", _table(schema), *sections])


def _sections(path: str, entry: Schema, defs: Schema, shown: dict[str, str]) -> Iterator[str]:
    """A heading and a table for each section, depth first; a section of a kind that was shown refers to it."""
    kind = _kind_of_section(entry)
    if kind is None:
        return
    path += _suffix(entry)
    yield f"## `{path}`\n"
    if kind in shown:
        yield f"The same keys as `{shown[kind]}`.\n"
        return
    shown[kind] = path
    model = defs[kind]
    yield f"{model['description']}\n"
    yield _table(model)
    for name, inner in model["properties"].items():
        yield from _sections(f"{path}.{name}", inner, defs, shown)


def _table(model: Schema) -> str:
    rows = ["| Key | Type | Default | What it means |", "|---|---|---|---|"]
    for name, entry in model["properties"].items():
        default = "**required**" if name in model.get("required", ()) else _default(entry)
        meaning = f"{entry['description']}{_example(entry)}".replace("|", "\\|")
        rows.append(f"| `{name}` | {_type(entry)} | {default} | {meaning} |")
    return "\n".join([*rows, ""])


def _example(entry: Schema) -> str:
    written = entry.get("examples")
    return f" Example: `{json.dumps(written[0]) if isinstance(written[0], list) else written[0]}`." if written else ""


def _kind_of_section(entry: Schema) -> str | None:
    """The name of the section's definition, through a list, a mapping of names or an optional."""
    if "$ref" in entry:
        return str(entry["$ref"]).rpartition("/")[2]
    inside = (entry.get("items"), _values(entry), *entry.get("anyOf", ()))
    return next((kind for inner in inside if inner and (kind := _kind_of_section(inner))), None)


def _values(entry: Schema) -> Schema | None:
    """What a mapping of free names holds."""
    return next(iter(entry.get("patternProperties", {}).values()), None)


def _suffix(entry: Schema) -> str:
    options = (entry, *entry.get("anyOf", ()))
    if any("items" in option for option in options):
        return "[]"
    return ".<name>" if any(_values(option) for option in options) else ""


def _type(entry: Schema) -> str:
    if "$ref" in entry:
        return "section"
    if "anyOf" in entry:
        return " or ".join(_type(option) for option in entry["anyOf"] if option.get("type") != "null")
    if "const" in entry:
        return f"`{entry['const']}`"
    if "enum" in entry:
        return " or ".join(f"`{choice}`" for choice in entry["enum"])
    kind = entry.get("type")
    if kind == "array":
        return f"list of {_type(entry['items'])}"
    if kind == "object":
        return f"names, each with a {_type(_values(entry) or {})}"
    if kind in ("integer", "number"):
        return {"integer": "whole number", "number": "number"}[kind] + _bounds(entry)
    return {"boolean": "true or false", "string": _FORMS.get(str(entry.get("format")), "text")}.get(
        str(kind), "anything"
    )


def _bounds(entry: Schema) -> str:
    low, high = entry.get("minimum"), entry.get("maximum")
    if low is not None and high is not None:
        return f", {low} to {high}"
    return f", {low} or more" if low is not None else ""


def _default(entry: Schema) -> str:
    default = entry.get("default")
    if _kind_of_section(entry) or default in (None, [], {}):
        return ""
    if isinstance(default, list):
        return ", ".join(f"`{item}`" for item in default)
    return f"`{json.dumps(default) if isinstance(default, bool) else default}`"


if __name__ == "__main__":
    import sys

    sys.stdout.write(reference_markdown())
