"""Pods leave a node that nobody hears of: each after as long as it tolerates that."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from ocifree_pipeline.sandbox.kubernetes.conditions import key, own_key, split
from ocifree_pipeline.sandbox.kubernetes.running import Here, Keys
from ocifree_pipeline.sandbox.kubernetes.trees import Tree, at

PODS = "v1/pods"


def _on_it(here: Here, node: Tree) -> Iterable[str]:
    if not _evicting(node):
        return ()
    return [key(one) for one in here.client.list(PODS, fields=f"spec.nodeName={node['metadata']['name']}")]


def _evicting(node: Tree | None) -> list[Tree]:
    return [one for one in at(node, "spec", "taints", default=[]) if one["effect"] == "NoExecute"]


@dataclass(frozen=True, slots=True)
class Evictions:
    name: str = "evictions"
    watches: dict[str, Keys] = field(default_factory=lambda: {"pods": own_key, "nodes": _on_it})

    def reconcile(self, here: Here, key: str) -> float | None:
        namespace, name = split(key)
        pod = here.client.get(PODS, namespace, name)
        node = here.client.get("v1/nodes", "", at(pod, "spec", "nodeName") or "") if pod is not None else None
        if pod is None or node is None or pod["metadata"].get("deletionTimestamp"):
            return None
        waits = [_tolerated(pod["spec"], taint) for taint in _evicting(node)]
        if not waits or min(waits) == float("inf"):
            return None
        left = here.left(_since(here, node), min(waits))
        if left <= 0:
            here.client.delete(PODS, namespace, name)
            return None
        return left


def _tolerated(spec: Tree, taint: Tree) -> float:
    """Seconds; endless when a toleration names none."""
    fitting = [
        one
        for one in spec.get("tolerations") or ()
        if one.get("key") in {None, "", taint["key"]} and one.get("effect") in {None, "", "NoExecute"}
    ]
    if not fitting:
        return 0.0
    return min((float(one.get("tolerationSeconds") or "inf") for one in fitting), default=0.0)


def _since(here: Here, node: Tree) -> str:
    """Since when the node is not Ready."""
    ready = (one for one in at(node, "status", "conditions", default=[]) if one["type"] == "Ready")
    return str(next((one["lastTransitionTime"] for one in ready), here.stamp))
