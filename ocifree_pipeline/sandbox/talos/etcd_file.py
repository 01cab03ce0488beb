"""A file as etcd keeps it: the objects of Kubernetes as revisions of keys, in pages of a B+ tree.

Beside them, in a bucket that etcd would not look at, lies what only a sandbox reads when it restores.
"""

import json
import struct
from collections.abc import Iterable, Iterator
from typing import Any

PAGE = 4096
BRANCH, LEAF, META, FREE, BUCKET = 0x01, 0x02, 0x04, 0x10, 0x01
MAGIC, FORMAT = 0xED0CDAED, 2
WHOLE = b"sandbox"
STORAGE_VERSION = b"3.6.0"
OWN_NAMES = {"nodes": "minions", "services": "services/specs", "endpoints": "services/endpoints"}
UNDER_THEIR_GROUP = frozenset({"apiextensions.k8s.io", "apiregistration.k8s.io", "gateway.networking.k8s.io"})
"""Groups of Kubernetes itself leave theirs out, and so do not those that came with definitions."""

Entry = tuple[int, bytes, bytes]


def write(dump: dict[str, Any]) -> bytes:
    revisions = [(0, _revision(number), value) for number, value in enumerate(_revisions(dump), start=2)]
    pages: list[bytes] = []
    first = 4
    key_root = _tree(revisions, pages, first)
    about = [
        (0, b"consistent_index", struct.pack(">Q", len(revisions) + 1)),
        (0, b"storageVersion", STORAGE_VERSION),
        (0, b"term", struct.pack(">Q", 2)),
    ]
    meta_root = _tree(about, pages, first)
    whole_root = _tree([(0, WHOLE, json.dumps(dump).encode())], pages, first)
    roots = ((b"key", key_root), (b"meta", meta_root), (WHOLE, whole_root))
    buckets = [(BUCKET, name, struct.pack("<QQ", root, 0)) for name, root in roots]
    used = first + sum(len(one) // PAGE for one in pages)
    heads = [_head(number, used) for number in (0, 1)]
    return b"".join([*heads, _page(2, FREE, 0, b""), _leaf(3, buckets), *pages])


def read(content: bytes) -> dict[str, Any]:
    """What ``write`` was given; ValueError for a file of somebody else."""
    try:
        for name, value in _entries(content, 3):
            if name == WHOLE:
                ((_, text),) = _entries(content, struct.unpack_from("<Q", value)[0])
                found: dict[str, Any] = json.loads(text)
                return found
    except struct.error as error:
        raise ValueError(str(error)) from error
    raise ValueError("no sandbox has written it")


def _entries(content: bytes, page: int) -> Iterator[tuple[bytes, bytes]]:
    start = page * PAGE
    _, _, count, _ = struct.unpack_from("<QHHI", content, start)
    for index in range(count):
        at = start + 16 + 16 * index
        _, position, key, value = struct.unpack_from("<IIII", content, at)
        begin = at + position
        yield content[begin : begin + key], content[begin + key : begin + key + value]


# keys -----------------------------------------------------------------------------------------------------------------


def _revisions(dump: dict[str, Any]) -> Iterator[bytes]:
    for resource, table in sorted(dump.get("objects", {}).items()):
        for name in sorted(table):
            key = f"/registry/{_folder(resource)}/{name}".encode()
            yield _field(1, key) + b"\x10\x02\x18\x02\x20\x01" + _field(5, json.dumps(table[name]).encode())


def _folder(resource: str) -> str:
    plural, _, group = resource.partition(".")
    of_kubernetes = "." not in group or (group.endswith(".k8s.io") and group not in UNDER_THEIR_GROUP)
    return OWN_NAMES.get(resource, plural) if of_kubernetes else f"{group}/{plural}"


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def _revision(number: int) -> bytes:
    return struct.pack(">Q", number) + b"_" + bytes(8)


# pages ----------------------------------------------------------------------------------------------------------------


def _tree(entries: list[Entry], pages: list[bytes], first: int) -> int:
    """Appends the pages of a bucket; where its root is."""

    def place(page: bytes) -> int:
        at = first + sum(len(one) // PAGE for one in pages)
        pages.append(struct.pack("<Q", at) + page[8:])
        return at

    leaves = [(chunk[0][1] if chunk else b"", place(_leaf(0, chunk))) for chunk in _chunks(entries)]
    if len(leaves) == 1:
        return leaves[0][1]
    heads, keys = b"", b""
    for index, (key, at) in enumerate(leaves):
        position = 16 * (len(leaves) - index) + len(keys)
        heads += struct.pack("<IIQ", position, len(key), at)
        keys += key
    return place(_page(0, BRANCH, len(leaves), heads + keys))


def _chunks(entries: list[Entry]) -> Iterator[list[Entry]]:
    chunk: list[Entry] = []
    size = 16
    for entry in entries:
        needed = 16 + len(entry[1]) + len(entry[2])
        if chunk and size + needed > PAGE:
            yield chunk
            chunk, size = [], 16
        chunk.append(entry)
        size += needed
    yield chunk


def _leaf(number: int, entries: Iterable[Entry]) -> bytes:
    given = list(entries)
    heads, contents = [], []
    behind = 0
    for index, (flags, key, value) in enumerate(given):
        heads.append(struct.pack("<IIII", flags, 16 * (len(given) - index) + behind, len(key), len(value)))
        contents += [key, value]
        behind += len(key) + len(value)
    return _page(number, LEAF, len(given), b"".join([*heads, *contents]))


def _page(number: int, flags: int, count: int, content: bytes) -> bytes:
    size = -(-(16 + len(content)) // PAGE) * PAGE
    return (struct.pack("<QHHI", number, flags, count, size // PAGE - 1) + content).ljust(size, b"\0")


def _head(number: int, used: int) -> bytes:
    fields = struct.pack("<IIIIQQQQQ", MAGIC, FORMAT, PAGE, 0, 3, 0, 2, used, number + 1)
    checksum = 0xCBF29CE484222325
    for byte in fields:
        checksum = (checksum ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return _page(number, META, 0, fields + struct.pack("<Q", checksum))
