"""Core compute, capacity reports: what Oracle says about its hosts. It reserves nothing, and it may be wrong."""

from typing import Any

from ocifree_pipeline.sandbox import capacity
from ocifree_pipeline.sandbox.oracle import errors, identity, launch
from ocifree_pipeline.sandbox.oracle.compute_life import MODELS, service
from ocifree_pipeline.sandbox.oracle.shape_catalogue import SHAPES
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply

MOST_ENTRIES = 10


@service.post(
    "/computeCapacityReports",
    operation="CreateComputeCapacityReport",
    body=f"{MODELS}.CreateComputeCapacityReportDetails",
    reply=f"{MODELS}.ComputeCapacityReport",
    mutating=False,
)
def create_report(call: Call) -> Reply:
    body = call.body
    call.compartment(body["compartmentId"])
    if body["compartmentId"] != call.world.tenancy:
        raise errors.invalid_parameter("compartmentId must be that of the root compartment")
    ad = identity.require_ad(call.world, call.region, body["availabilityDomain"])
    wanted = body["shapeAvailabilities"]
    if not 1 <= len(wanted) <= MOST_ENTRIES:
        raise errors.invalid_parameter(f"shapeAvailabilities must have 1 to {MOST_ENTRIES} entries, not {len(wanted)}")
    report = {
        "compartmentId": body["compartmentId"],
        "availabilityDomain": ad,
        "shapeAvailabilities": [_entry(call, ad, one) for one in wanted],
        "timeCreated": call.world.clock.stamp(),
    }
    return Reply(report)


def _entry(call: Call, ad: str, wanted: dict[str, Any]) -> dict[str, Any]:
    launch.need_fault_domain(wanted.get("faultDomain"))
    entry = dict(wanted)
    shape = SHAPES.get(wanted["instanceShape"])
    if shape is None or not shape.ad_is_served(call.world, ad):
        return entry | {"availabilityStatus": "HARDWARE_NOT_SUPPORTED"}
    config = wanted.get("instanceShapeConfig") or ({"ocpus": shape.ocpus} if shape.flex else {})
    size = launch.sized(shape, config)
    entry["instanceShapeConfig"] = {"ocpus": float(size.ocpus), "memoryInGBs": float(size.memory_gb)}
    ask = capacity.Ask(ad, shape.name, size.ocpus, wanted.get("faultDomain"))
    available, count = capacity.reported(call.world, ask)
    if not available:
        return entry | {"availabilityStatus": "OUT_OF_HOST_CAPACITY"}
    return entry | {"availabilityStatus": "AVAILABLE", "availableCount": count}
