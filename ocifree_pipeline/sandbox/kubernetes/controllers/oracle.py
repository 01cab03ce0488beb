"""Oracle's cloud controller manager: it greets nodes that wait for it, and tells where they stand.

Load balancers are not played: a service that asks for one keeps waiting for its address.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from ocifree_pipeline.sandbox.kubernetes.conditions import is_true, own_key
from ocifree_pipeline.sandbox.kubernetes.controllers.nodes import NODES, UNINITIALIZED
from ocifree_pipeline.sandbox.kubernetes.running import Here, Keys
from ocifree_pipeline.sandbox.kubernetes.trees import Tree, at

SELECTOR = "component=oci-cloud-controller-manager"


def _when_it_comes_up(here: Here, pod: Tree) -> Iterable[str]:
    if at(pod, "metadata", "labels", "component") != SELECTOR.partition("=")[2]:
        return ()
    return [one["metadata"]["name"] for one in here.client.list(NODES)]


@dataclass(frozen=True, slots=True)
class OracleNodes:
    name: str = "oracle-nodes"
    watches: dict[str, Keys] = field(default_factory=lambda: {"nodes": own_key, "pods": _when_it_comes_up})

    def reconcile(self, here: Here, key: str) -> float | None:
        node = here.client.get(NODES, "", key)
        taints = at(node, "spec", "taints", default=[])
        machine = here.state["machines"].get(key)
        if machine is None or not any(one["key"] == UNINITIALIZED for one in taints):
            return None
        if not any(is_true(one, "Ready") for one in here.client.list("v1/pods", labels=SELECTOR)):
            return None
        left = [one for one in taints if one["key"] != UNINITIALIZED]
        spec: Tree = {"taints": left or None}
        if machine["provider_id"]:
            spec["providerID"] = machine["provider_id"]
        here.client.patch(NODES, "", key, {"spec": spec})
        return None
