"""The limits that the sandbox knows: name, service, quota family, scope, and what a tenancy gets of each.

A limit that also has a regional twin is checked twice: in the availability domain and in the region. Values are
those that were measured on free and on paying tenancies; A1, Micro and the free storage follow the world's profile.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ocifree_pipeline.sandbox.oracle import limit_usage
from ocifree_pipeline.sandbox.oracle.shape_catalogue import A1, MICRO, SHAPES, Shape
from ocifree_pipeline.sandbox.world import World

Scope = Literal["GLOBAL", "REGION", "AD"]
Value = Callable[[World, str], int]
"""From the world and an availability domain (empty for regional limits) to the limit."""

SERVICES: dict[str, str] = {
    "block-storage": "Block Volume",
    "compartments": "Compartments",
    "compute": "Compute",
    "dns": "DNS",
    "load-balancer": "LbaaS",
    "network-load-balancer-api": "Network Load Balancer",
    "object-storage": "Object Storage",
    "regions": "Regions",
    "vcn": "Virtual Cloud Network",
}

FAMILIES_WITHOUT_LIMITS_HERE = frozenset(
    {
        "analytics",
        "api-gateway",
        "auto-scaling",
        "big-data",
        "cloud-shell",
        "compute-management",
        "container-engine",
        "container-instances",
        "data-flow",
        "data-science",
        "database",
        "email-delivery",
        "events",
        "faas",
        "filesystem",
        "integration",
        "kms",
        "logging",
        "mysql",
        "network-firewall",
        "nosql",
        "notifications",
        "resource-manager",
        "service-connector-hub",
        "streaming",
        "virtual-private-vault",
        "vmware",
        "waf",
    }
)
"""Quota families of services that the sandbox does not play. Policies may name them; any quota name is accepted."""


@dataclass(frozen=True, slots=True)
class Limit:
    """``family`` is None where Oracle has no quotas. ``twins`` are further limits that the same use counts against.

    What is free is all that a free account gets, and no more than a price boundary for a paying one: such limits are
    shown to both, and refuse only the free one (``binds_paying`` false).
    """

    name: str
    service: str
    family: str | None
    scope: Scope
    description: str
    value: Value
    used: limit_usage.Measure | None = None
    twins: tuple[str, ...] = ()
    binds_paying: bool = True


def _by_account(free: int, payg: int) -> Value:
    return lambda world, _ad: free if world.profile["account"] == "free" else payg


def _profile(name: str) -> Value:
    return lambda world, _ad: int(world.profile[name])


def _micro(world: World, ad: str) -> int:
    return 2 if ad == world.profile["microAd"] else 0


def _of_shape(shape: Shape) -> list[Limit]:
    series = shape.core_limit.removesuffix("-count").removesuffix("-ad").removesuffix("-core")
    if shape.name == A1:
        core, memory = _profile("a1Ocpus"), _profile("a1MemoryGb")
    elif shape.name == MICRO:
        core = memory = _micro
    else:
        core, memory = _by_account(0, 100), _by_account(0, 1600)
    rows = [("core", shape.core_limit, shape.regional_core_limit, core)]
    if shape.memory_limit is not None:
        rows.append(("memory", shape.memory_limit, shape.regional_memory_limit, memory))
    found = []
    for what, name, regional, value in rows:
        words = "Cores" if what == "core" else "Memory (GB)"
        used = limit_usage.of_shapes(name)
        twins = (regional,) if regional else ()
        text = f"{words} for {series} based VM and BM instances"
        found.append(Limit(name, "compute", f"compute-{what}", "AD", text, value, used, twins))
        if regional:
            found.append(Limit(regional, "compute", f"compute-{what}", "REGION", f"{text} (regional)", value, used))
    return found


def _free_storage(world: World, _ad: str) -> int:
    return int(world.profile["freeBlockStorageGb"])


_VOLUMES = ("bootvolume", "volume")
_BACKUPS = ("bootvolumebackup", "volumebackup")
_GB = limit_usage.sizes(*_VOLUMES)


def _count(
    name: str,
    service: str,
    text: str,
    values: tuple[int, int],
    used: limit_usage.Measure | None = None,
    *,
    scope: Scope = "REGION",
) -> Limit:
    """A limit whose family is called like its service. ``values`` are those of a free and of a paying tenancy."""
    return Limit(name, service, _family(service), scope, text, _by_account(*values), used)


def _family(service: str) -> str | None:
    return None if service in {"compartments", "regions"} else service


_ALL = (
    *(limit for shape in SHAPES.values() for limit in _of_shape(shape)),
    _count("custom-image-count", "compute", "Custom images", (0, 100), limit_usage.custom_images),
    Limit(
        "total-storage-gb",
        "block-storage",
        "block-storage",
        "AD",
        "Volume size (GB)",
        _by_account(200, 30720),
        _GB,
        twins=("total-free-storage-gb-regional",),
    ),
    _count("volume-count", "block-storage", "Volumes", (100, 10000), limit_usage.count(*_VOLUMES), scope="AD"),
    Limit(
        "total-free-storage-gb",
        "block-storage",
        None,
        "AD",
        "Free volume size (GB)",
        _free_storage,
        _GB,
        binds_paying=False,
    ),
    Limit(
        "total-free-storage-gb-regional",
        "block-storage",
        None,
        "REGION",
        "Free volume size in the region (GB)",
        _free_storage,
        _GB,
        binds_paying=False,
    ),
    _count("backup-count", "block-storage", "Volume backups", (5, 100000), limit_usage.count(*_BACKUPS)),
    Limit(
        "free-backup-count",
        "block-storage",
        None,
        "REGION",
        "Free volume backups",
        _by_account(5, 5),
        limit_usage.count(*_BACKUPS),
        binds_paying=False,
    ),
    _count("vcn-count", "vcn", "Virtual cloud networks", (2, 50), limit_usage.count("vcn")),
    _count("reserved-public-ip-count", "vcn", "Reserved public IPs", (1, 50), limit_usage.reserved_addresses),
    _count("nat-gateway-count", "vcn", "NAT gateways", (0, 50), limit_usage.count("natgateway")),
    _count("internet-gateway-count", "vcn", "Internet gateways per VCN", (1, 1)),
    _count("service-gateway-count", "vcn", "Service gateways per VCN", (1, 1)),
    _count("subnet-count", "vcn", "Subnets per VCN", (300, 300)),
    _count("security-list-count", "vcn", "Security lists per VCN", (300, 300)),
    _count("network-security-group-count", "vcn", "Network security groups per VCN", (1000, 1000)),
    _count("route-table-count", "vcn", "Route tables per VCN", (300, 300)),
    _count("lb-flexible-count", "load-balancer", "Flexible load balancers", (1, 50), limit_usage.count("loadbalancer")),
    _count(
        "lb-flexible-bandwidth-sum",
        "load-balancer",
        "Bandwidth of all flexible load balancers (Mbps)",
        (10, 5000),
        limit_usage.balancer_bandwidth,
    ),
    Limit(
        "max-nlb-flexible-count",
        "network-load-balancer-api",
        None,
        "REGION",
        "Network load balancers",
        _by_account(1, 8),
        limit_usage.count("networkloadbalancer"),
    ),
    _count(
        "storage-bytes", "object-storage", "Bytes of all objects", (20 * 1024**3, 5 * 1024**5), limit_usage.stored_bytes
    ),
    _count("bucket-count", "object-storage", "Buckets", (10000, 10000), limit_usage.count("bucket")),
    _count("global-zone-count", "dns", "Public zones", (1000, 1000), limit_usage.count("zone"), scope="GLOBAL"),
    _count(
        "compartment-count",
        "compartments",
        "Compartments",
        (1000, 1000),
        limit_usage.count("compartment"),
        scope="GLOBAL",
    ),
    _count("subscribed-region-count", "regions", "Subscribed regions", (1, 6), scope="GLOBAL"),
)

ALIASES = {"network-load-balancer-count": "max-nlb-flexible-count"}
"""Names that callers inside the sandbox may use besides Oracle's."""

