"""Conditions in a status, owners of objects, quantities: what every controller writes."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from ocifree_pipeline.sandbox.kubernetes.trees import Tree, at

_UNITS = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}


def condition(kind: str, status: str | bool, reason: str, message: str = "") -> Tree:
    said = status if isinstance(status, str) else "True" if status else "False"
    return {"type": kind, "status": said, "reason": reason, "message": message}


def with_conditions(tree: Tree, new: Iterable[Tree], now: str, *, generation: bool = False) -> list[Tree]:
    """The conditions of an object with ``new`` ones in their places; each knows since when it is so."""
    known = {one["type"]: one for one in at(tree, "status", "conditions", default=[])}
    for one in new:
        before = known.get(one["type"], {})
        since = before.get("lastTransitionTime") if before.get("status") == one["status"] else None
        observed = {"observedGeneration": at(tree, "metadata", "generation", default=1)} if generation else {}
        known[one["type"]] = one | {"lastTransitionTime": since or now} | observed
    return list(known.values())


def is_true(tree: Tree | None, kind: str) -> bool:
    return any(one["type"] == kind and one["status"] == "True" for one in at(tree, "status", "conditions", default=[]))


def owner(tree: Tree) -> Tree:
    """The reference by which what belongs to an object names it."""
    return {
        "apiVersion": tree["apiVersion"],
        "kind": tree["kind"],
        "name": tree["metadata"]["name"],
        "uid": tree["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def controller_of(tree: Tree, kind: str = "") -> Tree | None:
    for one in at(tree, "metadata", "ownerReferences", default=[]):
        if one.get("controller") and kind in {"", one["kind"]}:
            found: Tree = one
            return found
    return None


def key(tree: Tree) -> str:
    metadata = tree["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}" if metadata.get("namespace") else str(metadata["name"])


def split(key: str) -> tuple[str, str]:
    namespace, _, name = key.rpartition("/")
    return namespace, name


def own_key(_here: Any, tree: Tree) -> Iterable[str]:
    """The object itself is what to look at."""
    return (key(tree),)


def keys_of_owner(kind: str) -> Any:
    """The controller of the object is what to look at, if it is of that kind."""

    def keys(_here: Any, tree: Tree) -> Iterable[str]:
        found = controller_of(tree, kind)
        return () if found is None else (f"{tree['metadata'].get('namespace', '')}/{found['name']}",)

    return keys


def amount(quantity: Any) -> Decimal:
    """A quantity as a number: ``100m``, ``1.5Gi``, ``2``."""
    text = str(quantity)
    if text[-2:] in _BINARY:
        return Decimal(text[:-2]) * Decimal(2) ** _BINARY[text[-2:]]
    if text[-1:] in _UNITS:
        return Decimal(text[:-1]) * Decimal(10) ** _UNITS[text[-1]]
    return Decimal(text or 0)


def requests(spec: Tree) -> dict[str, Decimal]:
    """What a pod reserves on its node."""
    total: dict[str, Decimal] = {}
    for one in spec.get("containers") or ():
        resources = one.get("resources") or {}
        for name, value in ((resources.get("limits") or {}) | (resources.get("requests") or {})).items():
            total[name] = total.get(name, Decimal(0)) + amount(value)
    return total


def pod_from(template: Tree, namespace: str, name: str, belongs_to: Tree, labels: Tree | None = None) -> Tree:
    """A pod as a template describes it; a name that ends with a dash is completed by the API."""
    metadata = template.get("metadata") or {}
    found: Tree = {
        "metadata": {
            "namespace": namespace,
            "labels": (metadata.get("labels") or {}) | (labels or {}),
            "annotations": dict(metadata.get("annotations") or {}),
            "ownerReferences": [owner(belongs_to)],
        },
        "spec": dict(template.get("spec") or {}),
    }
    found["metadata"]["generateName" if name.endswith("-") else "name"] = name
    return found
