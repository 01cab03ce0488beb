"""Identity, compartments: a tree below the tenancy. Deleting one is a job, and it fails while anything is inside."""

import re
from collections.abc import Iterator

from ocifree_pipeline.sandbox.oracle import errors, pages, work_requests
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply, Service
from ocifree_pipeline.sandbox.world import Resource, World, transition

CREATE_SECONDS = 5
DELETE_SECONDS = 30
MODELS = "oci.identity.models"
NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
DEEPEST = 6

service = Service("identity")


@service.post(
    "/compartments",
    operation="CreateCompartment",
    body=f"{MODELS}.CreateCompartmentDetails",
    reply=f"{MODELS}.Compartment",
)
def create_compartment(call: Call) -> Reply:
    call.home_region_only()
    parent = call.compartment(call.body["compartmentId"])
    _check_name(call.world, parent.ocid, call.body["name"])
    if len(list(ancestors(call.world, parent))) >= DEEPEST:
        raise errors.invalid_parameter(f"Compartments can be nested {DEEPEST} levels deep, not deeper")
    body = call.body | {"lifecycleState": "CREATING", "isAccessible": True}
    compartment = call.world.add("compartment", body, region="")
    call.world.later_state(CREATE_SECONDS, compartment, "ACTIVE")
    return Reply.of(compartment)


@service.get("/compartments/{compartmentId}", operation="GetCompartment", reply=f"{MODELS}.Compartment")
def get_compartment(call: Call) -> Reply:
    return Reply.of(call.find("compartment", call.path["compartmentId"]))


@service.get("/compartments", operation="ListCompartments", reply=f"list[{MODELS}.Compartment]")
def list_compartments(call: Call) -> Reply:
    inside = call.compartment(call.query.need("compartmentId"))
    subtree = call.query.flag("compartmentIdInSubtree")
    if subtree and inside.ocid != call.world.tenancy:
        raise errors.invalid_parameter("compartmentIdInSubtree can only be true for the tenancy")
    if call.query.get("accessLevel") not in {None, "ANY", "ACCESSIBLE"}:
        raise errors.invalid_parameter("accessLevel must be ANY or ACCESSIBLE")
    found = [
        one
        for one in call.world.all("compartment")
        if one.ocid != call.world.tenancy and (subtree or one.body["compartmentId"] == inside.ocid)
    ]
    return pages.listing(
        call, found, filters=("name", "lifecycleState"), sort=("TIMECREATED", "NAME"), compartment=False
    )


@service.put(
    "/compartments/{compartmentId}",
    operation="UpdateCompartment",
    body=f"{MODELS}.UpdateCompartmentDetails",
    reply=f"{MODELS}.Compartment",
)
def update_compartment(call: Call) -> Reply:
    call.home_region_only()
    compartment = call.edit("compartment", call.path["compartmentId"])
    _require_active(compartment)
    name = call.body.get("name", compartment.body["name"])
    if name != compartment.body["name"]:
        _check_name(call.world, compartment.body["compartmentId"], name)
    return Reply.of(call.world.change(compartment, **call.body))


@service.delete("/compartments/{compartmentId}", operation="DeleteCompartment", status=202)
def delete_compartment(call: Call) -> Reply:
    call.home_region_only()
    compartment = call.edit("compartment", call.path["compartmentId"])
    _require_own(call, compartment)
    _require_active(compartment)
    call.world.change(compartment, lifecycleState="DELETING")
    request = work_requests.start(
        call.world,
        "DELETE_COMPARTMENT",
        compartment.ocid,
        [work_requests.Touched("DELETED", "compartment", compartment.ocid)],
        seconds=DELETE_SECONDS,
        on_done="compartment.delete",
        region="",
        ocid=compartment.ocid,
    )
    return Reply(headers={"opc-work-request-id": request.ocid})


@transition("compartment.delete")
def _delete(world: World, request: str, ocid: str) -> None:
    compartment = world.table("compartment")[ocid]
    inside = [one.kind for one in contents(world, ocid)]
    if inside:
        world.change(compartment, lifecycleState="ACTIVE")
        listed = ", ".join(sorted(set(inside)))
        work_requests.fail(
            world, request, "Conflict", f"Compartment {compartment.body['name']} is not empty; it holds: {listed}"
        )
    else:
        world.change(compartment, lifecycleState="DELETED")


@service.post(
    "/compartments/{compartmentId}/actions/moveCompartment",
    operation="MoveCompartment",
    body=f"{MODELS}.MoveCompartmentDetails",
    status=202,
)
def move_compartment(call: Call) -> Reply:
    call.home_region_only()
    compartment = call.edit("compartment", call.path["compartmentId"])
    _require_own(call, compartment)
    _require_active(compartment)
    target = call.compartment(call.body["targetCompartmentId"])
    if compartment in ancestors(call.world, target):
        raise errors.invalid_parameter("A compartment cannot be moved into itself or into one of its children")
    _check_name(call.world, target.ocid, compartment.body["name"])
    request = work_requests.start(
        call.world,
        "MOVE_COMPARTMENT",
        compartment.ocid,
        [work_requests.Touched("UPDATED", "compartment", compartment.ocid)],
        seconds=CREATE_SECONDS,
        on_done="compartment.move",
        region="",
        ocid=compartment.ocid,
        target=target.ocid,
    )
    return Reply(headers={"opc-work-request-id": request.ocid})


@transition("compartment.move")
def _move(world: World, request: str, ocid: str, target: str) -> None:
    if world.table("compartment")[target].state != "ACTIVE":
        work_requests.fail(world, request, "IncorrectState", "The target compartment is not active any more")
        return
    world.change(world.table("compartment")[ocid], compartmentId=target)


def contents(world: World, ocid: str) -> Iterator[Resource]:
    """Everything that keeps a compartment from being deleted. A finished attachment is only shown for a while."""
    for kind, table in world.tables.items():
        if kind != work_requests.KIND:
            yield from (
                one
                for one in table.values()
                if one.body.get("compartmentId") == ocid != one.ocid and not one.gone and one.state != "DETACHED"
            )


def ancestors(world: World, compartment: Resource) -> Iterator[Resource]:
    """The compartment itself, its parent, and so on up to the tenancy."""
    yield compartment
    while compartment.ocid != world.tenancy:
        compartment = world.table("compartment")[compartment.body["compartmentId"]]
        yield compartment


def _check_name(world: World, parent: str, name: str) -> None:
    if not NAME.fullmatch(name):
        raise errors.invalid_parameter(
            f"name {name!r} must have 1 to 100 characters: letters, digits, periods, hyphens and underscores"
        )
    for one in world.all("compartment"):
        if (one.body["compartmentId"], one.body["name"]) == (parent, name) and not one.gone:
            raise errors.already_exists("CompartmentAlreadyExists", f"Compartment '{name}' already exists")


def _require_own(call: Call, compartment: Resource) -> None:
    if compartment.ocid == call.world.tenancy:
        raise errors.invalid_parameter("The root compartment cannot be moved or deleted")


def _require_active(compartment: Resource) -> None:
    if compartment.state != "ACTIVE":
        raise errors.incorrect_state(f"Compartment {compartment.ocid} is in state {compartment.state}, not ACTIVE")
