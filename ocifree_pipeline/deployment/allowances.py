"""Allowances: what Oracle gives for $0.00, as data files with a source and a date.

Oracle has changed these numbers before and will again. A new set of numbers is a new file in `allowances/`; code
never carries them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from enum import StrEnum
from functools import cache
from importlib.resources import files
from types import MappingProxyType

import yaml
from pydantic import BaseModel, ConfigDict, Field

_FILES = files("ocifree_pipeline.deployment") / "allowances"


class Resource(StrEnum):
    """Everything the solver counts. The value is the key used in allowance files and in `--json` output."""

    A1_OCPUS = "a1_ocpus"
    A1_MEMORY_GB = "a1_memory_gb"
    MICRO_INSTANCES = "micro_instances"
    BLOCK_STORAGE_GB = "block_storage_gb"
    VOLUME_BACKUPS = "volume_backups"
    CUSTOM_IMAGES = "custom_images"
    OBJECT_STORAGE_GB = "object_storage_gb"
    VCNS = "vcns"
    RESERVED_IPS = "reserved_ips"
    NAT_GATEWAYS = "nat_gateways"
    LOAD_BALANCERS = "load_balancers"
    NETWORK_LOAD_BALANCERS = "network_load_balancers"


LABELS: Mapping[Resource, str] = MappingProxyType(
    {
        Resource.A1_OCPUS: "A1 OCPUs",
        Resource.A1_MEMORY_GB: "A1 memory (GB)",
        Resource.MICRO_INSTANCES: "Micro instances",
        Resource.BLOCK_STORAGE_GB: "boot and block storage (GB)",
        Resource.VOLUME_BACKUPS: "volume backups",
        Resource.CUSTOM_IMAGES: "custom images",
        Resource.OBJECT_STORAGE_GB: "object storage (GB)",
        Resource.VCNS: "virtual cloud networks",
        Resource.RESERVED_IPS: "reserved public addresses",
        Resource.NAT_GATEWAYS: "NAT gateways",
        Resource.LOAD_BALANCERS: "flexible load balancers",
        Resource.NETWORK_LOAD_BALANCERS: "network load balancers",
    }
)


class AllowanceLimits(BaseModel):
    """Numbers for every account, and those that differ by the kind of account."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    both: dict[Resource, int]
    free: dict[Resource, int]
    payg: dict[Resource, int]


class Allowance(BaseModel):
    """One published set of free numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    since: date
    superseded: date | None = None
    source: str
    notes: tuple[str, ...] = Field(default=())
    limits: AllowanceLimits

    def limits_for(self, account: str) -> Mapping[Resource, int]:
        return {**self.limits.both, **(self.limits.free if account == "free" else self.limits.payg)}


def allowance_names() -> tuple[str, ...]:
    return tuple(sorted(entry.name.removesuffix(".yaml") for entry in _FILES.iterdir() if entry.name.endswith(".yaml")))


@cache
def allowance(name: str) -> Allowance:
    """The allowance of that name; KeyError names the ones there are."""
    if name not in allowance_names():
        raise KeyError(f"no allowance {name!r}; there are {', '.join(allowance_names())}")
    return Allowance(name=name, **yaml.safe_load((_FILES / f"{name}.yaml").read_text("utf-8")))


def most_nodes_any_allowance_carries() -> int:
    """The API takes whole OCPUs, at least one a node, so OCPUs bound the number of A1 nodes."""
    return max(allowance(name).limits.both[Resource.A1_OCPUS] for name in allowance_names())
