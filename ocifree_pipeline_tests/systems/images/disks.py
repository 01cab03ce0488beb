"""Disk images made from their definition, byte by byte, for readers to prove themselves on."""

import struct
import zlib
from collections.abc import Mapping
from uuid import UUID

SECTOR = 512
ESP = UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
LINUX = UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")


def qcow2(
    disk: Mapping[int, bytes],
    size: int,
    *,
    bits: int = 16,
    version: int = 3,
    packed: frozenset[int] = frozenset(),
    zeros: frozenset[int] = frozenset(),
) -> bytes:
    """An image with these guest clusters; those in `packed` are deflated and put close together, `zeros` say so."""
    cluster = 1 << bits
    per_table = cluster // 8
    first_entries = max(1, -(-size // (cluster * per_table)))
    first_at = cluster
    second_at = first_at + -(-first_entries * 8 // cluster) * cluster
    used = sorted({number // per_table for number in disk} | {number // per_table for number in zeros})
    data_at = second_at + len(used) * cluster
    first = [0] * first_entries
    second = {high: [0] * per_table for high in used}
    data = bytearray()
    for at, high in enumerate(used):
        first[high] = second_at + at * cluster | 1 << 63
    for number in sorted(zeros):
        second[number // per_table][number % per_table] = 1
    for number in sorted(disk, key=lambda one: one in packed):
        content = disk[number].ljust(cluster, b"\0")
        if number in packed:
            squeeze = zlib.compressobj(9, wbits=-12)
            small = squeeze.compress(content) + squeeze.flush()
            address = data_at + len(data)
            sectors = (address % 512 + len(small) - 1) // 512
            split = 62 - (bits - 8)
            second[number // per_table][number % per_table] = 1 << 62 | sectors << split | address
            data += small
        else:
            second[number // per_table][number % per_table] = data_at + len(data) | 1 << 63
            data += content
    data += bytes(-len(data) % cluster)
    # Nobody counts references to an image that is only read, but QEMU wants a table to count them in.
    counts_at = data_at + len(data)
    head = struct.pack(
        *(">4sIQIIQIIQQIIQ", b"QFI\xfb", version, 0, 0, bits, size, 0, first_entries, first_at, counts_at, 1, 0, 0)
    )
    if version == 3:
        head += struct.pack(">QQQII", 0, 0, 0, 4, 104)
    body = head.ljust(first_at, b"\0") + struct.pack(f">{first_entries}Q", *first)
    body = body.ljust(second_at, b"\0")
    for high in used:
        body += struct.pack(f">{per_table}Q", *second[high])
    return bytes(body + data + bytes(cluster))


def of_disk(disk: bytes, *, bits: int = 16, packed: bool = False) -> bytes:
    """A whole disk as an image."""
    cluster = 1 << bits
    parts = {at // cluster: disk[at : at + cluster] for at in range(0, len(disk), cluster)}
    parts = {number: part for number, part in parts.items() if any(part)}
    return qcow2(parts, len(disk), bits=bits, packed=frozenset(parts) if packed else frozenset())


def gpt(partitions: list[tuple[UUID, str, int, bytes]], sectors: int, boot_code: bytes = b"") -> bytes:
    """A disk with a GPT: kind, name, first sector and content of each partition."""
    disk = bytearray(sectors * SECTOR)
    disk[: len(boot_code)] = boot_code
    disk[510:512] = b"\x55\xaa"
    table = b"".join(
        struct.pack("<16s16sQQQ72s", kind.bytes_le, bytes(range(16)), first, first + -(-len(content) // SECTOR) - 1, 0,
                    name.encode("utf-16-le"))
        for kind, name, first, content in partitions
    ).ljust(128 * 128, b"\0")  # fmt: skip
    head = struct.pack(
        "<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, 0, 0, 1, sectors - 1, 34, sectors - 34, bytes(16), 2, 128, 128,
        zlib.crc32(table),
    )  # fmt: skip
    head = head[:16] + struct.pack("<I", zlib.crc32(head)) + head[20:]
    disk[SECTOR : SECTOR + len(head)] = head
    disk[2 * SECTOR : 2 * SECTOR + len(table)] = table
    for _, _, first, content in partitions:
        disk[first * SECTOR : first * SECTOR + len(content)] = content
    return bytes(disk)


def fat(bits: int, tree: Mapping[str, list[str]], *, decoys: int = 0) -> bytes:
    """A FAT file system with EFI/BOOT and the files in it; `decoys` fill the directory before them.

    FAT12 and 16 have a root directory of their own, FAT32 keeps it in a cluster like any other.
    """
    clusters = {12: 200, 16: 5000, 32: 66000}[bits]
    table_sectors = -(-(clusters + 2) * bits // 8 // SECTOR) + 1
    root_entries = 0 if bits == 32 else 64
    boot = bytearray(SECTOR)
    total = 32 + 2 * table_sectors + root_entries * 32 // SECTOR + clusters
    struct.pack_into("<HBHBHHBH", boot, 11, SECTOR, 1, 32, 2, root_entries, 0, 0xF8, 0 if bits == 32 else table_sectors)
    struct.pack_into("<II", boot, 32, total, table_sectors if bits == 32 else 0)
    struct.pack_into("<I", boot, 44, 2 if bits == 32 else 0)
    boot[510:512] = b"\x55\xaa"
    names = [f"DECOY{number:03}.TXT" for number in range(decoys)]
    chains: list[bytes] = []
    table: dict[int, int] = {}

    def put(content: bytes) -> int:
        start = 2 + len(chains)
        parts = [content[at : at + SECTOR] for at in range(0, max(1, len(content)), SECTOR)]
        for at, part in enumerate(parts):
            chains.append(part.ljust(SECTOR, b"\0"))
            table[start + at] = start + at + 1 if at + 1 < len(parts) else (1 << min(bits, 28)) - 1
        return start

    root_cluster = put(b"\0" * SECTOR) if bits == 32 else 0
    directories = []
    for directory, files in tree.items():
        entries = b"".join(entry(name, 0, directory=False) for name in [*names, *files])
        directories.append((directory, put(entries)))
    efi = b"".join(entry(name, cluster, directory=True) for name, cluster in directories)
    root = entry("ESP", 0, directory=False, label=True) + entry("EFI", put(efi), directory=True)
    if bits == 32:
        chains[root_cluster - 2] = root.ljust(SECTOR, b"\0")
    raw = bytearray(table_sectors * SECTOR)
    for number, value in table.items():
        at, rest = divmod(number * bits, 8)
        width = 2 if bits == 12 else bits // 8
        old = int.from_bytes(raw[at : at + width], "little")
        raw[at : at + width] = (old | value << rest).to_bytes(width, "little")
    start = bytes(boot).ljust(32 * SECTOR, b"\0") + bytes(raw) * 2
    return start + (b"" if bits == 32 else root.ljust(root_entries * 32, b"\0")) + b"".join(chains)


def entry(name: str, cluster: int, *, directory: bool, label: bool = False) -> bytes:
    stem, _, ending = name.partition(".")
    flags = 0x08 if label else 0x10 if directory else 0x20
    short = stem.encode().ljust(8) + ending.encode().ljust(3)
    return struct.pack("<11sB8xHIHI", short, flags, cluster >> 16, 0, cluster & 0xFFFF, 0)
