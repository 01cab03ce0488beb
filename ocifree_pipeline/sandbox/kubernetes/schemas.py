"""What fields an object has and how its lists merge: from the published schemas, or from a custom resource definition.

The schemas of the built-in kinds come with the package kubernetes-validate, which is read as data and not imported.
"""

import importlib.util
import json
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

from ocifree_pipeline.sandbox.kubernetes.trees import Tree

VERSION = "1.36.0"
KEY_DEFAULTS = {"protocol": "TCP"}
"""Keys of list entries that may be left out, and what they are then."""

Shape = Literal["any", "scalar", "object", "map", "list"]


class Node:
    """One place of a schema. ``root`` finds what a reference names. What was worked out once is kept."""

    def __init__(self, raw: Tree, root: Tree, *, is_custom: bool = False) -> None:
        self.raw = raw
        self.root = root
        self.is_custom = is_custom
        self._children: dict[str, Node | None] = {}

    @cached_property
    def types(self) -> tuple[str, ...]:
        """The JSON types that fit; empty when any does."""
        if self.raw.get("x-kubernetes-int-or-string"):
            return ("integer", "string")
        alternatives = [self.raw] if "type" in self.raw else [*self.raw.get("oneOf", ()), *self.raw.get("anyOf", ())]
        found: list[str] = []
        for one in alternatives:
            kind = one.get("type")
            found += [kind] if isinstance(kind, str) else list(kind or ())
        return tuple(dict.fromkeys(one for one in found if one != "null"))

    @cached_property
    def shape(self) -> Shape:
        if "properties" in self.raw:
            return "object"
        types = self.types
        if types == ("array",):
            return "list"
        if types == ("object",):
            return "map" if isinstance(self.raw.get("additionalProperties"), dict) else "any"
        return "scalar" if types else "any"

    @cached_property
    def is_open(self) -> bool:
        """Whether fields that the schema does not name are kept."""
        return bool(self.raw.get("x-kubernetes-preserve-unknown-fields")) or (
            "properties" not in self.raw and not isinstance(self.raw.get("additionalProperties"), dict)
        )

    @cached_property
    def is_atomic(self) -> bool:
        """Whether it is owned and replaced as a whole."""
        shape = self.shape
        if shape == "list":
            return self.list_type == "atomic"
        return shape in {"object", "map"} and self.raw.get("x-kubernetes-map-type") == "atomic"

    @cached_property
    def list_type(self) -> str:
        return str(self.raw.get("x-kubernetes-list-type", "atomic"))

    @cached_property
    def keys(self) -> tuple[str, ...]:
        return tuple(self.raw.get("x-kubernetes-list-map-keys", ()))

    @cached_property
    def merge_key(self) -> str:
        """By which a strategic merge patch finds entries of a list; empty when it replaces the list."""
        strategy = str(self.raw.get("x-kubernetes-patch-strategy", ""))
        return str(self.raw.get("x-kubernetes-patch-merge-key", "")) if "merge" in strategy.split(",") else ""

    @property
    def merges_values(self) -> bool:
        """A list of plain values to which a strategic merge patch adds."""
        return "merge" in str(self.raw.get("x-kubernetes-patch-strategy", "")).split(",") and not self.merge_key

    @cached_property
    def required(self) -> tuple[str, ...]:
        return tuple(self.raw.get("required", ()))

    @cached_property
    def fields(self) -> tuple[str, ...]:
        return tuple(self.raw.get("properties", ()))

    def child(self, name: str) -> "Node | None":
        """The schema of a member; None when the schema knows no such member."""
        if name not in self._children:
            found = self.raw.get("properties", {}).get(name)
            # The members of a map are all alike, and may be many: only named ones are kept.
            if found is None:
                return self._unnamed
            self._children[name] = self._resolved(found)
        return self._children[name]

    @cached_property
    def _unnamed(self) -> "Node | None":
        found = self.raw.get("additionalProperties")
        return self._resolved(found) if isinstance(found, dict) else ANY if self.is_open else None

    @cached_property
    def items(self) -> "Node":
        found = self.raw.get("items")
        return self._resolved(found) if isinstance(found, dict) else ANY

    def key_of(self, entry: Any) -> Tree:
        """The key of an entry of a list map; KeyError names the field that it lacks."""
        if not isinstance(entry, dict):
            raise KeyError(self.keys[0])
        found: Tree = {}
        for name in self.keys:
            value = entry.get(name, KEY_DEFAULTS.get(name))
            value = self._key_default(name) if value is None else value
            if value is None:
                raise KeyError(name)
            found[name] = value
        return found

    def _key_default(self, name: str) -> Any:
        child = self.items.child(name)
        return child.raw.get("default") if child is not None else None

    def _resolved(self, raw: Tree) -> "Node":
        reference = raw.get("$ref")
        if reference is None:
            return Node(raw, self.root, is_custom=self.is_custom)
        beside = {name: value for name, value in raw.items() if name.startswith("x-kubernetes-")}
        target = self.root[reference.rpartition("/")[2]]
        return Node(target | beside if beside else target, self.root, is_custom=self.is_custom)


ANY = Node({}, {})


@cache
def builtin(group: str, version: str, kind: str) -> Node:
    """The schema of a built-in kind; ANY for the few that have none."""
    name = _index().get((group, version, kind))
    return Node(_definitions()[name], _definitions()) if name is not None else ANY


def custom(schema: Tree) -> Node:
    """The schema of a custom resource, with the members that every object has."""
    raw = _embedded(schema)
    return Node(raw, _definitions(), is_custom=True)


META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


def _embedded(schema: Tree) -> Tree:
    properties = schema.get("properties", {}) | {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"$ref": f"#/$defs/{META}"},
    }
    return schema | {"properties": properties}


@cache
def _definitions() -> Tree:
    spec = importlib.util.find_spec("kubernetes_validate")
    if spec is None or not spec.submodule_search_locations:
        raise LookupError("the package kubernetes-validate, which brings the schemas, is not installed")
    folder = Path(spec.submodule_search_locations[0]) / "kubernetes-json-schema" / f"v{VERSION}-local"
    found: Tree = json.loads((folder / "_definitions.json").read_bytes())["$defs"]
    return found


@lru_cache(maxsize=1)
def _index() -> dict[tuple[str, str, str], str]:
    return {
        (one["group"], one["version"], one["kind"]): name
        for name, definition in _definitions().items()
        for one in definition.get("x-kubernetes-group-version-kind", ())
        if len(definition["x-kubernetes-group-version-kind"]) == 1
    }
