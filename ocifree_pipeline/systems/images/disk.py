"""A disk as a row of bytes, and what is wrong with a file that should hold one."""

from __future__ import annotations

from typing import Protocol

from ocifree_pipeline.deployment.errors import Refused


class UnusableImage(Refused):
    """The file is not a disk image that Oracle and Proxmox can use."""


class Unreadable(Exception):
    """Nothing is wrong with the image; this program does not know how to read that part of it. The message says why."""


class Disk(Protocol):
    """What a guest would see. Reading behind the end gives zeros, and so does reading what was never written."""

    @property
    def size(self) -> int: ...

    def read(self, offset: int, length: int) -> bytes: ...