LIMITS: dict[str, Limit] = {limit.name: limit for limit in _ALL}

_NOT_PLAYED: dict[str, frozenset[str]] = {
    "compute-core": frozenset(
        {
            "bm-standard2-52-count",
            "dense-io-e4-core-count",
            "dense-io-e5-core-count",
            "dense-io1-core-count",
            "dense-io2-core-count",
            "optimized3-core-count",
            "standard-a4-core-count",
            "standard-b1-core-count",
            "standard-e4-core-regional-count",
            "standard-e5-core-regional-count",
            "standard-e6-core-count",
            "standard1-core-count",
            "standard2-core-count",
        }
    ),
    "compute-memory": frozenset(
        {
            "dense-io-e4-memory-count",
            "dense-io-e5-memory-count",
            "optimized3-memory-count",
            "standard-a4-memory-count",
            "standard-e4-memory-regional-count",
            "standard-e5-memory-regional-count",
            "standard-e6-memory-count",
            "standard-b1-memory-count",
            "standard1-memory-count",
            "standard2-memory-count",
            "standard-e2-memory-count",
        }
    ),
    "compute": frozenset(
        {"gpu2-count", "gpu3-count", "gpu4-count", "gpu-a10-count", "gpu-a100-v2-count", "dedicated-vm-host-count"}
    ),
    "block-storage": frozenset({"volumes-total-replica-storage-gb", "total-replica-storage-gb", "volume-group-count"}),
    "vcn": frozenset({"drg-count", "local-peering-gateway-count", "byoip-count", "public-ip-pool-count", "cpe-count"}),
    "load-balancer": frozenset(
        {"lb-100mbps-count", "lb-10mbps-count", "lb-10mbps-micro-count", "lb-400mbps-count", "lb-8000mbps-count"}
    ),
    "object-storage": frozenset(),
    "dns": frozenset({"private-zone-count", "steering-policy-count", "private-view-count", "zone-record-count"}),
}
"""Quotas that Oracle knows in the families above, of things that do not exist in the sandbox."""


def quota_names(family: str) -> frozenset[str] | None:
    """The quotas of a family; None for a family of which any name is taken."""
    if family in FAMILIES_WITHOUT_LIMITS_HERE:
        return None
    return _NOT_PLAYED.get(family, frozenset()) | {limit.name for limit in _ALL if limit.family == family}


FAMILIES: frozenset[str] = FAMILIES_WITHOUT_LIMITS_HERE | {limit.family for limit in _ALL if limit.family}


def find(name: str) -> Limit:
    """The limit of that name; LookupError names it when there is none."""
    try:
        return LIMITS[ALIASES.get(name, name)]
    except KeyError:
        raise LookupError(f"no limit is called {name!r}; limit_catalogue lists those that are") from None
