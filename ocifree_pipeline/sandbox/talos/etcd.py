"""etcd among the control planes: who is a member is kept, who is up is seen, and quorum follows.

A member list belongs to one bootstrap (``of_world``); each node keeps on its disk which list it is in and as whom.
Wiping a disk therefore leaves a member behind that nobody plays any more, as in life.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ocifree_pipeline.sandbox.talos.node import Node, nodes
from ocifree_pipeline.sandbox.world import World

FACTS = "etcd"


@dataclass(frozen=True, slots=True)
class Etcd:
    """One etcd cluster. ``name`` is also that of the Kubernetes cluster that lives in it."""

    world: World
    name: str

    @property
    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = of_world(self.world)[self.name]
        return found

    @property
    def members(self) -> dict[int, dict[str, Any]]:
        return {int(number): member for number, member in self.state["members"].items()}

    def players(self) -> dict[int, Node]:
        """The members whose node runs etcd now."""
        found = {}
        members = self.members
        for node in nodes(self.world):
            place = node.disk.get("etcd")
            if place and place["name"] == self.name and place["member"] in members and runs(node):
                found[int(place["member"])] = node
        return found

    @property
    def voters(self) -> set[int]:
        """A member that has just joined learns first, and has no vote."""
        return {number for number, one in self.members.items() if not one.get("learner")}

    @property
    def has_quorum(self) -> bool:
        return len(self.voters & self.players().keys()) > len(self.voters) // 2

    @property
    def leader(self) -> int:
        """0 while there is none. The oldest that is up leads."""
        voting = self.voters & self.players().keys()
        return min(voting, key=lambda one: self.members[one]["number"], default=0) if self.has_quorum else 0

    def add(self, node: Node, *, learner: bool = False) -> int:
        state = self.state
        state["count"] += 1
        digest = hashlib.sha256(f"{self.name}/{node.key}/{state['count']}".encode()).digest()
        member = int.from_bytes(digest[:8], "big") | 1
        state["members"][str(member)] = {
            "number": state["count"],
            "name": node.hostname,
            "address": node.address,
            "computer": node.key,
            "learner": learner,
        }
        node.disk["etcd"] = {"name": self.name, "member": member}
        return member

    def promote(self, member: int) -> None:
        self.state["members"][str(member)]["learner"] = False

    def needs(self, member: int) -> bool:
        """Whether those that are left would be too few without this one, as etcd itself counts before it removes."""
        active = self.voters & self.players().keys()
        return member in active and len(active) - 1 < 1 + (len(self.voters) - 1) // 2

    def remove(self, member: int) -> None:
        self.state["members"].pop(str(member), None)

    def would_lose_quorum_without(self, node: Node) -> bool:
        """Whether etcd stops answering while this member is away."""
        others = [number for number, one in self.players().items() if one.key != node.key and number in self.voters]
        return len(self.voters) > 1 and len(others) <= len(self.voters) // 2


def of_world(world: World) -> dict[str, Any]:
    found: dict[str, Any] = world.facts.setdefault(FACTS, {})
    return found


def of_node(node: Node) -> Etcd | None:
    """The etcd that this node is, or was, a member of."""
    place = node.disk.get("etcd")
    return Etcd(node.world, place["name"]) if place and place["name"] in of_world(node.world) else None


def found(world: World, identity: str, name: str) -> Etcd:
    """A new etcd with no member yet."""
    known = of_world(world)
    number = 1 + sum(1 for one in known.values() if one["identity"] == identity)
    label = f"{name}-{identity[:6]}" + (f"-{number}" if number > 1 else "")
    known[label] = {"identity": identity, "members": {}, "count": 0, "serves": False, "registered": {}}
    return Etcd(world, label)


def of_identity(world: World, identity: str) -> list[Etcd]:
    return [Etcd(world, name) for name, one in of_world(world).items() if one["identity"] == identity]


def runs(node: Node) -> bool:
    """Whether the service etcd runs on this node."""
    return node.is_running and bool(node.disk.get("etcd")) and bool(node.disk.get("etcd_runs"))


def is_member(node: Node) -> bool:
    place: Mapping[str, Any] | None = node.disk.get("etcd")
    etcd = of_node(node)
    return etcd is not None and place is not None and place["member"] in etcd.members
