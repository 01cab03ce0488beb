"""What apt offers a node, and its installation: simulated first, read back afterwards."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ocifree_pipeline.deployment.errors import Conflict, NotVerified, Refused
from ocifree_pipeline.systems.ceph.words import change
from ocifree_pipeline.systems.proxmox.node import Node

APT = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q")
LISTS_SECONDS = 600.0
INSTALL_SECONDS = 3600.0
LED_BY = ("pve-manager", "ceph-mon")
"""Their major version is that of Proxmox VE and of Ceph."""
SHOWN = 4
_INSTALLED = re.compile(r"^Inst (?P<name>\S+) (?:\[(?P<now>\S+)\] )?\((?P<then>\S+)", re.MULTILINE)
_REMOVED = re.compile(r"^Remv (\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Package:
    """`now` is None for one that is new."""

    name: str
    now: str | None
    then: str


@dataclass(frozen=True, slots=True)
class Offer:
    """What an upgrade would do."""

    packages: tuple[Package, ...]
    removed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.packages or self.removed)

    def __str__(self) -> str:
        leading = sorted(self.packages, key=lambda one: (one.name not in LED_BY, one.name))
        told = [f"{one.name} {one.now} -> {one.then}" if one.now else f"{one.name} {one.then}" for one in leading]
        more = len(told) - SHOWN
        return ", ".join(told[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def read_offer(simulated: str) -> Offer:
    """From what `apt-get -s dist-upgrade` prints."""
    found = [Package(one["name"], one["now"], one["then"]) for one in _INSTALLED.finditer(simulated)]
    return Offer(tuple(found), tuple(_REMOVED.findall(simulated)))


def offered(node: Node, *, fresh: bool = True) -> Offer:
    """What there is to install. Nothing of it is installed yet; Refused or Conflict when it must not be."""
    if fresh:
        change(node, [*APT, "update"], f"read the package lists of {node.name}", timeout=LISTS_SECONDS)
    doing = f"look what {node.name} would install"
    offer = read_offer(change(node, [*APT, "-s", "dist-upgrade"], doing, timeout=LISTS_SECONDS).stdout)
    if offer.removed:
        raise Conflict(
            f"{node.name}: an upgrade would remove {', '.join(offer.removed)}",
            why="a repository is missing or does not fit; the meta package proxmox-ve keeps a node from that by going",
            fix=f"on {node.name}: apt-get -s dist-upgrade, and look at /etc/apt/sources.list.d",
        )
    for one in offer.packages:
        if one.name in LED_BY and one.now and _major(one.now) != _major(one.then):
            raise Refused(
                f"{node.name}: {one.name} would go from {one.now} to {one.then}",
                why="another major version has steps of its own, and a checklist that comes with it",
                fix=f"keep the repositories of major version {_major(one.now)}, or follow the manual by hand",
            )
    return offer


def install(node: Node) -> None:
    """Everything that is offered. What an installation left by half is finished first."""
    change(node, ["dpkg", "--configure", "-a"], f"finish what was installed by half on {node.name}")
    argv = [*APT, "-y", "-o", "Dpkg::Options::=--force-confold", "dist-upgrade"]
    change(node, argv, f"upgrade the packages of {node.name}", timeout=INSTALL_SECONDS)
    left = offered(node, fresh=False)
    if left:
        raise NotVerified(
            f"{node.name} still has packages to upgrade",
            why=f"apt-get ended well, and offers {left}",
            fix=f"on {node.name}: apt-get dist-upgrade; apt-mark showhold says what is held back",
        )


def _major(version: str) -> str:
    return version.rpartition(":")[2].partition(".")[0]
