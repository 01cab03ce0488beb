"""The simplest guest: a Linux that boots, runs cloud-init and answers SSH."""

from collections.abc import Mapping

from ocifree_pipeline.sandbox.machines import cloud_init, distributions, host_keys, shell
from ocifree_pipeline.sandbox.machines.backend import Serve
from ocifree_pipeline.sandbox.machines.commands import Result, Who
from ocifree_pipeline.sandbox.machines.machine import Machine, of_instance
from ocifree_pipeline.sandbox.world import World, transition

SSH = 22
CLOUD_INIT_SECONDS = 15


class Linux:
    name = "linux"

    def recognises(self, _machine: Machine) -> bool:
        return True

    def start(self, machine: Machine) -> None:
        system = distributions.of(machine)
        machine.print(
            f"[    0.000000] Linux version {system.kernel} ({machine.shape.architecture})",
            f"Welcome to {system.pretty_name}!",
        )

    def come_up(self, machine: Machine) -> None:
        system = distributions.of(machine)
        before = machine.guest.get("instance")
        cloud_init.first_boot(machine, system.user)
        if before != machine.instance.ocid:
            machine.print(*host_keys.announcement(machine))
        terminal = "ttyAMA0" if machine.shape.architecture == "aarch64" else "ttyS0"
        machine.print(
            f"{system.pretty_name} {machine.guest['hostname']} {terminal}", f"{machine.guest['hostname']} login: "
        )
        machine.world.clock.later(CLOUD_INIT_SECONDS, "machine.cloud_init", ocid=machine.instance.ocid)

    def ports(self, _machine: Machine) -> Mapping[int, Serve]:
        from ocifree_pipeline.sandbox.machines import ssh

        return {SSH: ssh.serve}


def run_as_root(machine: Machine, line: str) -> tuple[int, str]:
    """Run a command line to its end. What waits for cloud-init would wait for ever here."""
    running = shell.run(Who(machine, "root"), line)
    printed = ""
    while True:
        try:
            event = next(running)
        except StopIteration as stop:
            return int(stop.value), printed
        if not isinstance(event, Result):
            return 1, printed + "it waits for cloud-init, which waits for it"
        printed += event.out + event.err


@transition("machine.cloud_init")
def _cloud_init(world: World, ocid: str) -> None:
    instance = world.get("instance", ocid)
    if instance is not None and (machine := of_instance(world, instance)).phase == "up":
        cloud_init.final_stage(machine, run_as_root)
