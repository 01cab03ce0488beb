"""What has to be known of a cluster and of a node to configure it."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Literal

Role = Literal["controlplane", "worker"]


@dataclass(frozen=True, slots=True)
class Cluster:
    """What is the same on every node.

    `nodes` is the range in which a node finds its own address; `alternative_names` are the further names and addresses
    under which clients may reach the control plane.
    """

    name: str
    endpoint: str
    talos_version: str
    kubernetes_version: str
    pods: IPv4Network
    services: IPv4Network
    nodes: IPv4Network
    alternative_names: tuple[str, ...] = ()
    has_workers: bool = False
    external_cloud_provider: bool = False

    @property
    def talos_minor(self) -> int:
        return int(self.talos_version.split(".")[1])


@dataclass(frozen=True, slots=True)
class StaticAddress:
    """Where nobody hands addresses out."""

    address: IPv4Interface
    gateway: IPv4Address


@dataclass(frozen=True, slots=True)
class Node:
    """What is its own. Without an address it asks the network for one, as Talos does by itself."""

    hostname: str
    role: Role
    installer: str
    address: StaticAddress | None = None
    time_servers: tuple[str, ...] = ()

    @property
    def is_control_plane(self) -> bool:
        return self.role == "controlplane"
