"""Looking things up in an ext4 file system, read only: enough to see what somebody left in an image.

The superblock says how long blocks and inodes are; group descriptors say where the inodes of each group lie; an inode
leads to its blocks through a small tree of extents.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from ocifree_pipeline.systems.images.disk import Disk, Unreadable

_ROOT = 2
_MAGIC = 0xEF53
_EXTENT_MAGIC = 0xF30A
_NOT_READ = {
    0x1: "compression",
    0x4: "a journal that was not replayed: it was not unmounted",
    0x8: "a journal device",
    0x10: "meta block groups",
}
_WIDE_DESCRIPTORS = 0x80
_BY_EXTENTS, _INLINE, _ENCRYPTED = 0x80000, 0x10000000, 0x800
_UNWRITTEN = 32768
_MOST_TREES = 1000
_MOST_BYTES = 16 * 1024 * 1024
"""Of one file or directory: what is looked at here is small."""


@dataclass(frozen=True, slots=True)
class _Node:
    mode: int
    size: int
    flags: int
    blocks: bytes


@dataclass(frozen=True, slots=True)
class Ext4:
    """A file system that begins at `offset` of a disk. Paths are absolute; links are not followed."""

    disk: Disk
    offset: int
    block: int
    inode_size: int
    per_group: int
    descriptors: int
    descriptor_size: int

    @classmethod
    def at(cls, disk: Disk, offset: int) -> Ext4:
        """Unreadable if it is none, or uses what is not read here."""
        head = disk.read(offset + 1024, 1024)
        first_block, log_size = struct.unpack_from("<II", head, 20)
        per_group, magic = struct.unpack_from("<I", head, 40)[0], struct.unpack_from("<H", head, 56)[0]
        inode_size, features = struct.unpack_from("<H", head, 88)[0], struct.unpack_from("<I", head, 96)[0]
        if magic != _MAGIC or log_size > 6 or not per_group or inode_size < 128:
            raise Unreadable("it is no ext4 file system")
        for bit, what in _NOT_READ.items():
            if features & bit:
                raise Unreadable(f"the file system has {what}")
        size = struct.unpack_from("<H", head, 254)[0] if features & _WIDE_DESCRIPTORS else 32
        block = 1024 << log_size
        return cls(disk, offset, block, inode_size, per_group, (first_block + 1) * block, max(32, size))

    def names(self, path: str) -> tuple[str, ...]:
        """What is in a directory; nothing if there is no such directory."""
        number = self._number(path)
        node = self._node(number) if number else None
        if node is None or not stat.S_ISDIR(node.mode):
            return ()
        return tuple(name for name, _ in self._entries(node) if name not in (".", ".."))

    def content(self, path: str) -> bytes | None:
        """The bytes of a regular file; None if there is no such file, or it is something else."""
        number = self._number(path)
        node = self._node(number) if number else None
        return self._bytes(node) if node is not None and stat.S_ISREG(node.mode) else None

    def _number(self, path: str) -> int | None:
        number = _ROOT
        for step in filter(None, path.split("/")):
            node = self._node(number)
            if not stat.S_ISDIR(node.mode):
                return None
            found = next((inode for name, inode in self._entries(node) if name == step), None)
            if found is None:
                return None
            number = found
        return number

    def _node(self, number: int) -> _Node:
        group, index = divmod(number - 1, self.per_group)
        raw = self._read(self.descriptors + group * self.descriptor_size, self.descriptor_size)
        table = struct.unpack_from("<I", raw, 8)[0]
        if self.descriptor_size >= 64:
            table |= struct.unpack_from("<I", raw, 40)[0] << 32
        inode = self._read(table * self.block + index * self.inode_size, 128)
        low, high = struct.unpack_from("<I", inode, 4)[0], struct.unpack_from("<I", inode, 108)[0]
        return _Node(
            mode=struct.unpack_from("<H", inode, 0)[0],
            size=high << 32 | low,
            flags=struct.unpack_from("<I", inode, 32)[0],
            blocks=inode[40:100],
        )

    def _entries(self, node: _Node) -> Iterator[tuple[str, int]]:
        """A large directory has an index in its first blocks; that is made to look like deleted entries."""
        content, at = self._bytes(node), 0
        while at + 8 <= len(content):
            inode, length, name_length = struct.unpack_from("<IHB", content, at)
            if length < 8:
                raise Unreadable("a directory of the file system is damaged")
            if inode:
                yield content[at + 8 : at + 8 + name_length].decode("utf-8", "replace"), inode
            at += length

    def _bytes(self, node: _Node) -> bytes:
        if node.flags & (_INLINE | _ENCRYPTED) or not node.flags & _BY_EXTENTS:
            raise Unreadable("the file system keeps its files in a way that is not read here")
        if node.size > _MOST_BYTES:
            raise Unreadable(f"a file of {node.size} bytes is not looked into")
        content = bytearray(node.size)
        for first, data in self._extents(node.blocks):
            at = first * self.block
            if at < node.size:
                content[at : at + len(data)] = data[: node.size - at]
        return bytes(content)

    def _extents(self, root: bytes) -> Iterator[tuple[int, bytes]]:
        """The first block of each piece, and its bytes; pieces that were never written stay zeros."""
        waiting, seen = [root], 0
        while waiting:
            tree, seen = waiting.pop(), seen + 1
            magic, count, _, level = struct.unpack_from("<HHHH", tree)
            if magic != _EXTENT_MAGIC or 12 + count * 12 > len(tree) or seen > _MOST_TREES:
                raise Unreadable("a file of the file system is damaged")
            for at in range(12, 12 + count * 12, 12):
                if level:
                    low, high = struct.unpack_from("<IH", tree, at + 4)
                    waiting.append(self._read((high << 32 | low) * self.block, self.block))
                    continue
                first, length, high, low = struct.unpack_from("<IHHI", tree, at)
                if length <= _UNWRITTEN:
                    yield first, self._read((high << 32 | low) * self.block, min(length * self.block, _MOST_BYTES))

    def _read(self, at: int, length: int) -> bytes:
        return self.disk.read(self.offset + at, length)
