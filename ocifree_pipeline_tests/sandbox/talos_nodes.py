"""Configurations of Talos machines, as the pipeline writes them, for guests of the sandbox."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from ipaddress import IPv4Network

from ocifree_pipeline.systems.talos.configuration import machine_configuration
from ocifree_pipeline.systems.talos.nodes import Cluster, Node, Role
from ocifree_pipeline.systems.talos.patches import Patch
from ocifree_pipeline.systems.talos.secrets import Bundle

V1_13 = ("1.13.9", "1.36.3")
V1_14 = ("1.14.2", "1.37.0")
INSTALLER = "factory.talos.dev/oracle-installer/" + "c" * 64 + ":v{version}"
NAME = "node-1.lab.example.org"


def configuration(
    bundle: Bundle,
    role: Role = "controlplane",
    versions: tuple[str, str] = V1_13,
    *,
    hostname: str = "",
    patches: Iterable[Patch] = (),
) -> str:
    cluster = Cluster(
        name="lab",
        endpoint=f"https://{NAME}:6443",
        talos_version=versions[0],
        kubernetes_version=versions[1],
        pods=IPv4Network("10.244.0.0/16"),
        services=IPv4Network("10.96.0.0/12"),
        nodes=IPv4Network("10.0.0.0/24"),
        alternative_names=(NAME, "203.0.113.9"),
        has_workers=role == "worker",
    )
    node = Node(hostname or f"lab-{role}", role, INSTALLER.format(version=versions[0]))
    return machine_configuration(cluster, node, bundle, patches).get_secret_value()


def user_data(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
