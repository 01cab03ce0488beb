"""Core network, VCNs. One brings a route table, a security list and DHCP options along, and takes them with it."""

from collections.abc import Sequence
from ipaddress import IPv4Network
from typing import Any

from ocifree_pipeline.sandbox.oracle import (
    addresses,
    dhcp_options,
    dns_labels,
    errors,
    limits,
    network_life,
    route_tables,
    security_lists,
    work_requests,
)
from ocifree_pipeline.sandbox.oracle.network_life import (
    DHCP_OPTIONS,
    INTERNET_GATEWAY,
    MODELS,
    NAT_GATEWAY,
    ROUTE_TABLE,
    SECURITY_GROUP,
    SECURITY_LIST,
    SERVICE_GATEWAY,
    SUBNET,
    VCN,
    service,
)
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply
from ocifree_pipeline.sandbox.world import Resource, World, transition

MOST_BLOCKS = 5
GATEWAYS = (INTERNET_GATEWAY, NAT_GATEWAY, SERVICE_GATEWAY)
DEFAULTS = {
    "defaultRouteTableId": ROUTE_TABLE,
    "defaultSecurityListId": SECURITY_LIST,
    "defaultDhcpOptionsId": DHCP_OPTIONS,
}

network_life.offer(VCN, filters=("displayName", "lifecycleState"))


@service.post("/vcns", operation="CreateVcn", body=f"{MODELS}.CreateVcnDetails", reply=VCN.model)
def create_vcn(call: Call) -> Reply:
    compartment = call.compartment(call.body["compartmentId"]).ocid
    blocks = _asked_blocks(call.body)
    _check_blocks(blocks)
    label = call.body.get("dnsLabel")
    if label is not None:
        dns_labels.check_network_label(label)
    if "byoipv6CidrDetails" in call.body:
        raise errors.not_built("IPv6 prefixes that customers bring")
    limits.require(call.world, compartment=compartment, ad=None, region=call.region, needs={"vcn-count": 1})
    names = [str(one) for one in blocks]
    body = call.body | {"cidrBlock": names[0], "cidrBlocks": names} | _ipv6(call.world, call.body)
    if label is not None:
        body["vcnDomainName"] = f"{label.lower()}.oraclevcn.com"
    vcn = network_life.begin(call.world, VCN, body, region=call.region)
    call.world.change(
        vcn,
        defaultRouteTableId=route_tables.furnish(call.world, vcn).ocid,
        defaultSecurityListId=security_lists.furnish(call.world, vcn).ocid,
        defaultDhcpOptionsId=dhcp_options.furnish(call.world, vcn).ocid,
    )
    return Reply.of(vcn)


@service.put("/vcns/{vcnId}", operation="UpdateVcn", body=f"{MODELS}.UpdateVcnDetails", reply=VCN.model)
def update_vcn(call: Call) -> Reply:
    return Reply.of(call.world.change(network_life.editable(call, VCN), **call.body))


@service.delete("/vcns/{vcnId}", operation="DeleteVcn")
def delete_vcn(call: Call) -> Reply:
    vcn = network_life.editable(call, VCN)
    for kind in (SUBNET, *GATEWAYS, SECURITY_GROUP, *DEFAULTS.values()):
        for child in _children(call.world, vcn, kind.name):
            if child.hidden.get("default"):
                continue
            if kind in GATEWAYS:
                raise errors.incorrect_state(f"{vcn.ocid} is associated with Gateway that is in use")
            raise network_life.referenced(VCN, vcn, kind.words, child.ocid)
    for field, kind in DEFAULTS.items():
        network_life.end(call.world, call.world.table(kind.name)[vcn.body[field]])
    network_life.end(call.world, vcn)
    return Reply()


def _children(world: World, vcn: Resource, kind: str) -> list[Resource]:
    return [one for one in world.all(kind) if one.body["vcnId"] == vcn.ocid and not one.gone]


def _asked_blocks(body: dict[str, Any]) -> list[IPv4Network]:
    if "cidrBlock" in body and "cidrBlocks" in body:
        raise errors.invalid_parameter("Only one of cidrBlock and cidrBlocks can be given")
    given = body.get("cidrBlocks") or ([body["cidrBlock"]] if "cidrBlock" in body else [])
    if not given:
        raise errors.missing_parameter("cidrBlocks")
    return [addresses.block(one, "cidrBlocks") for one in given]


def _check_blocks(blocks: Sequence[IPv4Network]) -> None:
    if len(blocks) > MOST_BLOCKS:
        raise errors.limit_exceeded("cidr-blocks-per-vcn-count")
    if both := addresses.overlapping(blocks):
        raise errors.invalid_parameter(f"The requested CIDR {both[1]} is invalid: it overlaps with the CIDR {both[0]}.")


