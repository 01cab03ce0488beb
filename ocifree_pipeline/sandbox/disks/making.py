"""Small images that could really boot as far as a firmware can tell: a GPT, an EFI system partition, a loader.

They stand in for the gigabytes of a distribution wherever only the way through Oracle matters.
"""

import binascii
import struct
import uuid
from collections.abc import Iterable
from pathlib import Path

from ocifree_pipeline.sandbox.disks.partitions import ESP_TYPE, SECTOR

LOADER_NAMES = {"aarch64": b"BOOTAA64EFI", "x86_64": b"BOOTX64 EFI"}
MACHINES = {"aarch64": 0xAA64, "x86_64": 0x8664}
LINUX_TYPE = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4").bytes_le
ESP_START, ESP_SECTORS = 64, 512
DISK_SECTORS = 1024
CLUSTER_BITS = 16


def write_qcow2(
    path: Path,
    loaders: Iterable[str] = ("aarch64",),
    *,
    boot_code: bool = False,
    label: str = "cloudimg-rootfs",
    virtual_gb: int = 3,
) -> Path:
    """A QCOW2 with a UEFI loader for each architecture in ``loaders``; ``boot_code`` makes a BIOS start it too."""
    path.write_bytes(make_qcow2(loaders, boot_code=boot_code, label=label, virtual_gb=virtual_gb))
    return path


def make_qcow2(
    loaders: Iterable[str] = ("aarch64",),
    *,
    boot_code: bool = False,
    label: str = "cloudimg-rootfs",
    virtual_gb: int = 3,
    identity: str = "disk",
) -> bytes:
    """The same image for the same arguments; another ``identity`` is another disk, and so another checksum."""
    disk = _disk(tuple(loaders), boot_code=boot_code, label=label, identity=identity)
    return _qcow2(disk, virtual_gb * 1024**3)


def _disk(loaders: tuple[str, ...], *, boot_code: bool, label: str, identity: str) -> bytes:
    disk = bytearray(DISK_SECTORS * SECTOR)
    if boot_code:
        disk[0:4] = b"\xfa\xeb\xfe\x90"
    disk[446:462] = struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xEE, b"\xff" * 3, 1, 0xFFFFFFFF)
    disk[510:512] = b"\x55\xaa"
    esp = ESP_START, ESP_START + ESP_SECTORS - 1
    entries = _entry(ESP_TYPE, *esp, "EFI") + _entry(LINUX_TYPE, esp[1] + 1, DISK_SECTORS - 40, label)
    table = entries.ljust(128 * 128, b"\0")
    head = struct.pack(
        "<8sIIIIQQQQ16sQIII",
        *(b"EFI PART", 0x10000, 92, 0, 0, 1, DISK_SECTORS - 1, 34, DISK_SECTORS - 34),
        *(uuid.uuid5(uuid.NAMESPACE_OID, identity).bytes_le, 2, 128, 128, binascii.crc32(table)),
    )
    head = head[:16] + struct.pack("<I", binascii.crc32(head)) + head[20:]
    disk[SECTOR : SECTOR + len(head)] = head
    disk[2 * SECTOR : 2 * SECTOR + len(table)] = table
    disk[esp[0] * SECTOR : (esp[1] + 1) * SECTOR] = _esp(loaders)
    return bytes(disk)


def _entry(kind: bytes, first: int, last: int, label: str) -> bytes:
    unique = uuid.uuid5(uuid.NAMESPACE_OID, label).bytes_le
    return struct.pack("<16s16sQQQ72s", kind, unique, first, last, 0, label.encode("utf-16-le"))


def _esp(loaders: tuple[str, ...]) -> bytes:
    """A FAT12 file system: two sectors of FAT, one of root directory, then clusters of one sector each."""
    fat_sectors = 2
    boot = bytearray(SECTOR)
    boot[0:3] = b"\xeb\x3c\x90"
    boot[3:36] = struct.pack(
        "<8sHBHBHHBHHHII", b"SANDBOX ", SECTOR, 1, 1, 1, 16, ESP_SECTORS, 0xF8, fat_sectors, 1, 1, 0, 0
    )
    boot[510:512] = b"\x55\xaa"
    root = _directory_entry(b"EFI        ", 2)
    efi = _directory_entry(b"BOOT       ", 3)
    files = [_stub(one) for one in loaders]
    names = b"".join(_file_entry(LOADER_NAMES[one], 4 + at, len(files[at])) for at, one in enumerate(loaders))
    clusters = [efi, names, *files]
    fat = bytearray(fat_sectors * SECTOR)
    for number in range(2 + len(clusters)):
        _set12(fat, number, 0xFFF)
    body = bytes(boot) + bytes(fat) + root.ljust(SECTOR, b"\0") + b"".join(one.ljust(SECTOR, b"\0") for one in clusters)
    return body.ljust(ESP_SECTORS * SECTOR, b"\0")


def _directory_entry(name: bytes, cluster: int) -> bytes:
    return struct.pack("<11sB8xHIHI", name, 0x10, 0, 0, cluster, 0)


def _file_entry(name: bytes, cluster: int, size: int) -> bytes:
    return struct.pack("<11sB8xHIHI", name, 0x20, 0, 0, cluster, size)


def _set12(fat: bytearray, number: int, value: int) -> None:
    at = number * 3 // 2
    pair = int.from_bytes(fat[at : at + 2], "little")
    pair = (pair & 0x000F) | value << 4 if number % 2 else (pair & 0xF000) | value
    fat[at : at + 2] = pair.to_bytes(2, "little")


def _stub(architecture: str) -> bytes:
    """The head of a PE file for that machine."""
    return b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x40) + b"PE\0\0" + struct.pack("<H", MACHINES[architecture])


def _qcow2(disk: bytes, virtual_size: int) -> bytes:
    cluster = 1 << CLUSTER_BITS
    chunks = [disk[at : at + cluster].ljust(cluster, b"\0") for at in range(0, len(disk), cluster)]
    entries = -(-virtual_size // (cluster * (cluster // 8)))
    used = 5 + len(chunks)  # header, refcount table, refcount block, two tables, data
    head = struct.pack(
        ">4sIQIIQIIQQIIQQQQII",
        *(b"QFI\xfb", 3, 0, 0, CLUSTER_BITS, virtual_size, 0, entries),
        *(3 * cluster, cluster, 1, 0, 0, 0, 0, 0, 4, 104),
    )
    refcount_table = struct.pack(">Q", 2 * cluster)
    refcounts = struct.pack(">H", 1) * used
    first = struct.pack(">Q", 4 * cluster | 1 << 63)
    second = b"".join(struct.pack(">Q", (5 + at) * cluster | 1 << 63) for at in range(len(chunks)))
    tables = (head, refcount_table, refcounts, first, second)
    return b"".join(one.ljust(cluster, b"\0") for one in tables) + b"".join(chunks)
