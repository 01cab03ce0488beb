"""Core compute, what hangs on an instance: boot volumes, block volumes, network cards."""

from typing import Any

from ocifree_pipeline.sandbox.oracle import compute_life, errors, network_life, pages, vnics
from ocifree_pipeline.sandbox.oracle.compute_life import MODELS, service
from ocifree_pipeline.sandbox.oracle.shape_catalogue import SHAPES
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply
from ocifree_pipeline.sandbox.world import Resource, World, transition

VNIC, BOOT, BLOCK = "vnicattachment", "bootvolumeattachment", "volumeattachment"
ATTACH_SECONDS, DETACH_SECONDS, LINGER_SECONDS = 4, 4, 600
HELD = ("ATTACHING", "ATTACHED", "DETACHING")
PORT, DEVICES = 3260, "bcdefghijklmnopqrstuvwxyz"


def of_instance(world: World, kind: str, instance_id: str) -> list[Resource]:
    """The attachments of one kind that an instance has now."""
    return [one for one in world.all(kind) if one.body["instanceId"] == instance_id and one.state in HELD]


def of_volume(world: World, kind: str, volume_id: str) -> list[Resource]:
    field = "bootVolumeId" if kind == BOOT else "volumeId"
    return [one for one in world.all(kind) if one.body[field] == volume_id and one.state in HELD]


def attach(world: World, kind: str, instance: Resource, fields: dict[str, Any]) -> Resource:
    """A new attachment that is complete a moment later."""
    ocid = world.new_ocid(kind, instance.region)
    body = {
        "id": ocid,
        "instanceId": instance.ocid,
        "availabilityDomain": instance.body["availabilityDomain"],
        "compartmentId": instance.body["compartmentId"],
        "displayName": compute_life.default_name(world, kind),
        "lifecycleState": "ATTACHING",
        "timeCreated": world.clock.stamp(),
    }
    attachment = world.add(kind, body | fields, region=instance.region, ocid=ocid, bare=True)
    world.clock.later(ATTACH_SECONDS, "attachment.attached", kind=kind, ocid=ocid)
    return attachment


def let_go(world: World, attachment: Resource) -> None:
    """The attachment is over at once: its instance is."""
    world.change(attachment, lifecycleState="DETACHED")
    compute_life.vanish_after(world, attachment, LINGER_SECONDS)
    if attachment.kind == VNIC:
        vnics.release(world, attachment.body["vnicId"])


@transition("attachment.attached")
def _attached(world: World, kind: str, ocid: str) -> None:
    attachment = world.get(kind, ocid)
    if attachment is not None and attachment.state == "ATTACHING":
        world.change(attachment, lifecycleState="ATTACHED")


@transition("attachment.detached")
def _detached(world: World, kind: str, ocid: str) -> None:
    attachment = world.get(kind, ocid)
    if attachment is not None and attachment.state == "DETACHING":
        let_go(world, attachment)


def _detach(call: Call, attachment: Resource) -> Reply:
    compute_life.need_state(attachment, ("ATTACHED",), "Attachment")
    call.world.change(attachment, lifecycleState="DETACHING")
    call.world.clock.later(DETACH_SECONDS, "attachment.detached", kind=attachment.kind, ocid=attachment.ocid)
    return Reply()


# network cards --------------------------------------------------------------------------------------------------------


@service.post(
    "/vnicAttachments", operation="AttachVnic", body=f"{MODELS}.AttachVnicDetails", reply=f"{MODELS}.VnicAttachment"
)
def attach_vnic(call: Call) -> Reply:
    instance = call.related("instance", call.body["instanceId"])
    compute_life.need_state(instance, ("RUNNING", "STOPPED"), "Instance")
    details = call.body["createVnicDetails"]
    if not details.get("subnetId"):
        raise errors.missing_parameter("createVnicDetails.subnetId")
    most = instance.body["shapeConfig"]["maxVnicAttachments"]
    if len(of_instance(call.world, VNIC, instance.ocid)) >= most:
        raise errors.limit_exceeded(f"vnic-attachments of shape {instance.body['shape']} ({most})")
    vnic = vnics.create(
        call.world,
        subnet_id=details["subnetId"],
        compartment=instance.body["compartmentId"],
        region=call.region,
        ad=instance.body["availabilityDomain"],
        details=details,
        instance_id=instance.ocid,
    )
    return Reply.of(plug_in(call.world, instance, vnic, call.body))


