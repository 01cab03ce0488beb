"""Core network, private IPs: addresses of a subnet. The primary one is born and dies with its VNIC, others may move."""

from ipaddress import IPv4Address, IPv4Network
from typing import Any

from ocifree_pipeline.sandbox.oracle import addresses, dns_labels, errors, network_life, pages, public_ips
from ocifree_pipeline.sandbox.oracle.network_life import MODELS, SUBNET, service
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply
from ocifree_pipeline.sandbox.world import Resource, World

KIND = "privateip"
MODEL = f"{MODELS}.PrivateIp"
MOST_PER_VNIC = 64


# for the other parts of the network -----------------------------------------------------------------------------


def networks(subnet: Resource) -> list[IPv4Network]:
    return [IPv4Network(one) for one in subnet.body["ipv4CidrBlocks"]]


def in_subnet(world: World, subnet: str) -> list[Resource]:
    return [one for one in world.all(KIND) if one.body["subnetId"] == subnet]


def of_vnic(world: World, vnic: str) -> list[Resource]:
    return [one for one in world.all(KIND) if one.body.get("vnicId") == vnic]


def primary(world: World, vnic: str) -> Resource:
    return next(one for one in of_vnic(world, vnic) if one.body["isPrimary"])


def host_labels(world: World, subnet: str, besides: str = "") -> list[str]:
    """The host names of a subnet that are taken, by others than ``besides``."""
    found = [one for one in in_subnet(world, subnet) if one.ocid != besides]
    return [one.body["hostnameLabel"] for one in found if "hostnameLabel" in one.body]


def choose_address(world: World, subnet: Resource, wanted: str | None) -> str:
    """The wanted address if it is free, any free one otherwise."""
    used = {IPv4Address(one.body["ipAddress"]) for one in in_subnet(world, subnet.ocid)}
    if wanted is not None:
        address = addresses.address(wanted)
        if not any(addresses.is_usable(network, address) for network in networks(subnet)):
            raise errors.invalid_parameter(
                f"The requested IP address {wanted} is not a usable address of the subnet {subnet.ocid} "
                f"with CIDR {subnet.body['cidrBlock']}"
            )
        if address in used:
            raise errors.conflict(f"The requested IP address {wanted} is already in use in the subnet {subnet.ocid}")
        return wanted
    for network in networks(subnet):
        found = addresses.free_address(world, network, used)
        if found is not None:
            return str(found)
    raise errors.conflict(f"The subnet {subnet.ocid} has no free IP address left")


def add(world: World, subnet: Resource, body: dict[str, Any], hidden: dict[str, Any] | None = None) -> Resource:
    """A private IP whose address and label were checked before."""
    defaults = {
        "displayName": f"privateip{world.clock.now():%Y%m%d%H%M%S}",
        "isPrimary": False,
        "lifetime": "EPHEMERAL",
        "subnetId": subnet.ocid,
        "ipState": "ASSIGNED",
        "ipv4SubnetCidrAtCreation": subnet.body["cidrBlock"],
    }
    return world.add(KIND, defaults | body, region=subnet.region, hidden=hidden)


def remove(world: World, private: Resource) -> None:
    """The address is free again; an ephemeral public IP goes with it, a reserved one is unassigned."""
    public_ips.let_go(world, private.ocid)
    world.remove(private)


def check_label(world: World, subnet: Resource, label: str, besides: str = "") -> None:
    if "dnsLabel" not in subnet.body:
        raise errors.invalid_parameter(
            f"hostnameLabel {label!r} needs a subnet with a dnsLabel; {subnet.ocid} has none"
        )
    dns_labels.check_host_label(label, host_labels(world, subnet.ocid, besides))


# operations -----------------------------------------------------------------------------------------------------


@service.post("/privateIps", operation="CreatePrivateIp", body=f"{MODELS}.CreatePrivateIpDetails", reply=MODEL)
def create_private_ip(call: Call) -> Reply:
    network_life.check_name(call.body)
    _refuse_unbuilt(call.body)
    vnic = _vnic(call, call.body["vnicId"]) if "vnicId" in call.body else None
    if vnic is None and ("subnetId" not in call.body or call.body.get("lifetime") != "RESERVED"):
        raise errors.invalid_parameter("A private IP needs a vnicId, or a subnetId and lifetime RESERVED")
    subnet_id = vnic.body["subnetId"] if vnic else call.body["subnetId"]
    if call.body.get("subnetId", subnet_id) != subnet_id:
        raise errors.invalid_parameter("The private IP and its VNIC must be in the same subnet")
    subnet = network_life.related(call.world, call.region, SUBNET, subnet_id)
    if vnic is not None:
        _require_room(call.world, vnic)
    if label := call.body.get("hostnameLabel"):
        check_label(call.world, subnet, label)
    address = choose_address(call.world, subnet, call.body.get("ipAddress"))
    body = call.body | {"ipAddress": address} | _assignment(vnic, subnet)
    return Reply.of(add(call.world, subnet, body))


