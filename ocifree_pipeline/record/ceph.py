"""Facts of proxmox/ceph and proxmox/ceph_pool."""

from __future__ import annotations

from ocifree_pipeline.record.outcome import Facts

CEPH = "proxmox/ceph"
POOL = "proxmox/ceph_pool"


class OsdFacts(Facts):
    """One OSD: the node that it is on, as Proxmox calls it, and the partition or volume below it."""

    number: str
    node: str
    path: str


class CephFacts(Facts):
    """proxmox/ceph: who it is. How it is, is asked each time."""

    fsid: str
    network: str
    monitors: dict[str, str]
    managers: tuple[str, ...]
    osds: tuple[OsdFacts, ...]


class PoolFacts(Facts):
    """proxmox/ceph_pool: the pool, and the storage of the same name that guests' disks are put on."""

    pool: str
    number: int
    size: int
    min_size: int
    storage: str