def plug_in(world: World, instance: Resource, vnic: Resource, request: dict[str, Any]) -> Resource:
    """Attach a VNIC that exists; ``request`` may name the attachment."""
    vnic.hidden["instance"] = instance.ocid
    named = {"displayName": request["displayName"]} if "displayName" in request else {}
    fields = {
        "vnicId": vnic.ocid,
        "subnetId": vnic.body["subnetId"],
        "nicIndex": request.get("nicIndex", 0),
        "vlanTag": 1 + len(of_instance(world, VNIC, instance.ocid)),
    }
    return attach(world, VNIC, instance, fields | named)


@service.get("/vnicAttachments/{attachmentId}", operation="GetVnicAttachment", reply=f"{MODELS}.VnicAttachment")
def get_vnic_attachment(call: Call) -> Reply:
    return Reply.of(call.find(VNIC, call.path["attachmentId"]))


@service.get("/vnicAttachments", operation="ListVnicAttachments", reply=f"list[{MODELS}.VnicAttachment]")
def list_vnic_attachments(call: Call) -> Reply:
    return pages.listing(call, VNIC, filters=("availabilityDomain", "instanceId", "vnicId"))


@service.delete("/vnicAttachments/{attachmentId}", operation="DetachVnic")
def detach_vnic(call: Call) -> Reply:
    attachment = call.edit(VNIC, call.path["attachmentId"])
    vnic = call.world.get("vnic", attachment.body["vnicId"])
    if vnic is not None and vnic.body["isPrimary"]:
        raise errors.conflict("The primary VNIC cannot be detached; terminate the instance instead")
    return _detach(call, attachment)


# boot volumes ---------------------------------------------------------------------------------------------------------

BOOT_MODEL = f"{MODELS}.BootVolumeAttachment"


@service.post(
    "/bootVolumeAttachments",
    operation="AttachBootVolume",
    body=f"{MODELS}.AttachBootVolumeDetails",
    reply=BOOT_MODEL,
)
def attach_boot_volume(call: Call) -> Reply:
    instance = call.related("instance", call.body["instanceId"])
    compute_life.need_state(instance, ("STOPPED",), "Instance")
    volume = need_free_boot_volume(call, call.body["bootVolumeId"], instance.body["availabilityDomain"])
    if of_instance(call.world, BOOT, instance.ocid):
        raise errors.conflict(f"Instance {instance.ocid} has a boot volume already")
    return Reply.of(attach(call.world, BOOT, instance, boot_fields(volume) | _named(call)))


def need_free_boot_volume(call: Call, ocid: str, ad: str) -> Resource:
    volume = call.related("bootvolume", ocid)
    compute_life.need_state(volume, ("AVAILABLE",), "Boot volume")
    _same_ad(volume, ad)
    if of_volume(call.world, BOOT, volume.ocid):
        raise errors.conflict(f"Boot volume {volume.ocid} is attached to an instance already")
    return volume


def boot_fields(volume: Resource) -> dict[str, Any]:
    return {"bootVolumeId": volume.ocid, "encryptionInTransitType": "NONE"}


@service.get("/bootVolumeAttachments/{attachmentId}", operation="GetBootVolumeAttachment", reply=BOOT_MODEL)
def get_boot_attachment(call: Call) -> Reply:
    return Reply.of(call.find(BOOT, call.path["attachmentId"]))


@service.get("/bootVolumeAttachments", operation="ListBootVolumeAttachments", reply=f"list[{BOOT_MODEL}]")
def list_boot_attachments(call: Call) -> Reply:
    call.query.need("availabilityDomain")
    return pages.listing(call, BOOT, filters=("availabilityDomain", "instanceId", "bootVolumeId"))


@service.delete("/bootVolumeAttachments/{attachmentId}", operation="DetachBootVolume")
def detach_boot_volume(call: Call) -> Reply:
    attachment = call.edit(BOOT, call.path["attachmentId"])
    instance = call.world.table("instance")[attachment.body["instanceId"]]
    compute_life.need_state(instance, ("STOPPED",), "Instance")
    return _detach(call, attachment)


# block volumes --------------------------------------------------------------------------------------------------------

BLOCK_MODEL = f"{MODELS}.VolumeAttachment"


