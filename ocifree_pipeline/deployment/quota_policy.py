"""The quota policy: statements that make Oracle refuse what would cost money, generated from the allowance. Pure.

Later statements override earlier ones, so each family is zeroed first and what is free is given back after it. A1 needs
both the number per availability domain and the regional one; with either missing every launch is refused.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from ocifree_pipeline.deployment.allowances import Resource

_GIGA = 1_000_000_000
_FREE_MBPS = 10
_NEVER_FREE = ("compute-management", "auto-scaling", "database", "filesystem")

PAID_PROBE = "standard-e4-core-count"
"""A shape series that is never free: its availability must be 0."""


@dataclass(frozen=True, slots=True)
class Need:
    """What has to be left to us: of A1, what the plan takes in a domain, or in the region where `ad` is None."""

    quota: str
    ad: str | None
    amount: int


@dataclass(frozen=True, slots=True)
class Condition:
    subject: Literal["request.region", "request.ad"]
    value: str

    def __str__(self) -> str:
        return f" where {self.subject} = '{self.value}'"


@dataclass(frozen=True, slots=True)
class Statement:
    """One line of a quota policy. `quota` None is the whole family; `amount` None is zero."""

    family: str
    quota: str | None
    amount: int | None
    condition: Condition | None = None

    def __str__(self) -> str:
        where = str(self.condition) if self.condition else ""
        if self.amount is None:
            what = f"quota {self.quota}" if self.quota else "quotas"
            return f"zero {self.family} {what} in tenancy{where}"
        return f"set {self.family} quota {self.quota} to {self.amount} in tenancy{where}"


def statements(
    free: Mapping[Resource, int], *, region: str, storage_gb: Mapping[str, int], load_balancer: bool = False
) -> tuple[Statement, ...]:
    """What is free, given back after everything was taken. `storage_gb` is the free storage, by availability domain."""
    here = Condition("request.region", region)
    ocpus, memory = free.get(Resource.A1_OCPUS, 0), free.get(Resource.A1_MEMORY_GB, 0)
    lines = [
        Statement("compute-core", None, None),
        Statement("compute-memory", None, None),
        Statement("compute-core", "standard-a1-core-count", ocpus, here),
        Statement("compute-core", "standard-a1-core-regional-count", ocpus, here),
        Statement("compute-memory", "standard-a1-memory-count", memory, here),
        Statement("compute-memory", "standard-a1-memory-regional-count", memory, here),
        Statement("compute-core", "standard-e2-micro-core-count", free.get(Resource.MICRO_INSTANCES, 0), here),
        Statement("block-storage", "total-storage-gb", None),
    ]
    lines += [
        Statement("block-storage", "total-storage-gb", gb, Condition("request.ad", ad))
        for ad, gb in sorted(storage_gb.items())
    ]
    lines += [
        Statement("block-storage", "backup-count", free.get(Resource.VOLUME_BACKUPS, 0)),
        Statement("object-storage", "storage-bytes", free.get(Resource.OBJECT_STORAGE_GB, 0) * _GIGA),
        Statement("vcn", "vcn-count", free.get(Resource.VCNS, 0)),
        Statement("vcn", "reserved-public-ip-count", free.get(Resource.RESERVED_IPS, 0)),
        Statement("load-balancer", None, None),
    ]
    if load_balancer:
        lines += [
            Statement("load-balancer", "lb-flexible-count", free.get(Resource.LOAD_BALANCERS, 0)),
            Statement("load-balancer", "lb-flexible-bandwidth-sum", _FREE_MBPS),
        ]
    lines += [Statement(family, None, None) for family in _NEVER_FREE]
    lines.append(Statement("kms", "virtual-private-vault-count", None))
    return tuple(lines)


def needs_of(machines: Iterable[tuple[str | None, int, int]]) -> tuple[Need, ...]:
    """What A1 machines need of each domain and of the region. Each one is its domain, its OCPUs, its memory in GB."""
    taken: Counter[tuple[str, str]] = Counter()
    region: Counter[str] = Counter()
    for ad, ocpus, memory in machines:
        for what, amount in (("core", ocpus), ("memory", memory)):
            region[f"standard-a1-{what}-regional-count"] += amount
            if ad is not None:
                taken[f"standard-a1-{what}-count", ad] += amount
    needs = [Need(quota, ad, amount) for (quota, ad), amount in sorted(taken.items())]
    return (*needs, *(Need(quota, None, amount) for quota, amount in sorted(region.items())))


BootVolume = tuple[Sequence[str], int]
"""The availability domains that it may come to be in, and its size in GB."""


def storage_by_domain(boot_volumes: Iterable[BootVolume], free_gb: int) -> dict[str, int]:
    """The free storage, by availability domain.

    Oracle counts storage in each domain by itself. While a machine is hunted in several domains, each of them has to
    have room for it, so for that time the quota alone does not hold the total; the plan, the price list and the check
    `within_allowance` do. Once every machine is had there is one domain for each, and the sum of what is given is what
    is free.
    """
    taken: dict[str, int] = {}
    settled = True
    for domains, size in boot_volumes:
        settled = settled and len(domains) <= 1
        for ad in domains:
            taken[ad] = taken.get(ad, 0) + size
    if taken and settled:
        largest = max(sorted(taken), key=lambda ad: taken[ad])
        taken[largest] += max(0, free_gb - sum(taken.values()))
    return taken


_FOREIGN = re.compile(
    r"""\s*(?P<action>set|zero|unset)\s+(?P<family>[a-z0-9-]+)\s+quotas?
        (?:\s+(?P<quota>/[^/]*/|(?!to\b|in\b)[a-z0-9*-]+))?
        (?:\s+to\s+(?P<amount>\d+))?
        \s+in\s+(?P<place>tenancy|compartment\s+\S+)
        (?:\s+where\s+(?P<subject>request\.\w+)\s*=\s*'?(?P<value>[^'\s]+)'?)?\s*""",
    re.VERBOSE | re.IGNORECASE,
)


def stands_in_the_way(
    policies: Mapping[str, Sequence[str]], need: Need, *, compartment: str, region: str
) -> Iterator[str]:
    """Each policy of somebody else that holds a quota below what is needed, and the statement that does it."""
    for policy, texts in policies.items():
        last = None
        for text in texts:
            match = _FOREIGN.fullmatch(text)
            if match and _concerns(match, need.quota, compartment, region, need.ad):
                last = match
        if last is not None and (allowed := _allowed(last)) is not None and allowed < need.amount:
            yield f"quota policy {policy} holds {need.quota} at {allowed}, {need.amount} are needed: {last[0].strip()}"


def _concerns(match: re.Match[str], quota: str, compartment: str, region: str, ad: str | None) -> bool:
    family = "compute-memory" if "-memory-" in quota else "compute-core"
    named = (match["quota"] or "*").strip("/").lower()
    place = match["place"].split()[-1]
    here = {"request.region": region, "request.ad": ad}.get((match["subject"] or "").lower())
    return (
        match["family"].lower() == family
        and fnmatchcase(quota, named)
        and (place.lower() == "tenancy" or place.rpartition(":")[2].lower() == compartment.lower())
        and (match["subject"] is None or (here or "").lower() == match["value"].lower())
    )


def _allowed(match: re.Match[str]) -> int | None:
    """The number that the statement sets; None for `unset`."""
    action = match["action"].lower()
    return None if action == "unset" else 0 if action == "zero" else int(match["amount"] or 0)
