"""How large storages are, and how much of them is used."""

from typing import Any

from ocifree_pipeline.sandbox.proxmox.nodes import Node

GIB = 1024**3
MIB = 1024**2
ROOT_GB = 16
IDLE_CPUS = 0.04
"""What a node does without any guest, in processors."""
PROXMOX_MIB = 1536
CEPH_MIB = {"mon": 700, "mgr": 500, "osd": 1500}


def of_storage(node: Node, name: str) -> tuple[int, int]:
    """Total and used bytes."""
    config = node.store["storage"].get(name, {})
    if config.get("type") == "rbd":
        return of_pool(node, str(config.get("pool", name)))
    used = sum(int(one["size"]) for volid, one in volumes(node, name).items() if volid)
    return ROOT_GB * GIB, 3 * GIB + used


def of_daemons(node: Node) -> int:
    """The memory that Proxmox and the daemons of Ceph on this node take."""
    ceph = node.store.get("ceph", {})
    here = [one for one in ceph.get("osds", {}).values() if one["host"] == node.name]
    counts = {"mon": int(node.name in ceph.get("mons", {})), "mgr": int(node.name in ceph.get("mgrs", []))}
    return (PROXMOX_MIB + sum(CEPH_MIB[one] * n for one, n in {**counts, "osd": len(here)}.items())) * MIB


def of_pool(node: Node, pool: str) -> tuple[int, int]:
    """A pool of Ceph as it is now; nothing when Ceph does not answer."""
    from ocifree_pipeline.sandbox.ceph import on_proxmox

    return on_proxmox.space_of(node.machine, pool)


def volumes(node: Node, storage: str) -> dict[str, dict[str, Any]]:
    """The volumes of a storage as a node sees them: its own, or the cluster's where the storage is shared."""
    shared = int(node.store["storage"].get(storage, {}).get("shared", 0))
    content = node.store.setdefault("content", {}) if shared else node.own["content"]
    return {volid: one for volid, one in content.items() if volid.partition(":")[0] == storage}
