"""`nodes`: how many machines. Normally left out, because the plan derives it from what the account allows."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ocifree_pipeline.deployment.objection import Objection, refuse
from ocifree_pipeline.deployment.sections.section import Section, Several, at_least_one, between, whole

MIN_BOOT_GB = 50
MAX_GB_PER_OCPU = 64


class AmpereNode(Section):
    """One A1 machine."""

    ocpus: Annotated[
        int,
        whole("Oracle's A1 machines take whole OCPUs, at least 1; the API refuses a fraction"),
        between(1, None, "an A1 machine has at least one OCPU"),
    ] = Field(description="Whole OCPUs, at least 1. One OCPU is one core.", examples=[1])
    memory_gb: Annotated[
        int, whole("Oracle's A1 machines take memory in whole GB"), between(1, None, "a machine needs memory")
    ] = Field(description="Memory in whole GB: 1 to 64 for each OCPU.", examples=[6])
    boot_volume_gb: Annotated[
        int, between(MIN_BOOT_GB, 200, "Oracle makes no smaller boot volume, and 200 GB is all that is free")
    ] = Field(MIN_BOOT_GB, description="Size of the boot volume in GB. All volumes together share 200 free GB.")

    @model_validator(mode="after")
    def _memory_fits(self) -> AmpereNode:
        most = MAX_GB_PER_OCPU * self.ocpus
        if self.memory_gb > most:
            raise refuse(
                Objection(
                    f"A1 machines take at most {MAX_GB_PER_OCPU} GB for each OCPU, so {most} GB here",
                    f"write a number from 1 to {most}",
                    at=("memory_gb",),
                    involves=(("ocpus",),),
                )
            )
        return self


class Nodes(Section):
    """The machines. Write either `count` or `ampere`, or neither."""

    count: Annotated[int, between(1, None, "a platform needs at least one machine")] | None = Field(
        None, description="How many A1 machines. The plan divides what is free among them."
    )
    ampere: (
        Annotated[Several[AmpereNode], at_least_one("a platform needs a machine", "describe one, or leave it out")]
        | None
    ) = Field(None, description="The A1 machines one by one, when you want sizes of your own.")
    bastion: Literal["micro", "none"] = Field(
        "micro",
        description="`micro` makes a small x86 machine with a fixed address as the only door for SSH; it takes "
        "50 GB of the free 200. `none` saves that.",
    )

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Nodes:
        if self.count is not None and self.ampere is not None:
            raise refuse(
                Objection(
                    "`count` and `ampere` both say how many machines there are",
                    "keep `ampere` for sizes of your own, or `count` to let the plan divide what is free",
                    at=("count",),
                    involves=(("ampere",),),
                )
            )
        return self

    @property
    def asked(self) -> int | None:
        """How many A1 machines the file asks for; None leaves it to the plan."""
        return self.count if self.ampere is None else len(self.ampere)
