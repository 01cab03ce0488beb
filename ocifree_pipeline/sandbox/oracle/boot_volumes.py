"""Block storage, boot volumes: made by launches, from backups or from each other. Orphans stay, and keep counting."""

from copy import deepcopy
from typing import Any

from ocifree_pipeline.sandbox import money
from ocifree_pipeline.sandbox.oracle import compute_life, errors, pages, volume_rules
from ocifree_pipeline.sandbox.oracle.compute_life import MODELS, service
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply
from ocifree_pipeline.sandbox.world import Resource, World

KIND = "bootvolume"
MODEL = f"{MODELS}.BootVolume"
SMALLEST_GB = 50
UNBUILT = ("backupPolicyId", "kmsKeyId", "clusterPlacementGroupId", "bootVolumeReplicas", "autotunePolicies")


def make(
    world: World, *, region: str, body: dict[str, Any], size_gb: int, disk: dict[str, Any], image_id: str | None
) -> Resource:
    """A new boot volume that holds a disk. ``body`` brings compartment, availability domain, name and tags."""
    fields = {
        "displayName": compute_life.default_name(world, KIND),
        "vpusPerGB": volume_rules.DEFAULT_VPUS,
        "isHydrated": True,
        "isAutoTuneEnabled": False,
        "lifecycleState": "PROVISIONING",
        "systemTags": {},
    } | compute_life.known("BootVolume", body)
    fields |= volume_rules.size_fields(size_gb)
    if image_id is not None:
        fields["imageId"] = image_id
    volume = world.add(KIND, fields, region=region, hidden={"disk": disk})
    world.later_state(volume_rules.CREATE_SECONDS, volume, "AVAILABLE")
    money.begin(world, volume, volume_rules.billed(volume))
    return volume


@service.post("/bootVolumes", operation="CreateBootVolume", body=f"{MODELS}.CreateBootVolumeDetails", reply=MODEL)
def create_boot_volume(call: Call) -> Reply:
    call.compartment(call.body["compartmentId"])
    compute_life.check_name(call.body)
    compute_life.refuse_unbuilt(call.body, UNBUILT, "boot volumes")
    details = call.body["sourceDetails"]
    source = _source(call, details)
    size_gb = call.body.get("sizeInGBs", source.body["sizeInGBs"])
    if size_gb < source.body["sizeInGBs"]:
        raise errors.invalid_parameter(f"sizeInGBs must be at least that of the source, {source.body['sizeInGBs']}")
    ad = call.body.get("availabilityDomain") or source.body.get("availabilityDomain")
    if ad is None:
        raise errors.missing_parameter("availabilityDomain")
    volume_rules.check(call.body | {"sizeInGBs": size_gb}, smallest_gb=SMALLEST_GB)
    volume_rules.need_storage(call, ad, size_gb)
    volume = make(
        call.world,
        region=call.region,
        body=call.body | {"availabilityDomain": ad, "sourceDetails": details},
        size_gb=size_gb,
        disk=source.hidden["disk"],
        image_id=source.body.get("imageId"),
    )
    volume.hidden["guest"] = deepcopy(source.hidden.get("guest", {}))
    return Reply.of(volume)


def _source(call: Call, details: dict[str, Any]) -> Resource:
    kinds = {"bootVolume": KIND, "bootVolumeBackup": "bootvolumebackup"}
    if details["type"] not in kinds:
        raise errors.not_built(f"boot volumes from a source of type {details['type']}")
    source = call.related(kinds[details["type"]], details["id"])
    compute_life.need_state(source, ("AVAILABLE",), "The source")
    return source


@service.get("/bootVolumes/{bootVolumeId}", operation="GetBootVolume", reply=MODEL)
def get_boot_volume(call: Call) -> Reply:
    return Reply.of(call.find(KIND, call.path["bootVolumeId"]))


@service.get("/bootVolumes", operation="ListBootVolumes", reply=f"list[{MODEL}]")
def list_boot_volumes(call: Call) -> Reply:
    return pages.listing(call, KIND, filters=("availabilityDomain", "volumeGroupId"))


@service.put(
    "/bootVolumes/{bootVolumeId}", operation="UpdateBootVolume", body=f"{MODELS}.UpdateBootVolumeDetails", reply=MODEL
)
def update_boot_volume(call: Call) -> Reply:
    volume = call.edit(KIND, call.path["bootVolumeId"])
    compute_life.refuse_unbuilt(call.body, UNBUILT, "boot volumes")
    return volume_rules.update(call, volume, smallest_gb=SMALLEST_GB)


@service.delete("/bootVolumes/{bootVolumeId}", operation="DeleteBootVolume")
def delete_boot_volume(call: Call) -> Reply:
    volume = call.edit(KIND, call.path["bootVolumeId"])
    volume_rules.need_detached(call.world, volume, "bootvolumeattachment", "bootVolumeId")
    volume_rules.delete(call.world, volume)
    return Reply()


compute_life.offer_move(KIND, "BootVolume", "/bootVolumes", "bootVolumeId")
