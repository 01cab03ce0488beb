"""How large storages are, and how much of them is used."""

from typing import Any

from ocifree_pipeline.sandbox.proxmox.nodes import Node

GIB = 1024**3
ROOT_GB = 16


def of_storage(node: Node, name: str) -> tuple[int, int]:
    """Total and used bytes."""
    config = node.store["storage"].get(name, {})
    if config.get("type") == "rbd":
        return of_pool(node, str(config.get("pool", name)))
    used = sum(int(one["size"]) for volid, one in volumes(node, name).items() if volid)
    return ROOT_GB * GIB, 3 * GIB + used


def of_pool(node: Node, pool: str) -> tuple[int, int]:
    """A pool of Ceph as it is now; nothing when Ceph does not answer."""
    from ocifree_pipeline.sandbox.ceph import on_proxmox

    return on_proxmox.space_of(node.machine, pool)


def volumes(node: Node, storage: str) -> dict[str, dict[str, Any]]:
    """The volumes of a storage as a node sees them: its own, or the cluster's where the storage is shared."""
    shared = int(node.store["storage"].get(storage, {}).get("shared", 0))
    content = node.store.setdefault("content", {}) if shared else node.own["content"]
    return {volid: one for volid, one in content.items() if volid.partition(":")[0] == storage}
