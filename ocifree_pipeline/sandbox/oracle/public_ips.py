"""Core network, public IPs: an ephemeral one lives as long as what it belongs to, a reserved one as its owner likes.

    PROVISIONING -> AVAILABLE -> ASSIGNING -> ASSIGNED -> UNASSIGNING -> AVAILABLE | UNASSIGNED | TERMINATED

A private IP has one public IP at most. Moving takes two steps, and the second may fail: then it is AVAILABLE again.
"""

from ipaddress import IPv4Address
from typing import Any

from ocifree_pipeline.sandbox.oracle import addresses, errors, identity, limits, network_life, pages
from ocifree_pipeline.sandbox.oracle.network_life import MODELS, service
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply
from ocifree_pipeline.sandbox.world import Resource, World, transition

KIND = "publicip"
MODEL = f"{MODELS}.PublicIp"
ASSIGN_SECONDS = 3
ENTITY_TYPES = {"privateip": "PRIVATE_IP", "natgateway": "NAT_GATEWAY"}
ASSIGNED = frozenset({"ASSIGNING", "ASSIGNED"})


# for the other parts of the network -----------------------------------------------------------------------------


def of_entity(world: World, ocid: str) -> Resource | None:
    """The public IP that a private IP or a NAT gateway has or is about to have."""
    return next(
        (one for one in world.all(KIND) if one.state in ASSIGNED and one.body.get("assignedEntityId") == ocid), None
    )


def at(world: World, address: str) -> Resource | None:
    return next((one for one in world.all(KIND) if not one.gone and one.body["ipAddress"] == address), None)


def free_address(world: World) -> str:
    """An address of the pool that nobody in this world has."""
    used = {IPv4Address(one.body["ipAddress"]) for one in world.all(KIND) if not one.gone}
    for kind in ("networkloadbalancer", "loadbalancer"):
        for balancer in world.all(kind):
            if not balancer.gone:
                used |= {IPv4Address(one["ipAddress"]) for one in balancer.hidden["addresses"] if one["isPublic"]}
    return str(addresses.free_public_address(world, used))


def begin_ephemeral(world: World, entity: Resource, compartment: str, **fields: Any) -> Resource:
    """The public IP that a new VNIC or NAT gateway brings along: assigned from the first moment.

    Who may not fail any more passes ``ipAddress``, an address of ``free_address``.
    """
    ad = entity.body.get("availabilityDomain") if entity.kind == "privateip" else None
    place = {"scope": "AVAILABILITY_DOMAIN", "availabilityDomain": ad} if ad else {"scope": "REGION"}
    public = _add(world, entity.region, {"compartmentId": compartment, "lifetime": "EPHEMERAL"} | place | fields)
    world.change(public, lifecycleState="ASSIGNED", **_relation(entity))
    _show_on_vnic(world, entity.ocid)
    return public


def free_reserved(world: World, region: str, ocid: str) -> Resource:
    """A reserved public IP that may be assigned now, or an error."""
    public = world.get(KIND, ocid)
    if public is None or public.gone or public.region != region:
        raise errors.related_not_found()
    if public.body["lifetime"] != "RESERVED":
        raise errors.invalid_parameter(f"The public IP {ocid} is not a reserved one")
    if public.state != "AVAILABLE":
        raise errors.conflict(f"The public IP {ocid} is in state {public.state}, not AVAILABLE")
    return public


def assign(world: World, public: Resource, entity: Resource) -> Resource:
    """The public IP is on its way to ``entity``."""
    world.change(public, lifecycleState="ASSIGNING", **_relation(entity))
    world.clock.later(ASSIGN_SECONDS, "publicip.assigned", ocid=public.ocid)
    return public


def let_go(world: World, entity: str) -> None:
    """``entity`` disappears: its ephemeral public IP with it, while a reserved one returns to its owner at once."""
    for public in list(world.all(KIND)):
        if public.body.get("assignedEntityId") != entity or public.gone:
            continue
        _forget_relation(world, public)
        if public.body["lifetime"] == "EPHEMERAL" or public.hidden.get("deleting"):
            network_life.vanish(world, public)
        else:
            world.change(public, lifecycleState="AVAILABLE")


# operations -----------------------------------------------------------------------------------------------------


