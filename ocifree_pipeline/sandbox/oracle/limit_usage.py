"""What counts against the limits, always derived from the resources that exist; there are no counters.

Fields that are read:

- instance: ``shape``, ``shapeConfig.ocpus`` and ``memoryInGBs``, ``availabilityDomain``. A stopped instance counts;
  only TERMINATED ones do not.
- bootvolume, volume: ``sizeInGBs``, ``availabilityDomain``. Orphans count like any other.
- image: only those with a ``compartmentId``, for platform images have none.
- publicip: ``lifetime`` RESERVED. loadbalancer: ``shapeDetails.maximumBandwidthInMbps``.
- bucket: the sizes in ``hidden["objects"]`` and of the parts in ``hidden["uploads"]``.

Everything else is counted by kind. TERMINATED and DELETED resources never count; all need ``compartmentId``.
"""

from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from ocifree_pipeline.sandbox.clock import parse, stamp
from ocifree_pipeline.sandbox.oracle.shape_catalogue import SHAPES
from ocifree_pipeline.sandbox.world import Resource, World

GHOSTS = "limitGhosts"


@dataclass(frozen=True, slots=True)
class Use:
    """So much is taken by one resource, and where."""

    compartment: str
    region: str
    ad: str
    amount: int


Measure = Callable[[World], Iterator[Use]]


def of_shapes(limit: str) -> Measure:
    """Cores or memory of all instances whose shape is counted by ``limit``."""

    def measure(world: World) -> Iterator[Use]:
        for instance in _alive(world, "instance"):
            shape = SHAPES.get(instance.body["shape"])
            if shape is None:
                continue
            config: dict[str, Any] = instance.body.get("shapeConfig") or {}
            needs = shape.needs(config.get("ocpus") or shape.ocpus, config.get("memoryInGBs") or shape.memory_gb)
            if limit in needs:
                yield _use(instance, needs[limit])

    return measure


def sizes(*kinds: str) -> Measure:
    """Gigabytes of boot and block volumes."""

    def measure(world: World) -> Iterator[Use]:
        for kind in kinds:
            for volume in _alive(world, kind):
                yield _use(volume, int(volume.body["sizeInGBs"]))

    return measure


def count(*kinds: str) -> Measure:
    def measure(world: World) -> Iterator[Use]:
        for kind in kinds:
            for resource in _alive(world, kind):
                yield _use(resource, 1)

    return measure


def custom_images(world: World) -> Iterator[Use]:
    for image in _alive(world, "image"):
        if image.body.get("compartmentId"):
            yield _use(image, 1)


def reserved_addresses(world: World) -> Iterator[Use]:
    for address in _alive(world, "publicip"):
        if address.body.get("lifetime") == "RESERVED":
            yield _use(address, 1)


def balancer_bandwidth(world: World) -> Iterator[Use]:
    for balancer in _alive(world, "loadbalancer"):
        details: dict[str, Any] = balancer.body.get("shapeDetails") or {}
        yield _use(balancer, int(details.get("maximumBandwidthInMbps", 0)))


def stored_bytes(world: World) -> Iterator[Use]:
    for bucket in _alive(world, "bucket"):
        held = sum(one["size"] for one in bucket.hidden["objects"].values())
        parts = (part for upload in bucket.hidden["uploads"].values() for part in upload["parts"].values())
        yield _use(bucket, held + sum(part["segment"][1] for part in parts))


def haunt(world: World, *, compartment: str, region: str, ad: str, needs: dict[str, int], seconds: float) -> None:
    """Count ``needs`` although nothing exists: what a failed launch leaves behind for about an hour."""
    until = stamp(world.clock.now() + timedelta(seconds=seconds))
    ghosts = world.facts.setdefault(GHOSTS, [])
    ghosts.append({"until": until, "compartment": compartment, "region": region, "ad": ad, "needs": dict(needs)})


def ghosts(world: World, limits: Set[str]) -> Iterator[Use]:
    now = world.clock.now()
    for one in world.facts.get(GHOSTS, ()):
        if parse(one["until"]) > now:
            for limit in limits & one["needs"].keys():
                yield Use(one["compartment"], one["region"], one["ad"], one["needs"][limit])


def _alive(world: World, kind: str) -> Iterator[Resource]:
    return (one for one in world.all(kind) if not one.gone)


def _use(resource: Resource, amount: int) -> Use:
    body = resource.body
    return Use(body["compartmentId"], resource.region, body.get("availabilityDomain") or "", amount)
