"""Partition tables and the EFI system partition: who could start this disk."""

from collections.abc import Iterator
from dataclasses import dataclass

from ocifree_pipeline.sandbox.disks.blocks import Blocks

SECTOR = 512
ESP_TYPE = bytes.fromhex("28732ac11ff8d211ba4b00a0c93ec93b")
MBR_ESP = 0xEF
DIRECTORY = 0x10
LONG_NAME = 0x0F
SECTOR_SIZES = frozenset({512, 1024, 2048, 4096})
LARGEST_DIRECTORY = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Partition:
    label: str
    offset: int
    is_esp: bool


def partitions(disk: Blocks) -> list[Partition]:
    """Those of the GPT, or of the MBR when there is no GPT; an empty list when there is neither."""
    return list(_gpt(disk)) or list(_mbr(disk))


def has_boot_code(disk: Blocks) -> bool:
    """Whether a BIOS would find something to run in the first sector."""
    first = disk.read(0, SECTOR)
    return first[510:512] == b"\x55\xaa" and any(first[:440])


def fallback_loaders(disk: Blocks) -> frozenset[str]:
    """The file names in EFI/BOOT of every EFI system partition, such as BOOTAA64.EFI."""
    found: set[str] = set()
    for one in partitions(disk):
        if one.is_esp:
            found.update(_Fat(disk, one.offset).names("EFI", "BOOT"))
    return frozenset(found)


def _gpt(disk: Blocks) -> Iterator[Partition]:
    header = disk.read(SECTOR, 92)
    if header[:8] != b"EFI PART":
        return
    start = int.from_bytes(header[72:80], "little") * SECTOR
    count = min(int.from_bytes(header[80:84], "little"), 1024)
    width = int.from_bytes(header[84:88], "little")
    if width < 128 or width > 4096:
        return
    table = disk.read(start, count * width)
    for at in range(0, count * width, width):
        entry = table[at : at + 128]
        if any(entry[:16]):
            label = entry[56:128].decode("utf-16-le", "replace").rstrip("\0")
            yield Partition(label, int.from_bytes(entry[32:40], "little") * SECTOR, entry[:16] == ESP_TYPE)


def _mbr(disk: Blocks) -> Iterator[Partition]:
    first = disk.read(0, SECTOR)
    if first[510:512] != b"\x55\xaa":
        return
    for at in range(446, 510, 16):
        entry = first[at : at + 16]
        if entry[4]:
            yield Partition("", int.from_bytes(entry[8:12], "little") * SECTOR, entry[4] == MBR_ESP)


class _Fat:
    """A FAT12, FAT16 or FAT32 file system, as far as listing a directory goes."""

    def __init__(self, disk: Blocks, offset: int) -> None:
        self._disk = disk
        boot = disk.read(offset, SECTOR)
        sector = int.from_bytes(boot[11:13], "little")
        self._ok = boot[510:512] == b"\x55\xaa" and boot[13] > 0 and sector in SECTOR_SIZES
        if not self._ok:
            return
        self._cluster = boot[13] * sector
        reserved = int.from_bytes(boot[14:16], "little")
        fat_sectors = int.from_bytes(boot[22:24], "little") or int.from_bytes(boot[36:40], "little")
        root_bytes = int.from_bytes(boot[17:19], "little") * 32
        sectors = int.from_bytes(boot[19:21], "little") or int.from_bytes(boot[32:36], "little")
        self._table = offset + reserved * sector
        self._root = offset + (reserved + boot[16] * fat_sectors) * sector
        self._data = self._root + -(-root_bytes // sector) * sector
        self._root_bytes = root_bytes
        self._root_cluster = int.from_bytes(boot[44:48], "little") if root_bytes == 0 else 0
        clusters = (sectors * sector - (self._data - offset)) // self._cluster
        self._width = 12 if clusters < 4085 else 16 if clusters < 65525 else 32

    def names(self, *path: str) -> set[str]:
        """The files of a directory; empty when there is no such directory."""
        if not self._ok:
            return set()
        content = self._disk.read(self._root, self._root_bytes) if self._root_bytes else self._chain(self._root_cluster)
        for step in path:
            inside = {name: cluster for name, cluster, is_directory in _entries(content) if is_directory}
            if step not in inside:
                return set()
            content = self._chain(inside[step])
        return {name for name, _, is_directory in _entries(content) if not is_directory}

    def _chain(self, cluster: int) -> bytes:
        parts: list[bytes] = []
        end = {12: 0xFF8, 16: 0xFFF8, 32: 0x0FFFFFF8}[self._width]
        while 2 <= cluster < end and len(parts) * self._cluster < LARGEST_DIRECTORY:
            parts.append(self._disk.read(self._data + (cluster - 2) * self._cluster, self._cluster))
            cluster = self._next(cluster)
        return b"".join(parts)

    def _next(self, cluster: int) -> int:
        if self._width == 12:
            pair = int.from_bytes(self._disk.read(self._table + cluster * 3 // 2, 2), "little")
            return pair >> 4 if cluster % 2 else pair & 0xFFF
        size = self._width // 8
        return int.from_bytes(self._disk.read(self._table + cluster * size, size), "little") & 0x0FFFFFFF


def _entries(directory: bytes) -> Iterator[tuple[str, int, bool]]:
    """Name, first cluster and kind of each entry, by its short name."""
    for at in range(0, len(directory) - 31, 32):
        entry = directory[at : at + 32]
        if entry[0] == 0:
            return
        if entry[0] == 0xE5 or entry[11] == LONG_NAME:
            continue
        stem, ending = entry[:8].decode("ascii", "replace").strip(), entry[8:11].decode("ascii", "replace").strip()
        cluster = int.from_bytes(entry[20:22], "little") << 16 | int.from_bytes(entry[26:28], "little")
        yield (f"{stem}.{ending}" if ending else stem), cluster, bool(entry[11] & DIRECTORY)
