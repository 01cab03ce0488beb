"""Kubernetes objects as plain data: who they are, and in which order they have to come."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ocifree_pipeline.deployment.errors import Refused

Object = Mapping[str, Any]

CORE = ""
DEFINITION = ("apiextensions.k8s.io", "CustomResourceDefinition")
NAMESPACE = (CORE, "Namespace")
PART_LABEL = "ocifree/part"

# What others need comes first: the rest fails without its definition or its namespace, and pods without the rest.
_ORDER: tuple[tuple[str, str], ...] = (
    NAMESPACE,
    DEFINITION,
    (CORE, "ServiceAccount"),
    ("rbac.authorization.k8s.io", "ClusterRole"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
    (CORE, "ResourceQuota"),
    (CORE, "LimitRange"),
    ("networking.k8s.io", "NetworkPolicy"),
    ("cilium.io", "CiliumNetworkPolicy"),
    (CORE, "Secret"),
    (CORE, "ConfigMap"),
    ("source.toolkit.fluxcd.io", "HelmRepository"),
    ("source.toolkit.fluxcd.io", "GitRepository"),
)


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """Which object. The version of its group is only how it is spoken of, so it does not count."""

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


def ref_of(thing: Object) -> Ref:
    metadata = thing.get("metadata", {})
    group = group_of(str(thing["apiVersion"]))
    return Ref(group, str(thing["kind"]), str(metadata.get("namespace", "")), str(metadata["name"]))


def group_of(api_version: str) -> str:
    return api_version.partition("/")[0] if "/" in api_version else CORE


def is_of(thing: Object, kind: tuple[str, str]) -> bool:
    return (group_of(str(thing["apiVersion"])), thing["kind"]) == kind


def ordered(objects: Iterable[Object]) -> list[Object]:
    """In the order of their making; those of one rank as they came."""
    ranks = {kind: rank for rank, kind in enumerate(_ORDER)}

    def rank(thing: Object) -> int:
        return ranks.get((group_of(str(thing["apiVersion"])), str(thing["kind"])), len(ranks))

    return sorted(objects, key=rank)


def require_distinct(objects: Iterable[Object], part: str) -> None:
    seen: set[Ref] = set()
    for ref in map(ref_of, objects):
        if ref in seen:
            raise Refused(
                f"manifests/{part} declares {ref} twice",
                why="the second one would overwrite the first at every run",
                fix="keep one of the two",
            )
        seen.add(ref)


def labelled(thing: Object, part: str) -> Object:
    """With the label by which people find what we brought: `kubectl get all --selector ocifree/part=gateway`."""
    metadata = dict(thing["metadata"])
    metadata["labels"] = {**(metadata.get("labels") or {}), PART_LABEL: part}
    return {**thing, "metadata": metadata}


def at(thing: Object, path: str, default: Any = None) -> Any:
    """The value at a path such as `status.replicas`; the default where any part of the path is missing."""
    found: Any = thing
    for step in path.split("."):
        if not isinstance(found, Mapping) or step not in found:
            return default
        found = found[step]
    return found
