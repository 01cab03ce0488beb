"""Power on, power off, and what happens between power and the first answer."""

from ocifree_pipeline.sandbox.machines import backend, reach
from ocifree_pipeline.sandbox.machines.computer import Computer
from ocifree_pipeline.sandbox.machines.machine import of_instance
from ocifree_pipeline.sandbox.world import Resource, World, transition

GUEST_SECONDS = 20


def boot(world: World, instance: Resource) -> None:
    power_on(of_instance(world, instance))


def halt(world: World, instance: Resource) -> None:
    power_off(of_instance(world, instance))


def power_on(machine: Computer) -> None:
    """The guest answers a while later, if its disk can be started at all."""
    state, clock = machine.state, machine.world.clock
    state.update(phase="booting", boots=machine.boots + 1, reason="it is still booting", since=clock.stamp())
    verdict = machine.judge()
    machine.print(*verdict.console)
    if not verdict.starts:
        state.update(phase="silent", reason=verdict.reason)
        return
    kind = backend.choose(machine)
    state["backend"] = kind.name
    kind.start(machine)
    clock.later(GUEST_SECONDS, "machine.up", key=machine.key, boots=machine.boots)


def power_off(machine: Computer) -> None:
    """At once; open connections break."""
    if machine.phase != "off":
        machine.state.update(phase="off", reason="it is powered off", since=machine.world.clock.stamp())
    reach.cut(machine.world, machine.key)
    kind: object = backend.named(machine.state["backend"]) if machine.state["backend"] else None
    if isinstance(kind, backend.Mindful):
        kind.went_down(machine)


def restart(machine: Computer) -> None:
    """As a guest does it by itself: whoever built the computer does not notice."""
    reach.cut(machine.world, machine.key)
    power_on(machine)


@transition("machine.up")
def _up(world: World, key: str, boots: int) -> None:
    machine = reach.of_key(world, key)
    if machine is not None and machine.phase == "booting" and machine.boots == boots:
        machine.state.update(phase="up", reason="")
        backend.named(machine.state["backend"]).come_up(machine)


def shut_down(machine: Computer, seconds: float, *, again: bool) -> None:
    """As a guest does it when it is told to: whoever told it has the time to hang up."""
    machine.world.clock.later(seconds, "machine.shut_down", key=machine.key, boots=machine.boots, again=again)


@transition("machine.shut_down")
def _shut_down(world: World, key: str, boots: int, again: bool) -> None:
    machine = reach.of_key(world, key)
    if machine is not None and machine.phase == "up" and machine.boots == boots:
        power_off(machine)
        if again:
            power_on(machine)
