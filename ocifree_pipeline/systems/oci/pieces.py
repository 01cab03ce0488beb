"""A piece of a file that is read while it is sent, so that no more of it is ever in memory than one block."""

from __future__ import annotations

import base64
import hashlib
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_BLOCK = 1024 * 1024


class Piece(io.RawIOBase):
    """`size` bytes of a file from `start` on, as a stream that knows its length and can be rewound for another try."""

    def __init__(self, path: Path, start: int, size: int) -> None:
        super().__init__()
        self._file = path.open("rb", buffering=0)
        self._start, self._at = start, 0
        self._size = max(0, min(size, os.fstat(self._file.fileno()).st_size - start))

    def __len__(self) -> int:
        return self._size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = min(max(0, origin + offset), self._size)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")[: self._size - self._at]
        self._file.seek(self._start + self._at)
        count = self._file.readinto(view) or 0
        self._at += count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()

    def md5(self) -> str:
        """What Object Storage compares pieces by; it is no protection against malice, and need not be one."""
        digest, block = hashlib.md5(usedforsecurity=False), memoryview(bytearray(_BLOCK))
        self.seek(0)
        while count := self.readinto(block):
            digest.update(block[:count])
        self.seek(0)
        return base64.b64encode(digest.digest()).decode()
