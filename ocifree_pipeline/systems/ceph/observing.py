"""What there is of Ceph on these nodes, read from the nodes themselves and from the monitors."""

from __future__ import annotations

import configparser
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ocifree_pipeline.systems.ceph.places import Gap, Place, Unread, find_place
from ocifree_pipeline.systems.ceph.words import ask_ceph
from ocifree_pipeline.systems.proxmox.node import Node

CONF = "/etc/pve/ceph.conf"
PACKAGE = "ceph-mon"


@dataclass(frozen=True, slots=True)
class Osd:
    """`host` is where the crush map has it."""

    number: str
    host: str
    up: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """`without` are nodes that lack the packages. Without monitors nobody answers, so the rest is empty."""

    without: frozenset[str]
    fsid: str | None
    network: str | None
    monitors: Mapping[str, str]
    managers: frozenset[str]
    osds: Mapping[str, Osd]
    places: Mapping[str, Place | Unread | Gap]
    settings: Mapping[tuple[str, str], str]


def observe(nodes: Sequence[Node]) -> Seen:
    """Look at every node and, when there are monitors, ask them."""
    without = frozenset(node.name for node in nodes if not has_packages(node))
    conf = read_conf(nodes[0])
    has_monitors = bool(conf and conf["monitors"])
    asked = nodes[0]
    places = {node.name: find_place(node) for node in nodes if node.name not in without}
    return Seen(
        without=without,
        fsid=conf["fsid"] if conf else None,
        network=conf["network"] if conf else None,
        monitors=monitors(asked) if has_monitors else {},
        managers=managers(asked) if has_monitors else frozenset(),
        osds=osds(asked) if has_monitors else {},
        places=places,
        settings=settings(asked) if has_monitors else {},
    )


def has_packages(node: Node) -> bool:
    return node.run(["dpkg-query", "--show", PACKAGE]).exit == 0


def read_conf(node: Node) -> dict[str, Any] | None:
    """What `pveceph init` has written; None when nobody has called it."""
    if not node.has(CONF):
        return None
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.read_string("\n".join(line.strip() for line in node.text(CONF).splitlines()))
    if not parser.has_section("global"):
        return None
    return {
        "fsid": parser.get("global", "fsid", fallback=None),
        "network": parser.get("global", "public_network", fallback=None),
        "monitors": [name for name in parser.sections() if name.startswith("mon.")],
    }


def monitors(node: Node) -> dict[str, str]:
    """Host -> address, of those in the map; whether they run is another question."""
    return {str(one["name"]): _host_of(str(one["public_addr"])) for one in ask_ceph(node, "mon", "dump")["mons"]}


def _host_of(address: str) -> str:
    return address.partition("/")[0].rpartition(":")[0]


def in_quorum(node: Node) -> frozenset[str]:
    told = ask_ceph(node, "mon", "dump")
    return frozenset(str(one["name"]) for one in told["mons"] if one["rank"] in told["quorum"])


def managers(node: Node) -> frozenset[str]:
    told = ask_ceph(node, "mgr", "dump")
    return frozenset(filter(None, [str(told["active_name"]), *(str(one["name"]) for one in told["standbys"])]))


def osds(node: Node) -> dict[str, Osd]:
    nodes = ask_ceph(node, "osd", "tree")["nodes"]
    hosts = {child: str(one["name"]) for one in nodes if one["type"] == "host" for child in one["children"]}
    return {
        str(one["id"]): Osd(str(one["id"]), hosts.get(one["id"], ""), one["status"] == "up")
        for one in nodes
        if one["type"] == "osd"
    }


def settings(node: Node) -> dict[tuple[str, str], str]:
    return {(str(one["section"]), str(one["name"])): str(one["value"]) for one in ask_ceph(node, "config", "dump")}