@service.post("/publicIps", operation="CreatePublicIp", body=f"{MODELS}.CreatePublicIpDetails", reply=MODEL)
def create_public_ip(call: Call) -> Reply:
    compartment = call.compartment(call.body["compartmentId"]).ocid
    network_life.check_name(call.body)
    if "publicIpPoolId" in call.body:
        raise errors.not_built("public IP pools of customers")
    wanted = call.body.get("privateIpId")
    target = _target(call, wanted) if wanted else None
    if call.body["lifetime"] == "EPHEMERAL":
        if target is None:
            raise errors.missing_parameter("privateIpId")
        if not target.body["isPrimary"]:
            raise errors.invalid_parameter("An ephemeral public IP can only be assigned to a primary private IP")
        own = {name: value for name, value in call.body.items() if name != "privateIpId"}
        return Reply.of(begin_ephemeral(call.world, target, compartment, **own))
    limits.require(
        call.world, compartment=compartment, ad=None, region=call.region, needs={"reserved-public-ip-count": 1}
    )
    own = {name: value for name, value in call.body.items() if name != "privateIpId"}
    public = _add(call.world, call.region, own | {"scope": "REGION"})
    if target is not None:
        return Reply.of(assign(call.world, public, target))
    call.world.later_state(network_life.CREATE_SECONDS, public, "AVAILABLE")
    return Reply.of(public)


@service.get("/publicIps/{publicIpId}", operation="GetPublicIp", reply=MODEL)
def get_public_ip(call: Call) -> Reply:
    return Reply.of(call.find(KIND, call.path["publicIpId"]))


@service.post(
    "/publicIps/actions/getByIpAddress",
    operation="GetPublicIpByIpAddress",
    body=f"{MODELS}.GetPublicIpByIpAddressDetails",
    reply=MODEL,
    mutating=False,
)
def get_public_ip_by_ip_address(call: Call) -> Reply:
    return _found(call, at(call.world, call.body["ipAddress"]))


@service.post(
    "/publicIps/actions/getByPrivateIpId",
    operation="GetPublicIpByPrivateIpId",
    body=f"{MODELS}.GetPublicIpByPrivateIpIdDetails",
    reply=MODEL,
    mutating=False,
)
def get_public_ip_by_private_ip_id(call: Call) -> Reply:
    return _found(call, of_entity(call.world, call.body["privateIpId"]))


@service.get("/publicIps", operation="ListPublicIps", reply=f"list[{MODEL}]")
def list_public_ips(call: Call) -> Reply:
    scope, ad = call.query.need("scope"), call.query.get("availabilityDomain")
    if scope not in {"REGION", "AVAILABILITY_DOMAIN"}:
        raise errors.invalid_parameter(f"scope must be REGION or AVAILABILITY_DOMAIN, not {scope!r}")
    if scope == "AVAILABILITY_DOMAIN":
        identity.require_ad(call.world, call.region, call.query.need("availabilityDomain"))
    elif ad:
        raise errors.invalid_parameter("availabilityDomain must be empty for scope REGION")
    return pages.listing(call, KIND, filters=("scope", "lifetime", "availabilityDomain"))


@service.put("/publicIps/{publicIpId}", operation="UpdatePublicIp", body=f"{MODELS}.UpdatePublicIpDetails", reply=MODEL)
def update_public_ip(call: Call) -> Reply:
    public = _editable(call)
    network_life.check_name(call.body)
    changes = {name: value for name, value in call.body.items() if name != "privateIpId"}
    wanted = call.body.get("privateIpId")
    current = public.body.get("assignedEntityId")
    if wanted is None or wanted == (current or ""):
        return Reply.of(call.world.change(public, **changes))
    if public.body["lifetime"] == "EPHEMERAL":
        raise errors.invalid_parameter("An ephemeral public IP cannot be moved or unassigned; delete it instead")
    _require_steady(public)
    target = _target(call, wanted) if wanted else None
    call.world.change(public, **changes)
    if current is not None:
        _start_unassigning(call.world, public, target.ocid if target else "")
    elif target is not None:
        assign(call.world, public, target)
    return Reply.of(public)


@service.delete("/publicIps/{publicIpId}", operation="DeletePublicIp")
def delete_public_ip(call: Call) -> Reply:
    public = _editable(call)
    _require_steady(public)
    if public.state == "ASSIGNED":
        public.hidden["deleting"] = True
        _start_unassigning(call.world, public, "")
    else:
        network_life.end(call.world, public)
    return Reply()


@service.post(
    "/publicIps/{publicIpId}/actions/changeCompartment",
    operation="ChangePublicIpCompartment",
    body=f"{MODELS}.ChangePublicIpCompartmentDetails",
    status=204,
)
def change_public_ip_compartment(call: Call) -> Reply:
    public = _editable(call)
    if public.body["lifetime"] != "RESERVED":
        raise errors.invalid_parameter("Only a reserved public IP can be moved to another compartment")
    call.world.change(public, compartmentId=call.compartment(call.body["compartmentId"]).ocid)
    return Reply(headers={"etag": public.etag})


