"""Core network, IPv6 addresses of VNICs. Answers at /ipv6 as Oracle does, and at /ipv6s too."""

from collections.abc import Callable
from ipaddress import IPv6Address, IPv6Network
from typing import Any

from ocifree_pipeline.sandbox.oracle import addresses, errors, network_life, pages
from ocifree_pipeline.sandbox.oracle.network_life import MODELS, SUBNET, service
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply
from ocifree_pipeline.sandbox.world import Resource, World

KIND = "ipv6"
MODEL = f"{MODELS}.Ipv6"
PATHS = ("/ipv6", "/ipv6s")


def assign(world: World, vnic: Resource, subnet: Resource, wanted: str | None = None, **fields: Any) -> Resource:
    """A new IPv6 address for the VNIC; the subnet must have a prefix."""
    prefixes = [IPv6Network(one) for one in subnet.body.get("ipv6CidrBlocks", ())]
    if not prefixes:
        raise errors.invalid_parameter(f"The subnet {subnet.ocid} has no IPv6 prefix")
    used = {
        IPv6Address(one.body["ipAddress"])
        for one in world.all(KIND)
        if not one.gone and one.body["subnetId"] == subnet.ocid
    }
    body = {
        "displayName": f"ipv6{world.clock.now():%Y%m%d%H%M%S}",
        "compartmentId": vnic.body["compartmentId"],
        "ipAddress": str(_choose(world, prefixes, used, wanted)),
        "subnetId": subnet.ocid,
        "vnicId": vnic.ocid,
        "ipState": "ASSIGNED",
        "lifetime": "EPHEMERAL",
        "lifecycleState": "AVAILABLE",
        "systemTags": {},
    }
    made = world.add(KIND, body | fields, region=vnic.region)
    world.change(vnic, ipv6Addresses=[*vnic.body.get("ipv6Addresses", []), body["ipAddress"]])
    return made


def let_go(world: World, vnic: str) -> None:
    """All IPv6 addresses of a VNIC that disappears."""
    for one in list(world.all(KIND)):
        if one.body.get("vnicId") == vnic and not one.gone:
            network_life.vanish(world, one)


def _choose(world: World, prefixes: list[IPv6Network], used: set[IPv6Address], wanted: str | None) -> IPv6Address:
    if wanted is None:
        return addresses.free_ipv6_address(world, prefixes[0], used)
    try:
        address = IPv6Address(wanted)
    except ValueError as error:
        raise errors.invalid_parameter(f"ipAddress {wanted!r} is not a valid IPv6 address") from error
    if not any(address in one for one in prefixes):
        raise errors.invalid_parameter(f"The requested IP address {wanted} is not in a prefix of the subnet")
    if address in used:
        raise errors.conflict(f"The requested IP address {wanted} is already in use")
    return address


def create_ipv6(call: Call) -> Reply:
    network_life.check_name(call.body)
    if "vnicId" not in call.body:
        raise errors.missing_parameter("vnicId")
    vnic = call.related("vnic", call.body["vnicId"])
    for name in ("cidrPrefixLength", "routeTableId", "hostname", "ipv6SubnetCidr"):
        if name in call.body:
            raise errors.not_built(f"IPv6 addresses with {name}")
    if call.body.get("lifetime") == "RESERVED":
        raise errors.not_built("reserved IPv6 addresses")
    subnet = network_life.related(call.world, call.region, SUBNET, vnic.body["subnetId"])
    tags = {name: call.body[name] for name in ("displayName", "freeformTags", "definedTags") if name in call.body}
    return Reply.of(assign(call.world, vnic, subnet, call.body.get("ipAddress"), **tags))


def get_ipv6(call: Call) -> Reply:
    return Reply.of(call.find(KIND, call.path["ipv6Id"]))


def list_ipv6s(call: Call) -> Reply:
    if not any(call.query.get(name) for name in ("vnicId", "subnetId", "ipAddress")):
        raise errors.invalid_parameter("One of these must be given: vnicId, subnetId, ipAddress")
    filters = ("vnicId", "subnetId", "ipAddress", "ipState", "lifetime")
    return pages.listing(call, KIND, filters=filters, sort=("TIMECREATED",), compartment=False)


def update_ipv6(call: Call) -> Reply:
    address = call.edit(KIND, call.path["ipv6Id"])
    network_life.check_name(call.body)
    beyond = call.body.keys() - {"displayName", "freeformTags", "definedTags"}
    if beyond:
        raise errors.not_built(f"a change of {', '.join(sorted(beyond))} of an IPv6 address")
    return Reply.of(call.world.change(address, **call.body))


def delete_ipv6(call: Call) -> Reply:
    address = call.edit(KIND, call.path["ipv6Id"])
    if address.state != "AVAILABLE":
        raise errors.not_found()
    vnic = call.world.get("vnic", address.body["vnicId"])
    if vnic is not None:
        left = [one for one in vnic.body["ipv6Addresses"] if one != address.body["ipAddress"]]
        call.world.change(vnic, ipv6Addresses=left)
    network_life.end(call.world, address)
    return Reply()


def _register(path: str) -> None:
    one = f"{path}/{{ipv6Id}}"
    operations: list[tuple[Callable[..., Any], str, str, Callable[[Call], Reply], dict[str, str]]] = [
        (service.post, path, "CreateIpv6", create_ipv6, {"body": f"{MODELS}.CreateIpv6Details", "reply": MODEL}),
        (service.get, path, "ListIpv6s", list_ipv6s, {"reply": f"list[{MODEL}]"}),
        (service.get, one, "GetIpv6", get_ipv6, {"reply": MODEL}),
        (service.put, one, "UpdateIpv6", update_ipv6, {"body": f"{MODELS}.UpdateIpv6Details", "reply": MODEL}),
        (service.delete, one, "DeleteIpv6", delete_ipv6, {}),
    ]
    for method, where, name, function, options in operations:
        method(where, operation=name, **options)(function)


for _path in PATHS:
    _register(_path)
