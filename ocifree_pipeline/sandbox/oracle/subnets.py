"""Core network, subnets: a part of a VCN's addresses, public or private, in one availability domain or in all."""

from collections.abc import Sequence
from ipaddress import IPv4Network
from typing import Any

from ocifree_pipeline.sandbox.oracle import (
    addresses,
    dns_labels,
    errors,
    identity,
    network_life,
    private_ips,
    work_requests,
)
from ocifree_pipeline.sandbox.oracle.network_life import (
    DHCP_OPTIONS,
    MODELS,
    ROUTE_TABLE,
    SECURITY_LIST,
    SUBNET,
    VCN,
    service,
)
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply
from ocifree_pipeline.sandbox.world import Resource, World, transition

MOST_SECURITY_LISTS = 5
MOST_PER_VCN = 300

network_life.offer(SUBNET)


@service.post("/subnets", operation="CreateSubnet", body=f"{MODELS}.CreateSubnetDetails", reply=SUBNET.model)
def create_subnet(call: Call) -> Reply:
    call.compartment(call.body["compartmentId"])
    vcn = network_life.related(call.world, call.region, VCN, call.body["vcnId"])
    siblings = _siblings(call.world, vcn.ocid)
    if len(siblings) >= MOST_PER_VCN:
        raise errors.limit_exceeded("subnet-count")
    blocks = _asked_blocks(call.body)
    _check_blocks(vcn, siblings, blocks)
    if "availabilityDomain" in call.body:
        identity.require_ad(call.world, call.region, call.body["availabilityDomain"])
    names = [str(one) for one in blocks]
    fields: dict[str, Any] = {
        "cidrBlock": names[0],
        "ipv4CidrBlocks": names,
        "virtualRouterIp": str(addresses.router(blocks[0])),
    }
    fields |= _privacy(call.body)
    fields |= _dns(vcn, siblings, call.body.get("dnsLabel"))
    fields |= _ipv6(vcn, siblings, call.body)
    fields |= _references(call, vcn, call.body)
    network_life.check_name(call.body)
    fields["virtualRouterMac"] = addresses.mac(call.world, "00:00:17")
    if "ipv6CidrBlocks" in fields:
        fields["ipv6VirtualRouterIp"] = addresses.link_local(fields["virtualRouterMac"])
    defaults = {
        "routeTableId": vcn.body["defaultRouteTableId"],
        "securityListIds": [vcn.body["defaultSecurityListId"]],
        "dhcpOptionsId": vcn.body["defaultDhcpOptionsId"],
    }
    return Reply.of(network_life.begin(call.world, SUBNET, defaults | call.body | fields, region=call.region))


@service.put("/subnets/{subnetId}", operation="UpdateSubnet", body=f"{MODELS}.UpdateSubnetDetails", reply=SUBNET.model)
def update_subnet(call: Call) -> Reply:
    subnet = network_life.editable(call, SUBNET)
    vcn = network_life.related(call.world, call.region, VCN, subnet.body["vcnId"])
    if "ipv6CidrBlock" in call.body or "ipv6CidrBlocks" in call.body:
        raise errors.not_built("a change of the IPv6 prefixes of a subnet")
    changes = {name: value for name, value in call.body.items() if name != "cidrBlock"}
    changes |= _references(call, vcn, call.body)
    block = call.body.get("cidrBlock")
    if block is None or block == subnet.body["cidrBlock"]:
        return Reply.of(call.world.change(subnet, **changes))
    _check_resize(call.world, vcn, subnet, addresses.block(block))
    call.world.change(subnet, **changes, lifecycleState="UPDATING")
    request = work_requests.start(
        call.world,
        "UPDATE_SUBNET",
        subnet.body["compartmentId"],
        [work_requests.Touched("IN_PROGRESS", "subnet", subnet.ocid)],
        seconds=network_life.UPDATE_SECONDS,
        on_done="subnet.block",
        region=call.region,
        ocid=subnet.ocid,
        block=block,
    )
    return Reply.of(subnet, opc_work_request_id=request.ocid)


@transition("subnet.block")
def _resized(world: World, request: str, ocid: str, block: str) -> None:
    subnet = world.table(SUBNET.name)[ocid]
    world.change(
        subnet,
        cidrBlock=block,
        ipv4CidrBlocks=[block],
        virtualRouterIp=str(addresses.router(IPv4Network(block))),
        lifecycleState="AVAILABLE",
    )
    work_requests.log(world, world.table(work_requests.KIND)[request], f"The subnet has the CIDR {block}")


@service.delete("/subnets/{subnetId}", operation="DeleteSubnet")
def delete_subnet(call: Call) -> Reply:
    subnet = network_life.editable(call, SUBNET)
    for private in private_ips.in_subnet(call.world, subnet.ocid):
        owner = private.hidden.get("owner")
        words, ocid = ("load balancer", owner) if owner else ("VNIC", private.body.get("vnicId"))
        raise network_life.referenced(SUBNET, subnet, words if ocid else "private IP", ocid or private.ocid)
    network_life.end(call.world, subnet)
    return Reply()


def _siblings(world: World, vcn: str) -> list[Resource]:
    return [one for one in world.all(SUBNET.name) if one.body["vcnId"] == vcn and not one.gone]


def _asked_blocks(body: dict[str, Any]) -> list[IPv4Network]:
    if "cidrBlock" in body and "ipv4CidrBlocks" in body:
        raise errors.invalid_parameter("Only one of cidrBlock and ipv4CidrBlocks can be given")
    given = body.get("ipv4CidrBlocks") or ([body["cidrBlock"]] if "cidrBlock" in body else [])
    if not given:
        raise errors.missing_parameter("cidrBlock")
    return [addresses.block(one) for one in given]