def _ipv6(world: World, body: dict[str, Any]) -> dict[str, Any]:
    private = [
        str(addresses.ipv6_block(one, 48, "ipv6PrivateCidrBlocks")) for one in body.get("ipv6PrivateCidrBlocks", [])
    ]
    fields: dict[str, Any] = {"ipv6PrivateCidrBlocks": private} if private else {}
    if body.get("isIpv6Enabled") and body.get("isOracleGuaAllocationEnabled", True):
        used = {one for vcn in world.all(VCN.name) for one in vcn.body.get("ipv6CidrBlocks", ())}
        pool = addresses.IPV6_POOL.subnets(new_prefix=56)
        fields["ipv6CidrBlocks"] = [str(next(one for one in pool if str(one) not in used))]
    return fields


# CIDR blocks ----------------------------------------------------------------------------------------------------


@service.post("/vcns/{vcnId}/actions/addCidr", operation="AddVcnCidr", body=f"{MODELS}.AddVcnCidrDetails", status=202)
def add_cidr(call: Call) -> Reply:
    vcn = network_life.editable(call, VCN)
    new = addresses.block(call.body["cidrBlock"])
    return _change_blocks(call, vcn, [*_blocks(vcn), new], "ADD_VCN_CIDR")


@service.post(
    "/vcns/{vcnId}/actions/removeCidr", operation="RemoveVcnCidr", body=f"{MODELS}.RemoveVcnCidrDetails", status=202
)
def remove_cidr(call: Call) -> Reply:
    vcn = network_life.editable(call, VCN)
    old = _own_block(vcn, call.body["cidrBlock"], "cidrBlock")
    left = [one for one in _blocks(vcn) if one != old]
    if not left:
        raise errors.invalid_parameter(f"The CIDR {old} is the only one of the VCN {vcn.ocid} and cannot be removed")
    return _change_blocks(call, vcn, left, "REMOVE_VCN_CIDR")


@service.post(
    "/vcns/{vcnId}/actions/modifyCidr", operation="ModifyVcnCidr", body=f"{MODELS}.ModifyVcnCidrDetails", status=202
)
def modify_cidr(call: Call) -> Reply:
    vcn = network_life.editable(call, VCN)
    old = _own_block(vcn, call.body["originalCidrBlock"], "originalCidrBlock")
    new = addresses.block(call.body["newCidrBlock"], "newCidrBlock")
    return _change_blocks(call, vcn, [new if one == old else one for one in _blocks(vcn)], "UPDATE_VCN_CIDR")


def _blocks(vcn: Resource) -> list[IPv4Network]:
    return [IPv4Network(one) for one in vcn.body["cidrBlocks"]]


def _own_block(vcn: Resource, text: str, name: str) -> IPv4Network:
    if text not in vcn.body["cidrBlocks"]:
        raise errors.invalid_parameter(f"{name} {text} is not a CIDR of the VCN {vcn.ocid}")
    return IPv4Network(text)


def _change_blocks(call: Call, vcn: Resource, blocks: list[IPv4Network], what: str) -> Reply:
    _check_blocks(blocks)
    for subnet in _children(call.world, vcn, SUBNET.name):
        for one in subnet.body["ipv4CidrBlocks"]:
            if not addresses.within(IPv4Network(one), blocks):
                raise errors.conflict(
                    f"The VCN {vcn.ocid} cannot change its CIDRs: the subnet {subnet.ocid} with CIDR {one} is in use"
                )
    call.world.change(vcn, lifecycleState="UPDATING")
    request = work_requests.start(
        call.world,
        what,
        vcn.body["compartmentId"],
        [work_requests.Touched("IN_PROGRESS", "vcn", vcn.ocid)],
        seconds=network_life.UPDATE_SECONDS,
        on_done="vcn.blocks",
        region=call.region,
        ocid=vcn.ocid,
        blocks=[str(one) for one in blocks],
    )
    return Reply(headers={"opc-work-request-id": request.ocid})


@transition("vcn.blocks")
def _blocks_changed(world: World, request: str, ocid: str, blocks: list[str]) -> None:
    vcn = world.table(VCN.name)[ocid]
    world.change(vcn, cidrBlock=blocks[0], cidrBlocks=blocks, lifecycleState="AVAILABLE")
    work_requests.log(world, world.table(work_requests.KIND)[request], f"The VCN has the CIDRs {', '.join(blocks)}")
