"""Core compute, instances after their launch: found, changed, powered, terminated."""

from typing import Any

from ocifree_pipeline.sandbox import capacity
from ocifree_pipeline.sandbox.oracle import (
    compute_life,
    errors,
    images,
    instance_life,
    launch,
    limits,
    pages,
    shapes,
)
from ocifree_pipeline.sandbox.oracle.compute_life import MODELS, service
from ocifree_pipeline.sandbox.oracle.shape_catalogue import SHAPES
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply
from ocifree_pipeline.sandbox.world import Resource

KIND = instance_life.KIND
MODEL = f"{MODELS}.Instance"
UPDATE_SECONDS = 2
ALIVE = ("PROVISIONING", "STARTING", "RUNNING", "STOPPING", "STOPPED", "CREATING_IMAGE")
STEADY = ("RUNNING", "STOPPED")
RESETS = {
    "RESET": False,
    "SOFTRESET": True,
    "SENDDIAGNOSTICINTERRUPT": False,
    "DIAGNOSTICREBOOT": False,
    "REBOOTMIGRATE": False,
}
"""Actions that end where they began, and whether the guest is asked first."""
NEEDS_DOWNTIME = ("shape", "shapeConfig", "faultDomain", "launchOptions")
FIXED_METADATA = ("ssh_authorized_keys", "user_data")
UNBUILT = (
    "capacityReservationId",
    "dedicatedVmHostId",
    "sourceDetails",
    "platformConfig",
    "timeMaintenanceRebootDue",
    "licensingConfigs",
    "isAIEnterpriseEnabled",
)


@service.get("/instances/{instanceId}", operation="GetInstance", reply=MODEL)
def get_instance(call: Call) -> Reply:
    return Reply.of(call.find(KIND, call.path["instanceId"]))


@service.get("/instances", operation="ListInstances", reply=f"list[{MODEL}]")
def list_instances(call: Call) -> Reply:
    filters = ("availabilityDomain", "displayName", "lifecycleState", "capacityReservationId", "computeClusterId")
    return pages.listing(call, KIND, filters=filters)


@service.delete("/instances/{instanceId}", operation="TerminateInstance")
def terminate_instance(call: Call) -> Reply:
    instance = call.edit(KIND, call.path["instanceId"])
    preserve = call.query.flag("preserveBootVolume")
    compute_life.need_state(instance, ALIVE, "Instance")
    work = instance_life.terminate(call.world, instance, preserve_boot_volume=preserve)
    return Reply(headers={"opc-work-request-id": work.ocid})


@service.post("/instances/{instanceId}", operation="InstanceAction", reply=MODEL)
def instance_action(call: Call) -> Reply:
    instance = call.edit(KIND, call.path["instanceId"])
    action = call.query.need("action").upper()
    if action == "START":
        compute_life.need_state(instance, ("STOPPED",), "Instance")
        _need_host(call, instance, instance.body["shapeConfig"]["ocpus"])
        work = instance_life.start(call.world, instance)
    elif action in {"STOP", "SOFTSTOP"}:
        compute_life.need_state(instance, ("RUNNING",), "Instance")
        work = instance_life.stop(call.world, instance, soft=action == "SOFTSTOP")
    elif action in RESETS:
        compute_life.need_state(instance, ("RUNNING",), "Instance")
        work = instance_life.stop(call.world, instance, soft=RESETS[action], then_start=True)
    else:
        raise errors.invalid_parameter(f"action {action!r} is not an action of an instance")
    return Reply.of(instance, opc_work_request_id=work.ocid)


