"""What a first boot, or whoever built an image, left in it. Two machines from it would be the same machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from ocifree_pipeline.systems.images.disk import Unreadable
from ocifree_pipeline.systems.images.ext4 import Ext4
from ocifree_pipeline.systems.images.inspection import opened
from ocifree_pipeline.systems.images.partitions import file_system_of, partitions_of


@dataclass(frozen=True, slots=True)
class Traces:
    """`looked_at` are the partitions with a system that were read; `unread` says which were not, and why."""

    looked_at: tuple[str, ...]
    found: tuple[str, ...]
    unread: tuple[str, ...]


def traces_in(path: Path) -> Traces:
    """Looks through every partition that holds a Linux system."""
    looked_at: list[str] = []
    found: list[str] = []
    unread: list[str] = []
    try:
        with opened(path) as disk:
            for one in partitions_of(disk):
                kind, name = file_system_of(disk, one), one.name or "unnamed"
                if kind != "ext4":
                    unread += [] if kind == "FAT" else [f"{name}: {kind or 'no file system that is known'}"]
                    continue
                try:
                    system = Ext4.at(disk, one.offset)
                    if "etc" in system.names("/"):
                        found += _traces(system)
                        looked_at.append(name)
                except Unreadable as error:
                    unread.append(f"{name}: {error}")
    except Unreadable as error:
        unread.append(str(error))
    return Traces(tuple(looked_at), tuple(found), tuple(unread))


def _traces(system: Ext4) -> Iterator[str]:
    for name in system.names("/etc/ssh"):
        if fnmatchcase(name, "ssh_host_*_key"):
            yield f"the host key /etc/ssh/{name}"
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        if (system.content(path) or b"").strip() not in (b"", b"uninitialized"):
            yield f"a machine id in {path}"
    for name in system.names("/var/lib/cloud/instances"):
        yield f"cloud-init's memory of the instance {name}"
    for path in ("/var/lib/tailscale/tailscaled.state", "/var/lib/systemd/random-seed"):
        if system.content(path):
            yield path
    for home in ("/root", *(f"/home/{name}" for name in system.names("/home"))):
        if (system.content(f"{home}/.ssh/authorized_keys") or b"").strip():
            yield f"keys in {home}/.ssh/authorized_keys"
    for line in (system.content("/etc/shadow") or b"").decode("utf-8", "replace").splitlines():
        user, _, rest = line.partition(":")
        if rest.startswith("$"):
            yield f"a password of {user}"
