"""Facts of the group tenancy."""

from __future__ import annotations

from collections.abc import Mapping

from ocifree_pipeline.deployment.allowances import LABELS, Resource
from ocifree_pipeline.deployment.hunt import hunted
from ocifree_pipeline.deployment.limits import Counts
from ocifree_pipeline.deployment.plan import A1_SHAPE, Plan, Topology
from ocifree_pipeline.deployment.quota_policy import Need, needs_of
from ocifree_pipeline.deployment.sections.hunt import Hunt
from ocifree_pipeline.deployment.sections.site import Account
from ocifree_pipeline.record.outcome import Facts


class CountsFacts(Facts):
    regional: dict[Resource, int]
    per_ad: dict[str, dict[Resource, int]]

    @classmethod
    def of(cls, counts: Counts) -> CountsFacts:
        return cls(regional=dict(counts.regional), per_ad={ad: dict(n) for ad, n in counts.per_ad.items()})

    def counts(self) -> Counts:
        return Counts(self.regional, self.per_ad)


class LimitsFacts(Facts):
    """tenancy/limits"""

    tenancy: str
    home_region: str
    availability_domains: tuple[str, ...]
    limits: CountsFacts
    used_by_others: CountsFacts
    allowance: str = ""
    free: dict[Resource, int] = {}
    changed: tuple[str, ...] = ()
    """What Oracle, or the allowance, changed last, in words. It stays until the next change, so whoever tells a person
    of it compares it with what was told before."""

    @property
    def account(self) -> Account | None:
        """The kind that the limits are those of: a free account keeps no custom image and has no NAT gateway."""
        has = [self.limits.regional.get(one) for one in (Resource.CUSTOM_IMAGES, Resource.NAT_GATEWAYS)]
        if None in has:
            return None
        return "payg" if any(has) else "free"


class MachineFacts(Facts):
    name: str
    shape: str
    ocpus: int
    memory_gb: int
    boot_volume_gb: int
    availability_domain: str | None


class PlanFacts(Facts):
    """tenancy/plan"""

    topology: Topology
    machines: tuple[MachineFacts, ...]
    reserved_ips: tuple[str, ...]

    @classmethod
    def of(cls, plan: Plan) -> PlanFacts:
        return cls(
            topology=plan.topology,
            machines=tuple(
                MachineFacts(
                    name=m.name,
                    shape=m.shape,
                    ocpus=m.ocpus,
                    memory_gb=m.memory_gb,
                    boot_volume_gb=m.boot_volume_gb,
                    availability_domain=m.availability_domain,
                )
                for m in plan.machines
            ),
            reserved_ips=plan.reserved_ips,
        )


def a1_domains(policy: Hunt, limits: LimitsFacts) -> tuple[str, ...]:
    """Where A1 machines may come to be: the declared domains, without those whose live limit leaves out A1."""
    wanted = hunted(policy, limits.availability_domains)
    has = {ad: numbers.get(Resource.A1_OCPUS, 0) for ad, numbers in limits.limits.per_ad.items()}
    return tuple(ad for ad in wanted if has.get(ad, 1) > 0) or wanted


def a1_needs(machines: tuple[MachineFacts, ...]) -> tuple[Need, ...]:
    """What the A1 machines of the plan need of each availability domain."""
    return needs_of((m.availability_domain, m.ocpus, m.memory_gb) for m in machines if m.shape == A1_SHAPE)


def changes(before: LimitsFacts, after: LimitsFacts) -> tuple[str, ...]:
    """What changed between two readings, in words: live limits, and the numbers of the allowance."""

    def rows(facts: LimitsFacts) -> dict[tuple[str, Resource], int]:
        region = {("the region", resource): number for resource, number in facts.limits.regional.items()}
        ads = {(ad, resource): n for ad, numbers in facts.limits.per_ad.items() for resource, n in numbers.items()}
        return region | ads

    old, new = rows(before), rows(after)
    renamed = before.allowance and before.allowance != after.allowance
    allowance = [f"the allowance: {before.allowance} -> {after.allowance}"] if renamed else []
    if before.free:  # an older record does not have them
        allowance += [
            f"{LABELS[resource]} that are free: {before.free.get(resource, 0)} -> {after.free.get(resource, 0)}"
            for resource in sorted(before.free.keys() | after.free.keys())
            if before.free.get(resource, 0) != after.free.get(resource, 0)
        ]
    return (*allowance, *_between(old, new))


def _between(old: Mapping[tuple[str, Resource], int], new: Mapping[tuple[str, Resource], int]) -> tuple[str, ...]:
    return tuple(
        f"{LABELS[resource]} in {where}: {old.get((where, resource), 'no limit')} -> "
        f"{new.get((where, resource), 'no limit')}"
        for where, resource in sorted(old.keys() | new.keys())
        if old.get((where, resource)) != new.get((where, resource))
    )
