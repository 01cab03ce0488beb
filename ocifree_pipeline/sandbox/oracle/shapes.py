"""Core compute, the shapes that a compartment can choose from."""

from typing import Any

from ocifree_pipeline.sandbox.oracle import errors, identity, images, pages
from ocifree_pipeline.sandbox.oracle.compute_life import MODELS, service
from ocifree_pipeline.sandbox.oracle.shape_catalogue import SHAPES, Shape
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply


@service.get("/shapes", operation="ListShapes", reply=f"list[{MODELS}.Shape]")
def list_shapes(call: Call) -> Reply:
    call.compartment(call.query.need("compartmentId"))
    ad, name, image_id = call.query.get("availabilityDomain"), call.query.get("shape"), call.query.get("imageId")
    if ad is not None:
        identity.require_ad(call.world, call.region, ad)
    ads = [ad] if ad else call.world.availability_domains(call.region)
    image = images.find(call, image_id) if image_id else None
    found = [
        _shown(shape)
        for shape in SHAPES.values()
        if any(shape.ad_is_served(call.world, one) for one in ads)
        and name in {None, shape.name}
        and (image is None or images.fits(image, shape.name))
    ]
    return pages.page(call, found, id_key="shape")


def need(call: Call, name: str, ad: str) -> Shape:
    """The shape, if that availability domain has it; 404 in Oracle's words otherwise."""
    shape = SHAPES.get(name)
    if shape is None or not shape.ad_is_served(call.world, ad):
        raise errors.not_found(f"shape {name} not found")
    return shape


def _shown(shape: Shape) -> dict[str, Any]:
    names = (shape.core_limit, shape.memory_limit, shape.regional_core_limit, shape.regional_memory_limit)
    body: dict[str, Any] = {
        "shape": shape.name,
        "processorDescription": shape.processor,
        "ocpus": float(shape.ocpus),
        "memoryInGBs": float(shape.memory_gb),
        "networkPorts": 1,
        "networkingBandwidthInGbps": float(shape.gbps),
        "maxVnicAttachments": shape.max_vnics,
        "gpus": 0,
        "localDisks": 0,
        "rdmaPorts": 0,
        "rdmaBandwidthInGbps": 0,
        "isLiveMigrationSupported": True,
        "isBilledForStoppedInstance": False,
        "billingType": "LIMITED_FREE" if shape.flex and shape.always_free else "PAID",
        "quotaNames": [name for name in names if name],
        "isSubcore": False,
        "isFlexible": shape.flex is not None,
    }
    if shape.always_free and shape.flex is None:
        body["billingType"] = "ALWAYS_FREE"
    flex = shape.flex
    if flex is not None:
        body |= {
            "ocpuOptions": {"min": 1.0, "max": float(flex.max_ocpus)},
            "memoryOptions": {
                "minInGBs": 1.0,
                "maxInGBs": float(flex.max_memory_gb),
                "defaultPerOcpuInGBs": float(flex.default_gb_per_ocpu),
                "minPerOcpuInGBs": 1.0,
                "maxPerOcpuInGBs": float(flex.max_gb_per_ocpu),
            },
            "networkingBandwidthOptions": {
                "minInGbps": 1.0,
                "maxInGbps": float(flex.max_gbps),
                "defaultPerOcpuInGbps": 1.0,
            },
            "maxVnicAttachmentOptions": {"min": 2, "max": 24.0, "defaultPerOcpu": 1.0},
        }
    return body
