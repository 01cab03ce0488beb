"""The simplest guest: a Linux that boots, runs cloud-init and answers SSH."""

from collections.abc import Mapping

from ocifree_pipeline.sandbox.machines import cloud_init, distributions, host_keys, interfaces, reach, shell
from ocifree_pipeline.sandbox.machines.backend import Serve
from ocifree_pipeline.sandbox.machines.computer import Computer
from ocifree_pipeline.sandbox.machines.session import Result, Who
from ocifree_pipeline.sandbox.world import World, transition

SSH = 22
CLOUD_INIT_SECONDS = 15


class Linux:
    name = "linux"

    def recognises(self, _machine: Computer) -> bool:
        return True

    def start(self, machine: Computer) -> None:
        system = distributions.of(machine)
        machine.print(
            f"[    0.000000] Linux version {system.kernel} ({machine.architecture})",
            f"Welcome to {system.pretty_name}!",
        )

    def come_up(self, machine: Computer) -> None:
        system = distributions.of(machine)
        before = machine.guest.get("instance")
        cloud_init.first_boot(machine, system.user)
        if before != machine.key:
            machine.print(*host_keys.announcement(machine))
        machine.guest["nft"] = {}
        interfaces.reload(machine)
        if "pve-manager" in machine.guest["packages"]:
            from ocifree_pipeline.sandbox.proxmox import life

            life.came_up(machine)
        terminal = "ttyAMA0" if machine.architecture == "aarch64" else "ttyS0"
        machine.print(
            f"{system.pretty_name} {machine.guest['hostname']} {terminal}", f"{machine.guest['hostname']} login: "
        )
        machine.world.clock.later(CLOUD_INIT_SECONDS, "machine.cloud_init", key=machine.key)

    def went_down(self, machine: Computer) -> None:
        if "pve" in machine.guest:
            from ocifree_pipeline.sandbox.proxmox import life

            life.went_down(machine)

    def ports(self, machine: Computer) -> Mapping[int, Serve]:
        from ocifree_pipeline.sandbox.machines import ssh

        found: dict[int, Serve] = {SSH: ssh.serve}
        if "pve" in machine.guest:
            from ocifree_pipeline.sandbox.proxmox import daemons

            found |= daemons.ports(machine)
        return found


def run_as_root(machine: Computer, line: str) -> tuple[int, str]:
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
def _cloud_init(world: World, key: str) -> None:
    machine = reach.of_key(world, key)
    if machine is not None and machine.phase == "up":
        cloud_init.final_stage(machine, run_as_root)