@service.post("/volumeAttachments", operation="AttachVolume", body=f"{MODELS}.AttachVolumeDetails", reply=BLOCK_MODEL)
def attach_volume(call: Call) -> Reply:
    kind = call.body["type"]
    if kind not in {"iscsi", "paravirtualized", "service_determined"}:
        raise errors.not_built(f"volume attachments of type {kind}")
    instance = call.related("instance", call.body["instanceId"])
    compute_life.need_state(instance, ("RUNNING", "STOPPED"), "Instance")
    volume = call.related("volume", call.body["volumeId"])
    compute_life.need_state(volume, ("AVAILABLE",), "Volume")
    _same_ad(volume, instance.body["availabilityDomain"])
    shared = call.body.get("isShareable", False)
    if any(not (shared and one.body["isShareable"]) for one in of_volume(call.world, BLOCK, volume.ocid)):
        raise errors.conflict(f"Volume {volume.ocid} is attached to an instance already")
    fields: dict[str, Any] = {
        "attachmentType": "iscsi" if kind == "iscsi" else "paravirtualized",
        "volumeId": volume.ocid,
        "device": call.body.get("device") or _device(call.world, instance),
        "isReadOnly": call.body.get("isReadOnly", False),
        "isShareable": shared,
        "isPvEncryptionInTransitEnabled": call.body.get("isPvEncryptionInTransitEnabled", False),
        "isMultipath": False,
        "isVolumeCreatedDuringLaunch": False,
    }
    if kind == "iscsi":
        number = len(list(call.world.all(BLOCK))) + 2
        name = f"iqn.2015-12.com.oracleiaas:{call.world.fresh('iqn', 32)}"
        fields |= {"ipv4": f"169.254.2.{number % 250 + 2}", "iqn": name, "port": PORT}
        fields |= {"encryptionInTransitType": "NONE", "isAgentAutoIscsiLoginEnabled": False}
        del fields["isPvEncryptionInTransitEnabled"]
    return Reply.of(attach(call.world, BLOCK, instance, fields | _named(call)))


def _device(world: World, instance: Resource) -> str:
    taken = {one.body.get("device") for one in of_instance(world, BLOCK, instance.ocid)}
    free = [name for letter in DEVICES if (name := f"/dev/oracleoci/oraclevd{letter}") not in taken]
    if not free:
        raise errors.limit_exceeded(f"volume-attachments per instance ({len(DEVICES)})")
    return free[0]


@service.get("/volumeAttachments/{attachmentId}", operation="GetVolumeAttachment", reply=BLOCK_MODEL)
def get_volume_attachment(call: Call) -> Reply:
    return Reply.of(call.find(BLOCK, call.path["attachmentId"]))


@service.get("/volumeAttachments", operation="ListVolumeAttachments", reply=f"list[{BLOCK_MODEL}]")
def list_volume_attachments(call: Call) -> Reply:
    return pages.listing(call, BLOCK, filters=("availabilityDomain", "instanceId", "volumeId"))


@service.put(
    "/volumeAttachments/{attachmentId}",
    operation="UpdateVolumeAttachment",
    body=f"{MODELS}.UpdateVolumeAttachmentDetails",
    reply=BLOCK_MODEL,
)
def update_volume_attachment(call: Call) -> Reply:
    attachment = call.edit(BLOCK, call.path["attachmentId"])
    compute_life.need_state(attachment, ("ATTACHED",), "Attachment")
    return Reply.of(call.world.change(attachment, **call.body))


@service.delete("/volumeAttachments/{attachmentId}", operation="DetachVolume")
def detach_volume(call: Call) -> Reply:
    return _detach(call, call.edit(BLOCK, call.path["attachmentId"]))


def _same_ad(volume: Resource, ad: str) -> None:
    if volume.body["availabilityDomain"] != ad:
        raise errors.invalid_parameter(
            f"Volume {volume.ocid} is in availability domain {volume.body['availabilityDomain']}, the instance in {ad}"
        )


def _named(call: Call) -> dict[str, str]:
    return {"displayName": call.body["displayName"]} if "displayName" in call.body else {}


def max_vnics(shape: str, ocpus: float) -> int:
    """Two, or one per OCPU, on flexible shapes; what the catalogue says on fixed ones."""
    known = SHAPES[shape]
    return min(24, max(known.max_vnics, int(ocpus))) if known.flex else known.max_vnics


def need_subnet(call: Call, subnet_id: str) -> None:
    """Refuse a subnet that is not there before anything else is asked about the launch."""
    network_life.related(call.world, call.region, network_life.SUBNET, subnet_id)
