"""Reading qcow2 images in place: the header, and the guest's bytes as far as somebody asks for them.

A guest address is looked up in two tables. The entry in the first leads to a second table, the entry there to a
cluster in the file: stored as it is, deflated, all zeros, or not there at all.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from typing import BinaryIO

from ocifree_pipeline.systems.images.disk import Unreadable, UnusableImage

MAGIC = b"QFI\xfb"

_HEADER = struct.Struct(">4sIQIIQIIQQIIQ")
_HEADER_V3 = struct.Struct(">QQQII")
_ENTRY = 8
_ADDRESS = 0x00FFFFFFFFFFFE00
_DEFLATED, _ZEROS = 1 << 62, 1
_INCOMPATIBLE = {
    0: "it was not closed properly (dirty)",
    1: "it is marked as corrupt",
    2: "its data is in another file",
}
_COMPRESSION_BIT, _EXTENDED_BIT = 3, 4
_CACHED_TABLES = 64
_MOST_FIRST_ENTRIES = 4_194_304


@dataclass(frozen=True, slots=True)
class Header:
    """The fields that decide how the rest is read."""

    version: int
    virtual_size: int
    cluster_bits: int
    first_table: int
    first_entries: int
    packed_with: str

    @property
    def cluster(self) -> int:
        return 1 << self.cluster_bits


def read_header(file: BinaryIO, name: str) -> Header:
    """UnusableImage for what no importer takes: a backing file, encryption, a broken or foreign header."""
    raw = _exactly(file, 0, _HEADER.size, name)
    magic, version, backing, _, bits, size, cipher, entries, table, *_ = _HEADER.unpack(raw)
    if magic != MAGIC:
        raise _unusable(name, f"it begins with {magic.hex(' ')} and not with the qcow2 magic {MAGIC.hex(' ')}")
    if version not in (2, 3):
        raise _unusable(name, f"its qcow2 version is {version}, and only 2 and 3 exist")
    if backing:
        raise _unusable(name, "it has a backing file, so it is only the difference to another image")
    if cipher:
        raise _unusable(name, "it is encrypted")
    if not 9 <= bits <= 21:
        raise _unusable(name, f"its clusters have 2^{bits} bytes; 2^9 to 2^21 are possible")
    needed = -(-size // ((1 << bits) * ((1 << bits) // _ENTRY)))
    if entries < needed or entries > _MOST_FIRST_ENTRIES:
        raise _unusable(name, f"its first table has {entries} entries, and a disk of {size} bytes needs {needed}")
    features, packed_with = _features(file, name) if version == 3 else (0, "zlib")
    for bit, wrong in _INCOMPATIBLE.items():
        if features & 1 << bit:
            raise _unusable(name, wrong)
    if features & 1 << _EXTENDED_BIT:
        raise _unusable(name, "it uses extended table entries (subclusters), which Oracle's importer does not know")
    return Header(version, size, bits, table, entries, packed_with)


@dataclass(slots=True)
class Qcow2:
    """The guest's view of an open image."""

    file: BinaryIO
    header: Header
    name: str
    _first: tuple[int, ...] = field(init=False, repr=False)
    _second: dict[int, tuple[int, ...]] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        raw = _exactly(self.file, self.header.first_table, self.header.first_entries * _ENTRY, self.name)
        self._first = struct.unpack(f">{self.header.first_entries}Q", raw)

    @property
    def size(self) -> int:
        return self.header.virtual_size

    def read(self, offset: int, length: int) -> bytes:
        found = bytearray()
        while len(found) < length:
            number, inside = divmod(offset + len(found), self.header.cluster)
            take = min(length - len(found), self.header.cluster - inside)
            cluster = self._cluster(number)
            found += cluster[inside : inside + take] if cluster else bytes(take)
        return bytes(found)

    def _cluster(self, number: int) -> bytes | None:
        high, low = divmod(number, self.header.cluster // _ENTRY)
        if high >= len(self._first) or not self._first[high] & _ADDRESS:
            return None
        entry = self._table(self._first[high] & _ADDRESS)[low]
        if entry & _DEFLATED:
            return self._inflated(entry & (_DEFLATED - 1))
        if not entry & _ADDRESS or entry & _ZEROS:
            return None
        # The last cluster of a file may be cut short; what is missing reads as zeros.
        return self._bytes(entry & _ADDRESS, self.header.cluster).ljust(self.header.cluster, b"\0")

    def _table(self, address: int) -> tuple[int, ...]:
        if address not in self._second:
            if len(self._second) >= _CACHED_TABLES:
                self._second.clear()
            raw = _exactly(self.file, address, self.header.cluster, self.name)
            self._second[address] = struct.unpack(f">{self.header.cluster // _ENTRY}Q", raw)
        return self._second[address]

    def _inflated(self, entry: int) -> bytes:
        if self.header.packed_with != "zlib":
            raise Unreadable(f"its clusters are packed with {self.header.packed_with}, which is not read here")
        # The low bits are the address in the file, the rest how many more sectors of 512 bytes the packed data touches.
        split = 62 - (self.header.cluster_bits - 8)
        address, sectors = entry & ((1 << split) - 1), (entry >> split) + 1
        packed = self._bytes(address, sectors * 512 - address % 512)
        try:
            plain = zlib.decompressobj(wbits=-15).decompress(packed, self.header.cluster)
        except zlib.error as error:
            raise _unusable(self.name, f"a packed cluster cannot be unpacked ({error})") from error
        if len(plain) != self.header.cluster:
            raise _unusable(self.name, "a packed cluster is cut off")
        return plain

    def _bytes(self, address: int, length: int) -> bytes:
        self.file.seek(address)
        found = self.file.read(length)
        if not found:
            raise _unusable(self.name, f"it ends before byte {address}, where its tables point to")
        return found


def _features(file: BinaryIO, name: str) -> tuple[int, str]:
    raw = _exactly(file, _HEADER.size, _HEADER_V3.size, name)
    incompatible, _, _, _, length = _HEADER_V3.unpack(raw)
    if not incompatible & 1 << _COMPRESSION_BIT:
        return incompatible, "zlib"
    kind = _exactly(file, _HEADER.size + _HEADER_V3.size, 1, name)[0] if length > _HEADER.size + _HEADER_V3.size else 0
    return incompatible, {0: "zlib", 1: "zstd"}.get(kind, f"method {kind}")


def _exactly(file: BinaryIO, address: int, length: int, name: str) -> bytes:
    file.seek(address)
    found = file.read(length)
    if len(found) != length:
        raise _unusable(name, f"it ends at byte {address + len(found)}, in the middle of what describes the rest")
    return found


def _unusable(name: str, why: str) -> UnusableImage:
    return UnusableImage(
        f"{name} is not a usable qcow2 image",
        why=why,
        fix="make it whole and stand-alone: `qemu-img convert -O qcow2 OLD NEW`, or fetch it again",
    )
