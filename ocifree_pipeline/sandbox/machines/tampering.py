"""What the hand does to machines and to the network between them: cut links, wrong clocks. All of it is state."""

from ocifree_pipeline.sandbox.machines.computer import Computer
from ocifree_pipeline.sandbox.world import World


def cut(world: World, one: str, other: str) -> None:
    """Two computers, by key, hear nothing of each other any more."""
    pair = sorted((one, other))
    cuts = world.facts.setdefault("cutLinks", [])
    if one != other and pair not in cuts:
        cuts.append(pair)


def mend(world: World, one: str, other: str) -> None:
    cuts = world.facts.setdefault("cutLinks", [])
    cuts[:] = [pair for pair in cuts if pair != sorted((one, other))]


def cuts(world: World) -> list[tuple[str, str]]:
    return [(one, other) for one, other in world.facts.get("cutLinks", ())]


def is_linked(world: World, one: str, other: str) -> bool:
    return one == other or sorted((one, other)) not in world.facts.get("cutLinks", ())


def skew(machine: Computer) -> float:
    """How many seconds a machine's clock is ahead."""
    found: float = machine.world.facts.get("skews", {}).get(machine.key, 0.0)
    return found


def set_skew(machine: Computer, seconds: float) -> None:
    machine.world.facts.setdefault("skews", {})[machine.key] = seconds
