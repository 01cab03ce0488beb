"""What a tenancy may use: countable resources, live limits, and the room that is left.

The room for a plan is never a constant. For each resource it is the smaller of the allowance (what is free) and the
live limit (what Oracle lets this tenancy have), less what others in the tenancy already use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ocifree_pipeline.deployment.allowances import Allowance, Resource

BOUND_TO_AD = (Resource.A1_OCPUS, Resource.A1_MEMORY_GB, Resource.MICRO_INSTANCES, Resource.BLOCK_STORAGE_GB)
"""Resources that an instance takes from its availability domain, not only from the region."""

_NOTHING: Mapping[Resource, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers by resource: for the whole region, and by availability domain where Oracle tells them apart."""

    regional: Mapping[Resource, int] = field(default_factory=lambda: _NOTHING)
    per_ad: Mapping[str, Mapping[Resource, int]] = field(default_factory=dict)

    def in_region(self, resource: Resource) -> int:
        """Use in the whole region; a regional number is not lower than the sum of its domains."""
        return max(self.regional.get(resource, 0), sum(ad.get(resource, 0) for ad in self.per_ad.values()))


@dataclass(frozen=True, slots=True)
class Room:
    """How much of one resource a plan may take, and what sets that number."""

    resource: Resource
    available: int
    source: str
    ad: str | None = None


@dataclass(frozen=True, slots=True)
class Envelope:
    """The room in the region and in each availability domain. `ads` is empty while live limits are unknown."""

    region: Mapping[Resource, Room]
    ads: Mapping[str, Mapping[Resource, Room]]
    allowance: str
    live: bool

    @property
    def domains(self) -> tuple[str, ...]:
        return tuple(self.ads)


def envelope(
    allowance: Allowance, account: str, limits: Counts | None = None, used_by_others: Counts | None = None
) -> Envelope:
    """min(live limit, allowance) less the use by others, for the region and for each availability domain."""
    used = used_by_others or Counts()
    free = allowance.limits_for(account)
    region = {
        resource: _room(resource, None, _allowed(allowance, free, resource), _live(limits, resource), used)
        for resource in Resource
    }
    ads: dict[str, dict[Resource, Room]] = {}
    for ad, live in (limits.per_ad if limits else {}).items():
        ads[ad] = {
            resource: _room(
                resource, ad, _allowed(allowance, free, resource), (live.get(resource, 0), f"live limit in {ad}"), used
            )
            for resource in BOUND_TO_AD
        }
    return Envelope(region=region, ads=ads, allowance=allowance.name, live=limits is not None)


def _allowed(allowance: Allowance, free: Mapping[Resource, int], resource: Resource) -> tuple[int, str]:
    # A resource that the allowance does not name is not free: unknown costs fail closed.
    return free.get(resource, 0), f"allowance {allowance.name}"


def _live(limits: Counts | None, resource: Resource) -> tuple[int, str] | None:
    if limits is None or resource not in limits.regional:
        return None
    return limits.regional[resource], "live limit in the region"


def _room(
    resource: Resource, ad: str | None, allowed: tuple[int, str], live: tuple[int, str] | None, used: Counts
) -> Room:
    number, source = min((allowed, live), key=lambda bound: bound[0]) if live else allowed
    taken = used.per_ad.get(ad, _NOTHING).get(resource, 0) if ad else used.in_region(resource)
    if taken:
        source = f"{source}, {taken} of {number} in use by others"
    return Room(resource=resource, available=max(0, number - taken), source=source, ad=ad)
