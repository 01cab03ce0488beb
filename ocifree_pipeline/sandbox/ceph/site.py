"""What Ceph sees of the world around it: nodes, their power, their disks, the links between them, and the time.

Whoever plays machines and the Proxmox cluster fills a ``Site`` in for each command. Dictionaries in it are parts of the
world's state and are changed in place; everything else is how things are at this moment.
"""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

GIB = 1024**3


class Refused(Exception):
    """Ceph or Proxmox says no. ``code`` is the exit code of the command that was refused."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class NotPlayed(Refused):
    """The sandbox does not have this part."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is not played by the Ceph of this sandbox", 127)


@dataclass(slots=True)
class Node:
    """``blocks`` are its disks (see ``devices``), ``own`` is what Ceph keeps on this node alone.

    ``since`` is when it was switched on or off last, ``boots`` counts how often it was switched on, ``stopped`` are the
    units that somebody has stopped, such as ``ceph-osd@0``.
    """

    name: str
    addresses: tuple[str, ...]
    blocks: dict[str, Any]
    own: dict[str, Any]
    packages: dict[str, str] = field(default_factory=dict)
    is_up: bool = True
    since: float = 0.0
    boots: int = 1
    skew: float = 0.0
    stopped: frozenset[str] = frozenset()

    def addresses_in(self, network: str) -> list[str]:
        """Its own addresses that lie in a network."""
        inside = ipaddress.ip_network(network, strict=False)
        return [str(one.ip) for one in map(ipaddress.ip_interface, self.addresses) if one.ip in inside]


@dataclass(slots=True)
class Site:
    """One Proxmox cluster, or one node that is in none, seen from the node ``here``.

    ``shared`` is what its Ceph has in common. ``pace`` shortens what Ceph does by itself in the background: 1 takes as
    long as it would, 0 no time. ``cut`` are pairs of nodes that do not hear each other.
    """

    shared: dict[str, Any]
    nodes: dict[str, Node]
    here: str
    now: float
    uuid: Callable[[str], str]
    pace: float = 1.0
    cut: frozenset[frozenset[str]] = frozenset()
    is_writable: bool = True
    """Whether /etc/pve may be written: the Proxmox cluster has its quorum."""
    storages: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Proxmox's storages by name, changed in place."""
    etc_pve: dict[str, str] = field(default_factory=dict)
    """The files below /etc/pve that the nodes share, by path, changed in place."""
    typed: str = ""
    """What a command finds on its standard input."""

    @property
    def node(self) -> Node:
        return self.nodes[self.here]

    def hear_each_other(self, one: str, other: str) -> bool:
        return one == other or frozenset((one, other)) not in self.cut

    def must_be_writable(self) -> None:
        if not self.is_writable:
            raise Refused("cluster not ready - no quorum?", 255)
