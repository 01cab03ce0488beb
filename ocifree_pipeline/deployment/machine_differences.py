"""How a machine that stands differs from what is declared now. Said, with the command, and never done: capacity for
another may never come. A newer image is no difference: a machine is brought up to date in place. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from ocifree_pipeline.deployment.plan import A1_SHAPE, Machine


@dataclass(frozen=True, slots=True)
class Standing:
    """What Oracle shows of an instance."""

    ocid: str
    shape: str
    ocpus: float
    memory_gb: float
    image: str
    user_data: str
    ssh_public_keys: frozenset[str]


@dataclass(frozen=True, slots=True)
class Declared:
    """What would be launched today. None: nothing to compare, as it is changed in place whenever it changes."""

    machine: Machine
    image: str | None
    user_data: str | None
    ssh_public_keys: frozenset[str] | None


def differences(declared: Declared, standing: Standing) -> Iterator[str]:
    """A sentence for each, with what it would take."""
    machine = declared.machine
    if standing.shape != machine.shape:
        yield (
            f"shape {standing.shape} instead of {machine.shape}: there may never be capacity for another, and only a "
            f"new machine has it: oci compute instance terminate --instance-id {standing.ocid}, then `ocifree up`"
        )
    elif machine.shape == A1_SHAPE and (standing.ocpus, standing.memory_gb) != (machine.ocpus, machine.memory_gb):
        size = json.dumps({"ocpus": machine.ocpus, "memoryInGBs": machine.memory_gb})
        yield (
            f"{standing.ocpus:g} OCPU and {standing.memory_gb:g} GB instead of {machine.ocpus} and "
            f"{machine.memory_gb}: reshaping restarts it, and it may not come back for lack of capacity: "
            f"oci compute instance update --instance-id {standing.ocid} --shape-config '{size}'"
        )
    if declared.ssh_public_keys not in (None, standing.ssh_public_keys):
        yield (
            "access.ssh_public_keys changed, and Oracle fixes them at launch: log in and edit "
            "~/.ssh/authorized_keys on the machine"
        )
    elif declared.user_data not in (None, standing.user_data):
        yield (
            "its first boot would be configured differently today, and Oracle fixes that at launch: make the change on "
            "the machine itself"
        )


def newer_image(declared: Declared, standing: Standing) -> str | None:
    """What the next machine is made from, where that is not what this one was made from."""
    return declared.image if declared.image not in (None, standing.image) else None
