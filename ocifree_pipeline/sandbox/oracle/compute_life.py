"""What compute and block storage resources have in common: names, tags, moves between compartments, the end."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from ocifree_pipeline.sandbox.oracle import errors, models, work_requests
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply, Service
from ocifree_pipeline.sandbox.world import Resource, World, transition

MODELS = "oci.core.models"
LONGEST_NAME = 255
EDITABLE = ("displayName", "freeformTags", "definedTags", "securityAttributes")

service = Service("iaas")


def known(model: str, body: dict[str, Any]) -> dict[str, Any]:
    """The fields of a request that the resource shows as well."""
    attributes = models.known_attributes(f"{MODELS}.{model}")
    return {name: value for name, value in body.items() if name in attributes}


def default_name(world: World, kind: str) -> str:
    return f"{kind}{world.clock.now():%Y%m%d%H%M%S}"


def check_name(body: dict[str, Any]) -> None:
    if len(body.get("displayName", "")) > LONGEST_NAME:
        raise errors.invalid_parameter(f"displayName must not be longer than {LONGEST_NAME} characters")


def need_state(resource: Resource, allowed: Iterable[str], what: str) -> None:
    """404 for what is over, 409 for what is in the middle of something else."""
    allowed = tuple(allowed)
    if resource.state in allowed:
        return
    if resource.gone:
        raise errors.not_found(f"{what} {resource.ocid} not found")
    raise errors.incorrect_state(f"{what} {resource.ocid} is in state {resource.state}, not {' or '.join(allowed)}")


def refuse_unbuilt(body: dict[str, Any], names: Iterable[str], what: str) -> None:
    """A field that the sandbox does not play must not be passed over."""
    for name in names:
        if body.get(name):
            raise errors.not_built(f"{what} with {name}")


def vanish_after(world: World, resource: Resource, seconds: float) -> None:
    """Clients see the end of a resource for a while; then it is 404."""
    moment = world.clock.now() + timedelta(seconds=seconds)
    world.clock.at(moment, "compute.vanish", kind=resource.kind, ocid=resource.ocid)


@transition("compute.vanish")
def _vanish(world: World, kind: str, ocid: str) -> None:
    world.table(kind).pop(ocid, None)


def offer_move(kind: str, noun: str, path: str, parameter: str) -> None:
    """Register the operation that moves a resource to another compartment."""

    def change_compartment(call: Call) -> Reply:
        resource = call.edit(kind, call.path[parameter])
        if resource.gone:
            raise errors.not_found()
        target = call.compartment(call.body["compartmentId"]).ocid
        call.world.change(resource, compartmentId=target)
        touched = work_requests.Touched("UPDATED", kind, resource.ocid)
        name = f"Change{noun}Compartment"
        request = work_requests.start(call.world, name, target, [touched], seconds=0, region=call.region)
        return Reply(headers={"etag": resource.etag, "opc-work-request-id": request.ocid})

    service.post(
        f"{path}/{{{parameter}}}/actions/changeCompartment",
        operation=f"Change{noun}Compartment",
        body=f"{MODELS}.Change{noun}CompartmentDetails",
        status=204,
    )(change_compartment)
