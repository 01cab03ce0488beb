"""Custom resource definitions in few words.

    definition("example.com", "v1", "Widget", "widgets", spec="size:integer! colour:string parts:[object]")

A word is ``name:type`` with ``!`` for required; ``any`` keeps whatever it is given; ``name{...}`` is an object of its
own, ``name[{...}]`` a list of such objects.
"""

import re
from collections.abc import Iterable
from typing import Any

from ocifree_pipeline.sandbox.kubernetes.trees import Tree

_TOKEN = re.compile(r"\[\{|\}\]|[{}]|[^\s{}\[\]]+(?:\[[a-z]+\])?")
OPEN: Tree = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
TYPES: dict[str, Tree] = {
    "string": {"type": "string"},
    "integer": {"type": "integer"},
    "boolean": {"type": "boolean"},
    "any": OPEN,
    "json": {"x-kubernetes-preserve-unknown-fields": True},
    "texts": {"type": "object", "additionalProperties": {"type": "string"}},
    "duration": {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"},
    "[string]": {"type": "array", "items": {"type": "string"}},
    "[any]": {"type": "array", "items": OPEN},
}
APPROVED: Tree = {"api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/gateway-api"}
"""Kubernetes takes kinds of its own groups from those who show that they were reviewed."""
CONDITIONS: Tree = {
    "type": "array",
    "items": OPEN | {"properties": {"type": {"type": "string"}}, "required": ["type"]},
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["type"],
}
STATUS: Tree = OPEN | {"properties": {"conditions": CONDITIONS}}


def schema(words: str) -> Tree:
    """An object of which only the named members are known."""
    tokens = iter(_TOKEN.findall(words))
    return _object(tokens)


def _object(tokens: Any) -> Tree:
    properties: Tree = {}
    required: list[str] = []
    name = ""
    for token in tokens:
        if token in {"}", "}]"}:
            break
        if token in {"{", "[{"}:
            inner = _object(tokens)
            properties[name] = inner if token == "{" else {"type": "array", "items": inner}  # noqa: S105
            continue
        name, _, kind = token.partition(":")
        is_required = kind.endswith("!") or name.endswith("!")
        name = name.rstrip("!")
        if kind:
            properties[name] = TYPES[kind.rstrip("!")]
        if is_required:
            required.append(name)
    return {"type": "object", "properties": properties} | ({"required": required} if required else {})


def definition(
    group: str,
    versions: str | Iterable[str],
    kind: str,
    plural: str,
    *,
    spec: str | Tree = "",
    namespaced: bool = True,
    short: Iterable[str] = (),
    whole: Tree | None = None,
) -> Tree:
    """The first version is the one that is stored. Without ``spec`` anything goes."""
    listed = [versions] if isinstance(versions, str) else list(versions)
    inside = (schema(spec) if isinstance(spec, str) else spec) if spec else OPEN
    body = whole or {"type": "object", "properties": {"spec": inside, "status": STATUS}}
    if spec:
        body["required"] = ["spec"]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"} | ({"annotations": APPROVED} if group.endswith(".k8s.io") else {}),
        "spec": {
            "group": group,
            "scope": "Namespaced" if namespaced else "Cluster",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": list(short),
            },
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": version == listed[0],
                    "schema": {"openAPIV3Schema": body},
                    "subresources": {"status": {}},
                }
                for version in listed
            ],
        },
    }
