"""Block storage, block volumes."""

from typing import Any

from ocifree_pipeline.sandbox import money
from ocifree_pipeline.sandbox.oracle import compute_life, errors, identity, pages, volume_rules
from ocifree_pipeline.sandbox.oracle.compute_life import MODELS, service
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply
from ocifree_pipeline.sandbox.world import Resource

KIND = "volume"
MODEL = f"{MODELS}.Volume"
DEFAULT_GB, SMALLEST_GB = 1024, 50
UNBUILT = ("backupPolicyId", "kmsKeyId", "clusterPlacementGroupId", "blockVolumeReplicas", "autotunePolicies")


@service.post("/volumes", operation="CreateVolume", body=f"{MODELS}.CreateVolumeDetails", reply=MODEL)
def create_volume(call: Call) -> Reply:
    call.compartment(call.body["compartmentId"])
    compute_life.check_name(call.body)
    compute_life.refuse_unbuilt(call.body, UNBUILT, "volumes")
    source = _source(call)
    ad = call.body.get("availabilityDomain") or (source.body.get("availabilityDomain") if source else None)
    if ad is None:
        raise errors.missing_parameter("availabilityDomain")
    identity.require_ad(call.world, call.region, ad)
    size_gb = _size(call, source)
    volume_rules.check(call.body | {"sizeInGBs": size_gb}, smallest_gb=SMALLEST_GB)
    volume_rules.need_storage(call, ad, size_gb)
    fields: dict[str, Any] = {
        "displayName": compute_life.default_name(call.world, KIND),
        "vpusPerGB": volume_rules.DEFAULT_VPUS,
        "isHydrated": True,
        "isAutoTuneEnabled": False,
        "lifecycleState": "PROVISIONING",
        "systemTags": {},
    } | compute_life.known("Volume", call.body)
    fields |= volume_rules.size_fields(size_gb) | {"availabilityDomain": ad}
    volume = call.world.add(KIND, fields, region=call.region)
    call.world.later_state(volume_rules.CREATE_SECONDS, volume, "AVAILABLE")
    money.begin(call.world, volume, volume_rules.billed(volume))
    return Reply.of(volume)


def _source(call: Call) -> Resource | None:
    """The volume or backup that the new volume is a copy of."""
    details = call.body.get("sourceDetails")
    if "volumeBackupId" in call.body:
        details = {"type": "volumeBackup", "id": call.body["volumeBackupId"]}
    if details is None:
        return None
    kinds = {"volume": KIND, "volumeBackup": "volumebackup"}
    if details["type"] not in kinds:
        raise errors.not_built(f"volumes from a source of type {details['type']}")
    source = call.related(kinds[details["type"]], details["id"])
    compute_life.need_state(source, ("AVAILABLE",), "The source")
    return source


def _size(call: Call, source: Resource | None) -> int:
    default = source.body["sizeInGBs"] if source else DEFAULT_GB
    given = call.body.get("sizeInGBs", call.body["sizeInMBs"] // 1024 if "sizeInMBs" in call.body else default)
    if source is not None and given < source.body["sizeInGBs"]:
        raise errors.invalid_parameter(f"sizeInGBs must be at least that of the source, {source.body['sizeInGBs']}")
    return int(given)


@service.get("/volumes/{volumeId}", operation="GetVolume", reply=MODEL)
def get_volume(call: Call) -> Reply:
    return Reply.of(call.find(KIND, call.path["volumeId"]))


@service.get("/volumes", operation="ListVolumes", reply=f"list[{MODEL}]")
def list_volumes(call: Call) -> Reply:
    filters = ("availabilityDomain", "displayName", "volumeGroupId", "clusterPlacementGroupId", "lifecycleState")
    return pages.listing(call, KIND, filters=filters)


@service.put("/volumes/{volumeId}", operation="UpdateVolume", body=f"{MODELS}.UpdateVolumeDetails", reply=MODEL)
def update_volume(call: Call) -> Reply:
    volume = call.edit(KIND, call.path["volumeId"])
    compute_life.refuse_unbuilt(call.body, UNBUILT, "volumes")
    return volume_rules.update(call, volume, smallest_gb=SMALLEST_GB)


@service.delete("/volumes/{volumeId}", operation="DeleteVolume")
def delete_volume(call: Call) -> Reply:
    volume = call.edit(KIND, call.path["volumeId"])
    volume_rules.need_detached(call.world, volume, "volumeattachment", "volumeId")
    volume_rules.delete(call.world, volume)
    return Reply()


compute_life.offer_move(KIND, "Volume", "/volumes", "volumeId")
