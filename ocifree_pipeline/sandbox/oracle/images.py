"""Core compute, images: Oracle's own and the tenancy's, found, made from instances, changed and deleted."""

import math
from collections.abc import Iterator
from typing import Any

from ocifree_pipeline.sandbox.machines.machine import boot_volume
from ocifree_pipeline.sandbox.oracle import (
    compute_life,
    errors,
    image_import,
    limits,
    pages,
    platform_images,
    work_requests,
)
from ocifree_pipeline.sandbox.oracle.compute_life import MODELS, service
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply
from ocifree_pipeline.sandbox.world import Resource, World, transition

KIND = "image"
MODEL = f"{MODELS}.Image"
CAPTURE_SECONDS = 240
LINGER_SECONDS = 600


def find(call: Call, ocid: str) -> Resource:
    """An image of Oracle or of the tenancy, or 404."""
    return platform_images.published(call.region).get(ocid) or call.find(KIND, ocid)


def known(call: Call, ocid: str) -> Resource | None:
    """An image, if it is still there."""
    image = platform_images.published(call.region).get(ocid) or call.world.get(KIND, ocid)
    return None if image is None or image.gone else image


def related(call: Call, ocid: str) -> Resource:
    """An image that a body refers to, or 400."""
    return platform_images.published(call.region).get(ocid) or call.related(KIND, ocid)


def own(call: Call, ocid: str) -> Resource:
    """An image of the tenancy, for a change. Oracle's images are nobody's to change."""
    if ocid in platform_images.published(call.region):
        raise errors.not_found()
    image = call.edit(KIND, ocid)
    if image.gone:
        raise errors.not_found()
    return image


def fits(image: Resource, shape: str) -> bool:
    """Whether the image has a compatibility entry for the shape."""
    return shape in image.hidden["shapes"]


def visible(call: Call, compartment: str) -> Iterator[Resource]:
    """Oracle's images, and those of a compartment."""
    yield from platform_images.published(call.region).values()
    yield from (
        one
        for one in call.world.all(KIND)
        if one.region == call.region and one.body["compartmentId"] == compartment and not one.gone
    )


@service.get("/images", operation="ListImages", reply=f"list[{MODEL}]")
def list_images(call: Call) -> Reply:
    compartment = call.compartment(call.query.need("compartmentId")).ocid
    shape = call.query.get("shape")
    found = [one for one in visible(call, compartment) if shape is None or fits(one, shape)]
    filters = ("displayName", "operatingSystem", "operatingSystemVersion", "lifecycleState")
    return pages.listing(call, found, filters=filters, compartment=False)


@service.get("/images/{imageId}", operation="GetImage", reply=MODEL)
def get_image(call: Call) -> Reply:
    return Reply.of(find(call, call.path["imageId"]))


@service.post("/images", operation="CreateImage", body=f"{MODELS}.CreateImageDetails", reply=MODEL)
def create_image(call: Call) -> Reply:
    call.compartment(call.body["compartmentId"])
    compute_life.check_name(call.body)
    sources = [name for name in ("instanceId", "imageSourceDetails") if name in call.body]
    if len(sources) != 1:
        raise errors.invalid_parameter("Give either instanceId or imageSourceDetails, and not both")
    return image_import.create(call) if sources == ["imageSourceDetails"] else _capture(call)


@service.put("/images/{imageId}", operation="UpdateImage", body=f"{MODELS}.UpdateImageDetails", reply=MODEL)
def update_image(call: Call) -> Reply:
    image = own(call, call.path["imageId"])
    compute_life.check_name(call.body)
    return Reply.of(call.world.change(image, **call.body))


@service.delete("/images/{imageId}", operation="DeleteImage")
def delete_image(call: Call) -> Reply:
    image = own(call, call.path["imageId"])
    compute_life.need_state(image, ("AVAILABLE", "DISABLED"), "Image")
    for schema in call.world.all("imagecapabilityschema"):
        if schema.body["imageId"] == image.ocid and not schema.gone:
            call.world.change(schema, lifecycleState="DELETED")
            compute_life.vanish_after(call.world, schema, LINGER_SECONDS)
    call.world.change(image, lifecycleState="DELETED")
    compute_life.vanish_after(call.world, image, LINGER_SECONDS)
    return Reply()


@service.post("/images/{imageId}/actions/export", operation="ExportImage", body=f"{MODELS}.ExportImageDetails")
def export_image(call: Call) -> Reply:
    own(call, call.path["imageId"])
    raise errors.not_built("the export of images")


compute_life.offer_move(KIND, "Image", "/images", "imageId")


def _capture(call: Call) -> Reply:
    """An image of an instance's boot volume. The instance pauses in CREATING_IMAGE meanwhile."""
    instance = call.related("instance", call.body["instanceId"])
    compute_life.need_state(instance, ("RUNNING", "STOPPED"), "Instance")
    volume = boot_volume(call.world, instance.ocid)
    if volume is None:
        raise errors.conflict(f"Instance {instance.ocid} has no boot volume to make an image of")
    compartment = call.body["compartmentId"]
    limits.require(call.world, compartment=compartment, ad=None, needs={"custom-image-count": 1}, region=call.region)
    base = known(call, instance.body.get("imageId", ""))
    body = {
        "displayName": compute_life.default_name(call.world, KIND),
        "createImageAllowed": True,
        "launchMode": instance.body["launchMode"],
        "launchOptions": instance.body["launchOptions"],
        "lifecycleState": "PROVISIONING",
        "listingType": "NONE",
        "operatingSystem": volume.hidden["disk"]["os"],
        "operatingSystemVersion": volume.hidden["disk"]["osVersion"],
    } | compute_life.known("Image", call.body)
    if base is not None:
        body["baseImageId"] = base.ocid
    shapes = dict(base.hidden["shapes"]) if base is not None else {instance.body["shape"]: {}}
    disk = volume.hidden["disk"] | {"sizeBytes": volume.body["sizeInGBs"] * 1024**3}
    image = call.world.add(KIND, body, region=call.region, hidden={"disk": disk, "shapes": shapes})
    before = instance.state
    call.world.change(instance, lifecycleState="CREATING_IMAGE")
    request = work_requests.start(
        call.world,
        "CreateImage",
        compartment,
        [work_requests.Touched("CREATED", KIND, image.ocid)],
        seconds=CAPTURE_SECONDS,
        on_done="image.captured",
        region=call.region,
        ocid=image.ocid,
        instance=instance.ocid,
        state=before,
        gigabytes=volume.body["sizeInGBs"],
    )
    return Reply.of(image, opc_work_request_id=request.ocid)


@transition("image.captured")
def _captured(world: World, *, request: str, ocid: str, instance: str, state: str, gigabytes: int) -> None:
    source = world.get("instance", instance)
    if source is not None and source.state == "CREATING_IMAGE":
        world.change(source, lifecycleState=state)
    image = world.get(KIND, ocid)
    if image is None or image.gone:
        work_requests.fail(world, request, "IncorrectState", "The image was deleted while it was made")
        return
    size: dict[str, Any] = {"sizeInMBs": gigabytes * 1024, "billableSizeInGBs": math.ceil(gigabytes / 10)}
    world.change(image, lifecycleState="AVAILABLE", **size)
