"""Core compute, which shapes an image may be launched on: compatibility entries. An import begins without any."""

from typing import Any

from ocifree_pipeline.sandbox.oracle import compute_life, errors, images, pages
from ocifree_pipeline.sandbox.oracle.compute_life import MODELS, service
from ocifree_pipeline.sandbox.oracle.shape_catalogue import SHAPES
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply
from ocifree_pipeline.sandbox.world import Resource

ENTRY = f"{MODELS}.ImageShapeCompatibilityEntry"
PATH = "/images/{imageId}/shapes/{shapeName}"


@service.get(
    "/images/{imageId}/shapes",
    operation="ListImageShapeCompatibilityEntries",
    reply=f"list[{MODELS}.ImageShapeCompatibilitySummary]",
)
def list_entries(call: Call) -> Reply:
    image = images.find(call, call.path["imageId"])
    return pages.page(call, [_entry(image, shape) for shape in image.hidden["shapes"]], id_key="shape")


@service.get(PATH, operation="GetImageShapeCompatibilityEntry", reply=ENTRY)
def get_entry(call: Call) -> Reply:
    image = images.find(call, call.path["imageId"])
    _need_entry(image, call.path["shapeName"])
    return Reply(_entry(image, call.path["shapeName"]))


@service.put(
    PATH,
    operation="AddImageShapeCompatibilityEntry",
    body=f"{MODELS}.AddImageShapeCompatibilityEntryDetails?",
    reply=ENTRY,
)
def add_entry(call: Call) -> Reply:
    image = images.own(call, call.path["imageId"])
    compute_life.need_state(image, ("AVAILABLE",), "Image")
    shape = call.path["shapeName"]
    if shape not in SHAPES:
        raise errors.not_found(f"shape {shape} not found")
    constraints: dict[str, Any] = call.body
    _check(constraints.get("ocpuConstraints"), "min", "max", "ocpuConstraints")
    _check(constraints.get("memoryConstraints"), "minInGBs", "maxInGBs", "memoryConstraints")
    image.hidden["shapes"][shape] = constraints
    call.world.touch(image)
    return Reply(_entry(image, shape), headers={"etag": image.etag})


@service.delete(PATH, operation="RemoveImageShapeCompatibilityEntry")
def remove_entry(call: Call) -> Reply:
    image = images.own(call, call.path["imageId"])
    _need_entry(image, call.path["shapeName"])
    del image.hidden["shapes"][call.path["shapeName"]]
    call.world.touch(image)
    return Reply()


def check_size(image: Resource, shape: str, ocpus: float, memory_gb: float) -> None:
    """400 when an entry allows the shape, but not in that size."""
    for name, low, high, given in (
        ("ocpuConstraints", "min", "max", ocpus),
        ("memoryConstraints", "minInGBs", "maxInGBs", memory_gb),
    ):
        bounds = image.hidden["shapes"][shape].get(name) or {}
        if not bounds.get(low, 0) <= given <= bounds.get(high, given):
            raise errors.invalid_parameter(f"{given:g} is outside of the {name} of image {image.ocid} for {shape}")


def _need_entry(image: Resource, shape: str) -> None:
    if shape not in image.hidden["shapes"]:
        raise errors.not_found(f"image {image.ocid} has no compatibility entry for shape {shape}")


def _entry(image: Resource, shape: str) -> dict[str, Any]:
    constraints: dict[str, Any] = image.hidden["shapes"][shape]
    return {"imageId": image.ocid, "shape": shape} | constraints


def _check(bounds: dict[str, int] | None, low: str, high: str, name: str) -> None:
    if bounds and bounds.get(low, 1) > bounds.get(high, bounds.get(low, 1)):
        raise errors.invalid_parameter(f"{name}: {low} must not be larger than {high}")
