"""Block storage, what boot and block volumes share: sizes, performance, growth, the end."""

from typing import Any

from ocifree_pipeline.sandbox import money
from ocifree_pipeline.sandbox.oracle import compute_life, errors, limits
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply
from ocifree_pipeline.sandbox.world import Resource, World, transition

CREATE_SECONDS, UPDATE_SECONDS, DELETE_SECONDS = 8, 10, 6
LINGER_SECONDS = 3600
LARGEST_GB = 32768
DEFAULT_VPUS, MOST_VPUS = 10, 120


def check(body: dict[str, Any], *, smallest_gb: int) -> None:
    """Refuse a size or a performance that no volume has."""
    size_gb, vpus = body["sizeInGBs"], body.get("vpusPerGB", DEFAULT_VPUS)
    if not smallest_gb <= size_gb <= LARGEST_GB:
        raise errors.invalid_parameter(
            f"Volume size {size_gb} GB is not valid; it must be between {smallest_gb} GB and {LARGEST_GB} GB"
        )
    if not 0 <= vpus <= MOST_VPUS or vpus % 10:
        raise errors.invalid_parameter(f"vpusPerGB must be a multiple of 10 from 0 to {MOST_VPUS}, not {vpus}")


def need_storage(call: Call, ad: str, more_gb: int) -> None:
    """Refuse what would exceed the limits of the tenancy; nothing more needs nothing."""
    compartment = (call.body or {}).get("compartmentId", call.world.tenancy)
    needs = {"total-storage-gb": more_gb}
    limits.require(call.world, compartment=compartment, ad=ad, needs=needs, region=call.region)


def size_fields(size_gb: int) -> dict[str, int]:
    return {"sizeInGBs": size_gb, "sizeInMBs": size_gb * 1024}


def billed(volume: Resource) -> dict[str, Any]:
    return {"sizeInGBs": volume.body["sizeInGBs"], "vpusPerGB": volume.body["vpusPerGB"]}


def update(call: Call, volume: Resource, *, smallest_gb: int) -> Reply:
    """Rename, retag, grow, or change the performance of a volume. Volumes never shrink."""
    compute_life.need_state(volume, ("AVAILABLE",), "Volume")
    compute_life.check_name(call.body)
    before, after = volume.body["sizeInGBs"], call.body.get("sizeInGBs", volume.body["sizeInGBs"])
    check(volume.body | call.body, smallest_gb=smallest_gb)
    if after < before:
        raise errors.invalid_parameter(f"sizeInGBs {after} is smaller than the current size {before}")
    if after > before:
        limits.require(
            call.world,
            compartment=volume.body["compartmentId"],
            ad=volume.body["availabilityDomain"],
            needs={"total-storage-gb": after - before},
            region=call.region,
        )
    call.world.change(volume, **(call.body | size_fields(after)))
    if after > before or "vpusPerGB" in call.body:
        call.world.change(volume, lifecycleState="PROVISIONING")
        call.world.later_state(UPDATE_SECONDS, volume, "AVAILABLE")
        money.begin(call.world, volume, billed(volume))
    return Reply.of(volume)


def need_detached(world: World, volume: Resource, attachments: str, field: str) -> None:
    """409 while an instance holds the volume."""
    for attachment in world.all(attachments):
        if attachment.body[field] == volume.ocid and attachment.body["lifecycleState"] != "DETACHED":
            raise errors.conflict(
                f"Volume {volume.ocid} is attached to instance {attachment.body['instanceId']}; detach it first"
            )


def delete(world: World, volume: Resource) -> None:
    compute_life.need_state(volume, ("AVAILABLE", "FAULTY", "PROVISIONING"), "Volume")
    world.change(volume, lifecycleState="TERMINATING")
    money.end(world, volume)
    world.clock.later(DELETE_SECONDS, "volume.terminated", kind=volume.kind, ocid=volume.ocid)


@transition("volume.terminated")
def _terminated(world: World, kind: str, ocid: str) -> None:
    volume = world.get(kind, ocid)
    if volume is not None and not volume.gone:
        world.change(volume, lifecycleState="TERMINATED")
        compute_life.vanish_after(world, volume, LINGER_SECONDS)
