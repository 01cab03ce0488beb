"""Just enough of FAT to see which files lie in a directory: what a firmware does before it starts a loader."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from ocifree_pipeline.systems.images.disk import Disk

_DIRECTORY, _LABEL, _LONG = 0x10, 0x08, 0x0F
_ENTRY = 32
_MOST_CLUSTERS = 8192
"""Of one directory. A longer chain goes in a circle."""


@dataclass(frozen=True, slots=True)
class _Layout:
    bits: int
    table: int
    data: int
    cluster: int
    root: int
    root_bytes: int
    root_cluster: int


@dataclass(frozen=True, slots=True)
class _Named:
    name: str
    cluster: int
    is_directory: bool


def files_in(disk: Disk, offset: int, *path: str) -> frozenset[str]:
    """Names of the files in a directory of the file system at `offset`, in capitals; none if it is not there."""
    layout = _layout(disk, offset)
    if layout is None:
        return frozenset()
    if layout.root_bytes:
        content = disk.read(layout.root, layout.root_bytes)
    else:
        content = _chain(disk, layout, layout.root_cluster)
    for step in path:
        found = next((one for one in _entries(content) if one.is_directory and one.name == step.upper()), None)
        if found is None:
            return frozenset()
        content = _chain(disk, layout, found.cluster)
    return frozenset(one.name for one in _entries(content) if not one.is_directory)


def _layout(disk: Disk, offset: int) -> _Layout | None:
    boot = disk.read(offset, 512)
    sector, per_cluster, reserved, tables, root_entries, few = struct.unpack_from("<HBHBHH", boot, 11)
    fat16_sectors = struct.unpack_from("<H", boot, 22)[0]
    many, fat32_sectors = struct.unpack_from("<II", boot, 32)
    root_cluster = struct.unpack_from("<I", boot, 44)[0]
    if boot[510:] != b"\x55\xaa" or sector not in (512, 1024, 2048, 4096) or not per_cluster or not tables:
        return None
    table = offset + reserved * sector
    root = table + tables * (fat16_sectors or fat32_sectors) * sector
    data = root + -(-root_entries * _ENTRY // sector) * sector
    clusters = ((few or many) * sector - (data - offset)) // (per_cluster * sector)
    # The number of clusters decides, and nothing else; that is how the format is defined.
    bits = 12 if clusters < 4085 else 16 if clusters < 65525 else 32
    return _Layout(bits, table, data, per_cluster * sector, root, root_entries * _ENTRY, root_cluster)


def _chain(disk: Disk, layout: _Layout, cluster: int) -> bytes:
    content = bytearray()
    last = {12: 0xFF6, 16: 0xFFF6, 32: 0x0FFFFFF6}[layout.bits]
    for _ in range(_MOST_CLUSTERS):
        if not 2 <= cluster <= last:
            break
        content += disk.read(layout.data + (cluster - 2) * layout.cluster, layout.cluster)
        cluster = _next(disk, layout, cluster)
    return bytes(content)


def _next(disk: Disk, layout: _Layout, cluster: int) -> int:
    at, rest = divmod(cluster * layout.bits, 8)
    if layout.bits == 12:
        pair = int.from_bytes(disk.read(layout.table + at, 2), "little")
        return pair >> rest & 0xFFF
    value = int.from_bytes(disk.read(layout.table + at, layout.bits // 8), "little")
    return value & 0x0FFFFFFF


def _entries(directory: bytes) -> Iterator[_Named]:
    """By the short names: the loader's fits into eight and three letters."""
    for at in range(0, len(directory) - _ENTRY + 1, _ENTRY):
        entry = directory[at : at + _ENTRY]
        attributes = entry[11]
        if entry[0] == 0:
            return
        if entry[0] == 0xE5 or attributes & _LONG == _LONG or attributes & _LABEL:
            continue
        stem, ending = (part.decode("latin-1").rstrip() for part in (entry[:8], entry[8:11]))
        high, low = struct.unpack_from("<H", entry, 20)[0], struct.unpack_from("<H", entry, 26)[0]
        yield _Named(f"{stem}.{ending}" if ending else stem, high << 16 | low, bool(attributes & _DIRECTORY))
