"""What the hand may do to machines, by address: cut and mend links, switch power, set clocks wrong, offer packages."""

from typing import Any

from ocifree_pipeline.sandbox.machines import packages, power, reach, tampering
from ocifree_pipeline.sandbox.machines.computer import Computer
from ocifree_pipeline.sandbox.world import World


def named(world: World, address: str) -> Computer:
    """By address or host name; ValueError when there is none."""
    found = reach.at(world, address)
    if found is None:
        found = next((one for one in reach.everyone(world) if one.hostname == address), None)
    if found is None:
        raise ValueError(f"no machine of the sandbox is called {address!r} or has that address")
    return found


def links(world: World) -> list[dict[str, Any]]:
    """The links that are cut."""
    known = {one.key: one.hostname for one in reach.everyone(world)}
    return [
        {"between": sorted((known.get(one, one), known.get(other, other))), "traffic": only or "all"}
        for one, other, only in tampering.cuts(world)
    ]


def set_link(world: World, between: list[str], *, cut: bool, traffic: str = "all") -> None:
    if traffic not in {"all", tampering.COROSYNC}:
        raise ValueError(f"traffic {traffic!r} is unknown; choose all or {tampering.COROSYNC}")
    one, other = (named(world, address).key for address in between)
    if one == other:
        raise ValueError("a link is between two machines")
    if cut:
        tampering.cut(world, one, other, "" if traffic == "all" else traffic)
    else:
        tampering.mend(world, one, other)


def machines(world: World) -> list[dict[str, Any]]:
    return [
        {
            "name": one.hostname,
            "addresses": one.addresses,
            "phase": one.phase,
            "reason": one.state["reason"],
            "boots": one.boots,
            "clockSkew": tampering.skew(one),
        }
        for one in reach.everyone(world)
    ]


def set_power(machine: Computer, state: str) -> None:
    """As when somebody pulls the plug, without asking the guest or telling Oracle."""
    match state:
        case "off":
            power.power_off(machine)
        case "on" if machine.phase == "off":
            power.power_on(machine)
        case "on":
            pass
        case "reboot":
            power.power_off(machine)
            power.power_on(machine)
        case _:
            raise ValueError(f"power {state!r} is unknown; choose on, off or reboot")


def offer(world: World, versions: dict[str, Any]) -> dict[str, str]:
    """The archives put out newer versions; machines see them when they read their package lists."""
    known = {name for one in reach.everyone(world) for name in one.guest.get("packages", {})}
    for name, version in versions.items():
        if name not in known:
            raise ValueError(f"no machine of the sandbox has a package called {name!r}")
        if not isinstance(version, str) or not version:
            raise ValueError(f"the version of {name} is a text, not {version!r}")
    packages.published(world).update(versions)
    return packages.published(world)