def _check_blocks(vcn: Resource, siblings: Sequence[Resource], blocks: Sequence[IPv4Network]) -> None:
    owned = [IPv4Network(one) for one in vcn.body["cidrBlocks"]]
    for block in blocks:
        if not addresses.within(block, owned):
            listed = ", ".join(vcn.body["cidrBlocks"])
            raise errors.invalid_parameter(
                f"The requested CIDR {block} is invalid: it is not contained in the VCN {vcn.ocid} with CIDR {listed}."
            )
        for sibling in siblings:
            for taken in sibling.body["ipv4CidrBlocks"]:
                if block.overlaps(IPv4Network(taken)):
                    raise errors.invalid_parameter(
                        f"The requested CIDR {block} is invalid: subnet {sibling.ocid} with CIDR {taken} "
                        "overlaps with this CIDR."
                    )
    if both := addresses.overlapping(blocks):
        raise errors.invalid_parameter(f"The requested CIDR {both[1]} is invalid: it overlaps with the CIDR {both[0]}.")


def _check_resize(world: World, vcn: Resource, subnet: Resource, block: IPv4Network) -> None:
    if len(subnet.body["ipv4CidrBlocks"]) > 1:
        raise errors.not_built("a change of the size of a subnet with several CIDRs")
    others = [one for one in _siblings(world, vcn.ocid) if one is not subnet]
    _check_blocks(vcn, others, [block])
    for private in private_ips.in_subnet(world, subnet.ocid):
        if not addresses.is_usable(block, addresses.address(private.body["ipAddress"])):
            raise errors.invalid_parameter(
                f"The requested CIDR {block} is invalid: the address {private.body['ipAddress']} is in use."
            )


def _privacy(body: dict[str, Any]) -> dict[str, bool]:
    """For IPv4 the two flags say the same; a client gives one of them."""
    flags = [body[name] for name in ("prohibitPublicIpOnVnic", "prohibitInternetIngress") if name in body]
    if len(set(flags)) > 1:
        raise errors.invalid_parameter("prohibitPublicIpOnVnic and prohibitInternetIngress must not contradict")
    private = bool(flags and flags[0])
    return {"prohibitPublicIpOnVnic": private, "prohibitInternetIngress": private}


def _dns(vcn: Resource, siblings: Sequence[Resource], label: str | None) -> dict[str, str]:
    if label is None:
        return {}
    dns_labels.check_network_label(label)
    if "dnsLabel" not in vcn.body:
        raise errors.invalid_parameter(f"dnsLabel {label!r} needs a VCN with a dnsLabel; {vcn.ocid} has none")
    if any(one.body.get("dnsLabel", "").lower() == label.lower() for one in siblings):
        raise errors.invalid_parameter(f"The dnsLabel {label} is already in use in the VCN {vcn.ocid}")
    return {"dnsLabel": label, "subnetDomainName": f"{label.lower()}.{vcn.body['vcnDomainName']}"}


def _ipv6(vcn: Resource, siblings: Sequence[Resource], body: dict[str, Any]) -> dict[str, Any]:
    if "ipv6CidrBlock" in body and "ipv6CidrBlocks" in body:
        raise errors.invalid_parameter("Only one of ipv6CidrBlock and ipv6CidrBlocks can be given")
    given = body.get("ipv6CidrBlocks") or ([body["ipv6CidrBlock"]] if "ipv6CidrBlock" in body else [])
    if not given:
        return {}
    owned = [
        addresses.any_block(one, "ipv6CidrBlocks")
        for name in ("ipv6CidrBlocks", "ipv6PrivateCidrBlocks")
        for one in vcn.body.get(name, ())
    ]
    taken = {one for sibling in siblings for one in sibling.body.get("ipv6CidrBlocks", ())}
    names = []
    for text in given:
        block = addresses.ipv6_block(text, 64, "ipv6CidrBlock")
        if not any(one.version == 6 and block.subnet_of(one) for one in owned):
            raise errors.invalid_parameter(f"The IPv6 prefix {text} is not contained in a prefix of the VCN {vcn.ocid}")
        if str(block) in taken or str(block) in names:
            raise errors.invalid_parameter(f"The IPv6 prefix {text} is already in use in the VCN {vcn.ocid}")
        names.append(str(block))
    return {"ipv6CidrBlock": names[0], "ipv6CidrBlocks": names}


def _references(call: Call, vcn: Resource, body: dict[str, Any]) -> dict[str, Any]:
    """What the subnet uses of its VCN, checked; an empty list of security lists means the default one."""
    for field, kind in (("routeTableId", ROUTE_TABLE), ("dhcpOptionsId", DHCP_OPTIONS)):
        if field in body:
            network_life.in_vcn(call.world, call.region, kind, body[field], vcn.ocid)
    lists = body.get("securityListIds")
    if lists is None:
        return {}
    if len(lists) > MOST_SECURITY_LISTS or len(set(lists)) != len(lists):
        raise errors.invalid_parameter(f"securityListIds must name at most {MOST_SECURITY_LISTS} different lists")
    for ocid in lists:
        network_life.in_vcn(call.world, call.region, SECURITY_LIST, ocid, vcn.ocid)
    return {"securityListIds": lists or [vcn.body["defaultSecurityListId"]]}
