"""The API described to clients: what `kubectl explain` shows, and how kubectl learns that the server validates."""

from collections.abc import Iterable, Iterator
from typing import Any

from ocifree_pipeline.sandbox.kubernetes.kinds import Kind
from ocifree_pipeline.sandbox.kubernetes.trees import Tree

REFERENCE = "#/components/schemas/"
ROOT = "/openapi/v3"
TEXT: Tree = {"type": "string"}
PARAMETERS = [
    {"name": name, "in": "query", "schema": TEXT} for name in ("dryRun", "fieldManager", "fieldValidation", "force")
]
_EXTENSION = "x-kubernetes-group-version-kind"


def index(kinds: Iterable[Kind]) -> Tree:
    """Where the description of each group and version stands."""
    names = dict.fromkeys(_path(one.group, one.version) for one in kinds)
    return {"paths": {one: {"serverRelativeURL": f"{ROOT}/{one}"} for one in names}}


def description(kinds: Iterable[Kind], path: str) -> Tree | None:
    """One group and version; None when it has no kinds."""
    mine = [one for one in kinds if _path(one.group, one.version) == path]
    if not mine:
        return None
    schemas: Tree = {}
    paths: Tree = {}
    for one in mine:
        identity = {"group": one.group, "version": one.version, "kind": one.kind}
        schema, root = one.schema.raw, one.schema.root
        schemas[f"{path.replace('/', '.')}.{one.kind}"] = _plain(schema) | {_EXTENSION: [identity]}
        _collect(schema, root, schemas)
        where = f"/{path}/namespaces/{{namespace}}" if one.namespaced else f"/{path}"
        done = {"200": {"description": "OK"}}
        patch = {"parameters": PARAMETERS, "responses": done, "x-kubernetes-action": "patch", _EXTENSION: identity}
        paths[f"{where}/{one.plural}/{{name}}"] = {"patch": patch}
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": mine[0].version},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _path(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


def _collect(raw: Any, root: Tree, found: Tree) -> None:
    """The schemas that one refers to, and those that they refer to."""
    for name in _references(raw):
        if name not in found:
            found[name] = _plain(root[name])
            _collect(root[name], root, found)


def _references(raw: Any) -> Iterator[str]:
    if isinstance(raw, dict):
        reference = raw.get("$ref")
        if isinstance(reference, str):
            yield reference.rpartition("/")[2]
        for value in raw.values():
            yield from _references(value)
    elif isinstance(raw, list):
        for value in raw:
            yield from _references(value)


def _plain(raw: Any) -> Any:
    """A schema in the words of OpenAPI 3.0, which knows one type at a time."""
    if isinstance(raw, list):
        return [_plain(one) for one in raw]
    if not isinstance(raw, dict):
        return raw
    found: Tree = {}
    for name, value in raw.items():
        if name == "$ref" and isinstance(value, str):
            found[name] = REFERENCE + value.rpartition("/")[2]
        elif name == "type" and isinstance(value, list):
            found[name] = next(one for one in value if one != "null")
        else:
            found[name] = _plain(value)
    return found
