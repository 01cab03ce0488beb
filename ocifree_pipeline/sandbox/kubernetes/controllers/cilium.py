"""What Cilium does when its pods run: its operator registers kinds and runs gateways, its agents tell of nodes."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from ocifree_pipeline.sandbox.kubernetes.catalogue.charts import cilium_definitions
from ocifree_pipeline.sandbox.kubernetes.conditions import is_true
from ocifree_pipeline.sandbox.kubernetes.running import Here, Keys
from ocifree_pipeline.sandbox.kubernetes.trees import Tree, at

OPERATOR, AGENT = "operator", "agent"
CLASS = "io.cilium/gateway-controller"


def operator_runs(here: Here) -> bool:
    """Whether Cilium's operator is up."""
    return any(is_true(one, "Ready") for one in here.client.list("v1/pods", labels="app=cilium-operator"))


def configuration(here: Here) -> dict[str, str]:
    for one in here.client.list("v1/configmaps", fields="metadata.name=cilium-config"):
        data: dict[str, str] = one.get("data") or {}
        return data
    return {}


def _pods(_here: Here, pod: Tree) -> Iterable[str]:
    labels = at(pod, "metadata", "labels", default={})
    if labels.get("app") == "cilium-operator":
        return (OPERATOR,)
    return (f"{AGENT}/{at(pod, 'spec', 'nodeName')}",) if labels.get("k8s-app") == "cilium" else ()


@dataclass(frozen=True, slots=True)
class Cilium:
    name: str = "cilium"
    watches: dict[str, Keys] = field(
        default_factory=lambda: {
            "pods": _pods,
            "nodes": lambda _here, node: (f"{AGENT}/{node['metadata']['name']}",),
            "customresourcedefinitions.apiextensions.k8s.io": lambda here, tree: [
                f"{AGENT}/{one['metadata']['name']}"
                for one in (here.client.list("v1/nodes") if tree["spec"]["group"] == "cilium.io" else ())
            ],
        }
    )

    def reconcile(self, here: Here, key: str) -> float | None:
        kind, _, node_name = key.partition("/")
        if kind == OPERATOR:
            if operator_runs(here):
                for definition in cilium_definitions():
                    here.client.ensure("apiextensions.k8s.io/v1/customresourcedefinitions", definition)
            return None
        place = here.resource("cilium.io/v2", "CiliumNode")
        node = here.client.get("v1/nodes", "", node_name)
        if place is None or node is None:
            return None
        if is_true(node, "Ready"):
            addresses = [
                {"ip": one["address"], "type": one["type"]}
                for one in node["status"].get("addresses", ())
                if one["type"] != "Hostname"
            ]
            body: Tree = {
                "apiVersion": "cilium.io/v2",
                "kind": "CiliumNode",
                "metadata": {"name": node_name},
                "spec": {"addresses": addresses, "ipam": {"podCIDRs": node["spec"]["podCIDRs"]}},
            }
            here.client.apply(place, body, "cilium-agent")
        return None
