"""Core compute, the life of an instance: what follows a launch, a power action, a reshape, a termination.

PROVISIONING -> STARTING -> RUNNING -> STOPPING -> STOPPED ... -> TERMINATING -> TERMINATED, and an hour later nothing.
"""

from typing import Any

from ocifree_pipeline.sandbox import machines, money
from ocifree_pipeline.sandbox.oracle import attachments, compute_life, volume_rules, work_requests
from ocifree_pipeline.sandbox.oracle.shape_catalogue import SHAPES
from ocifree_pipeline.sandbox.world import Resource, World, transition

KIND = "instance"
PROVISION_SECONDS, START_SECONDS, STOP_SECONDS, SOFT_STOP_SECONDS = 25, 20, 15, 45
RESHAPE_SECONDS, TERMINATE_SECONDS, LINGER_SECONDS = 60, 30, 3600
LAUNCH_SECONDS = PROVISION_SECONDS + START_SECONDS
OUT_OF_CAPACITY = "Out of host capacity."


def request(world: World, instance: Resource, operation: str, *, seconds: float, action: str, **args: Any) -> Resource:
    """A work request about one instance."""
    touched = [work_requests.Touched(action, KIND, instance.ocid)]
    compartment = instance.body["compartmentId"]
    return work_requests.start(world, operation, compartment, touched, seconds=seconds, region=instance.region, **args)


def launch(world: World, instance: Resource, *, doomed: bool) -> Resource:
    """Begin the life of a new instance. A doomed one finds no host, after the client was told that all is well."""
    work = request(world, instance, "LaunchInstance", seconds=LAUNCH_SECONDS, action="CREATED")
    world.clock.later(PROVISION_SECONDS, "instance.provisioned", ocid=instance.ocid, request=work.ocid, doomed=doomed)
    return work


@transition("instance.provisioned")
def _provisioned(world: World, *, ocid: str, request: str, doomed: bool) -> None:
    instance = world.get(KIND, ocid)
    if instance is None or instance.state != "PROVISIONING":
        work_requests.fail(world, request, "IncorrectState", "The instance was terminated while it was provisioned")
    elif doomed:
        work_requests.fail(world, request, "InternalError", OUT_OF_CAPACITY)
        _end(world, instance, preserve_boot_volume=False)
    else:
        _start(world, instance)


def start(world: World, instance: Resource) -> Resource:
    work = request(world, instance, "StartInstance", seconds=START_SECONDS, action="UPDATED")
    _start(world, instance)
    return work


def _start(world: World, instance: Resource) -> None:
    world.change(instance, lifecycleState="STARTING")
    world.clock.later(START_SECONDS, "instance.started", ocid=instance.ocid)


@transition("instance.started")
def _started(world: World, ocid: str) -> None:
    instance = world.get(KIND, ocid)
    if instance is not None and instance.state == "STARTING":
        world.change(instance, lifecycleState="RUNNING")
        money.begin(world, instance, billed(instance))
        machines.boot(world, instance)


def stop(world: World, instance: Resource, *, soft: bool = False, then_start: bool = False) -> Resource:
    """Power off, and on again if wanted. Used by people, and by the reclaim of idle instances."""
    seconds = SOFT_STOP_SECONDS if soft else STOP_SECONDS
    name = "ResetInstance" if then_start else "StopInstance"
    total = seconds + (START_SECONDS if then_start else 0)
    work = request(world, instance, name, seconds=total, action="UPDATED")
    machines.halt(world, instance)
    world.change(instance, lifecycleState="STOPPING")
    world.clock.later(seconds, "instance.stopped", ocid=instance.ocid, then_start=then_start)
    return work


@transition("instance.stopped")
def _stopped(world: World, ocid: str, then_start: bool) -> None:
    instance = world.get(KIND, ocid)
    if instance is None or instance.state != "STOPPING":
        return
    if then_start:
        _start(world, instance)
    else:
        world.change(instance, lifecycleState="STOPPED")
        money.end(world, instance)


def reshape(world: World, instance: Resource, changes: dict[str, Any]) -> Resource:
    """Apply changes that need the instance to be down; one that ran is down for as long as it takes."""
    running = instance.state == "RUNNING"
    work = request(
        world,
        instance,
        "UpdateInstance",
        seconds=RESHAPE_SECONDS,
        action="UPDATED",
        on_done="instance.reshaped",
        ocid=instance.ocid,
        changes=changes,
        running=running,
    )
    if running:
        machines.halt(world, instance)
        world.change(instance, lifecycleState="STOPPING")
    return work


@transition("instance.reshaped")
def _reshaped(world: World, *, request: str, ocid: str, changes: dict[str, Any], running: bool) -> None:
    instance = world.get(KIND, ocid)
    if instance is None or instance.state not in {"STOPPING", "STOPPED"}:
        work_requests.fail(world, request, "IncorrectState", "The instance was terminated while it was updated")
        return
    world.change(instance, **changes)
    if running:
        world.change(instance, lifecycleState="RUNNING")
        money.begin(world, instance, billed(instance))
        machines.boot(world, instance)


def terminate(world: World, instance: Resource, *, preserve_boot_volume: bool) -> Resource:
    work = request(world, instance, "TerminateInstance", seconds=TERMINATE_SECONDS, action="DELETED")
    machines.halt(world, instance)
    money.end(world, instance)
    world.change(instance, lifecycleState="TERMINATING")
    world.clock.later(TERMINATE_SECONDS, "instance.terminated", ocid=instance.ocid, preserve=preserve_boot_volume)
    return work


@transition("instance.terminated")
def _terminated(world: World, ocid: str, preserve: bool) -> None:
    instance = world.get(KIND, ocid)
    if instance is not None and instance.state == "TERMINATING":
        _end(world, instance, preserve_boot_volume=preserve)


def _end(world: World, instance: Resource, *, preserve_boot_volume: bool) -> None:
    """Everything that hung on the instance is let go; clients see it as TERMINATED for another hour."""
    volumes = [
        world.table("bootvolume")[one.body["bootVolumeId"]]
        for one in attachments.of_instance(world, attachments.BOOT, instance.ocid)
    ]
    for kind in (attachments.VNIC, attachments.BLOCK, attachments.BOOT):
        for attachment in attachments.of_instance(world, kind, instance.ocid):
            attachments.let_go(world, attachment)
    if not preserve_boot_volume:
        for volume in volumes:
            if volume.state in {"AVAILABLE", "PROVISIONING", "FAULTY"}:
                volume_rules.delete(world, volume)
    world.change(instance, lifecycleState="TERMINATED")
    compute_life.vanish_after(world, instance, LINGER_SECONDS)


def billed(instance: Resource) -> dict[str, Any]:
    config = instance.body["shapeConfig"]
    return {
        "shape": instance.body["shape"],
        "ocpus": config["ocpus"],
        "memoryInGBs": config["memoryInGBs"],
    }


def shape_config(shape_name: str, ocpus: float, memory_gb: float) -> dict[str, Any]:
    """The configuration of an instance as clients see it."""
    shape = SHAPES[shape_name]
    gbps = min(shape.flex.max_gbps, max(1.0, ocpus)) if shape.flex else shape.gbps
    return {
        "ocpus": float(ocpus),
        "memoryInGBs": float(memory_gb),
        "vcpus": int(ocpus * shape.threads_per_ocpu),
        "processorDescription": shape.processor,
        "networkingBandwidthInGbps": float(gbps),
        "maxVnicAttachments": attachments.max_vnics(shape_name, ocpus),
        "gpus": 0,
        "localDisks": 0,
    }
