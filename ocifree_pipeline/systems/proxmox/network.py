"""The network of the guests: one bridge on every node, a tunnel between them, translation to the outside.

Oracle's network takes packets only from the addresses that it gave out, so the card of a node is never a port of the
bridge: the tunnel is its only one. All nodes share one range, so a guest keeps its address when it moves to another
node. Each node is the way out for the guests of its own part of the range.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

from ocifree_pipeline.deployment.errors import NotVerified, Transient
from ocifree_pipeline.systems.oci.waiting import Clock, TimedOut, wait_for
from ocifree_pipeline.systems.proxmox.node import Node

BRIDGE, TUNNEL = "vmbr0", "vxguests"
INTERFACES = "/etc/network/interfaces.d/ocifree-bridge"
"""The image has a bridge without address and port there; this takes its place."""
FORWARDING = "/etc/sysctl.d/95-ocifree-guests.conf"
TRANSLATION = "/etc/ocifree/guests.nft"
TABLE = "ocifree_guests"
PORT = 4789
OVERHEAD = 50
INTERNET_MSS = 1400
WEB_PORTS = (80, 443)
REACHED_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Link:
    """The card with the node's own address."""

    name: str
    mtu: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """How it shall be on one node. `gateway` is the node's address on the bridge, `peers` are the other nodes.

    `entrance` is the guest that answers what the internet asks this node; Oracle has translated the reserved address to
    the node's own by then.
    """

    gateway: IPv4Interface
    own: IPv4Address
    peers: tuple[IPv4Address, ...]
    inside: tuple[IPv4Network, ...]
    vni: int
    mtu: int
    entrance: IPv4Address | None = None

    @property
    def files(self) -> dict[str, str]:
        return {
            INTERFACES: _interfaces(self),
            FORWARDING: "net.ipv4.ip_forward = 1\n",
            TRANSLATION: _translation(self),
        }


def link_of(node: Node) -> Link:
    """By its address, whatever the kernel calls it."""
    for one in _addresses(node):
        if node.address in _locals(one):
            return Link(str(one["ifname"]), int(one["mtu"]))
    raise NotVerified(
        f"no card of {node.name} has the address {node.address}",
        why="`ip address` does not show it",
        fix=f"look at the network of {node.name}",
    )


def mtu_for(links: Sequence[Link], declared: int) -> int:
    """The largest packet that the tunnel carries on every one of these links."""
    return min(declared, *(link.mtu - OVERHEAD for link in links))


def plan(node: Node, wanted: Wanted) -> list[str]:
    """What differs on a node, in words."""
    lines = [f"write {path} on {node.name}" for path, text in wanted.files.items() if not _is(node, path, text)]
    return lines or [f"mend on {node.name}: {one}" for one in differences(node, wanted)]


def apply(node: Node, wanted: Wanted) -> None:
    """Write what is to be and make it so, now and at every start."""
    for path, text in wanted.files.items():
        node.put(path, text)
    node.run(["sysctl", "-q", "-p", FORWARDING]).checked(f"let {node.name} forward packets")
    node.run(["ifreload", "-a"]).checked(f"reload the network of {node.name}")


def differences(node: Node, wanted: Wanted) -> tuple[str, ...]:
    """What the running system says, against what it shall be."""
    found = []
    bridge = next((one for one in _addresses(node) if one["ifname"] == BRIDGE), None)
    if bridge is None:
        return (f"there is no {BRIDGE}",)
    if str(wanted.gateway.ip) not in _locals(bridge):
        found.append(f"{BRIDGE} has not the address {wanted.gateway}")
    if int(bridge["mtu"]) != wanted.mtu:
        found.append(f"{BRIDGE} carries {bridge['mtu']} bytes instead of {wanted.mtu}")
    if node.run(["sysctl", "-n", "net.ipv4.ip_forward"]).stdout.strip() != "1":
        found.append("packets are not forwarded")
    table = node.run(["nft", "list", "table", "ip", TABLE]).stdout
    if "masquerade" not in table:
        found.append("addresses of guests are not translated")
    if wanted.entrance is not None and f"dnat to {wanted.entrance}\n" not in table:
        found.append(f"requests from the internet do not go to {wanted.entrance}")
    return tuple(found)


