"""The bytes of objects: files in the world's directory, written and read in chunks, never held in memory.

An object is a list of segments, ``[[file name, size], ...]``: one for an object that was put at once, one for each
part of a multipart upload, so that committing an upload copies nothing.
"""

import base64
import hashlib
import shutil
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from ocifree_pipeline.sandbox.oracle import errors, object_errors
from ocifree_pipeline.sandbox.world import World

CHUNK = 1024 * 1024
LARGEST = 50 * 1024**3

Segments = list[list[Any]]


class Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Received:
    """What an upload left on disk. ``checksums`` are those that the client asked for besides MD5, by header name."""

    file: str
    size: int
    md5: str
    checksums: dict[str, str]


def directory(world: World) -> Path:
    return world.directory / "objects"


async def receive(world: World, stream: AsyncIterable[bytes], headers: Mapping[str, str]) -> Received:
    """Write a request body to a new file. Nothing stays behind when it breaks off or its checksums are wrong."""
    announced = int(headers.get("content-length") or 0)
    if announced > LARGEST:
        raise errors.too_large(LARGEST)
    extra = _extra_checksum(headers)
    directory(world).mkdir(parents=True, exist_ok=True)
    path = directory(world) / world.fresh("object file", 26)
    md5, size = hashlib.md5(usedforsecurity=False), 0
    try:
        with path.open("xb") as file:
            async for chunk in stream:
                file.write(chunk)
                md5.update(chunk)
                if extra is not None:
                    extra[1].update(chunk)
                size += len(chunk)
                if size > LARGEST:
                    raise errors.too_large(LARGEST)
        digest = _base64(md5.digest())
        _compare("MD5", digest, "Content-MD5", headers.get("content-md5"))
        checksums = {}
        if extra is not None:
            name, computed = extra[0], _base64(extra[1].digest())
            _compare(name, computed, f"opc-content-{name.lower()}", headers.get(f"opc-content-{name.lower()}"))
            checksums[f"opc-content-{name.lower()}"] = computed
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return Received(path.name, size, digest, checksums)


def discard(world: World, segments: Iterable[Iterable[Any]]) -> None:
    """Delete the files of an object or a part; whoever is reading them reads on."""
    for name, _ in segments:
        (directory(world) / name).unlink(missing_ok=True)


def read(world: World, segments: Segments, start: int, length: int) -> AsyncIterator[bytes]:
    """The bytes from ``start`` on. The files are opened now, so that a delete cannot come between."""
    pieces: list[tuple[BinaryIO, int, int]] = []
    for name, size in segments:
        if start < size and length > 0:
            taken = min(size - start, length)
            pieces.append(((directory(world) / name).open("rb"), start, taken))
            length -= taken
        start = max(0, start - size)
    return _chunks(pieces)


async def _chunks(pieces: list[tuple[BinaryIO, int, int]]) -> AsyncIterator[bytes]:
    try:
        for file, offset, length in pieces:
            file.seek(offset)
            left = length
            while left > 0:
                chunk = file.read(min(CHUNK, left))
                if not chunk:
                    raise OSError(f"{file.name} ends {left} bytes early; the sandbox's directory was changed by hand")
                left -= len(chunk)
                yield chunk
    finally:
        for file, _, _ in pieces:
            file.close()


def join(world: World, segments: Segments) -> Segments:
    """The same bytes in one file, for readers that want a file; the segments are used up by that."""
    if len(segments) == 1:
        return segments
    directory(world).mkdir(parents=True, exist_ok=True)
    whole = directory(world) / world.fresh("object file", 26)
    with whole.open("xb") as target:
        for name, _ in segments:
            with (directory(world) / name).open("rb") as source:
                shutil.copyfileobj(source, target, CHUNK)
    discard(world, segments)
    return [[whole.name, sum(size for _, size in segments)]]


def _extra_checksum(headers: Mapping[str, str]) -> tuple[str, Hash] | None:
    name = headers.get("opc-checksum-algorithm", "").upper()
    if not name:
        return None
    if name == "SHA256":
        return name, hashlib.sha256()
    if name == "SHA384":
        return name, hashlib.sha384()
    if name == "CRC32C":
        import crc32c

        return name, crc32c.CRC32CHash()
    raise errors.invalid_parameter("opc-checksum-algorithm must be CRC32C, SHA256 or SHA384")


def _compare(algorithm: str, actual: str, header: str, given: str | None) -> None:
    if given is not None and given != actual:
        raise object_errors.checksum_differs(algorithm, actual, header, given)


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
