"""Nodes: a machine registers, and is Ready when its kubelet runs and a network plugin runs on it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from itertools import islice

from ocifree_pipeline.sandbox.kubernetes import events
from ocifree_pipeline.sandbox.kubernetes.conditions import condition, is_true, own_key, with_conditions
from ocifree_pipeline.sandbox.kubernetes.running import Here, Keys
from ocifree_pipeline.sandbox.kubernetes.trees import Tree, at, clone

NETWORK_PLUGINS = (("k8s-app", "cilium"), ("k8s-app", "calico-node"), ("app", "flannel"))
NODES = "v1/nodes"
MISSED_SECONDS = 50.0
"""How long a silent kubelet is believed to be well."""
NOT_READY, UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"
UNINITIALIZED = "node.cloudprovider.kubernetes.io/uninitialized"
CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
NO_PLUGIN = (
    "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin "
    "returns error: cni plugin not initialized"
)


def _of_plugin(_here: Here, pod: Tree) -> Iterable[str]:
    node = at(pod, "spec", "nodeName")
    return (node,) if node and is_network_plugin(pod) else ()


def is_network_plugin(pod: Tree) -> bool:
    labels = at(pod, "metadata", "labels", default={})
    return any(labels.get(name) == value for name, value in NETWORK_PLUGINS)


@dataclass(frozen=True, slots=True)
class Nodes:
    name: str = "nodes"
    watches: dict[str, Keys] = field(default_factory=lambda: {"nodes": own_key, "pods": _of_plugin})

    def reconcile(self, here: Here, key: str) -> float | None:
        machine: Tree | None = here.state["machines"].get(key)
        found = here.client.get(NODES, "", key)
        if machine is None:
            if found is not None:
                here.client.delete(NODES, "", key)
            return None
        if found is None and not machine["running"]:
            return None
        node = found or here.client.create(NODES, _registered(here, key, machine))
        left = 0.0 if machine["running"] else here.left(machine["since"], MISSED_SECONDS)
        network = any(
            is_network_plugin(pod) and is_true(pod, "Ready")
            for pod in here.client.list("v1/pods", fields=f"spec.nodeName={key}")
        )
        ready = _readiness(machine, network, missed=not machine["running"] and left <= 0)
        wanted = [one for one in at(node, "spec", "taints", default=[]) if one["key"] not in {NOT_READY, UNREACHABLE}]
        if not any(one["type"] == "Ready" and one["status"] == ready["status"] for one in _said(node)):
            reason = "NodeReady" if ready["status"] == "True" else "NodeNotReady"
            events.tell(here, node, reason, f"Node {key} status is now: {reason}", by="node-controller")
        if ready["status"] != "True":
            which = NOT_READY if ready["status"] == "False" else UNREACHABLE
            wanted += [{"key": which, "effect": effect} for effect in ("NoSchedule", "NoExecute")[: 1 + _evicts(ready)]]
        if wanted != at(node, "spec", "taints", default=[]):
            node = here.client.patch(NODES, "", key, {"spec": {"taints": wanted or None}})
        here.client.set_status(NODES, node, _status(here, node, machine, ready, network=network))
        return left or None


def _said(node: Tree) -> list[Tree]:
    found: list[Tree] = at(node, "status", "conditions", default=[])
    return found


def _evicts(ready: Tree) -> bool:
    return bool(ready["status"] == "Unknown")


def _readiness(machine: Tree, network: bool, *, missed: bool) -> Tree:
    if missed:
        return condition("Ready", "Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.")
    if not network:
        return condition("Ready", False, "KubeletNotReady", NO_PLUGIN)
    return condition("Ready", True, "KubeletReady", "kubelet is posting ready status")


def _registered(here: Here, name: str, machine: Tree) -> Tree:
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": machine["architecture"],
        "beta.kubernetes.io/os": "linux",
        "beta.kubernetes.io/arch": machine["architecture"],
    }
    if machine["control_plane"]:
        labels[CONTROL_PLANE] = ""
    taints = [
        {"key": key, "effect": effect} | ({"value": value} if value else {}) for key, value, effect in machine["taints"]
    ]
    taints.append({"key": NOT_READY, "effect": "NoSchedule"})
    if machine["external_cloud_provider"]:
        taints.append({"key": UNINITIALIZED, "value": "true", "effect": "NoSchedule"})
    pods = _pod_network(here)
    spec: Tree = {"podCIDR": pods, "podCIDRs": [pods], "taints": taints}
    if machine["provider_id"] and not machine["external_cloud_provider"]:
        spec["providerID"] = machine["provider_id"]
    return {"metadata": {"name": name, "labels": labels | machine["labels"]}, "spec": spec}


def _pod_network(here: Here) -> str:
    taken = {at(one, "spec", "podCIDR") for one in here.client.list(NODES)}
    whole = IPv4Network(here.state["settings"]["pod_cidr"])
    networks = (str(one) for one in whole.subnets(new_prefix=max(24, whole.prefixlen)))
    return next(one for one in islice(networks, len(taken) + 1) if one not in taken)


def _status(here: Here, node: Tree, machine: Tree, ready: Tree, *, network: bool) -> Tree:
    fine = [
        condition("MemoryPressure", False, "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        condition("DiskPressure", False, "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        condition("PIDPressure", False, "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ]
    if network:
        fine.append(condition("NetworkUnavailable", False, "CiliumIsUp", "Cilium is running on this node"))
    status: Tree = clone(node.get("status") or {})
    status["conditions"] = with_conditions(node, [*fine, ready], here.stamp)
    if not machine["running"]:
        return status
    cpus, memory = machine["cpus"], int(machine["memory_gb"] * 1024 * 1024)
    resources = {"cpu": f"{cpus:g}", "memory": f"{memory}Ki", "pods": "110", "ephemeral-storage": "40Gi"}
    addresses = [{"type": "InternalIP", "address": one} for one in machine["addresses"]]
    addresses += [{"type": "ExternalIP", "address": one} for one in machine["external_addresses"]]
    kubelet = machine["kubelet"] or here.state["settings"]["version"]
    identity = node["metadata"]["uid"]
    return status | {
        "addresses": [*addresses, {"type": "Hostname", "address": node["metadata"]["name"]}],
        "capacity": resources,
        # Talos and the kubelet keep something for themselves.
        "allocatable": resources | {"cpu": f"{max(cpus - 0.05, 0.05):g}", "memory": f"{max(memory - 300_000, 0)}Ki"},
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        "nodeInfo": {
            "architecture": machine["architecture"],
            "bootID": identity,
            "containerRuntimeVersion": "containerd://2.2.1",
            "kernelVersion": machine["kernel"],
            "kubeProxyVersion": "",
            "kubeletVersion": kubelet,
            "machineID": identity.replace("-", ""),
            "operatingSystem": "linux",
            "osImage": machine["os_image"],
            "systemUUID": identity,
        },
    }
