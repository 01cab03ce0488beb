"""What is in a file of etcd, read without etcd: pages of a B+ tree, and in its bucket `key` every revision of a key.

Only what is needed to know which keys a snapshot holds; nothing is written. Whatever does not fit together is refused.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ocifree_pipeline.deployment.errors import NotVerified

MAGIC, FORMAT = 0xED0CDAED, 2
BRANCH, LEAF = 0x01, 0x02
BUCKET = 0x01
REVISIONS = b"key"
_META = struct.Struct("<IIII QQ QQQ Q")
_PAGE = struct.Struct("<QHHI")
_LEAF = struct.Struct("<IIII")
_BRANCH = struct.Struct("<IIQ")
_ROOT = struct.Struct("<QQ")
_REVISION = 17
"""Bytes of a revision; one more marks the end of a key."""
DEEPEST = 64


@dataclass(frozen=True, slots=True)
class _Tree:
    data: mmap.mmap | bytes
    page_bytes: int
    pages: int

    def bucket(self, root: int, name: bytes) -> tuple[int, bytes]:
        """The root page of a bucket, and the page itself if the bucket is small enough to lie in its parent."""
        for flags, key, value in self.entries(root):
            if key == name and flags & BUCKET:
                return _ROOT.unpack_from(value)[0], value[_ROOT.size :]
        raise _broken(f"it has no bucket {name.decode()}")

    def entries(self, page: int, depth: int = 0) -> Iterator[tuple[int, bytes, bytes]]:
        """Of this page and all below it, in the order of their keys."""
        if not 1 < page < self.pages or depth > DEEPEST:
            raise _broken(f"a page is said to be at {page} of {self.pages}")
        start = page * self.page_bytes
        number, flags, count, overflow = _PAGE.unpack_from(self.data, start)
        if number != page or page + overflow >= self.pages:
            raise _broken(f"page {page} is not where it says")
        content = bytes(self.data[start : start + (overflow + 1) * self.page_bytes])
        if flags == LEAF:
            yield from leaf(content, count)
        elif flags == BRANCH:
            for index in range(count):
                _, _, below = _BRANCH.unpack_from(content, _PAGE.size + index * _BRANCH.size)
                yield from self.entries(below, depth + 1)
        else:
            raise _broken(f"page {page} is neither a branch nor a leaf")


def leaf(content: bytes, count: int) -> Iterator[tuple[int, bytes, bytes]]:
    for index in range(count):
        at = _PAGE.size + index * _LEAF.size
        if at + _LEAF.size > len(content):
            raise _broken("a page has more entries than room")
        flags, position, key, value = _LEAF.unpack_from(content, at)
        begin = at + position
        if begin + key + value > len(content):
            raise _broken("an entry ends behind its page")
        yield flags, content[begin : begin + key], content[begin + key : begin + key + value]


def keys_in(file: Path) -> dict[str, bytes]:
    """Every key that lived when the snapshot was taken, with its value as Kubernetes stored it."""
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _living(data)


def _living(data: mmap.mmap | bytes) -> dict[str, bytes]:
    page_bytes, root = _newest(data)
    tree = _Tree(data, page_bytes, len(data) // page_bytes)
    at, inline = tree.bucket(root, REVISIONS)
    found: dict[str, bytes] = {}
    entries = leaf(inline, _PAGE.unpack_from(inline)[2]) if not at else tree.entries(at)
    before = b""
    for _, revision, stored in entries:
        if len(revision) not in {_REVISION, _REVISION + 1} or revision <= before:
            raise _broken("its revisions are not in their order")
        before = revision
        key, value = _key_value(stored)
        if len(revision) > _REVISION:
            found.pop(key, None)
        else:
            found[key] = value
    return found


def _newest(data: mmap.mmap | bytes) -> tuple[int, int]:
    """The size of pages and the root, by the newer of the two heads that is whole."""
    heads = []
    first = _head(data, 0)
    sizes = (first[0],) if first else (4096, 8192, 16384, 65536)
    for at in (0, *sizes):
        head = _head(data, at)
        if head is not None:
            heads.append(head)
    if not heads:
        raise _broken("neither of its heads is whole, so it is no file of etcd")
    page_bytes, root, _ = max(heads, key=lambda head: head[2])
    if page_bytes < _PAGE.size + _META.size or len(data) < 4 * page_bytes:
        raise _broken("it is shorter than its own head says")
    return page_bytes, root


def _head(data: mmap.mmap | bytes, at: int) -> tuple[int, int, int] | None:
    begin = at + _PAGE.size
    if begin + _META.size > len(data):
        return None
    magic, form, page_bytes, _, root, _, _, _, transaction, checksum = _META.unpack_from(data, begin)
    whole = checksum == fnv(bytes(data[begin : begin + _META.size - 8]))
    return (page_bytes, root, transaction) if (magic, form, whole) == (MAGIC, FORMAT, True) else None


def fnv(content: bytes) -> int:
    found = 0xCBF29CE484222325
    for byte in content:
        found = (found ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return found


def _key_value(message: bytes) -> tuple[str, bytes]:
    """Fields 1 and 5 of a stored revision."""
    key, value, at = b"", b"", 0
    while at < len(message):
        tag, at = _number(message, at)
        if tag & 7 == 0:
            _, at = _number(message, at)
            continue
        if tag & 7 != 2:
            raise _broken("a revision has a field of an unknown form")
        length, at = _number(message, at)
        if at + length > len(message):
            raise _broken("a revision is cut off")
        if tag >> 3 == 1:
            key = message[at : at + length]
        elif tag >> 3 == 5:
            value = message[at : at + length]
        at += length
    return key.decode("utf-8", "replace"), value


def _number(message: bytes, at: int) -> tuple[int, int]:
    found = shift = 0
    while at < len(message) and shift < 64:
        byte = message[at]
        found |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return found, at
    raise _broken("a number in it does not end")


def _broken(why: str) -> NotVerified:
    return NotVerified(
        "the snapshot cannot be read as etcd would",
        why=why,
        fix="take another: `ocifree up --select 'assurance/etcd_backup'`; keep this one for those who know etcd",
    )
