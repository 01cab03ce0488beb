"""Templates of containers that Proxmox offers for the architecture of a node."""

from typing import Any

from ocifree_pipeline.sandbox.proxmox.nodes import Node

ARCHITECTURES = {"aarch64": "arm64", "x86_64": "amd64"}
SYSTEMS = {
    "debian-13-standard_13.1-2": ("debian-13", "13"),
    "debian-12-standard_12.12-1": ("debian-12", "12"),
    "ubuntu-24.04-standard_24.04-2": ("ubuntu-24.04", "24.04"),
}
SIZE = 125 * 1024**2


def offered(node: Node) -> list[dict[str, Any]]:
    """Nothing before `pveam update` has fetched the list."""
    if not node.own.get("templates"):
        return []
    architecture = ARCHITECTURES[node.machine.architecture]
    return [
        {
            "template": f"{name}_{architecture}.tar.zst",
            "package": name.partition("_")[0],
            "os": system,
            "section": "system",
            "type": "lxc",
            "version": name.partition("_")[2],
            "architecture": architecture,
        }
        for name, (system, _) in SYSTEMS.items()
    ]


def volume(node: Node, name: str) -> dict[str, Any]:
    return {"size": SIZE, "format": "tzst", "content": "vztmpl", "ctime": node.now, "system": system_of(name)}


def system_of(name: str) -> dict[str, str]:
    """What is inside: the operating system, its version and architecture."""
    for one, (system, version) in SYSTEMS.items():
        if name.startswith(one):
            architecture = name.rpartition("_")[2].partition(".")[0]
            return {"os": system.partition("-")[0].title(), "osVersion": version, "architecture": architecture}
    return {"os": "Debian", "osVersion": "13", "architecture": "unknown"}
