"""What becomes of guests when their node goes down or comes up, and of those that are looked after (HA)."""

from datetime import timedelta

from ocifree_pipeline.sandbox.ceph import on_proxmox
from ocifree_pipeline.sandbox.machines import power, reach
from ocifree_pipeline.sandbox.machines.computer import Computer
from ocifree_pipeline.sandbox.proxmox import guests, nodes, qemu, quorum, tasks
from ocifree_pipeline.sandbox.proxmox.errors import ApiError
from ocifree_pipeline.sandbox.proxmox.guests import Guest
from ocifree_pipeline.sandbox.proxmox.nodes import Node
from ocifree_pipeline.sandbox.proxmox.tasks import TaskError
from ocifree_pipeline.sandbox.world import World, transition

FENCING = timedelta(minutes=2)
AUTOSTART_SECONDS = 5.0


def came_up(machine: Computer) -> None:
    nodes.come_up(machine)
    node = Node(machine)
    tasks.interrupt(node)
    machine.world.clock.later(AUTOSTART_SECONDS, "pve.autostart", machine=machine.key, boots=machine.boots)
    on_proxmox.came_up(machine)


def went_down(machine: Computer) -> None:
    node = Node(machine)
    for guest in guests.hosted(node):
        if guest.record["status"] == "running":
            power.power_off(guest)
            guest.record.update(status="stopped", since=0)
            if _is_managed(guest):
                # An appointment and no lifecycle: a node that is rebooted must not be fenced in no time.
                clock, args = machine.world.clock, {"machine": machine.key, "boots": machine.boots, "vmid": guest.vmid}
                clock.at(clock.now() + FENCING, "pve.recover", **args)
    on_proxmox.notice(machine)


def _is_managed(guest: Guest) -> bool:
    sid = f"{'ct' if guest.is_container else 'vm'}:{guest.vmid}"
    found = guest.node.store["ha"]["resources"].get(sid)
    return found is not None and found["state"] in {"started", "enabled"}


@transition("pve.autostart")
def _autostart(world: World, machine: str, boots: int) -> None:
    """Guests that are to run from the start, once there is quorum."""
    computer = reach.of_key(world, machine)
    if computer is None or computer.phase != "up" or computer.boots != boots or not nodes.is_node(computer):
        return
    node = Node(computer)
    if not node.is_up:
        return
    wanted = [one for one in guests.hosted(node) if int(one.config.get("onboot", 0)) or _is_managed(one)]
    waiting = [one for one in wanted if one.record["status"] != "running" and not one.config.get("template")]
    if not waiting:
        return
    if quorum.is_quorate(node):
        for guest in waiting:
            _start(node, guest)
    else:
        world.clock.later(AUTOSTART_SECONDS, "pve.autostart", machine=machine, boots=boots)


def _start(node: Node, guest: Guest) -> None:
    kind = "vzstart" if guest.is_container else "qmstart"
    tasks.start(node, kind, guest.vmid, "root@pam", {"vmid": guest.vmid})


@transition("pve.recover")
def _recover(world: World, machine: str, boots: int, vmid: str) -> None:
    """A node that stays away is fenced, and the cluster starts what it had on another one, if its disks are there."""
    computer = reach.of_key(world, machine)
    if computer is None or computer.boots != boots or computer.phase == "up":
        return
    lost = Node(computer)
    record = lost.store["guests"].get(vmid)
    if record is None or record["node"] != lost.name:
        return
    for node in nodes.members(lost):
        if node.name == lost.name or not quorum.is_quorate(node):
            continue
        try:
            if record["type"] == "qemu":
                qemu.check_start(node, record)
        except (ApiError, TaskError):
            continue
        record["node"] = node.name
        _start(node, Guest(node, vmid))
        return
