"""Block storage, backups of boot and block volumes. They count against ``backup-count`` until they are gone."""

import math
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from ocifree_pipeline.sandbox.oracle import compute_life, errors, limits, pages
from ocifree_pipeline.sandbox.oracle.compute_life import MODELS, service
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply

CREATE_SECONDS, DELETE_SECONDS, LINGER_SECONDS = 60, 5, 3600
KEPT = ("disk", "guest")
UNBUILT = ("kmsKeyId", "retentionPeriod", "isPreventDeletionEnabled", "isRetentionLockEnabled")


@dataclass(frozen=True, slots=True)
class Kind:
    """Backups of one kind of volume."""

    name: str
    noun: str
    path: str
    parameter: str
    volume: str
    volume_field: str
    source_field: str

    @property
    def model(self) -> str:
        return f"{MODELS}.{self.noun}"


BLOCK = Kind(
    "volumebackup", "VolumeBackup", "/volumeBackups", "volumeBackupId", "volume", "volumeId", "sourceVolumeBackupId"
)
BOOT = Kind(
    "bootvolumebackup",
    "BootVolumeBackup",
    "/bootVolumeBackups",
    "bootVolumeBackupId",
    "bootvolume",
    "bootVolumeId",
    "sourceBootVolumeBackupId",
)


def offer(kind: Kind) -> None:
    """Register the operations on one kind of backups."""
    one = f"{kind.path}/{{{kind.parameter}}}"

    def create(call: Call) -> Reply:
        compute_life.check_name(call.body)
        compute_life.refuse_unbuilt(call.body, UNBUILT, "backups")
        volume = call.related(kind.volume, call.body[kind.volume_field])
        compute_life.need_state(volume, ("AVAILABLE",), "Volume")
        wanted = call.body.get("type", "INCREMENTAL")
        if wanted not in {"FULL", "INCREMENTAL"}:
            raise errors.invalid_parameter(f"type must be FULL or INCREMENTAL, not {wanted!r}")
        compartment = volume.body["compartmentId"]
        limits.require(call.world, compartment=compartment, ad=None, needs={"backup-count": 1}, region=call.region)
        size_gb = volume.body["sizeInGBs"]
        fields: dict[str, Any] = {
            "displayName": compute_life.default_name(call.world, kind.name),
            "compartmentId": compartment,
            "lifecycleState": "CREATING",
            "sizeInGBs": size_gb,
            "uniqueSizeInGBs": math.ceil(size_gb / 10),
            "sourceType": "MANUAL",
            "timeRequestReceived": call.world.clock.stamp(),
            "systemTags": {},
        } | compute_life.known(kind.noun, call.body)
        fields["type"] = wanted
        if kind is BOOT and "imageId" in volume.body:
            fields["imageId"] = volume.body["imageId"]
        hidden: dict[str, Any] = {name: deepcopy(volume.hidden[name]) for name in KEPT if name in volume.hidden}
        backup = call.world.add(kind.name, fields, region=call.region, hidden=hidden)
        call.world.later_state(CREATE_SECONDS, backup, "AVAILABLE")
        return Reply.of(backup)

    def get(call: Call) -> Reply:
        return Reply.of(call.find(kind.name, call.path[kind.parameter]))

    def list_all(call: Call) -> Reply:
        filters = (kind.volume_field, "displayName", kind.source_field, "lifecycleState")
        return pages.listing(call, kind.name, filters=filters)

    def update(call: Call) -> Reply:
        backup = call.edit(kind.name, call.path[kind.parameter])
        compute_life.need_state(backup, ("AVAILABLE", "CREATING"), "Backup")
        compute_life.check_name(call.body)
        compute_life.refuse_unbuilt(call.body, UNBUILT, "backups")
        return Reply.of(call.world.change(backup, **call.body))

    def delete(call: Call) -> Reply:
        backup = call.edit(kind.name, call.path[kind.parameter])
        compute_life.need_state(backup, ("AVAILABLE", "FAULTY"), "Backup")
        call.world.change(backup, lifecycleState="TERMINATING")
        call.world.later_state(DELETE_SECONDS, backup, "TERMINATED")
        compute_life.vanish_after(call.world, backup, LINGER_SECONDS)
        return Reply()

    service.post(
        kind.path, operation=f"Create{kind.noun}", body=f"{MODELS}.Create{kind.noun}Details", reply=kind.model
    )(create)
    service.get(one, operation=f"Get{kind.noun}", reply=kind.model)(get)
    service.get(kind.path, operation=f"List{kind.noun}s", reply=f"list[{kind.model}]")(list_all)
    service.put(one, operation=f"Update{kind.noun}", body=f"{MODELS}.Update{kind.noun}Details", reply=kind.model)(
        update
    )
    service.delete(one, operation=f"Delete{kind.noun}")(delete)
    compute_life.offer_move(kind.name, kind.noun, kind.path, kind.parameter)


offer(BLOCK)
offer(BOOT)
