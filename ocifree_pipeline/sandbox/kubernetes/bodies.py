"""The bodies of writing requests: whether they are of the kind that the path names, and what they may change."""

from typing import Any

from ocifree_pipeline.sandbox.kubernetes import statuses
from ocifree_pipeline.sandbox.kubernetes.kinds import Kind
from ocifree_pipeline.sandbox.kubernetes.trees import Tree, at


def object_of(body: Any, kind: Kind) -> Tree:
    """The body as an object of the kind that the path names."""
    if not isinstance(body, dict):
        raise statuses.bad_request("the body of the request is not an object")
    tree: Tree = dict(body)
    if not isinstance(tree.get("metadata") or {}, dict):
        raise statuses.bad_request("the body of the request has no metadata that can be read")
    if tree.setdefault("apiVersion", kind.api_version) != kind.api_version:
        raise statuses.bad_request(
            f"the API version in the data ({tree['apiVersion']}) does not match the expected API version"
            f" ({kind.api_version})"
        )
    if tree.setdefault("kind", kind.kind) != kind.kind:
        raise statuses.bad_request(
            f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: the body is of kind '
            f"{tree['kind']}"
        )
    return tree


def confined(kind: Kind, sub: str, old: Tree, new: Tree) -> Tree:
    """What a write through the object, or through its status, may change: not the other half."""
    if sub == "status":
        return old | {"metadata": dict(old["metadata"]), "status": new.get("status", {})}
    new = dict(new)
    new["metadata"] = dict(new.get("metadata") or {})
    new["metadata"].setdefault("name", old["metadata"]["name"])
    if "namespace" in old["metadata"]:
        new["metadata"].setdefault("namespace", old["metadata"]["namespace"])
    if kind.status:
        new.pop("status", None)
        if "status" in old:
            new["status"] = old["status"]
    return new


def desired(tree: Tree) -> Tree:
    return {name: value for name, value in tree.items() if name not in {"metadata", "status", "apiVersion"}}


def holds_itself(kind: Kind, tree: Tree) -> bool:
    """A namespace stays until its controller has emptied it."""
    return kind.kind == "Namespace" and not kind.group and bool(at(tree, "spec", "finalizers"))
