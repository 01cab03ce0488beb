"""The commands that Proxmox brings to a node."""

from ocifree_pipeline.sandbox.machines.session import Command, Result
from ocifree_pipeline.sandbox.proxmox import qm
from ocifree_pipeline.sandbox.proxmox.nodes import REPOID
from ocifree_pipeline.sandbox.proxmox.pvecm import pvecm
from ocifree_pipeline.sandbox.proxmox.pvesh import pvesh
from ocifree_pipeline.sandbox.proxmox.pveum import pveum

COMMANDS: dict[str, Command] = {
    **qm.COMMANDS,
    "pvecm": pvecm,
    "pvesh": pvesh,
    "pveum": pveum,
    "pveversion": lambda who, _words: Result(
        0,
        f"pve-manager/{who.machine.guest['packages']['pve-manager']}/{REPOID} (running kernel: 6.12.48+deb13-arm64)\n",
    ),
}
