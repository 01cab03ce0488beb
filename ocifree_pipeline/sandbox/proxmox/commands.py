"""The commands that Proxmox brings to a node."""

from ocifree_pipeline.sandbox.machines.session import Command, Result, Who, Words
from ocifree_pipeline.sandbox.proxmox import guest_commands
from ocifree_pipeline.sandbox.proxmox.nodes import REPOID, Node
from ocifree_pipeline.sandbox.proxmox.pvecm import pvecm
from ocifree_pipeline.sandbox.proxmox.pvesh import pvesh
from ocifree_pipeline.sandbox.proxmox.pveum import pveum


def _pmxcfs(who: Who, words: Words) -> Result:
    """``pmxcfs -l``: /etc/pve without a cluster, for whoever mends it by hand."""
    if who.user != "root" or words != ("-l",):
        return Result(255, err=f"pmxcfs: {' '.join(words)!r} is not played by the Proxmox of this sandbox\n")
    Node(who.machine).own.update(failed="", local=True)
    return Result(0, err="[main] notice: forcing local mode (although corosync.conf exists)\n")


def _killall(who: Who, words: Words) -> Result:
    if words != ("pmxcfs",):
        return Result(1, err=f"{' '.join(words)}: no process found\n")
    Node(who.machine).own["failed"] = "pmxcfs was killed"
    return Result(0)


COMMANDS: dict[str, Command] = {
    **guest_commands.COMMANDS,
    "pvecm": pvecm,
    "pvesh": pvesh,
    "pveum": pveum,
    "pmxcfs": _pmxcfs,
    "killall": _killall,
    "pveversion": lambda who, _words: Result(
        0,
        f"pve-manager/{who.machine.guest['packages']['pve-manager']}/{REPOID} (running kernel: 6.12.48+deb13-arm64)\n",
    ),
}
