"""Power on, power off, and what happens between power and the first answer."""

from ocifree_pipeline.sandbox.machines import backend, firmware, reach
from ocifree_pipeline.sandbox.machines.machine import of_instance
from ocifree_pipeline.sandbox.world import Resource, World, transition

GUEST_SECONDS = 20


def boot(world: World, instance: Resource) -> None:
    """Power on. The guest answers a while later, if its disk can be started at all."""
    machine = of_instance(world, instance)
    state = machine.state
    state.update(phase="booting", boots=machine.boots + 1, reason="it is still booting", since=world.clock.stamp())
    verdict = firmware.judge(machine)
    machine.print(*verdict.console)
    if not verdict.starts:
        state.update(phase="silent", reason=verdict.reason)
        return
    kind = backend.choose(machine)
    state["backend"] = kind.name
    kind.start(machine)
    world.clock.later(GUEST_SECONDS, "machine.up", ocid=instance.ocid, boots=machine.boots)


def halt(world: World, instance: Resource) -> None:
    """Power off at once; open connections break."""
    machine = of_instance(world, instance)
    if machine.phase != "off":
        machine.state.update(phase="off", reason="it is powered off")
    reach.cut(world, instance.ocid)


@transition("machine.up")
def _up(world: World, ocid: str, boots: int) -> None:
    instance = world.get("instance", ocid)
    if instance is None:
        return
    machine = of_instance(world, instance)
    if machine.phase == "booting" and machine.boots == boots:
        machine.state.update(phase="up", reason="")
        backend.named(machine.state["backend"]).come_up(machine)
