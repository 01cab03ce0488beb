"""Who sees whom, and who may decide: votes are counted, nothing is remembered but what corosync remembers.

Corosync makes groups of nodes that all hear each other; nobody relays. A group may decide when it has more than half of
the expected votes. The vote of a QDevice goes to one group that reaches its host: the largest, or of equal ones that
with the lowest node id.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ocifree_pipeline.sandbox.machines import reach, tampering
from ocifree_pipeline.sandbox.proxmox import nodes
from ocifree_pipeline.sandbox.proxmox.errors import no_quorum
from ocifree_pipeline.sandbox.proxmox.nodes import Node


@dataclass(frozen=True, slots=True)
class Member:
    """A node as the configuration of corosync knows it."""

    name: str
    ident: int
    votes: int


@dataclass(frozen=True, slots=True)
class Standing:
    """What one group of nodes knows of itself."""

    members: tuple[str, ...]
    total: int
    expected: int
    device: int = 0

    @property
    def needed(self) -> int:
        return self.expected // 2 + 1

    @property
    def quorate(self) -> bool:
        return self.total >= self.needed


def groups(alive: list[Member], hear: Callable[[str, str], bool]) -> list[list[Member]]:
    """Groups of nodes that all hear each other; who could be in two is in that of the lowest node id."""
    found: list[list[Member]] = []
    for one in sorted(alive, key=lambda member: member.ident):
        home = next((group for group in found if all(hear(one.name, other.name) for other in group)), None)
        if home is None:
            found.append([one])
        else:
            home.append(one)
    return found


def count(
    members: list[Member],
    alive: list[Member],
    hear: Callable[[str, str], bool],
    *,
    device_votes: int = 0,
    reaches_device: Callable[[str], bool] = lambda _name: False,
    expected: Mapping[str, int] | None = None,
) -> dict[str, Standing]:
    """By the name of each node that is alive: how its group stands. ``expected`` is what somebody has set by hand."""
    formed = groups(alive, hear)
    candidates = [group for group in formed if any(reaches_device(one.name) for one in group)]
    winner = min(candidates, key=lambda group: (-sum(one.votes for one in group), group[0].ident), default=None)
    everything = sum(one.votes for one in members) + device_votes
    found: dict[str, Standing] = {}
    for group in formed:
        device = device_votes if group is winner else 0
        total = sum(one.votes for one in group) + device
        by_hand = max((expected or {}).get(one.name, 0) for one in group)
        wanted = max(by_hand, total) if by_hand else everything
        standing = Standing(tuple(one.name for one in group), total, wanted, device)
        found |= {one.name: standing for one in group}
    return found


def standing(node: Node) -> Standing | None:
    """How the group of a node stands; None for a node without a cluster, or whose corosync does not run."""
    return all_standings(node).get(node.name) if node.cluster is not None else None


def all_standings(node: Node) -> dict[str, Standing]:
    cluster = node.cluster
    if cluster is None:
        return {}
    members = [Member(name, int(one["nodeid"]), int(one["votes"])) for name, one in cluster["nodes"].items()]
    there = {one.name: one for one in nodes.members(node) if one.is_up and one.own["corosync"]}
    alive = [one for one in members if one.name in there]
    device = cluster.get("qdevice") or {}
    return count(
        members,
        alive,
        lambda one, other: nodes.are_linked(there[one], there[other], tampering.COROSYNC),
        device_votes=int(device.get("votes", 0)),
        reaches_device=lambda name: bool(device) and _reaches(there[name], device),
        expected={name: int(one.own["expected"]) for name, one in there.items()},
    )


def _reaches(node: Node, device: dict[str, Any]) -> bool:
    """A node that came in after the device was set up has no certificate for it."""
    if node.machine.key not in device["ready"]:
        return False
    machine = reach.at(node.world, str(device["host"]))
    if machine is None or machine.phase != "up" or "corosync-qnetd" not in machine.guest.get("packages", {}):
        return False
    return tampering.is_linked(node.world, node.machine.key, machine.key)


def is_quorate(node: Node) -> bool:
    """Whether /etc/pve of this node can be written."""
    if node.cluster is None:
        return node.is_up
    found = standing(node)
    return found is not None and found.quorate and not node.own["syncing"]


def require(node: Node) -> None:
    if not is_quorate(node):
        raise no_quorum()
