"""The block devices of a node: disks, partitions and LVM, and who uses them.

    {"disks": {"sda": {"sectors": 104857600, "partitions": [{"number": 1, "start": ..., ...}], "kernel": [1, 15]}},
     "vgs": {"ceph-...": {"pvs": ["/dev/sda2"], "lvs": {"osd-block-...": {"bytes": ..., "tags": {...}}}}}}

``kernel`` are the partitions that the running kernel knows; a table that is changed while the disk is in use is not
read again by itself.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ocifree_pipeline.sandbox.ceph.site import GIB, Node

SECTOR = 512

ALIGNMENT = 2048
FIRST_USABLE = 2048
BACKUP_TABLE = 34
LINUX_DATA = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
LINUX_ROOT_ARM64 = "B921B045-1DF0-41C3-AF44-4C6F280D3FAE"
EFI_SYSTEM = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
LINUX_LVM = "E6D6D379-F507-44C2-A23C-238F2A3DF928"


@dataclass(frozen=True, slots=True)
class Device:
    """A disk, a partition of one, or a logical volume."""

    path: str
    kind: str
    bytes: int
    disk: str
    number: int
    entry: dict[str, Any]


def boot_disk(size_gb: int, root_gb: int) -> dict[str, Any]:
    """A boot volume whose image has left space behind its root: that of the Debian image for arm64."""
    root_start, root_end = 262_144, root_gb * GIB // SECTOR
    return {
        "disks": {
            "sda": {
                "sectors": size_gb * GIB // SECTOR,
                "table_sectors": root_end + BACKUP_TABLE,
                "partitions": [
                    _entry(1, root_start, root_end - root_start, LINUX_ROOT_ARM64, fstype="ext4", mount="/"),
                    _entry(15, 2048, root_start - 2048, EFI_SYSTEM, fstype="vfat", mount="/boot/efi"),
                ],
                "kernel": [1, 15],
            }
        },
        "vgs": {},
    }


def _entry(number: int, start: int, size: int, kind: str = LINUX_DATA, *, fstype: str = "", mount: str = "") -> Any:
    return {
        "number": number, "start": start, "size": size, "type": kind, "name": "", "fstype": fstype, "mount": mount,
    }  # fmt: skip


def partition_path(disk: str, number: int) -> str:
    return f"/dev/{disk}{'p' if disk[-1].isdigit() else ''}{number}"


def everything(node: Node) -> Iterator[Device]:
    """Disks and the partitions that the kernel knows."""
    for name, disk in node.blocks["disks"].items():
        yield Device(f"/dev/{name}", "disk", disk["sectors"] * SECTOR, name, 0, disk)
        for one in disk["partitions"]:
            if one["number"] in disk["kernel"]:
                path = partition_path(name, one["number"])
                yield Device(path, "part", one["size"] * SECTOR, name, one["number"], one)


def find(node: Node, path: str) -> Device | None:
    return next((one for one in everything(node) if one.path == path), None)


def use_of(node: Node, device: Device) -> str | None:
    """Who uses it, in a word; None when nobody does."""
    if device.kind == "disk":
        return "partitions" if device.entry["partitions"] else None
    if device.entry["mount"]:
        return "mounted"
    if any(device.path in group["pvs"] for group in node.blocks["vgs"].values()):
        return "LVM"
    return device.entry["fstype"] or None


def free_spans(disk: dict[str, Any]) -> list[tuple[int, int]]:
    """First and last sector of every gap, aligned, smallest start first."""
    gaps, at = [], FIRST_USABLE
    end = disk["table_sectors"] - BACKUP_TABLE
    for start, size in sorted((one["start"], one["size"]) for one in disk["partitions"]):
        if start - at >= ALIGNMENT:
            gaps.append((at, start - 1))
        at = max(at, -(-(start + size) // ALIGNMENT) * ALIGNMENT)
    if end - at >= ALIGNMENT:
        gaps.append((at, end))
    return gaps


def is_busy(disk: dict[str, Any]) -> bool:
    return any(one["mount"] for one in disk["partitions"])


def add_partition(disk: dict[str, Any], number: int, first: int, last: int) -> None:
    disk["partitions"].append(_entry(number, first, last - first + 1))
    if not is_busy(disk):
        read_table_again(disk)


def read_table_again(disk: dict[str, Any]) -> None:
    disk["kernel"] = sorted(one["number"] for one in disk["partitions"])


def make_volume(node: Node, path: str, volume: str, size: int, tags: dict[str, str]) -> None:
    """A volume group of its own on a device, and one volume that fills it."""
    group = f"ceph-{volume}"
    node.blocks["vgs"][group] = {"pvs": [path], "lvs": {f"osd-block-{volume}": {"bytes": size, "tags": tags}}}


def volumes(node: Node) -> Iterator[tuple[str, str, list[str], dict[str, Any]]]:
    """Group, name, the devices below, and the volume."""
    for group, found in node.blocks["vgs"].items():
        for name, volume in found["lvs"].items():
            yield group, name, found["pvs"], volume


def wipe(node: Node, path: str) -> None:
    """Forget the volume group on a device, and what else was on it."""
    for group in [name for name, found in node.blocks["vgs"].items() if path in found["pvs"]]:
        del node.blocks["vgs"][group]
    device = find(node, path)
    if device is not None:
        device.entry["fstype"] = ""


def is_disk_name(path: str) -> bool:
    """The names that Proxmox takes for an OSD: no loop device, no logical volume, nothing from iSCSI by its path."""
    return re.fullmatch(r"/dev/((h|s|v|xv)d[a-z]+\d*|nvme\d+n\d+(p\d+)?|cciss/c\d+d\d+(p\d+)?)", path) is not None