def prove(nodes: Sequence[Node], wanted: Sequence[Wanted], *, clock: Clock = time) -> None:
    """Every node is as wanted, and hears every other one through the tunnel."""
    for node, one in zip(nodes, wanted, strict=True):
        found = differences(node, one)
        if found:
            raise NotVerified(
                f"the network of the guests on {node.name} is not as it was made",
                why="; ".join(found),
                fix=f"look at it on {node.name}: ifquery -a --check",
            )
    for node in nodes:
        for other, far in zip(nodes, wanted, strict=True):
            if other is not node:
                _hears(node, other, far.gateway.ip, clock)


def _hears(node: Node, other: Node, address: IPv4Address, clock: Clock) -> None:
    def once() -> bool:
        if node.run(["ping", "-c", "1", "-W", "2", str(address)]).exit != 0:
            raise Transient(f"{node.name} does not hear {address}", why="no answer", fix="look again")
        return True

    try:
        wait_for(once, bool, what=f"{node.name} hears {other.name}", timeout=REACHED_SECONDS, clock=clock)
    except TimedOut as error:
        raise NotVerified(
            f"{node.name} does not hear {other.name} through the tunnel",
            why=f"{address} does not answer; the tunnel needs UDP {PORT} between the nodes",
            fix="ocifree up --select 'oci/network' opens the port; `nft list ruleset` on the node shows its own rules",
        ) from error


# files ----------------------------------------------------------------------------------------------------------------


def _interfaces(wanted: Wanted) -> str:
    tunnel = "".join(
        [
            f"auto {TUNNEL}\niface {TUNNEL} inet manual\n",
            f"    vxlan-id {wanted.vni}\n    vxlan-port {PORT}\n    vxlan-local-tunnelip {wanted.own}\n",
            *(f"    vxlan-remoteip {peer}\n" for peer in wanted.peers),
            f"    mtu {wanted.mtu}\n\n",
        ]
    )
    return (
        "# Written by ocifree. The card of the node is never a port of this bridge: Oracle drops foreign addresses.\n"
        + (tunnel if wanted.peers else "")
        + f"auto {BRIDGE}\niface {BRIDGE} inet static\n"
        + f"    address {wanted.gateway}\n"
        + f"    bridge-ports {TUNNEL if wanted.peers else 'none'}\n"
        + f"    bridge-stp off\n    bridge-fd 0\n    mtu {wanted.mtu}\n"
        + f"    post-up nft -f {TRANSLATION}\n"
    )


def _translation(wanted: Wanted) -> str:
    """The first two lines make it the same however often it is read. Large packets find no way into the internet."""
    guests, inside = wanted.gateway.network, ", ".join(map(str, wanted.inside))
    return (
        f"table ip {TABLE}\n"
        f"delete table ip {TABLE}\n"
        f"table ip {TABLE} {{\n"
        "  chain out {\n"
        "    type nat hook postrouting priority srcnat; policy accept;\n"
        f"    ip saddr {guests} ip daddr != {guests} masquerade\n"
        "  }\n"
        "  chain size {\n"
        "    type filter hook forward priority mangle; policy accept;\n"
        f"    ip saddr {guests} ip daddr != {{ {guests}, {inside} }} tcp flags syn tcp option maxseg size set "
        f"{INTERNET_MSS}\n"
        "  }\n"
        f"{_entrance(wanted)}"
        "}\n"
    )


def _entrance(wanted: Wanted) -> str:
    if wanted.entrance is None:
        return ""
    ports = ", ".join(map(str, WEB_PORTS))
    return (
        "  chain in {\n"
        "    type nat hook prerouting priority dstnat; policy accept;\n"
        f"    ip daddr {wanted.own} tcp dport {{ {ports} }} dnat to {wanted.entrance}\n"
        "  }\n"
    )


def _is(node: Node, path: str, text: str) -> bool:
    found = node.run(["cat", path])
    return found.exit == 0 and found.stdout == text


def _addresses(node: Node) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = node.parsed(
        node.run(["ip", "-json", "address", "show"]), f"ask {node.name} for its addresses"
    )
    return [one for one in found if one.get("ifname")]


def _locals(interface: dict[str, Any]) -> set[str]:
    return {str(one.get("local")) for one in interface.get("addr_info", ())}
