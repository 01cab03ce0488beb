"""What there is to measure: nodes, pods and what lies below them, as exporters see it.

Filled from a live cluster, or made up in the size that is planned for, to count series before there is a cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

DISKS = ("sda", "sdb")


@dataclass(frozen=True, slots=True)
class Node:
    name: str
    address: str
    cpus: int = 2
    memory_bytes: int = 12 * 2**30
    disk_bytes: int = 50 * 2**30
    control_plane: bool = True
    ready: bool = True
    unschedulable: bool = False
    booted: float = 0.0
    cpu_share: float = 0.15
    memory_share: float = 0.5
    disk_share: float = 0.3


@dataclass(frozen=True, slots=True)
class Container:
    name: str
    restarts: int = 0
    ready: bool = True
    waiting: str = ""


@dataclass(frozen=True, slots=True)
class Pod:
    namespace: str
    name: str
    uid: str
    node: str
    address: str
    phase: str = "Running"
    containers: tuple[Container, ...] = (Container("main"),)
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[tuple[str, int], ...] = ()
    host_network: bool = False
    owner: tuple[str, str] = ("ReplicaSet", "")


@dataclass(frozen=True, slots=True)
class Workload:
    """A Deployment, StatefulSet or DaemonSet with what it should have and has."""

    kind: str
    namespace: str
    name: str
    wanted: int
    ready: int


@dataclass(frozen=True, slots=True)
class ProxmoxNode:
    name: str
    address: str
    online: bool = True


@dataclass(frozen=True, slots=True)
class CephState:
    """Health as Ceph's manager tells it: 0 is well, 1 a warning, 2 an error."""

    health: int = 0
    checks: tuple[str, ...] = ()
    osds: Mapping[str, tuple[bool, bool]] = field(default_factory=dict)
    """Up and in, by name."""
    monitors: Mapping[str, bool] = field(default_factory=dict)
    total_bytes: int = 150 * 2**30
    used_bytes: int = 20 * 2**30
    pools: tuple[str, ...] = ("guests",)
    groups: int = 129
    degraded: int = 0
    active_manager: str = ""


@dataclass(frozen=True, slots=True)
class Landscape:
    now: float
    nodes: tuple[Node, ...] = ()
    pods: tuple[Pod, ...] = ()
    workloads: tuple[Workload, ...] = ()
    proxmox: tuple[ProxmoxNode, ...] = ()
    guests: tuple[tuple[str, str, bool], ...] = ()
    """Id, name and whether it runs, of each guest on Proxmox."""
    ceph: CephState | None = None

    def on(self, node: str) -> tuple[Pod, ...]:
        return tuple(pod for pod in self.pods if pod.node == node)


def imagined(nodes: int, pods: int, *, proxmox: int = 0, tailscale: bool = False) -> Landscape:
    """A cluster of that size with all that this platform installs; other pods have two containers."""
    members = tuple(
        Node(name=f"node-{n}", address=f"10.0.1.{10 + n}", control_plane=n <= 3) for n in range(1, nodes + 1)
    )
    ours: list[Pod] = []
    for node in members:
        ours += [
            _pod(node, "kube-system", "cilium", "cilium-agent", 9962, {"k8s-app": "cilium"}, host=True),
            _pod(node, "kube-system", "cilium-envoy", "cilium-envoy", 9964, {"k8s-app": "cilium-envoy"}, host=True),
            _pod(
                node, "monitoring", "node-exporter", "node-exporter", 9100, _name("prometheus-node-exporter"), host=True
            ),
            _pod(node, "monitoring", "alloy-node", "alloy", 12345, _name("alloy", "alloy-node"), host=True),
        ]
    first = members[0]
    ours += [
        _pod(first, "monitoring", "alloy-cluster", "alloy", 12345, _name("alloy", "alloy-cluster")),
        _pod(first, "monitoring", "kube-state-metrics", "kube-state-metrics", 8080, _name("kube-state-metrics")),
        *(
            _pod(first, "flux-system", name, "manager", 8080, {"app": name}, port_name="http-prom")
            for name in ("source-controller", "helm-controller", "kustomize-controller", "notification-controller")
        ),
    ]
    if tailscale:
        ours.append(_pod(first, "tailscale", "ts-proxy", "tailscale", 9002, {"tailscale.com/managed": "true"}))
    others = [
        replace(
            _pod(members[n % nodes], f"team-{n % 5}", f"app-{n}", "app", 8080, {"app": f"app-{n}"}),
            containers=(Container("app"), Container("sidecar")),
        )
        for n in range(max(0, pods - len(ours)))
    ]
    hosts = tuple(ProxmoxNode(f"pve-{n}", f"10.0.0.{10 + n}") for n in range(1, proxmox + 1))
    return Landscape(
        now=1_800_000_000.0,
        nodes=members,
        pods=(*ours, *others),
        workloads=tuple(
            Workload("Deployment", pod.namespace, pod.name, 1, 1) for pod in (*ours, *others) if not pod.host_network
        ),
        proxmox=hosts,
        guests=tuple((f"qemu/{100 + n}", f"talos-{n}", True) for n in range(proxmox)),
        ceph=CephState(
            osds={f"osd.{n}": (True, True) for n in range(proxmox)},
            monitors={host.name: True for host in hosts},
            active_manager=hosts[0].name,
        )
        if hosts
        else None,
    )


def _name(name: str, instance: str = "") -> dict[str, str]:
    return {"app.kubernetes.io/name": name, "app.kubernetes.io/instance": instance or name}


def _pod(  # noqa: PLR0917 - a table is read by its columns
    node: Node,
    namespace: str,
    name: str,
    container: str,
    port: int,
    labels: Mapping[str, str],
    *,
    host: bool = False,
    port_name: str = "metrics",
) -> Pod:
    full = f"{name}-{node.name}" if host else f"{name}-0"
    return Pod(
        namespace=namespace,
        name=full,
        uid=f"{namespace}-{full}",
        node=node.name,
        address=node.address if host else f"10.244.{node.address.rpartition('.')[2]}.{len(full)}",
        containers=(Container(container),),
        labels=dict(labels),
        ports=((port_name, port),),
        host_network=host,
    )
