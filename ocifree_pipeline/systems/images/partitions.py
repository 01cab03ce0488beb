"""The partition table of a disk (GPT), and what kind of file system a partition holds."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from uuid import UUID

from ocifree_pipeline.systems.images.disk import Disk

SECTOR = 512
ESP = UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")

_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
_MOST_ENTRIES = 1024
_MAGIC = (
    (0, b"XFSB", "xfs"),
    (0, b"LUKS\xba\xbe", "encrypted (LUKS)"),
    (512, b"LABELONE", "LVM"),
    (1080, b"\x53\xef", "ext4"),
    (65600, b"_BHRfS_M", "btrfs"),
    (82, b"FAT32", "FAT"),
    (54, b"FAT1", "FAT"),
    (0, b"hsqs", "squashfs"),
)
"""Where the mark of each file system stands in its partition."""


@dataclass(frozen=True, slots=True)
class Partition:
    name: str
    kind: UUID
    offset: int
    size: int


def partitions_of(disk: Disk) -> tuple[Partition, ...]:
    """Those of the GPT whose checksums are right; none if there is no such table."""
    raw = disk.read(SECTOR, SECTOR)
    head = raw[: _HEADER.size]
    signature, _, length, checksum, *_, table, count, width, table_checksum = _HEADER.unpack(head)
    if signature != b"EFI PART" or not _HEADER.size <= length <= SECTOR:
        return ()
    if zlib.crc32(raw[:16] + bytes(4) + raw[20:length]) != checksum:
        return ()
    if width < 128 or width % 8 or count > _MOST_ENTRIES:
        return ()
    entries = disk.read(table * SECTOR, count * width)
    if zlib.crc32(entries) != table_checksum:
        return ()
    cut = (entries[at : at + 128] for at in range(0, count * width, width))
    return tuple(_partition(entry) for entry in cut if any(entry[:16]))


def starts_on_bios(disk: Disk) -> bool:
    """Whether a BIOS finds something to run in the first sector."""
    first = disk.read(0, SECTOR)
    return first[510:] == b"\x55\xaa" and any(first[:440])


def file_system_of(disk: Disk, partition: Partition) -> str | None:
    """By its mark; None if the mark is not a known one."""
    return next((name for at, mark, name in _MAGIC if disk.read(partition.offset + at, len(mark)) == mark), None)


def _partition(entry: bytes) -> Partition:
    first, last = struct.unpack_from("<QQ", entry, 32)
    name = entry[56:128].decode("utf-16-le", "replace").partition("\0")[0]
    return Partition(name, UUID(bytes_le=entry[:16]), first * SECTOR, max(0, last + 1 - first) * SECTOR)
