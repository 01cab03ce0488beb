"""QCOW2, versions 2 and 3: a two-level table of clusters, plain or deflated. Read in place, never unpacked."""

import zlib
from typing import BinaryIO

from ocifree_pipeline.sandbox.disks.blocks import BrokenImage, exactly, up_to

MAGIC = b"QFI\xfb"
OFFSET = 0x00FFFFFFFFFFFE00
COMPRESSED = 1 << 62
READS_AS_ZERO = 1
ZSTD = 1
MOST_TABLE_ENTRIES = 1 << 20


class Qcow2:
    """``base`` is where the image begins in its file: more than 0 inside an archive."""

    def __init__(self, file: BinaryIO, base: int = 0) -> None:
        self._file = file
        self._base = base
        head = exactly(file, base, 72, "the QCOW2 header")
        if head[:4] != MAGIC:
            raise BrokenImage(f"it does not begin with the QCOW2 magic 51 46 49 fb but with {head[:4].hex(' ')}")
        version, backing = int.from_bytes(head[4:8]), int.from_bytes(head[8:16])
        if version not in {2, 3}:
            raise BrokenImage(f"its QCOW2 version is {version}; only 2 and 3 exist")
        if backing:
            raise BrokenImage("it has a backing file; convert it to a stand-alone image")
        if int.from_bytes(head[32:36]):
            raise BrokenImage("it is encrypted")
        self._bits = int.from_bytes(head[20:24])
        if not 9 <= self._bits <= 21:
            raise BrokenImage(f"its cluster size of 2^{self._bits} bytes is not allowed")
        self.size = int.from_bytes(head[24:32])
        entries = int.from_bytes(head[36:40])
        if entries > MOST_TABLE_ENTRIES:
            raise BrokenImage(f"its first table has {entries} entries, which no disk of an instance needs")
        self._zstd = version == 3 and _compression(file, base) == ZSTD
        table = exactly(file, base + int.from_bytes(head[40:48]), entries * 8, "the first QCOW2 table")
        self._first = [int.from_bytes(table[at : at + 8]) for at in range(0, len(table), 8)]
        self._second: dict[int, bytes] = {}

    def read(self, offset: int, length: int) -> bytes:
        parts = []
        while length > 0:
            inside = offset % (1 << self._bits)
            wanted = min(length, (1 << self._bits) - inside)
            cluster = self._cluster(offset >> self._bits)
            parts.append(cluster[inside : inside + wanted] if cluster else bytes(wanted))
            offset, length = offset + wanted, length - wanted
        return b"".join(parts)

    def _cluster(self, number: int) -> bytes | None:
        """The bytes of a guest cluster; None when it was never written."""
        per_table = 1 << (self._bits - 3)
        first, second = divmod(number, per_table)
        if first >= len(self._first) or not self._first[first] & OFFSET:
            return None
        entry = int.from_bytes(self._table(self._first[first] & OFFSET)[second * 8 : second * 8 + 8])
        if entry & COMPRESSED:
            return self._inflate(entry)
        if entry & READS_AS_ZERO or not entry & OFFSET:
            return None
        return exactly(self._file, self._base + (entry & OFFSET), 1 << self._bits, "a data cluster")

    def _table(self, offset: int) -> bytes:
        if offset not in self._second:
            self._second[offset] = exactly(self._file, self._base + offset, 1 << self._bits, "a second QCOW2 table")
        return self._second[offset]

    def _inflate(self, entry: int) -> bytes:
        if self._zstd:
            raise NotImplementedError("clusters compressed with zstd are not read")
        width = 62 - (self._bits - 8)
        offset = entry & ((1 << width) - 1)
        sectors = ((entry & (COMPRESSED - 1)) >> width) + 1
        packed = up_to(self._file, self._base + offset, sectors * 512 - offset % 512)
        try:
            return zlib.decompressobj(-12).decompress(packed, 1 << self._bits)
        except zlib.error as error:
            raise BrokenImage(f"a compressed cluster cannot be unpacked: {error}") from error


def _compression(file: BinaryIO, base: int) -> int:
    """The compression type of a version 3 header; old headers end before that field and mean deflate."""
    length = int.from_bytes(exactly(file, base + 100, 4, "the QCOW2 header"))
    return exactly(file, base + 104, 1, "the QCOW2 header")[0] if length > 104 else 0
