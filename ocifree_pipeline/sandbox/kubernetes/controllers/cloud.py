"""What Oracle's cloud controller manager does for nodes: it tells who they are and lets pods onto them.

Load balancers that it would order are not played: a service of that type waits for its address.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from ocifree_pipeline.sandbox.kubernetes.conditions import is_true, own_key
from ocifree_pipeline.sandbox.kubernetes.controllers.nodes import NODES, UNINITIALIZED
from ocifree_pipeline.sandbox.kubernetes.running import Here, Keys
from ocifree_pipeline.sandbox.kubernetes.trees import Tree, at

LABEL, NAME = "component", "oci-cloud-controller-manager"


def _when_it_comes_up(here: Here, pod: Tree) -> Iterable[str]:
    if at(pod, "metadata", "labels", LABEL) != NAME or not is_true(pod, "Ready"):
        return ()
    return [one["metadata"]["name"] for one in here.client.list(NODES)]


@dataclass(frozen=True, slots=True)
class CloudNodes:
    name: str = "cloud-nodes"
    watches: dict[str, Keys] = field(default_factory=lambda: {"nodes": own_key, "pods": _when_it_comes_up})

    def reconcile(self, here: Here, key: str) -> float | None:
        node = here.client.get(NODES, "", key)
        machine: Tree | None = here.state["machines"].get(key)
        taints = at(node, "spec", "taints", default=[])
        if node is None or machine is None or not any(one["key"] == UNINITIALIZED for one in taints):
            return None
        if not any(is_true(one, "Ready") for one in here.client.list("v1/pods", labels=f"{LABEL}={NAME}")):
            return None
        left = [one for one in taints if one["key"] != UNINITIALIZED]
        spec = {"taints": left or None, "providerID": machine["provider_id"] or None}
        here.client.patch(NODES, "", key, {"spec": spec})
        return None