@service.get("/privateIps/{privateIpId}", operation="GetPrivateIp", reply=MODEL)
def get_private_ip(call: Call) -> Reply:
    return Reply.of(call.find(KIND, call.path["privateIpId"]))


@service.get("/privateIps", operation="ListPrivateIps", reply=f"list[{MODEL}]")
def list_private_ips(call: Call) -> Reply:
    vnic, subnet, vlan = (call.query.get(name) for name in ("vnicId", "subnetId", "vlanId"))
    if not (vnic or subnet or vlan):
        raise errors.invalid_parameter("One of these must be given: vnicId, subnetId, or subnetId and ipAddress")
    if vlan:
        raise errors.not_found()
    if vnic:
        call.find("vnic", vnic)
    if subnet:
        call.find(SUBNET.name, subnet)
    return pages.listing(
        call,
        KIND,
        filters=("vnicId", "subnetId", "ipAddress", "ipState", "lifetime"),
        sort=("TIMECREATED",),
        compartment=False,
    )


@service.put(
    "/privateIps/{privateIpId}", operation="UpdatePrivateIp", body=f"{MODELS}.UpdatePrivateIpDetails", reply=MODEL
)
def update_private_ip(call: Call) -> Reply:
    private = _secondary(call, "updated; update its VNIC instead")
    network_life.check_name(call.body)
    _refuse_unbuilt(call.body)
    subnet = call.world.table(SUBNET.name)[private.body["subnetId"]]
    if label := call.body.get("hostnameLabel"):
        check_label(call.world, subnet, label, besides=private.ocid)
    changes = dict(call.body)
    vnic_id = call.body.get("vnicId")
    if vnic_id is not None and vnic_id != private.body.get("vnicId"):
        vnic = _vnic(call, vnic_id)
        if vnic.body["subnetId"] != subnet.ocid:
            raise errors.invalid_parameter("The private IP can only be moved to a VNIC in the same subnet")
        _require_room(call.world, vnic)
        changes |= _assignment(vnic, subnet)
    return Reply.of(call.world.change(private, **changes))


@service.delete("/privateIps/{privateIpId}", operation="DeletePrivateIp")
def delete_private_ip(call: Call) -> Reply:
    remove(call.world, _secondary(call, "deleted; it is deleted with its VNIC"))
    return Reply()


@service.post("/privateIps/{privateIpId}/actions/detach", operation="PrivateIpVnicDetach", reply=MODEL)
def detach_private_ip(call: Call) -> Reply:
    private = _secondary(call, "detached; it is deleted with its VNIC")
    if private.body["lifetime"] != "RESERVED":
        raise errors.invalid_parameter(f"The private IP {private.ocid} is ephemeral; delete it instead")
    unassign(call.world, private)
    return Reply.of(private)


def unassign(world: World, private: Resource) -> None:
    """A reserved private IP outlives its VNIC."""
    public_ips.let_go(world, private.ocid)
    private.body.pop("vnicId", None)
    world.change(private, ipState="AVAILABLE", isPrimary=False)


def _assignment(vnic: Resource | None, subnet: Resource) -> dict[str, Any]:
    if vnic is None:
        ad = {"availabilityDomain": subnet.body["availabilityDomain"]} if "availabilityDomain" in subnet.body else {}
        return {"compartmentId": subnet.body["compartmentId"], "ipState": "AVAILABLE"} | ad
    return {
        "vnicId": vnic.ocid,
        "compartmentId": vnic.body["compartmentId"],
        "availabilityDomain": vnic.body["availabilityDomain"],
        "ipState": "ASSIGNED",
    }


def _secondary(call: Call, verb: str) -> Resource:
    private = call.edit(KIND, call.path["privateIpId"])
    if private.hidden.get("owner"):
        raise errors.conflict(f"The private IP {private.ocid} belongs to the load balancer {private.hidden['owner']}")
    if private.body["isPrimary"]:
        raise errors.invalid_parameter(f"The private IP {private.ocid} is a primary one and cannot be {verb}")
    return private


def _vnic(call: Call, ocid: str) -> Resource:
    vnic = call.related("vnic", ocid)
    if vnic.state not in {"PROVISIONING", "AVAILABLE"}:
        raise errors.incorrect_state(f"The VNIC {ocid} is in state {vnic.state}")
    return vnic


def _require_room(world: World, vnic: Resource) -> None:
    if len(of_vnic(world, vnic.ocid)) >= MOST_PER_VNIC:
        raise errors.limit_exceeded("private-ips-per-vnic-count")


def _refuse_unbuilt(body: dict[str, Any]) -> None:
    if "vlanId" in body:
        raise errors.related_not_found()
    for name in ("cidrPrefixLength", "routeTableId"):
        if name in body:
            raise errors.not_built(f"private IPs with {name}")
