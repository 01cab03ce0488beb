"""Would it be free? Every kind of resource that an engine may make has a rule here; what has none is not free.

Both engines pass the whole of what is to stand through here before they make anything, not only what changes: what is
free is a sum.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ocifree_pipeline.deployment.allowances import LABELS, Resource, allowance
from ocifree_pipeline.deployment.declaration import Declaration
from ocifree_pipeline.deployment.errors import NotFree
from ocifree_pipeline.deployment.plan import A1_SHAPE, MICRO_SHAPE

BALANCED_VPUS = 10
FREE_MBPS = 10

_NOTHING: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Item:
    """Something that is to exist. An attribute that is not known yet is left out, and then it is not free."""

    kind: str
    name: str
    attributes: Mapping[str, object] = field(default_factory=lambda: _NOTHING)

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Price:
    """Why an item costs nothing, or why it does."""

    item: Item
    is_free: bool
    because: str
    takes: Mapping[Resource, int] = field(default_factory=dict)


class _Costs(Exception):
    """Not free, and why."""


def free_of(declaration: Declaration) -> Mapping[Resource, int]:
    """What is free for the account of the declaration."""
    return allowance(declaration.site.allowance).limits_for(declaration.site.account)


def price(
    items: Iterable[Item], free: Mapping[Resource, int], accepted: Collection[str] = ()
) -> tuple[tuple[Price, ...], tuple[str, ...]]:
    """The price of each item, and every reason why the whole is not free.

    `free` is the allowance of the account. `accepted` are kinds whose small charge a person has accepted by declaring
    them; they are not free, and no reason to stop.
    """
    prices = tuple(_priced(item) for item in items)
    reasons = [f"{one.item}: {one.because}" for one in prices if not one.is_free and one.item.kind not in accepted]
    total: Counter[Resource] = Counter()
    for one in prices:
        total.update(one.takes)
    reasons += [
        f"{LABELS[resource]}: {taken} in all, {free.get(resource, 0)} are free"
        for resource, taken in total.items()
        if taken > free.get(resource, 0)
    ]
    return prices, tuple(reasons)


def require_free(
    items: Iterable[Item], free: Mapping[Resource, int], accepted: Collection[str] = ()
) -> tuple[Price, ...]:
    """The prices, or NotFree with every reason. Nothing has been made when it raises."""
    prices, reasons = price(items, free, accepted)
    if reasons:
        raise NotFree(
            f"{len(reasons)} reason{'s' if len(reasons) != 1 else ''} why this would not be free; nothing was made",
            why="; ".join(reasons),
            fix="change the declaration so that it fits; `ocifree plan` shows what is free",
        )
    return prices


def _priced(item: Item) -> Price:
    rule = RULES.get(TOFU_TYPES.get(item.kind, item.kind))
    if rule is None:
        return Price(item, False, "nobody has told this program what it costs")
    try:
        takes, because = rule(item.attributes)
    except _Costs as costs:
        return Price(item, False, str(costs))
    return Price(item, True, because, takes)


Rule = Callable[[Mapping[str, object]], tuple[Mapping[Resource, int], str]]


def _always_free(because: str) -> Rule:
    return lambda attributes: ({}, because)


def _one_of(resource: Resource) -> Rule:
    return lambda attributes: ({resource: 1}, f"one of the free {LABELS[resource]}")


def _costs(why: str) -> Rule:
    def rule(attributes: Mapping[str, object]) -> tuple[Mapping[Resource, int], str]:
        raise _Costs(why)

    return rule


def _number(attributes: Mapping[str, object], name: str) -> int:
    value = attributes.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Costs(f"{name} is not known")
    return -int(-value // 1)


def _public_ip(attributes: Mapping[str, object]) -> tuple[Mapping[Resource, int], str]:
    lifetime = attributes.get("lifetime", "RESERVED")
    if lifetime == "EPHEMERAL":
        return {}, "it belongs to its machine and goes with it"
    return {Resource.RESERVED_IPS: 1}, "one of the free reserved public addresses"


def _bucket(attributes: Mapping[str, object]) -> tuple[Mapping[Resource, int], str]:
    wrong = [
        f"{name} is {attributes.get(name, 'not known')}"
        for name, free in (("storage_tier", "Standard"), ("versioning", "Disabled"), ("auto_tiering", "Disabled"))
        if attributes.get(name) != free
    ]
    if wrong:
        raise _Costs("; ".join(wrong) + ": old versions and other tiers are billed")
    return {}, "empty buckets are free; their objects are counted"


def _object(attributes: Mapping[str, object]) -> tuple[Mapping[Resource, int], str]:
    return {Resource.OBJECT_STORAGE_GB: _number(attributes, "size_gb")}, "within the free object storage"


def _volume(attributes: Mapping[str, object]) -> tuple[Mapping[Resource, int], str]:
    vpus = _number(attributes, "vpus_per_gb")
    if vpus > BALANCED_VPUS:
        raise _Costs(f"{vpus} volume performance units; more than {BALANCED_VPUS} are billed, and no quota stops it")
    return {Resource.BLOCK_STORAGE_GB: _number(attributes, "size_gb")}, "within the free block storage"


def _instance(attributes: Mapping[str, object]) -> tuple[Mapping[Resource, int], str]:
    shape = attributes.get("shape")
    boot, _ = _volume(
        {"size_gb": attributes.get("boot_volume_gb"), "vpus_per_gb": attributes.get("vpus_per_gb", BALANCED_VPUS)}
    )
    if shape == MICRO_SHAPE:
        return {**boot, Resource.MICRO_INSTANCES: 1}, "one of the free Micro instances"
    if shape == A1_SHAPE:
        cores, memory = _number(attributes, "ocpus"), _number(attributes, "memory_gb")
        return {**boot, Resource.A1_OCPUS: cores, Resource.A1_MEMORY_GB: memory}, "within the free A1 hours"
    raise _Costs(f"only {A1_SHAPE} and {MICRO_SHAPE} are ever free, not {shape or 'a shape that is not known'}")


def _load_balancer(attributes: Mapping[str, object]) -> tuple[Mapping[Resource, int], str]:
    least, most = _number(attributes, "minimum_mbps"), _number(attributes, "maximum_mbps")
    if attributes.get("shape") != "flexible" or (least, most) != (FREE_MBPS, FREE_MBPS):
        raise _Costs(f"only the flexible shape from {FREE_MBPS} to {FREE_MBPS} Mbps is free")
    return {Resource.LOAD_BALANCERS: 1}, "the free flexible load balancer"


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "compartment": _always_free("a folder"),
        "vcn": _one_of(Resource.VCNS),
        "subnet": _always_free("a part of its network"),
        "internet_gateway": _always_free("gateways to the internet are free; 10 TB a month may leave"),
        "nat_gateway": _one_of(Resource.NAT_GATEWAYS),
        "service_gateway": _always_free("it leads to Oracle's own services only"),
        "route_table": _always_free("a list of rules"),
        "security_list": _always_free("a list of rules"),
        "security_group": _always_free("a list of rules"),
        "security_rule": _always_free("a rule"),
        "dhcp_options": _always_free("settings of its network"),
        "reserved_ip": _public_ip,
        "private_ip": _always_free("an address inside"),
        "bucket": _bucket,
        "object": _object,
        "dns_zone": _costs("Oracle bills cents for a million queries"),
        "dns_record": _always_free("a part of its zone"),
        "quota": _always_free("it only refuses"),
        "budget": _always_free("it only tells"),
        "alert_rule": _always_free("it only tells"),
        "instance": _instance,
        "volume": _volume,
        "volume_backup": _one_of(Resource.VOLUME_BACKUPS),
        "custom_image": _one_of(Resource.CUSTOM_IMAGES),
        "image_shape": _always_free("an entry of its image"),
        "image_capabilities": _always_free("an entry of its image"),
        "load_balancer": _load_balancer,
        "network_load_balancer": _one_of(Resource.NETWORK_LOAD_BALANCERS),
    }
)

TOFU_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "oci_identity_compartment": "compartment",
        "oci_core_vcn": "vcn",
        "oci_core_subnet": "subnet",
        "oci_core_internet_gateway": "internet_gateway",
        "oci_core_nat_gateway": "nat_gateway",
        "oci_core_service_gateway": "service_gateway",
        "oci_core_route_table": "route_table",
        "oci_core_default_route_table": "route_table",
        "oci_core_security_list": "security_list",
        "oci_core_default_security_list": "security_list",
        "oci_core_network_security_group": "security_group",
        "oci_core_network_security_group_security_rule": "security_rule",
        "oci_core_dhcp_options": "dhcp_options",
        "oci_core_public_ip": "reserved_ip",
        "oci_core_private_ip": "private_ip",
        "oci_objectstorage_bucket": "bucket",
        "oci_dns_zone": "dns_zone",
        "oci_dns_rrset": "dns_record",
        "oci_limits_quota": "quota",
        "oci_budget_budget": "budget",
        "oci_budget_alert_rule": "alert_rule",
        "oci_core_shape_management": "image_shape",
        "oci_core_compute_image_capability_schema": "image_capabilities",
        "oci_core_image": "custom_image",
        "oci_network_load_balancer_network_load_balancer": "network_load_balancer",
    }
)
"""OpenTofu's names for the same kinds. A type that is missing is not free."""
