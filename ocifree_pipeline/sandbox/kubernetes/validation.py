"""Whether an object is what its schema says: unknown fields, defaults, types, values."""

import json
import re
from typing import Any

from ocifree_pipeline.sandbox.kubernetes.schemas import Node
from ocifree_pipeline.sandbox.kubernetes.statuses import Cause
from ocifree_pipeline.sandbox.kubernetes.trees import Tree, clone

SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
LABEL_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
QUANTITY = re.compile(r"[+-]?([0-9]+|[0-9]+\.[0-9]*|\.[0-9]+)(m|u|n|[kMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]+)?")
KEPT_WORDS: dict[str, type] = {"boolean": bool, "string": str, "object": dict, "array": list}


class WrongType(Exception):
    """A value of a JSON type that its field cannot hold."""

    def __init__(self, path: str, found: str, wanted: tuple[str, ...]) -> None:
        super().__init__(path)
        self.path, self.found, self.wanted = path, found, wanted


def pruned(value: Any, node: Node, path: str = "") -> tuple[Any, list[str]]:
    """A copy without the fields that the schema does not know, and where they stood.

    To built-in kinds a member that is null is one that is not there.
    """
    unknown: list[str] = []
    return _pruned(value, node, path, unknown), unknown


def _pruned(value: Any, node: Node, path: str, unknown: list[str]) -> Any:
    if isinstance(value, dict):
        kept: Tree = {}
        for name, one in value.items():
            below = f"{path}.{name}" if path else name
            child = node.child(name)
            if child is None:
                unknown.append(below)
            elif one is not None or node.is_custom:
                kept[name] = _pruned(one, child, below, unknown)
        return kept
    if isinstance(value, list):
        items = node.items
        return [_pruned(one, items, f"{path}[{index}]", unknown) for index, one in enumerate(value)]
    return value


def defaulted(value: Any, node: Node) -> Any:
    """Fill in the defaults of a custom resource's schema; ``value`` is changed."""
    if isinstance(value, dict):
        for name in node.fields:
            child = node.child(name)
            if child is not None and "default" in child.raw and value.get(name) is None:
                value[name] = clone(child.raw["default"])
        for name, one in value.items():
            child = node.child(name)
            if child is not None:
                defaulted(one, child)
    elif isinstance(value, list):
        for one in value:
            defaulted(one, node.items)
    return value


def problems(value: Any, node: Node) -> list[Cause]:
    """What is wrong with an object. WrongType for a built-in kind that could not even be decoded."""
    causes: list[Cause] = []
    _check(value, node, "", causes)
    return causes


def _check(value: Any, node: Node, path: str, causes: list[Cause]) -> None:
    if value is None:
        return
    types = node.types
    if types and not any(_is(value, one) for one in types):
        if not node.is_custom:
            raise WrongType(path, _json_type(value), types)
        said = f"{path} in body must be of type {types[0]}: {_shown(_json_type(value))}"
        causes.append(Cause("FieldValueTypeInvalid", f"Invalid value: {_shown(value)}: {said}", path))
        return
    _check_value(value, node, path, causes)
    if isinstance(value, dict):
        missing = [name for name in node.required if value.get(name) is None]
        causes += [
            Cause("FieldValueRequired", "Required value", f"{path}.{name}" if path else name) for name in missing
        ]
        for name, one in value.items():
            child = node.child(name)
            if child is not None:
                _check(one, child, f"{path}.{name}" if path else name, causes)
    elif isinstance(value, list):
        items = node.items
        for index, one in enumerate(value):
            _check(one, items, f"{path}[{index}]", causes)
        _check_duplicates(value, node, path, causes)


