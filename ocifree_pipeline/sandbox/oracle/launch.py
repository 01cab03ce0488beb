"""Core compute, LaunchInstance: everything that Oracle checks, in its order, then the instance.

A launch that finds no host is refused with 500 "Out of host capacity."; with the configured share of them Oracle
notices only later, and the work request fails.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from ocifree_pipeline.sandbox import capacity
from ocifree_pipeline.sandbox.oracle import (
    attachments,
    boot_volumes,
    capability_schemas,
    compute_life,
    errors,
    identity,
    image_shapes,
    images,
    instance_life,
    limit_usage,
    limits,
    shapes,
    vnics,
    volume_rules,
)
from ocifree_pipeline.sandbox.oracle.compute_life import MODELS, service
from ocifree_pipeline.sandbox.oracle.shape_catalogue import Shape
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply
from ocifree_pipeline.sandbox.world import Resource

UNBUILT = (
    "capacityReservationId",
    "dedicatedVmHostId",
    "clusterPlacementGroupId",
    "computeClusterId",
    "ipxeScript",
    "preemptibleInstanceConfig",
    "launchVolumeAttachments",
    "platformConfig",
    "placementConstraintDetails",
    "isAIEnterpriseEnabled",
    "instanceConfigurationId",
    "licensingConfigs",
)
METADATA_BYTES = 32000
KEY_TYPES = ("ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-")
SHAPE_CONFIG_UNBUILT = ("baselineOcpuUtilization", "nvmes", "resourceManagement", "localVolumeSizeInGBs")


@dataclass(frozen=True, slots=True)
class Size:
    ocpus: float
    memory_gb: float


@dataclass(frozen=True, slots=True)
class Source:
    """What the instance boots from: a new volume of ``size_gb`` from an image, or an existing volume."""

    image: Resource | None
    volume: Resource | None
    size_gb: int
    vpus: int
    launch_mode: str
    launch_options: dict[str, Any]


@service.post(
    "/instances", operation="LaunchInstance", body=f"{MODELS}.LaunchInstanceDetails", reply=f"{MODELS}.Instance"
)
def launch_instance(call: Call) -> Reply:
    body = call.body
    compartment = call.compartment(body["compartmentId"]).ocid
    ad = identity.require_ad(call.world, call.region, body["availabilityDomain"])
    compute_life.check_name(body)
    compute_life.refuse_unbuilt(body, UNBUILT, "launches")
    need_fault_domain(body.get("faultDomain"))
    if "shape" not in body:
        raise errors.missing_parameter("shape")
    shape = shapes.need(call, body["shape"], ad)
    size = sized(shape, body.get("shapeConfig"))
    source = _source(call, shape, size, ad)
    vnic = _vnic_details(call)
    check_metadata(body)
    storage = {} if source.volume else {"total-storage-gb": source.size_gb}
    needs = shape.needs(size.ocpus, size.memory_gb)
    limits.require(call.world, compartment=compartment, ad=ad, needs=needs | storage, region=call.region)
    ask = capacity.Ask(ad, shape.name, size.ocpus, body.get("faultDomain"))
    doomed = _seek_host(call, ask, compartment, needs)
    return _create(call, shape, size, source, vnic, ask=ask, doomed=doomed)


def _seek_host(call: Call, ask: capacity.Ask, compartment: str, needs: dict[str, int]) -> bool:
    """Whether the launch will fail later for want of a host; raises when it fails now."""
    if capacity.openings(call.world, ask):
        return False
    chosen = capacity.settings(call.world)
    if capacity.chance(call.world, chosen.ghosts):
        limit_usage.haunt(
            call.world,
            compartment=compartment,
            region=call.region,
            ad=ask.ad,
            needs=needs,
            seconds=capacity.GHOST_SECONDS,
        )
    if capacity.chance(call.world, chosen.late_share):
        return True
    raise errors.out_of_host_capacity()


def _create(
    call: Call, shape: Shape, size: Size, source: Source, vnic: dict[str, Any], *, ask: capacity.Ask, doomed: bool
) -> Reply:
    """Make it all. Only the VNIC may still be refused, so it comes first."""
    body, world = call.body, call.world
    name = body.get("displayName") or compute_life.default_name(world, instance_life.KIND)
    card = vnics.create(
        world,
        subnet_id=vnic["subnetId"],
        compartment=body["compartmentId"],
        region=call.region,
        ad=body["availabilityDomain"],
        details={"displayName": name} | vnic,
        instance_id=None,
    )
    domain = ask.fault_domain or identity.FAULT_DOMAINS[0] if doomed else capacity.take(world, ask)
    fields = compute_life.known("Instance", body) | {
        "displayName": name,
        "faultDomain": domain,
        "region": call.region,
        "lifecycleState": "PROVISIONING",
        "launchMode": source.launch_mode,
        "launchOptions": source.launch_options,
        "shapeConfig": instance_life.shape_config(shape.name, size.ocpus, size.memory_gb),
        "metadata": body.get("metadata", {}),
        "extendedMetadata": body.get("extendedMetadata", {}),
        "systemTags": {},
        "securityAttributes": body.get("securityAttributes", {}),
        "securityAttributesState": "STABLE",
        "isCrossNumaNode": False,
        "agentConfig": AGENT | body.get("agentConfig", {}),
        "availabilityConfig": {"isLiveMigrationPreferred": False, "recoveryAction": "RESTORE_INSTANCE"}
        | body.get("availabilityConfig", {}),
        "instanceOptions": {"areLegacyImdsEndpointsDisabled": False} | body.get("instanceOptions", {}),
        "sourceDetails": _shown_source(source),
    }
    image = source.image.ocid if source.image else (source.volume.body.get("imageId") if source.volume else None)
    if image is not None:
        fields["imageId"] = image
    instance = world.add(instance_life.KIND, fields, region=call.region)
    attachments.plug_in(world, instance, card, {})
    volume = source.volume or _boot_volume(call, source, name)
    attachments.attach(world, attachments.BOOT, instance, attachments.boot_fields(volume))
    work = instance_life.launch(world, instance, doomed=doomed)
    return Reply.of(instance, opc_work_request_id=work.ocid)


AGENT: dict[str, Any] = {
    "isMonitoringDisabled": False,
    "isManagementDisabled": False,
    "areAllPluginsDisabled": False,
    "pluginsConfig": [],
}


def _boot_volume(call: Call, source: Source, name: str) -> Resource:
    if source.image is None:
        raise LookupError("a launch needs an image or a boot volume")
    fields = {
        "displayName": f"{name} (Boot Volume)",
        "compartmentId": call.body["compartmentId"],
        "availabilityDomain": call.body["availabilityDomain"],
        "vpusPerGB": source.vpus,
    }
    return boot_volumes.make(
        call.world,
        region=call.region,
        body=fields,
        size_gb=source.size_gb,
        disk=source.image.hidden["disk"],
        image_id=source.image.ocid,
    )


def _shown_source(source: Source) -> dict[str, Any]:
    if source.volume is not None:
        return {"sourceType": "bootVolume", "bootVolumeId": source.volume.ocid}
    shown = {"sourceType": "image", "bootVolumeSizeInGBs": source.size_gb, "bootVolumeVpusPerGB": source.vpus}
    return shown | ({"imageId": source.image.ocid} if source.image else {})


# what is asked for ----------------------------------------------------------------------------------------------------


def need_fault_domain(name: str | None) -> None:
    if name is not None and name not in identity.FAULT_DOMAINS:
        raise errors.invalid_parameter(f"Fault domain {name!r} does not exist")


def sized(shape: Shape, config: dict[str, Any] | None) -> Size:
    """The size that a configuration asks for; fixed shapes have one, flexible ones need to be told their OCPUs."""
    config = config or {}
    compute_life.refuse_unbuilt(config, SHAPE_CONFIG_UNBUILT, "shape configurations")
    if shape.flex is None:
        given = Size(config.get("ocpus", shape.ocpus), config.get("memoryInGBs", shape.memory_gb))
        if given != Size(shape.ocpus, shape.memory_gb):
            raise errors.invalid_parameter(f"shapeConfig cannot be changed for shape {shape.name}: it is not flexible")
        return given
    flex = shape.flex
    if "vcpus" in config and "ocpus" not in config:
        config = config | {"ocpus": config["vcpus"] / shape.threads_per_ocpu}
    if "ocpus" not in config:
        raise errors.invalid_parameter(f"shapeConfig.ocpus is required for the flexible shape {shape.name}")
    ocpus = config["ocpus"]
    if not 1 <= ocpus <= flex.max_ocpus or int(ocpus) != ocpus:
        raise errors.invalid_parameter(
            f"shapeConfig.ocpus {ocpus:g} is not valid for {shape.name}: "
            f"it must be a whole number from 1 to {flex.max_ocpus}"
        )
    memory_gb = config.get("memoryInGBs", ocpus * flex.default_gb_per_ocpu)
    most = min(flex.max_memory_gb, ocpus * flex.max_gb_per_ocpu)
    if not ocpus <= memory_gb <= most or int(memory_gb) != memory_gb:
        raise errors.invalid_parameter(
            f"shapeConfig.memoryInGBs {memory_gb:g} is not valid for {shape.name} with {ocpus:g} OCPUs: "
            f"it must be a whole number from {ocpus:g} to {most:g}"
        )
    return Size(ocpus, memory_gb)


def _source(call: Call, shape: Shape, size: Size, ad: str) -> Source:
    details = call.body.get("sourceDetails")
    if details is None and "imageId" in call.body:
        details = {"sourceType": "image", "imageId": call.body["imageId"]}
    if details is None:
        raise errors.missing_parameter("sourceDetails")
    if details["sourceType"] == "bootVolume":
        return _from_volume(call, attachments.need_free_boot_volume(call, details["bootVolumeId"], ad), shape)
    if details.get("kmsKeyId"):
        raise errors.not_built("launches with kmsKeyId")
    image = _image(call, details, shape)
    compute_life.need_state(image, ("AVAILABLE",), "Image")
    need_fit(image, shape, size)
    size_gb, vpus = _boot_size(details, image), details.get("bootVolumeVpusPerGB", volume_rules.DEFAULT_VPUS)
    volume_rules.check({"sizeInGBs": size_gb, "vpusPerGB": vpus}, smallest_gb=boot_volumes.SMALLEST_GB)
    own = capability_schemas.launch_options(call.world, image)
    wanted = dict(call.body.get("launchOptions", {}))
    if "isPvEncryptionInTransitEnabled" in call.body:
        wanted["isPvEncryptionInTransitEnabled"] = call.body["isPvEncryptionInTransitEnabled"]
    refused = capability_schemas.refused_option(call.world, image, wanted)
    if refused is not None:
        raise errors.invalid_parameter(f"Overriding launchOptions.{refused} is not supported for image {image.ocid}")
    return Source(image, None, size_gb, vpus, image.body["launchMode"], own | wanted)


def _from_volume(call: Call, volume: Resource, shape: Shape) -> Source:
    """The launch options of a boot volume are those of the image that it once was."""
    image = images.known(call, volume.body.get("imageId", ""))
    if image is not None:
        options, mode = capability_schemas.launch_options(call.world, image), image.body["launchMode"]
    else:
        firmware = "UEFI_64" if "UEFI_64" in shape.firmwares else "BIOS"
        options, mode = {"firmware": firmware, "bootVolumeType": "PARAVIRTUALIZED"}, "NATIVE"
    return Source(None, volume, volume.body["sizeInGBs"], volume.body["vpusPerGB"], mode, options)


def _image(call: Call, details: dict[str, Any], shape: Shape) -> Resource:
    wanted = details.get("instanceSourceImageFilterDetails")
    if wanted is None:
        if "imageId" not in details:
            raise errors.missing_parameter("sourceDetails.imageId")
        return images.related(call, details["imageId"])
    if wanted.get("definedTagsFilter"):
        raise errors.not_built("image filters with definedTagsFilter")
    found = [
        one
        for one in images.visible(call, call.compartment(wanted["compartmentId"]).ocid)
        if images.fits(one, shape.name)
        and all(
            wanted.get(name, one.body[name]) == one.body[name] for name in ("operatingSystem", "operatingSystemVersion")
        )
    ]
    if not found:
        raise errors.related_not_found("No image fits instanceSourceImageFilterDetails")
    return max(found, key=lambda one: one.created)


def need_fit(image: Resource, shape: Shape, size: Size) -> None:
    if not images.fits(image, shape.name):
        raise errors.invalid_parameter(f"Shape {shape.name} is not valid for image {image.ocid}.")
    image_shapes.check_size(image, shape.name, size.ocpus, size.memory_gb)


def _boot_size(details: dict[str, Any], image: Resource) -> int:
    least = max(boot_volumes.SMALLEST_GB, -(-image.body["sizeInMBs"] // 1024))
    size_gb: int = details.get("bootVolumeSizeInGBs", least)
    if size_gb < least:
        raise errors.invalid_parameter(
            f"bootVolumeSizeInGBs {size_gb} is too small: it must be at least {least} GB for image {image.ocid}"
        )
    return size_gb


def _vnic_details(call: Call) -> dict[str, Any]:
    details = dict(call.body.get("createVnicDetails", {}))
    for name in ("subnetId", "hostnameLabel"):
        if name in call.body:
            details.setdefault(name, call.body[name])
    if not details.get("subnetId"):
        raise errors.missing_parameter("createVnicDetails.subnetId")
    attachments.need_subnet(call, details["subnetId"])
    return details


def check_metadata(body: dict[str, Any]) -> None:
    metadata: dict[str, str] = body.get("metadata", {})
    size = sum(len(key.encode()) + len(value.encode()) for key, value in metadata.items())
    size += len(str(body.get("extendedMetadata", "")))
    if size > METADATA_BYTES:
        raise errors.invalid_parameter(f"metadata and extendedMetadata must not be larger than {METADATA_BYTES} bytes")
    for line in metadata.get("ssh_authorized_keys", "").splitlines():
        if line.strip() and not _is_ssh_key(line):
            raise errors.invalid_parameter("Invalid ssh public key; must be in base64 format")
    try:
        base64.b64decode("".join(metadata.get("user_data", "").split()), validate=True)
    except (binascii.Error, ValueError):
        raise errors.invalid_parameter("user_data must be base64 encoded") from None


def _is_ssh_key(line: str) -> bool:
    words = line.split()
    at = next((at for at, word in enumerate(words) if word.startswith(KEY_TYPES)), None)
    if at is None or at + 1 >= len(words):
        return False
    try:
        blob = base64.b64decode(words[at + 1], validate=True)
    except (binascii.Error, ValueError):
        return False
    length = int.from_bytes(blob[:4])
    return blob[4 : 4 + length] == words[at].encode()