@service.put("/instances/{instanceId}", operation="UpdateInstance", body=f"{MODELS}.UpdateInstanceDetails", reply=MODEL)
def update_instance(call: Call) -> Reply:
    """Every update has a work request; clients wait for it without asking whether there is one."""
    instance = call.edit(KIND, call.path["instanceId"])
    compute_life.check_name(call.body)
    compute_life.refuse_unbuilt(call.body, UNBUILT, "updates of instances")
    compute_life.need_state(instance, STEADY, "Instance")
    plain = _plain_changes(call, instance)
    heavy = _heavy_changes(call, instance)
    if heavy and instance.state == "RUNNING" and call.body.get("updateOperationConstraint") == "AVOID_DOWNTIME":
        raise errors.invalid_parameter(
            f"Changing {', '.join(sorted(heavy))} of a running instance needs a reboot, which AVOID_DOWNTIME forbids"
        )
    _need_room_to_grow(call, instance, heavy)
    call.world.change(instance, **plain)
    if heavy:
        work = instance_life.reshape(call.world, instance, heavy)
    else:
        work = instance_life.request(call.world, instance, "UpdateInstance", seconds=UPDATE_SECONDS, action="UPDATED")
    return Reply.of(instance, opc_work_request_id=work.ocid)


def _plain_changes(call: Call, instance: Resource) -> dict[str, Any]:
    """What can change while the instance runs."""
    body = call.body
    changes = {name: body[name] for name in (*compute_life.EDITABLE, "metadata", "extendedMetadata") if name in body}
    for name in ("agentConfig", "instanceOptions", "availabilityConfig"):
        if name in body:
            changes[name] = instance.body[name] | body[name]
    if "metadata" in body:
        launch.check_metadata(body)
        before = instance.body["metadata"]
        for name in FIXED_METADATA:
            if body["metadata"].get(name) != before.get(name):
                raise errors.invalid_parameter(f"metadata.{name} cannot be changed after the launch")
    return changes


def _heavy_changes(call: Call, instance: Resource) -> dict[str, Any]:
    """What differs from the present and needs the instance to be down, checked like a launch."""
    body, before = call.body, instance.body
    changes: dict[str, Any] = {}
    launch.need_fault_domain(body.get("faultDomain"))
    if body.get("faultDomain", before["faultDomain"]) != before["faultDomain"]:
        changes["faultDomain"] = body["faultDomain"]
    wanted = before["launchOptions"] | body.get("launchOptions", {})
    if wanted != before["launchOptions"]:
        changes["launchOptions"] = wanted
    if "shape" in body or "shapeConfig" in body:
        changes |= _new_shape(call, instance)
    return changes


def _new_shape(call: Call, instance: Resource) -> dict[str, Any]:
    before, ad = instance.body, instance.body["availabilityDomain"]
    old = before["shapeConfig"]
    shape = shapes.need(call, call.body.get("shape", before["shape"]), ad)
    same = shape.name == before["shape"]
    kept = {"ocpus": old["ocpus"], "memoryInGBs": old["memoryInGBs"]} if same else {}
    size = launch.sized(shape, kept | call.body.get("shapeConfig", {}))
    image = images.known(call, before.get("imageId", ""))
    if image is not None:
        launch.need_fit(image, shape, size)
    if shape.architecture != SHAPES[before["shape"]].architecture:
        raise errors.invalid_parameter(f"Shape {before['shape']} cannot be changed to {shape.name}")
    config = instance_life.shape_config(shape.name, size.ocpus, size.memory_gb)
    if same and config == old:
        return {}
    needs = shape.needs(size.ocpus, size.memory_gb)
    if same:
        used = shape.needs(old["ocpus"], old["memoryInGBs"])
        needs = {name: max(0, amount - used[name]) for name, amount in needs.items()}
    limits.require(call.world, compartment=before["compartmentId"], ad=ad, needs=needs, region=call.region)
    return {"shape": shape.name, "shapeConfig": config}


def _need_room_to_grow(call: Call, instance: Resource, changes: dict[str, Any]) -> None:
    if "shapeConfig" not in changes:
        return
    same = changes["shape"] == instance.body["shape"]
    more = changes["shapeConfig"]["ocpus"] - (instance.body["shapeConfig"]["ocpus"] if same else 0)
    if more > 0:
        _need_host(call, instance, more, changes["shape"])


def _need_host(call: Call, instance: Resource, ocpus: float, shape: str | None = None) -> None:
    """Room to start or to grow, or 500 "Out of host capacity."."""
    ask = capacity.Ask(instance.body["availabilityDomain"], shape or instance.body["shape"], ocpus)
    if capacity.take(call.world, ask) is None:
        raise errors.out_of_host_capacity()


compute_life.offer_move(KIND, "Instance", "/instances", "instanceId")
