"""Ceph on the sandbox's Proxmox nodes: what a ``Site`` is there."""

import hashlib
import uuid
from collections.abc import Callable
from typing import Any

from ocifree_pipeline.sandbox.ceph import cluster, daemons, devices, pools, reports
from ocifree_pipeline.sandbox.ceph.site import GIB, Node, Refused, Site
from ocifree_pipeline.sandbox.clock import parse
from ocifree_pipeline.sandbox.machines import names, tampering
from ocifree_pipeline.sandbox.machines.computer import Computer
from ocifree_pipeline.sandbox.machines.machine import Machine
from ocifree_pipeline.sandbox.world import World

IMMEDIATE = 0.02
"""What is left of Ceph's pauses where lifecycles are immediate."""
PROXMOX_ROOT_GB = 16


def site_of(machine: Computer) -> Site:
    """Ceph as this machine sees it: with all nodes of its Proxmox cluster, or by itself."""
    from ocifree_pipeline.sandbox.proxmox import nodes, quorum

    world = machine.world
    if not nodes.is_node(machine):
        name = str(machine.guest["hostname"])
        return Site({}, {name: _node(machine, name)}, name, _now(world), _uuids(world))
    here = nodes.Node(machine)
    members = nodes.members(here)
    return Site(
        shared=here.store.setdefault("ceph", {}),
        nodes={one.name: _node(one.machine, one.name) for one in members},
        here=here.name,
        now=_now(world),
        uuid=_uuids(world),
        pace=IMMEDIATE if world.clock.mode == "immediate" else 1.0,
        cut=frozenset(
            frozenset((one.name, other.name))
            for one in members
            for other in members
            if not tampering.is_linked(world, one.machine.key, other.machine.key)
        ),
        is_writable=quorum.is_quorate(here),
        storages=here.store["storage"],
        etc_pve=here.store["files"],
    )


def unit_runs(machine: Computer, unit: str) -> bool:
    """A unit of Ceph that nobody has stopped: it runs when there is such a daemon on this node."""
    site = site_of(machine)
    kind, _, name = unit.removeprefix("ceph-").partition("@")
    match kind:
        case "mon" | "mgr":
            return name == site.here and name in site.shared.get(f"{kind}s", ())
        case "osd":
            return bool(site.shared.get("osds", {}).get(name, {}).get("host") == site.here)
        case _:
            return False


def came_up(machine: Computer) -> None:
    """What somebody has stopped starts again with its node."""
    for unit, state in machine.guest.get("services", {}).items():
        if unit.startswith("ceph-"):
            state["active"] = True
    notice(machine)


def notice(machine: Computer) -> None:
    """A node went down or came up: what Ceph makes of that begins now, and not when somebody looks next."""
    site = site_of(machine)
    if "fsid" in site.shared:
        daemons.settle(site)


def space_of(machine: Computer, pool: str) -> tuple[int, int]:
    """Total and used bytes of a pool as a storage; nothing when Ceph does not answer or has stopped writing."""
    site = site_of(machine)
    try:
        cluster.must_answer(site)
        number, _ = pools.named(site, pool)
    except Refused:
        return 0, 0
    states = daemons.states(site)
    if any("active" not in state.split("+") for name, state in states.items() if name.startswith(f"{number}.")):
        return 0, 0
    stats = next(row["stats"] for row in reports.df(site)["pools"] if row["name"] == pool)
    return int(stats["max_avail"] + stats["stored"]), int(stats["stored"])


def _node(machine: Computer, name: str) -> Node:
    services: dict[str, dict[str, Any]] = machine.guest.get("services", {})
    stamp = machine.state["since"]
    return Node(
        name=name,
        addresses=tuple(f"{one}/32" for one in machine.addresses),
        blocks=blocks(machine),
        own=machine.guest.setdefault("ceph", {}),
        packages=machine.guest.setdefault("packages", {}),
        is_up=machine.phase == "up",
        since=parse(stamp).timestamp() if stamp else 0.0,
        boots=machine.boots,
        skew=tampering.skew(machine),
        stopped=frozenset(unit for unit, state in services.items() if not state["active"]),
    )


def blocks(machine: Computer) -> dict[str, Any]:
    """The disks of a guest, as they were at its first boot and as it has divided them since."""
    found: dict[str, Any] | None = machine.guest.get("blocks")
    if found is None:
        size = _disk_gb(machine)
        # An image for Proxmox keeps its root as it is; any other grows over the whole disk.
        root = min(PROXMOX_ROOT_GB, size) if names.is_for_proxmox(machine) else size
        found = machine.guest["blocks"] = devices.boot_disk(size, root)
    return found


def _disk_gb(machine: Computer) -> int:
    if isinstance(machine, Machine) and machine.volume is not None:
        return int(machine.volume.body["sizeInGBs"])
    return max(int(machine.disk.get("size_bytes", 0)) // GIB, 1)


def _now(world: World) -> float:
    return world.clock.now().timestamp()


def _uuids(world: World) -> Callable[[str], str]:
    def make(purpose: str) -> str:
        digest = hashlib.sha256(world.fresh(f"ceph-{purpose}").encode()).digest()
        return str(uuid.UUID(bytes=digest[:16], version=4))

    return make
