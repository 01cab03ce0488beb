"""What the solver answers: a plan that fits, or every reason why none does.

Frozen values only. `Plan.as_dict()` and `Refusal.as_dict()` are what `--json` prints and what assets record.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ocifree_pipeline.deployment.allowances import LABELS, Resource

Topology = Literal["proxmox-ceph", "talos-native"]

A1_SHAPE = "VM.Standard.A1.Flex"
MICRO_SHAPE = "VM.Standard.E2.1.Micro"
BASTION_BOOT_GB = 50


@dataclass(frozen=True, slots=True)
class Machine:
    """One instance to be claimed. `availability_domain` is None until live limits were read."""

    name: str
    shape: str
    ocpus: int
    memory_gb: int
    boot_volume_gb: int
    availability_domain: str | None

    @property
    def is_ampere(self) -> bool:
        return self.shape == A1_SHAPE


@dataclass(frozen=True, slots=True)
class Guest:
    """A Talos virtual machine on a Proxmox node."""

    name: str
    host: str
    role: Literal["controlplane", "worker"]
    vcpus: int
    memory_gb: int
    disk_gb: int


@dataclass(frozen=True, slots=True)
class CephSpace:
    """How many GB survive replication and the near-full mark, with the arithmetic in `how`."""

    osd_gb_per_node: int
    raw_gb: int
    size: int
    usable_gb: int
    how: str


@dataclass(frozen=True, slots=True)
class Headroom:
    """One resource: what there is, what the plan takes, what is left."""

    resource: Resource
    available: int
    planned: int
    source: str

    @property
    def left(self) -> int:
        return self.available - self.planned

    @property
    def label(self) -> str:
        return LABELS[self.resource]


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A limit that binds: raise it to `needed` and this reason is gone."""

    limit: str
    scope: str
    needed: int
    available: int
    source: str
    why: str

    def sentence(self) -> str:
        return f"{self.limit} {self.scope}: needs {self.needed}, has {self.available} ({self.source}). {self.why}"


@dataclass(frozen=True, slots=True)
class Plan:
    """Machines that fit within every limit, and what they leave over."""

    topology: Topology
    machines: tuple[Machine, ...]
    guests: tuple[Guest, ...]
    control_planes: int
    ceph: CephSpace | None
    reserved_ips: tuple[str, ...]
    headroom: tuple[Headroom, ...]
    warnings: tuple[str, ...]
    allowance: str
    live: bool
    rejected: tuple[Refusal, ...] = ()

    @property
    def ampere(self) -> tuple[Machine, ...]:
        return tuple(machine for machine in self.machines if machine.is_ampere)

    @property
    def bastion(self) -> Machine | None:
        return next((machine for machine in self.machines if not machine.is_ampere), None)

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "headroom": [{**asdict(h), "left": h.left} for h in self.headroom], "fits": True}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Every limit that stands in the way of a topology, and the nearest plan that fits."""

    topology: Topology
    shortfalls: tuple[Shortfall, ...]
    nearest: Plan | None = None

    def sentences(self) -> Iterator[str]:
        yield from (shortfall.sentence() for shortfall in self.shortfalls)

    def as_dict(self) -> dict[str, Any]:
        return {
            "fits": False,
            "topology": self.topology,
            "shortfalls": [asdict(shortfall) for shortfall in self.shortfalls],
            "nearest": self.nearest.as_dict() if self.nearest else None,
        }
