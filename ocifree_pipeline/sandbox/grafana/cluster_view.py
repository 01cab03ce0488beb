"""A cluster of the sandbox as exporters see it: from the objects of its API, and from what lies below it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ocifree_pipeline.deployment.telemetry.landscape import Container, Landscape, Node, Pod, Workload
from ocifree_pipeline.sandbox.grafana import below
from ocifree_pipeline.sandbox.kubernetes.cluster import Cluster
from ocifree_pipeline.sandbox.kubernetes.trees import Tree, at

CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
MEMORY_UNIT = 2**30


def landscape(cluster: Cluster) -> Landscape:
    now = cluster.world.clock.now().timestamp()
    return Landscape(
        now=now,
        nodes=tuple(_node(cluster, one, now) for one in cluster.store.all("nodes")),
        pods=tuple(_pod(one) for one in cluster.store.all("pods")),
        workloads=tuple(_workloads(cluster)),
        proxmox=below.hypervisors(cluster.world),
        guests=below.guests(cluster.world),
        ceph=below.ceph(cluster.world),
    )


def runs(cluster: Cluster, node: str) -> bool:
    """Whether the machine behind a node has power and a kubelet."""
    machine = cluster.state["machines"].get(node)
    return machine is not None and bool(machine["running"])


def _node(cluster: Cluster, tree: Tree, now: float) -> Node:
    name = tree["metadata"]["name"]
    machine: dict[str, Any] = cluster.state["machines"].get(name, {})
    ready = any(
        one["type"] == "Ready" and one["status"] == "True" for one in at(tree, "status", "conditions", default=[])
    )
    addresses = machine.get("addresses") or ["0.0.0.0"]  # noqa: S104 - a node that lost its machine
    return Node(
        name=name,
        address=str(addresses[0]),
        cpus=max(1, int(machine.get("cpus", 1))),
        memory_bytes=int(machine.get("memory_gb", 1) * MEMORY_UNIT),
        control_plane=CONTROL_PLANE in (tree["metadata"].get("labels") or {}),
        ready=ready,
        unschedulable=bool(at(tree, "spec", "unschedulable", default=False)),
        booted=_moment(str(machine.get("since", "")), now),
    )


def _pod(tree: Tree) -> Pod:
    metadata, spec, status = tree["metadata"], tree["spec"], tree.get("status") or {}
    states = {one["name"]: one for one in status.get("containerStatuses") or ()}
    owners = metadata.get("ownerReferences") or ()
    return Pod(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        node=spec.get("nodeName", ""),
        address=status.get("podIP", ""),
        phase=status.get("phase", "Pending"),
        containers=tuple(_container(one["name"], states.get(one["name"], {})) for one in spec["containers"]),
        labels=metadata.get("labels") or {},
        ports=tuple(
            (str(port.get("name", "")), int(port["containerPort"]))
            for one in spec["containers"][:1]
            for port in one.get("ports") or ()
        ),
        host_network=bool(spec.get("hostNetwork", False)),
        owner=(owners[0]["kind"], owners[0]["name"]) if owners else ("<none>", "<none>"),
    )


def _container(name: str, state: Tree) -> Container:
    return Container(
        name=name,
        restarts=int(state.get("restartCount", 0)),
        ready=bool(state.get("ready", False)),
        waiting=str(at(state, "state", "waiting", "reason", default="")),
    )


def _workloads(cluster: Cluster) -> list[Workload]:
    found = []
    for resource, kind, wanted, ready in (
        ("deployments.apps", "Deployment", "replicas", "availableReplicas"),
        ("statefulsets.apps", "StatefulSet", "replicas", "readyReplicas"),
        ("daemonsets.apps", "DaemonSet", "desiredNumberScheduled", "numberReady"),
    ):
        for one in cluster.store.all(resource):
            metadata, status = one["metadata"], one.get("status") or {}
            where = status if kind == "DaemonSet" else one["spec"]
            found.append(
                Workload(
                    kind, metadata["namespace"], metadata["name"], int(where.get(wanted, 0)), int(status.get(ready, 0))
                )
            )
    return found


def _moment(text: str, otherwise: float) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return otherwise
