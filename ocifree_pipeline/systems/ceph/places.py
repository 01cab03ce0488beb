"""Where the OSD of a node lies: a partition labelled `osd`, a logical volume named `osd`, or space that is still free.

Nothing that somebody uses is ever touched: what is in the way is a Conflict with the command that shows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ocifree_pipeline.deployment.errors import Conflict, Refused
from ocifree_pipeline.systems.ceph.words import as_json, ask
from ocifree_pipeline.systems.proxmox.node import Node

LABEL = "osd"
SECTOR = 512
ALIGNMENT = 2048
BACKUP_TABLE = 34
GIB = 1024**3
LEAST_GB = 10
LSBLK = ["lsblk", "--json", "--bytes", "--output", "NAME,PATH,TYPE,SIZE,FSTYPE,PARTLABEL,MOUNTPOINT"]
LVS = ["lvs", "--reportformat", "json", "-o", "lv_name,vg_name,lv_size,lv_tags", "--units", "b", "--nosuffix"]


@dataclass(frozen=True, slots=True)
class Gap:
    """Free space on a disk, in sectors, and the number that a partition there would get."""

    disk: str
    number: int
    first: int
    last: int

    @property
    def path(self) -> str:
        """The partition that is made there."""
        return f"{self.disk}{'p' if self.disk[-1].isdigit() else ''}{self.number}"

    @property
    def gb(self) -> int:
        return round((self.last - self.first + 1) * SECTOR / GIB)


@dataclass(frozen=True, slots=True)
class Place:
    """`osd` is the number of the OSD that lies there, `cluster` the cluster that it was made for."""

    kind: Literal["partition", "volume"]
    path: str
    osd: str | None = None
    cluster: str | None = None


@dataclass(frozen=True, slots=True)
class Unread:
    """A partition that is in the table of its disk and that the running kernel has not read yet."""

    disk: str
    path: str


def find_place(node: Node) -> Place | Unread | Gap:
    """What there is on this node. Refused when there is neither a place nor room for one."""
    devices = list(_flat(as_json(node, ask(node, LSBLK, "lsblk"), "lsblk")["blockdevices"]))
    made = as_json(node, ask(node, ["ceph-volume", "lvm", "list", "--format", "json"], "ceph-volume"), "ceph-volume")
    volume = _volume(as_json(node, ask(node, LVS, "lvs"), "lvs")["report"][0]["lv"])
    partitions = [one for one in devices if one["type"] == "part" and one["partlabel"] == LABEL]
    if len(partitions) + (volume is not None) > 1:
        raise Conflict(
            f"{node.machine} has more than one place for an OSD",
            why=", ".join([*(str(one["path"]) for one in partitions), *([volume.path] if volume else [])]),
            fix=f"keep one; on {node.machine}, `lsblk -o PATH,PARTLABEL,SIZE` shows them",
        )
    if volume is not None:
        return volume
    if partitions:
        return _partition(node, partitions[0], made)
    disk = next(one for one in devices if one["type"] == "disk" and "/" in _mounts(one))
    table = as_json(node, ask(node, ["sfdisk", "--json", disk["path"]], "sfdisk"), "sfdisk")["partitiontable"]
    unread = next((one for one in table["partitions"] if one.get("name") == LABEL), None)
    if unread is not None:
        return Unread(str(disk["path"]), str(unread["node"]))
    return _gap(node, str(disk["path"]), int(disk["size"]), table["partitions"])


def _flat(devices: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for one in devices:
        yield one
        yield from _flat(one.get("children", ()))


def _mounts(device: Mapping[str, Any]) -> set[str]:
    return {str(one.get("mountpoint")) for one in _flat([device])}


def _volume(rows: Sequence[Mapping[str, str]]) -> Place | None:
    found = [row for row in rows if row["lv_name"] == LABEL]
    if not found:
        return None
    tags = dict(one.partition("=")[::2] for one in found[0]["lv_tags"].split(",") if one)
    path = f"{found[0]['vg_name']}/{found[0]['lv_name']}"
    return Place("volume", path, tags.get("ceph.osd_id"), tags.get("ceph.cluster_fsid"))


def _partition(node: Node, partition: Mapping[str, Any], made: Mapping[str, Any]) -> Place:
    path = str(partition["path"])
    for number, rows in made.items():
        for row in rows:
            if path in row["devices"]:
                return Place("partition", path, number, row["tags"]["ceph.cluster_fsid"])
    if partition["fstype"] or partition.get("children"):
        raise Conflict(
            f"{node.machine}: {path} is labelled {LABEL} and something else is on it",
            why=f"{partition['fstype'] or 'a volume'} that Ceph did not make",
            fix=f"look at it with `lsblk -f {path}`; if it can go, `ceph-volume lvm zap --destroy {path}`",
        )
    return Place("partition", path)


def _gap(node: Node, disk: str, size: int, partitions: Sequence[Mapping[str, Any]]) -> Gap:
    """The largest gap. The table may end before the disk does, for the image was smaller than the boot volume."""
    gaps, at = [], ALIGNMENT
    spans = sorted((int(one["start"]), int(one["start"]) + int(one["size"])) for one in partitions)
    for start, end in [*spans, (size // SECTOR - BACKUP_TABLE, 0)]:
        if start > at:
            gaps.append((start - at, at, start - 1))
        at = max(at, -(-end // ALIGNMENT) * ALIGNMENT)
    taken = {_number(disk, str(one["node"])) for one in partitions}
    number = next(one for one in range(1, 129) if one not in taken)
    _, first, last = max(gaps, default=(0, 0, -1))
    gap = Gap(disk, number, first, last)
    if gap.gb < LEAST_GB:
        raise Refused(
            f"{node.machine} has no room for Ceph: {gap.gb} GB are free on {disk}",
            why="the root partition has grown over the boot volume, or the image is as large as the volume",
            fix="use an image whose root stays as it is (docs/declaration.md, images), then make the machine anew",
        )
    return gap


def _number(disk: str, node: str) -> int:
    return int(node.removeprefix(disk).removeprefix("p"))
