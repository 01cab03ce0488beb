"""A disk that keeps what it was told to keep: after a power cut there is what fsync promised, and nothing else.

A file has the content of its last fsync, a folder the names of its last fsync. What was there when the disk was first
looked at has long been safe.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch


class Disk:
    """Follows one folder. Files that are safe are held open, or their numbers would be given to others."""

    def __init__(self, folder: Path, safe: Path) -> None:
        self.folder = folder
        self.safe = safe
        self.content: dict[int, Path | None] = {}
        self.names: dict[int, dict[str, int]] = {}
        self._modes: dict[int, int] = {}
        self._held: list[int] = []
        folder.mkdir(parents=True, exist_ok=True)
        self.root = folder.stat().st_ino
        for path in (folder, *folder.rglob("*")):
            handle = os.open(path, os.O_RDONLY)
            self.keep(handle)
            os.close(handle)

    def keep(self, handle: int) -> None:
        """What fsync does."""
        found = os.fstat(handle)
        if found.st_ino not in self._modes:
            self._held.append(os.dup(handle))
        self._modes[found.st_ino] = found.st_mode
        if stat.S_ISDIR(found.st_mode):
            self.names[found.st_ino] = {one.name: one.inode() for one in os.scandir(f"/proc/self/fd/{handle}")}
            return
        copy = self.safe / str(found.st_ino)
        copy.unlink(missing_ok=True)
        with open(f"/proc/self/fd/{handle}", "rb") as source, copy.open("wb") as target:  # noqa: PTH123 - no real path
            shutil.copyfileobj(source, target)
        self.content[found.st_ino] = copy

    def lose_power(self) -> None:
        """What is found when the computer is on again."""
        made = self.folder.with_name(self.folder.name + ".again")
        self._write(self.root, made)
        shutil.rmtree(self.folder)
        made.rename(self.folder)

    def close(self) -> None:
        for handle in self._held:
            os.close(handle)

    def _write(self, number: int, to: Path) -> None:
        if number in self.names:
            to.mkdir(mode=stat.S_IMODE(self._modes[number]))
            for name, inside in self.names[number].items():
                self._write(inside, to / name)
        elif number in self._modes:
            shutil.copyfile(self.safe / str(number), to)
            to.chmod(stat.S_IMODE(self._modes[number]))
        else:
            to.touch(mode=0o600)  # its name was safe, and nothing of what is in it


@contextmanager
def followed(folder: Path) -> Iterator[Disk]:
    """Every fsync below the folder counts."""
    really = os.fsync
    with tempfile.TemporaryDirectory() as safe:
        disk = Disk(folder, Path(safe))

        def fsync(handle: int) -> None:
            really(handle)
            if Path(f"/proc/self/fd/{handle}").readlink().is_relative_to(folder):
                disk.keep(handle)

        with patch.object(os, "fsync", fsync):
            yield disk
        disk.close()
