"""VMDK in one file: sparse, and stream-optimised with deflated grains, as converters write it."""

import zlib
from typing import BinaryIO

from ocifree_pipeline.sandbox.disks.blocks import BrokenImage, exactly

MAGIC = b"KDMV"
SECTOR = 512
AT_THE_END = 0xFFFFFFFFFFFFFFFF
DEFLATED = 1 << 16
LARGEST_GRAIN = 8 * 1024 * 1024
LARGEST_TABLE = 1 << 16
MOST_GRAINS = 1 << 24


class Vmdk:
    def __init__(self, file: BinaryIO, base: int = 0) -> None:
        self._file = file
        self._base = base
        head = exactly(file, base, SECTOR, "the VMDK header")
        if head[:4] != MAGIC:
            raise BrokenImage(f"it does not begin with the VMDK magic KDMV but with {head[:4].hex(' ')}")
        if _number(head, 56, 8) == AT_THE_END:
            file.seek(0, 2)
            head = exactly(file, file.tell() - 2 * SECTOR, SECTOR, "the VMDK footer")
            if head[:4] != MAGIC:
                raise BrokenImage("its VMDK footer is missing; the file was cut off")
        self._deflated = bool(_number(head, 8, 4) & DEFLATED)
        self.size = _number(head, 12, 8) * SECTOR
        self._grain = _number(head, 20, 8) * SECTOR
        self._per_table = _number(head, 44, 4)
        possible = 0 < self._grain <= LARGEST_GRAIN and 0 < self._per_table <= LARGEST_TABLE
        if not possible or self.size // self._grain > MOST_GRAINS:
            raise BrokenImage("its VMDK header describes no possible disk")
        tables = -(-self.size // (self._grain * self._per_table))
        directory = exactly(file, base + _number(head, 56, 8) * SECTOR, tables * 4, "the grain directory")
        self._directory = [_number(directory, at, 4) for at in range(0, len(directory), 4)]
        self._tables: dict[int, bytes] = {}

    def read(self, offset: int, length: int) -> bytes:
        parts = []
        while length > 0:
            inside = offset % self._grain
            wanted = min(length, self._grain - inside)
            grain = self._read_grain(offset // self._grain)
            part = grain[inside : inside + wanted]
            parts.append(part + bytes(wanted - len(part)))
            offset, length = offset + wanted, length - wanted
        return b"".join(parts)

    def _read_grain(self, number: int) -> bytes:
        table, entry = divmod(number, self._per_table)
        if table >= len(self._directory) or not self._directory[table]:
            return b""
        sector = _number(self._table(self._directory[table]), entry * 4, 4)
        if sector <= 1:
            return b""
        at = self._base + sector * SECTOR
        if not self._deflated:
            return exactly(self._file, at, self._grain, "a grain")
        size = _number(exactly(self._file, at, 12, "a grain"), 8, 4)
        if size > 2 * self._grain:
            raise BrokenImage("a compressed grain is larger than it can be")
        try:
            return zlib.decompressobj().decompress(exactly(self._file, at + 12, size, "a grain"), self._grain)
        except zlib.error as error:
            raise BrokenImage(f"a compressed grain cannot be unpacked: {error}") from error

    def _table(self, sector: int) -> bytes:
        if sector not in self._tables:
            self._tables[sector] = exactly(
                self._file, self._base + sector * SECTOR, self._per_table * 4, "a grain table"
            )
        return self._tables[sector]


def _number(data: bytes, at: int, width: int) -> int:
    return int.from_bytes(data[at : at + width], "little")