def _check_value(value: Any, node: Node, path: str, causes: list[Cause]) -> None:
    raw = node.raw
    if "enum" in raw and value not in raw["enum"]:
        known = ", ".join(_shown(one) for one in raw["enum"])
        causes.append(
            Cause("FieldValueNotSupported", f"Unsupported value: {_shown(value)}: supported values: {known}", path)
        )
    if not node.is_custom:
        return
    rules: list[tuple[bool, str]] = []
    if isinstance(value, str):
        if "pattern" in raw and not re.search(raw["pattern"], value):
            rules.append((True, f"should match '{raw['pattern']}'"))
        rules.append((len(value) < raw.get("minLength", 0), f"should be at least {raw.get('minLength')} chars long"))
        rules.append(
            (len(value) > raw.get("maxLength", len(value)), f"should be at most {raw.get('maxLength')} chars long")
        )
    elif isinstance(value, int | float) and not isinstance(value, bool):
        rules.append((value < raw.get("minimum", value), f"should be greater than or equal to {raw.get('minimum')}"))
        rules.append((value > raw.get("maximum", value), f"should be less than or equal to {raw.get('maximum')}"))
    elif isinstance(value, list):
        rules.append((len(value) < raw.get("minItems", 0), f"should have at least {raw.get('minItems')} items"))
        rules.append((len(value) > raw.get("maxItems", len(value)), f"should have at most {raw.get('maxItems')} items"))
    for broken, said in rules:
        if broken:
            causes.append(Cause("FieldValueInvalid", f"Invalid value: {_shown(value)}: {path} in body {said}", path))


def _check_duplicates(value: list[Any], node: Node, path: str, causes: list[Cause]) -> None:
    if node.list_type not in {"map", "set"}:
        return
    seen: list[Any] = []
    for index, one in enumerate(value):
        try:
            key = node.key_of(one) if node.list_type == "map" else one
        except KeyError:
            continue
        if key in seen:
            causes.append(Cause("FieldValueDuplicate", f"Duplicate value: {_shown(key)}", f"{path}[{index}]"))
        seen.append(key)


def _is(value: Any, kind: str) -> bool:
    if kind == "integer":
        return (isinstance(value, int) and not isinstance(value, bool)) or (
            isinstance(value, float) and value.is_integer()
        )
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, KEPT_WORDS[kind])


def _json_type(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "integer" if isinstance(value, int) else "number"
    return next(name for name, kind in KEPT_WORDS.items() if isinstance(value, kind))


def _shown(value: Any) -> str:
    return json.dumps(value)


# names and labels -----------------------------------------------------------------------------------------------------

_SUBDOMAIN_SAID = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_LABEL_SAID = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_PATH_NAMED = frozenset({"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"})
_LABEL_NAMED = frozenset({"Namespace", "Service"})


def metadata_problems(kind: str, metadata: Tree) -> list[Cause]:
    name = metadata.get("name", "")
    causes: list[Cause] = []
    if not name:
        return [Cause("FieldValueRequired", "Required value: name or generateName is required", "metadata.name")]
    if kind in _PATH_NAMED:
        if "/" in name or "%" in name or name in {".", ".."}:
            causes.append(
                Cause("FieldValueInvalid", f"Invalid value: {_shown(name)}: may not contain '/'", "metadata.name")
            )
    else:
        pattern, said, longest = (LABEL, _LABEL_SAID, 63) if kind in _LABEL_NAMED else (SUBDOMAIN, _SUBDOMAIN_SAID, 253)
        if len(name) > longest:
            said = f"must be no more than {longest} characters"
        if len(name) > longest or not pattern.fullmatch(name):
            causes.append(Cause("FieldValueInvalid", f"Invalid value: {_shown(name)}: {said}", "metadata.name"))
    for label, value in (metadata.get("labels") or {}).items():
        _, _, bare = label.rpartition("/")
        if not LABEL_NAME.fullmatch(bare) or len(bare) > 63:
            said = "name part must consist of alphanumeric characters, '-', '_' or '.'"
            causes.append(Cause("FieldValueInvalid", f"Invalid value: {_shown(label)}: {said}", "metadata.labels"))
        if not LABEL_VALUE.fullmatch(value or "") or len(value or "") > 63:
            said = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.'"
            causes.append(Cause("FieldValueInvalid", f"Invalid value: {_shown(value)}: {said}", "metadata.labels"))
    return causes
