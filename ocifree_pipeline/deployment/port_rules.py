"""Which ports are open, to whom, and why. The outside reaches 22, 80 and 443, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ocifree_pipeline.deployment.convergence import Ref
from ocifree_pipeline.deployment.plan import Topology

ANYWHERE = "0.0.0.0/0"

Protocol = Literal["tcp", "udp", "icmp", "all"]


@dataclass(frozen=True, slots=True)
class SecurityRule:
    """Lets packets in from `peer`, a range or the members of a group.

    `ports` are the first and the last; for ICMP they are type and code.
    """

    protocol: Protocol
    peer: str | Ref
    ports: tuple[int, int] | None
    reason: str

    def __str__(self) -> str:
        return f"{self.protocol}{self._numbers()} from {self.peer}"

    def _numbers(self) -> str:
        if self.ports is None:
            return ""
        first, last = self.ports
        if self.protocol == "icmp":
            return f" type {first}" + (f" code {last}" if last >= 0 else "")
        return f" {first}" if first == last else f" {first}-{last}"


ANY_CODE = -1

SSH = SecurityRule("tcp", ANYWHERE, (22, 22), "SSH; the only way in for people and for the pipeline")
WEB = (
    SecurityRule("tcp", ANYWHERE, (80, 80), "HTTP of the gateway; redirects, and certificates by ACME"),
    SecurityRule("tcp", ANYWHERE, (443, 443), "HTTPS of the gateway"),
)
PATH_MTU = SecurityRule(
    "icmp", ANYWHERE, (3, 4), "fragmentation needed: without it large packets vanish, 9000 bytes inside, 1500 outside"
)


def third_vote(vcn_cidr: str) -> SecurityRule:
    return SecurityRule("tcp", vcn_cidr, (5403, 5403), "the vote of the bastion, when Proxmox has two nodes")


def unreachable(vcn_cidr: str) -> SecurityRule:
    return SecurityRule("icmp", vcn_cidr, (3, ANY_CODE), "destination unreachable, so that a wrong port fails at once")


_NODES, _DOOR = Ref("group/inside"), Ref("group/ssh")

_BOTH = (
    SecurityRule("tcp", _NODES, (22, 22), "SSH between nodes; Proxmox joins and migrates over it"),
    SecurityRule("tcp", _DOOR, (22, 22), "SSH through the bastion"),
    SecurityRule("icmp", _NODES, (8, ANY_CODE), "echo, with which nodes and Cilium measure each other"),
    SecurityRule("tcp", _NODES, (50000, 50001), "the Talos API, and the trust service that signs its certificates"),
    SecurityRule("tcp", _DOOR, (50000, 50000), "the Talos API through the bastion"),
    SecurityRule("tcp", _NODES, (6443, 6443), "the Kubernetes API"),
    SecurityRule("tcp", _DOOR, (6443, 6443), "the Kubernetes API through the bastion"),
    SecurityRule("tcp", _NODES, (2379, 2380), "etcd: clients and its members"),
    SecurityRule("tcp", _NODES, (10250, 10250), "the kubelet: logs, exec and metrics"),
    SecurityRule("tcp", _NODES, (2381, 2383), "metrics of etcd; Talos 1.14 moves them to the last of these"),
    SecurityRule("tcp", _NODES, (9100, 9100), "metrics of the nodes themselves"),
    SecurityRule("tcp", _NODES, (9962, 9965), "metrics of Cilium and Hubble"),
    SecurityRule("tcp", _NODES, (12345, 12345), "metrics of the agents that read logs"),
    SecurityRule("udp", _NODES, (8472, 8472), "the VXLAN tunnel of Cilium"),
    SecurityRule("tcp", _NODES, (4240, 4240), "Cilium's health checks"),
    SecurityRule("tcp", _NODES, (4244, 4244), "Hubble, which shows who talks to whom"),
)
_PROXMOX = (
    SecurityRule("udp", _NODES, (5405, 5412), "corosync; unicast, as Oracle's network carries no multicast"),
    SecurityRule("tcp", _NODES, (8006, 8006), "the Proxmox API between nodes"),
    SecurityRule("tcp", _DOOR, (8006, 8006), "the Proxmox API and console through the bastion"),
    SecurityRule("tcp", _NODES, (60000, 60050), "live migration of guests"),
    SecurityRule("udp", _NODES, (4789, 4789), "the VXLAN tunnel that carries the guests"),
    SecurityRule("tcp", _NODES, (3300, 3300), "Ceph monitors"),
    SecurityRule("tcp", _NODES, (6789, 6789), "Ceph monitors, the older protocol"),
    SecurityRule("tcp", _NODES, (6800, 7300), "Ceph OSDs and managers"),
    SecurityRule("tcp", _NODES, (9283, 9283), "metrics of Ceph"),
)


def rules_between_nodes(topology: Topology) -> tuple[SecurityRule, ...]:
    """What nodes, and the bastion, may say to nodes."""
    return (*_BOTH, *_PROXMOX) if topology == "proxmox-ceph" else _BOTH
