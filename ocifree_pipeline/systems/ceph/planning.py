"""What is missing of the Ceph that was declared. Pure: the same sight gives the same plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ocifree_pipeline.deployment.errors import Conflict
from ocifree_pipeline.systems.ceph.observing import Seen
from ocifree_pipeline.systems.ceph.places import LABEL, Gap, Place, Unread
from ocifree_pipeline.systems.proxmox.node import Node

Kind = Literal["install", "init", "monitor", "setting", "manager", "partition", "reread", "clear", "osd"]
RELEASE = "tentacle"
"""On arm64 there is no older one."""
MIB = 1024**2
ROOMY_GB = 16


@dataclass(frozen=True, slots=True)
class Wanted:
    """`network` is where monitors and OSDs speak; `settings` are (who, name) -> value."""

    network: str
    size: int
    min_size: int
    settings: Mapping[tuple[str, str], str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Action:
    """One change. `subject` is where; `target` is the path, the disk or the value that it is about."""

    kind: Kind
    subject: str
    line: str
    target: str = ""
    gap: Gap | None = None


def memory_settings(memory_gb: int) -> dict[tuple[str, str], str]:
    """What daemons may take on a small node. Ceph's own numbers (4 GB an OSD) leave nothing for guests on 8 GB."""
    if memory_gb >= ROOMY_GB:
        return {}
    return {
        ("osd", "osd_memory_target_autotune"): "false",
        ("osd", "osd_memory_target"): str(1536 * MIB),
        ("mon", "mon_memory_target"): str(1024 * MIB),
    }


def plan(wanted: Wanted, nodes: Sequence[Node], seen: Seen, half_made: frozenset[str] = frozenset()) -> list[Action]:
    """In the order in which it has to happen. `half_made` are hosts on which an OSD was begun and no end was heard."""
    if seen.network is not None and seen.network != wanted.network:
        raise Conflict(
            f"Ceph runs on {seen.network}, and {wanted.network} is declared",
            why="monitors keep the addresses they were made with, and a second `pveceph init` would only hide that",
            fix="write the old range into network.private_subnet",
        )
    actions = [
        Action("install", node.name, f"install Ceph on {node.name}", RELEASE)
        for node in nodes
        if node.name in seen.without
    ]
    if seen.fsid is None:
        line = f"write the configuration of Ceph: network {wanted.network}, {wanted.size} copies"
        actions.append(Action("init", nodes[0].name, line, wanted.network))
    actions += _monitors(nodes, seen)
    actions += [
        Action("setting", who, f"set {name} of each {who} to {value}", f"{name}={value}")
        for (who, name), value in wanted.settings.items()
        if seen.settings.get((who, name)) != value
    ]
    actions += [
        Action("manager", node.name, f"create the manager of {node.name}")
        for node in nodes
        # A monitor brings the manager of its node with it.
        if node.name not in seen.managers and node.name in seen.monitors
    ]
    for node in nodes:
        actions += _osd(node, seen, node.name in half_made)
    return actions


def _monitors(nodes: Sequence[Node], seen: Seen) -> list[Action]:
    actions = []
    for node in nodes:
        there = seen.monitors.get(node.name)
        if there is None:
            line = f"create the monitor of {node.name} at {node.address}"
            actions.append(Action("monitor", node.name, line, node.address))
        elif there != node.address:
            raise Conflict(
                f"the monitor of {node.name} is at {there}, and the node at {node.address}",
                why="a monitor keeps the address it was made with",
                fix=f"on {node.name}: pveceph mon destroy {node.name}; if that node was made anew by hand, on another "
                f"one: ceph mon remove {node.name}, and take its section out of /etc/pve/ceph.conf",
            )
    return actions


def _osd(node: Node, seen: Seen, was_begun: bool) -> list[Action]:
    place = seen.places.get(node.name)
    if place is None:
        # Its disks are looked at when ceph-volume is there to say what is on them.
        return [Action("osd", node.name, f"create the OSD of {node.name}")]
    if isinstance(place, Gap):
        line = f"make a partition of {place.gb} GB on {place.disk} of {node.name}, in space that is free"
        return [
            Action("partition", node.name, line, place.path, place),
            Action("osd", node.name, f"create the OSD of {node.name} on {place.path}", place.path),
        ]
    create = Action("osd", node.name, f"create the OSD of {node.name} on {place.path}", place.path)
    if isinstance(place, Unread):
        return [Action("reread", node.name, f"let {node.name} read the partitions of {place.disk}", place.disk), create]
    if place.osd is None:
        return [create]
    if place.cluster != seen.fsid:
        raise Conflict(
            f"{node.name}: an OSD of another cluster is on {place.path}",
            why=f"osd.{place.osd} of {place.cluster}; this one is {seen.fsid or 'not made yet'}",
            fix=f"if it can go, on {node.name}: ceph-volume lvm zap --destroy {_as_path(place)}",
        )
    known = seen.osds.get(place.osd)
    if known is not None and known.host == node.name:
        return []
    if was_begun:
        line = f"clear {place.path} of {node.name}: making an OSD there broke off"
        return [Action("clear", node.name, line, _as_path(place)), create]
    raise Conflict(
        f"{node.name}: osd.{place.osd} is on {place.path}, and Ceph does not know it there",
        why="it was purged, or its disk comes from another node",
        fix=f"if nothing on it is needed, on {node.name}: ceph-volume lvm zap --destroy {_as_path(place)}",
    )


def _as_path(place: Place) -> str:
    return place.path if place.path.startswith("/dev/") else f"/dev/{place.path}"


def partition_command(gap: Gap) -> list[str]:
    """Refused by the program itself when one of these sectors is taken."""
    return [
        "sgdisk", "--move-second-header", f"--new={gap.number}:{gap.first}:{gap.last}",
        f"--change-name={gap.number}:{LABEL}", gap.disk,
    ]  # fmt: skip
