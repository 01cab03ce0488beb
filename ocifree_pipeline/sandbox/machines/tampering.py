"""What the hand does to machines and to the network between them: cut links, wrong clocks. All of it is state."""

from ocifree_pipeline.sandbox.machines.computer import Computer
from ocifree_pipeline.sandbox.world import World

COROSYNC = "corosync"
"""A kind of traffic that can be cut by itself: UDP 5405 to 5412, which a firewall forgets easily."""


def cut(world: World, one: str, other: str, only: str = "") -> None:
    """Two computers, by key, hear nothing of each other any more; or nothing of one kind of traffic."""
    row = [*sorted((one, other)), only]
    cuts = world.facts.setdefault("cutLinks", [])
    if one != other and row not in cuts:
        cuts.append(row)


def mend(world: World, one: str, other: str) -> None:
    """Everything between them gets through again."""
    cuts = world.facts.setdefault("cutLinks", [])
    cuts[:] = [row for row in cuts if row[:2] != sorted((one, other))]


def cuts(world: World) -> list[tuple[str, str, str]]:
    return [(row[0], row[1], row[2]) for row in world.facts.get("cutLinks", ())]


def is_linked(world: World, one: str, other: str, traffic: str = "") -> bool:
    if one == other:
        return True
    pair = sorted((one, other))
    return not any(row[:2] == pair and row[2] in {"", traffic} for row in world.facts.get("cutLinks", ()))


def skew(machine: Computer) -> float:
    """How many seconds a machine's clock is ahead."""
    found: float = machine.world.facts.get("skews", {}).get(machine.key, 0.0)
    return found


def set_skew(machine: Computer, seconds: float) -> None:
    machine.world.facts.setdefault("skews", {})[machine.key] = seconds
