"""How a machine that stands differs from what is declared now. Said, with the command, and never done: capacity for
another may never come. Pure."""

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
    """What would be launched today. `image` None: Oracle's own, which updates itself in place."""

    machine: Machine
    image: str | None
    user_data: str | None
    ssh_public_keys: frozenset[str]


def differences(declared: Declared, standing: Standing) -> Iterator[str]:
    """A sentence for each, with what it would take."""
    machine = declared.machine
    if standing.shape != machine.shape:
        yield f"shape {standing.shape} instead of {machine.shape}: {_anew(standing)}"
    elif machine.shape == A1_SHAPE and (standing.ocpus, standing.memory_gb) != (machine.ocpus, machine.memory_gb):
        size = json.dumps({"ocpus": machine.ocpus, "memoryInGBs": machine.memory_gb})
        yield (
            f"{standing.ocpus:g} OCPU and {standing.memory_gb:g} GB instead of {machine.ocpus} and "
            f"{machine.memory_gb}: reshaping restarts it, and it may not come back for lack of capacity: "
            f"oci compute instance update --instance-id {standing.ocid} --shape-config '{size}'"
        )
    if declared.image is not None and standing.image != declared.image:
        yield f"made from image {standing.image}, now there is {declared.image}: {_anew(standing)}"
    if standing.ssh_public_keys != declared.ssh_public_keys:
        yield (
            "access.ssh_public_keys changed, and Oracle fixes them at launch: log in and edit "
            "~/.ssh/authorized_keys on the machine"
        )
    elif declared.user_data is not None and standing.user_data != declared.user_data:
        yield f"its first boot was configured differently, and Oracle fixes that at launch: {_anew(standing)}"


def _anew(standing: Standing) -> str:
    return (
        f"only a new machine has it, and there may be no capacity for one: oci compute instance terminate "
        f"--instance-id {standing.ocid}, then `ocifree up`"
    )
