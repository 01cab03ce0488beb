"""List prices in US dollars, and what of each is free every month: how a span of use is measured and priced.

What is free is free once for the whole tenancy, in the order of time. A free account is never charged.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ocifree_pipeline.sandbox.world import World

CURRENCY = "USD"


@dataclass(frozen=True, slots=True)
class Sku:
    """``price`` is for one ``unit``; ``free`` says how many units a month cost nothing."""

    number: str
    name: str
    service: str
    unit: str
    price: float
    free: Callable[[World, float], float]


@dataclass(frozen=True, slots=True)
class Meter:
    """``rate`` units of the SKU are used every hour."""

    sku: Sku
    rate: float


def _nothing(_world: World, _hours: float) -> float:
    return 0.0


def _fixed(amount: float) -> Callable[[World, float], float]:
    return lambda _world, _hours: amount


def _per_hour(amount: float) -> Callable[[World, float], float]:
    return lambda _world, hours: amount * hours


def _profile(name: str, times: float = 1.0) -> Callable[[World, float], float]:
    return lambda world, _hours: float(world.profile[name]) * times


VOLUME_GB = Sku(
    "B91961", "Block Volume - Storage", "BLOCK_STORAGE", "GB Months", 0.0255, _profile("freeBlockStorageGb")
)
VOLUME_VPU = Sku(
    "B91962",
    "Block Volume - Performance Units",
    "BLOCK_STORAGE",
    "Performance Units Per GB Months",
    0.0017,
    _profile("freeBlockStorageGb", times=10),
)
BALANCER = Sku("B93030", "Load Balancer - Base", "LOAD_BALANCER", "Load Balancer Hours", 0.0113, _per_hour(1))
BALANCER_MBPS = Sku("B93031", "Load Balancer - Bandwidth", "LOAD_BALANCER", "Mbps Hours", 0.0001, _per_hour(10))
OBJECTS_GB = Sku("B91628", "Object Storage - Storage", "OBJECT_STORAGE", "GB Months", 0.0255, _fixed(10))


def meters(kind: str, facts: dict[str, Any], hours_in_month: float) -> list[Meter]:
    """What one resource of this kind and size uses every hour, SKU by SKU."""
    try:
        measure = METERS[kind]
    except KeyError:
        raise LookupError(f"{kind!r} has no price; what can be billed is: {', '.join(METERS)}") from None
    return measure(facts, hours_in_month)


def _instance(facts: dict[str, Any], _hours: float) -> list[Meter]:
    """``shape``, ``ocpus``, ``memoryInGBs``; the sizes may be left out for a fixed shape."""
    from ocifree_pipeline.sandbox.oracle.shape_catalogue import A1, SHAPES

    shape = SHAPES[facts["shape"]]
    free_cores = _profile("freeOcpuHours") if shape.name == A1 else _nothing
    free_memory = _profile("freeMemoryGbHours") if shape.name == A1 else _nothing
    core, memory = shape.core_price, shape.memory_price
    found = [
        Meter(
            Sku(core.sku, core.name, "COMPUTE", "OCPU Hours", core.per_hour, free_cores),
            float(facts.get("ocpus") or shape.ocpus),
        )
    ]
    if memory is not None:
        found.append(
            Meter(
                Sku(memory.sku, memory.name, "COMPUTE", "GB Hours", memory.per_hour, free_memory),
                float(facts.get("memoryInGBs") or shape.memory_gb),
            )
        )
    return found


def _volume(facts: dict[str, Any], hours: float) -> list[Meter]:
    """``sizeInGBs``, ``vpusPerGB``. The free storage comes with the balanced ten units for each of its GB."""
    size, units = float(facts["sizeInGBs"]), float(facts.get("vpusPerGB") or 0)
    return [Meter(VOLUME_GB, size / hours), Meter(VOLUME_VPU, size * units / hours)]


def _balancer(facts: dict[str, Any], _hours: float) -> list[Meter]:
    """``bandwidthMbps``: what a flexible load balancer is set to at least."""
    return [Meter(BALANCER, 1.0), Meter(BALANCER_MBPS, float(facts["bandwidthMbps"]))]


def _bucket(facts: dict[str, Any], hours: float) -> list[Meter]:
    """``bytes``."""
    return [Meter(OBJECTS_GB, float(facts["bytes"]) / 1024**3 / hours)]


METERS: dict[str, Callable[[dict[str, Any], float], list[Meter]]] = {
    "instance": _instance,
    "bootvolume": _volume,
    "volume": _volume,
    "loadbalancer": _balancer,
    "bucket": _bucket,
}
