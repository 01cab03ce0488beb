"""`ceph`: the storage that Proxmox nodes share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ocifree_pipeline.deployment.objection import Objection, refuse
from ocifree_pipeline.deployment.sections.section import Section, matching


class Ceph(Section):
    """Only the proxmox-ceph topology has it."""

    size: Literal[2, 3] = Field(2, description="How many copies of everything there are, each on another node.")
    min_size: Literal[1, 2] = Field(
        2,
        description="How many copies must be there for writing to go on. With size 2, min_size 2 stops all guests "
        "while a node is away; min_size 1 goes on, and can lose what was written.",
    )
    accept_min_size_1: bool = Field(False, description="Says that you know what min_size 1 risks, and want it.")
    pool: Annotated[
        str,
        matching(
            r"[a-z][a-z0-9-]{0,30}",
            "not a pool name: a small letter, then at most 30 small letters, digits and hyphens",
            "write a name such as vm-storage",
        ),
    ] = Field("vm-storage", description="The name of the pool that holds the disks of guests.")

    @model_validator(mode="after")
    def _risk_is_accepted(self) -> Ceph:
        if self.min_size == 1 and not self.accept_min_size_1:
            raise refuse(
                Objection(
                    "with one copy left, a second failure loses what was just written",
                    "write 2, or add `accept_min_size_1: true` if you want to run on with one copy",
                    at=("min_size",),
                    involves=(("accept_min_size_1",),),
                )
            )
        return self