# steps ----------------------------------------------------------------------------------------------------------


@transition("publicip.assigned")
def _finish_assigning(world: World, ocid: str) -> None:
    public = world.get(KIND, ocid)
    if public is None or public.state != "ASSIGNING":
        return
    world.change(public, lifecycleState="ASSIGNED")
    _show_on_vnic(world, public.body["assignedEntityId"])


@transition("publicip.unassigned")
def _finish_unassigning(world: World, ocid: str, target: str) -> None:
    public = world.get(KIND, ocid)
    if public is None or public.state != "UNASSIGNING":
        return
    _forget_relation(world, public)
    if public.hidden.get("deleting"):
        network_life.vanish(world, public, "UNASSIGNED" if public.body["lifetime"] == "EPHEMERAL" else "TERMINATED")
        return
    private = world.get("privateip", target)
    if private is not None and of_entity(world, target) is None:
        assign(world, public, private)
    else:
        world.change(public, lifecycleState="AVAILABLE")


def _start_unassigning(world: World, public: Resource, target: str) -> None:
    entity = public.body["assignedEntityId"]
    world.change(public, lifecycleState="UNASSIGNING")
    world.clock.later(ASSIGN_SECONDS, "publicip.unassigned", ocid=public.ocid, target=target)
    _show_on_vnic(world, entity)


def _relation(entity: Resource) -> dict[str, Any]:
    relation = {"assignedEntityId": entity.ocid, "assignedEntityType": ENTITY_TYPES[entity.kind]}
    return relation | ({"privateIpId": entity.ocid} if entity.kind == "privateip" else {})


def _forget_relation(world: World, public: Resource) -> None:
    entity = public.body.pop("assignedEntityId", None)
    public.body.pop("assignedEntityType", None)
    public.body.pop("privateIpId", None)
    world.touch(public)
    if entity is not None:
        _show_on_vnic(world, entity)


def _show_on_vnic(world: World, entity: str) -> None:
    """A VNIC shows the public IP of its primary private IP."""
    private = world.get("privateip", entity)
    vnic = world.get("vnic", private.body.get("vnicId", "")) if private else None
    if private is None or vnic is None or not private.body["isPrimary"]:
        return
    public = of_entity(world, entity)
    if public is not None and public.state == "ASSIGNED":
        world.change(vnic, publicIp=public.body["ipAddress"])
    elif "publicIp" in vnic.body:
        del vnic.body["publicIp"]
        world.touch(vnic)


def _add(world: World, region: str, fields: dict[str, Any]) -> Resource:
    body = {"displayName": f"publicip{world.clock.now():%Y%m%d%H%M%S}"} | fields
    body |= {"ipAddress": fields.get("ipAddress") or free_address(world), "lifecycleState": "PROVISIONING"}
    return world.add(KIND, body, region=region)


def _editable(call: Call) -> Resource:
    public = call.edit(KIND, call.path["publicIpId"])
    if public.gone or public.hidden.get("deleting"):
        raise errors.not_found()
    automatic = public.body.get("assignedEntityType") == "NAT_GATEWAY" and public.body["lifetime"] == "EPHEMERAL"
    if automatic:
        raise errors.conflict(f"The public IP {public.ocid} was assigned by Oracle and lives as long as its gateway")
    return public


def _require_steady(public: Resource) -> None:
    if public.state not in {"AVAILABLE", "ASSIGNED"}:
        raise errors.incorrect_state(f"The public IP {public.ocid} is in state {public.state}")


def _target(call: Call, ocid: str) -> Resource:
    """The private IP that is to get a public one, or an error."""
    private = call.world.get("privateip", ocid)
    if private is None or private.region != call.region:
        raise errors.related_not_found()
    if private.hidden.get("owner"):
        raise errors.conflict(f"The private IP {ocid} belongs to the load balancer {private.hidden['owner']}")
    if not private.body.get("vnicId"):
        raise errors.invalid_parameter(f"The private IP {ocid} is not assigned to a VNIC")
    subnet = call.world.table("subnet")[private.body["subnetId"]]
    if subnet.body["prohibitPublicIpOnVnic"]:
        raise errors.invalid_parameter(f"The subnet {subnet.ocid} prohibits public IPs on its VNICs")
    holder = of_entity(call.world, ocid)
    if holder is not None:
        raise errors.conflict(f"The private IP {ocid} already has the public IP {holder.ocid} assigned")
    return private


def _found(call: Call, public: Resource | None) -> Reply:
    if public is None or public.region != call.region:
        raise errors.not_found()
    return Reply.of(public)
