"""What has to outlive a power cut, and what is said when a disk takes no more."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ocifree_pipeline.deployment.errors import PreconditionMissing

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
ROOM = 32 << 20
"""A run writes its history as it goes; with less than this it is not begun."""


def home_of(environ: Mapping[str, str]) -> Path:
    """Where the history of a deployment is, and beside it all that it keeps: DAGSTER_HOME, else .ocifree/dagster."""
    return Path(environ.get("DAGSTER_HOME") or ".ocifree/dagster").resolve()


def make_durable(path: Path) -> None:
    """The content of a file, or, for a folder, the names in it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        with saying_when_full(path):
            os.fsync(handle)
    finally:
        os.close(handle)


def private_folder(folder: Path) -> None:
    """A folder for its owner alone that is there after a power cut too, with all that it is in."""
    if folder.is_dir():
        return
    private_folder(folder.parent)
    folder.mkdir(exist_ok=True, mode=0o700)
    make_durable(folder.parent)


def replace_private(file: Path, content: bytes) -> None:
    """In one step: a reader, a power cut and a full disk find the old content or the new one. For its owner alone."""
    half = file.with_name(file.name + ".new")
    half.unlink(missing_ok=True)
    try:
        with saying_when_full(file):
            descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as target:
                target.write(content)
                target.flush()
                os.fsync(target.fileno())
            half.replace(file)
    finally:
        half.unlink(missing_ok=True)
    make_durable(file.parent)


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Nobody else who asks for this lock changes the file meanwhile, from another process neither."""
    private_folder(file.parent)
    with file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def saying_when_full(file: Path) -> Iterator[None]:
    """A full disk in our own words, whatever the system calls it."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise no_room(file, os.strerror(error.errno)) from error
        raise


def no_room(file: Path, why: str) -> PreconditionMissing:
    return PreconditionMissing(
        f"there is no room to write {file}",
        why=f"{why}; what was written before is kept",
        fix=f"free some on that disk (`df -h {file.parent}`), then the same command again: it goes on where it stopped",
    )


def lacks_room(folder: Path) -> PreconditionMissing | None:
    """Why nothing should be begun that writes there."""
    free = shutil.disk_usage(folder).free
    return no_room(folder, f"{free >> 20} MB are free, and a run wants {ROOM >> 20}") if free < ROOM else None
