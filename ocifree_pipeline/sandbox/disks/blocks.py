"""A disk as a row of bytes, whatever file format holds it."""

from typing import BinaryIO, Protocol


class BrokenImage(Exception):
    """The file is not what it should be; the message says what was found instead."""


class Blocks(Protocol):
    """A readable disk. Reading behind its end gives zeros, as hardware gives nothing."""

    size: int

    def read(self, offset: int, length: int) -> bytes: ...


def exactly(file: BinaryIO, offset: int, length: int, what: str) -> bytes:
    """``length`` bytes of the file, or BrokenImage: the file ends too early."""
    data = up_to(file, offset, length)
    if len(data) != length:
        raise BrokenImage(f"the file ends inside {what} (which begins at byte {offset})")
    return data


def up_to(file: BinaryIO, offset: int, length: int) -> bytes:
    """The bytes of the file from ``offset`` on, at most ``length`` of them; none behind its end."""
    end = file.seek(0, 2)
    if offset >= end:
        return b""
    file.seek(offset)
    return file.read(min(length, end - offset))
