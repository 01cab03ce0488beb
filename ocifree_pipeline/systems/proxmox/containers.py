"""A small container on a node that puts the guests' network into the tailnet.

Everything but its tunnel device and what runs inside goes through the API: a device is given by root's own login only,
and containers have no API for commands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface
from typing import Any

from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import NotVerified
from ocifree_pipeline.systems.proxmox import storage
from ocifree_pipeline.systems.proxmox.api import Api
from ocifree_pipeline.systems.proxmox.guests import RESOLVERS, TAG, Found, Order, tag_of
from ocifree_pipeline.systems.proxmox.node import Node
from ocifree_pipeline.systems.ssh.dialer import COMMAND_SECONDS, Result, Run
from ocifree_pipeline.systems.tailscale.tailnet import is_installed

TUN = "/dev/net/tun"
FAMILY = "debian-13-standard"
ARCHITECTURES = {"aarch64": "arm64", "x86_64": "amd64"}
FORWARDING = "/etc/sysctl.d/95-ocifree-tailnet.conf"
REPOSITORY = (
    "/usr/share/keyrings/tailscale-archive-keyring.gpg",
    "/etc/apt/sources.list.d/tailscale.sources",
)
"""The node's own, whose key was compared with its fingerprint when the image was built."""
MEMORY_MB, DISK_GB = 256, 2
INSTALL_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Container:
    """As it shall be. It stands on the node's own disk: it is there for its node, and moves with nobody."""

    name: str
    node: str
    deployment: str
    template: str
    bridge: str
    address: IPv4Interface
    gateway: str


def order_of(container: Container) -> Order:
    return Order(
        container.name,
        container.deployment,
        "lxc",
        f"/nodes/{container.node}/lxc",
        {
            "ostemplate": container.template,
            "hostname": container.name,
            "cores": 1,
            "memory": MEMORY_MB,
            "swap": 0,
            "rootfs": f"{storage.LOCAL}:{DISK_GB}",
            "net0": f"name=eth0,bridge={container.bridge},ip={container.address},gw={container.gateway}",
            "nameserver": RESOLVERS,
            "unprivileged": True,
            "features": "nesting=1",
            "onboot": True,
            "tags": f"{TAG};{tag_of(container.deployment)}",
        },
    )


def template_for(api: Api, node: Node, architecture: str) -> tuple[str, list[str]]:
    """A Debian of the node's own architecture, fetched unless it is there."""
    offered = _offered(api, node, architecture)
    if not offered:
        node.run(["pveam", "update"], INSTALL_SECONDS).checked(f"ask for the list of templates on {node.name}")
        offered = _offered(api, node, architecture)
    if not offered:
        raise NotVerified(
            f"there is no template {FAMILY} for {architecture}",
            why="Proxmox offers none for this architecture",
            fix=f"on {node.name}: pveam available --section system; fetch one with `pveam download local <name>`",
        )
    name = offered[-1]
    there = storage.volume(api, node.name, storage.TEMPLATE, name)
    if there is not None:
        return there, []
    api.wait(api.post(f"/nodes/{node.name}/aplinfo", storage=storage.LOCAL, template=name), INSTALL_SECONDS)
    there = storage.volume(api, node.name, storage.TEMPLATE, name)
    if there is None:
        raise NotVerified(
            f"{name} is not on {node.name}",
            why="its download ended well, and the storage does not list it",
            fix=f"look at it on {node.name}: pveam list {storage.LOCAL}",
        )
    return there, [f"let {node.name} fetch {name}"]


def give_tunnel(api: Api, node: Node, found: Found) -> list[str]:
    """The container has the device that Tailscale needs."""
    path = f"/nodes/{node.name}/lxc/{found.vmid}/config"
    if _has_tunnel(api.get(path)):
        return []
    node.run(["pct", "set", str(found.vmid), "--dev0", TUN]).checked(f"give container {found.vmid} {TUN}")
    if not _has_tunnel(api.get(path)):
        raise NotVerified(
            f"container {found.vmid} has no {TUN}",
            why="it was given, and its configuration does not show it",
            fix=f"on {node.name}: pct config {found.vmid}",
        )
    return [f"give container {found.vmid} {TUN}"]


def inside(node: Node, vmid: int) -> Run:
    """Runs commands in the container as its root."""

    def run(argv: Sequence[str], timeout: float = COMMAND_SECONDS, given: SecretStr | None = None) -> Result:
        return node.run(["pct", "exec", str(vmid), "--", *argv], timeout, given)

    return run


def prepare(node: Node, found: Found) -> list[str]:
    """It forwards packets, and has Tailscale from the repository that the node has."""
    run = inside(node, found.vmid)
    lines = []
    if run(["sysctl", "-n", "net.ipv4.ip_forward"]).stdout.strip() != "1":
        run(
            ["install", "-D", "-m", "0644", "/dev/stdin", FORWARDING], given=SecretStr("net.ipv4.ip_forward = 1\n")
        ).checked(f"write {FORWARDING} in container {found.vmid}")
        run(["sysctl", "-q", "-p", FORWARDING]).checked(f"let container {found.vmid} forward packets")
        lines.append(f"let container {found.vmid} forward packets")
    if is_installed(run):
        return lines
    for path in REPOSITORY:
        node.run(["pct", "push", str(found.vmid), path, path]).checked(f"hand {path} to container {found.vmid}")
    run(["apt-get", "-q", "update"], INSTALL_SECONDS).checked(f"read the package lists in container {found.vmid}")
    run(["apt-get", "-q", "-y", "install", "tailscale"], INSTALL_SECONDS).checked(
        f"install Tailscale in container {found.vmid}"
    )
    return [*lines, f"install Tailscale in container {found.vmid}"]


def _offered(api: Api, node: Node, architecture: str) -> list[str]:
    ending = f"_{ARCHITECTURES.get(architecture, architecture)}."
    rows: list[dict[str, Any]] = api.get(f"/nodes/{node.name}/aplinfo")
    return sorted(
        str(row["template"]) for row in rows if str(row["template"]).startswith(FAMILY) and ending in row["template"]
    )


def _has_tunnel(config: dict[str, Any]) -> bool:
    return TUN in [part.removeprefix("path=") for part in str(config.get("dev0", "")).split(",")]
