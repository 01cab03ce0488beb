"""Core network, gateways: the doors of a VCN to the internet (both ways, or outward only) and to Oracle's services."""

from typing import Any

from ocifree_pipeline.sandbox.oracle import errors, limits, network_life, oracle_services, public_ips, route_tables
from ocifree_pipeline.sandbox.oracle.network_life import (
    INTERNET_GATEWAY,
    MODELS,
    NAT_GATEWAY,
    ROUTE_TABLE,
    SERVICE_GATEWAY,
    VCN,
    Kind,
    service,
)
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply
from ocifree_pipeline.sandbox.world import Resource

PER_VCN = {
    INTERNET_GATEWAY.name: "internet-gateway-count",
    NAT_GATEWAY.name: "nat-gateway-count",
    SERVICE_GATEWAY.name: "service-gateway-count",
}
"""A VCN has one gateway of each kind; the limit that a second one meets."""

for _kind in (INTERNET_GATEWAY, NAT_GATEWAY, SERVICE_GATEWAY):
    network_life.offer(_kind)


def _prepare(call: Call, kind: Kind) -> None:
    call.compartment(call.body["compartmentId"])
    vcn = network_life.related(call.world, call.region, VCN, call.body["vcnId"])
    _check_route_table(call, vcn.ocid)
    if any(not one.gone and one.body["vcnId"] == vcn.ocid for one in call.world.all(kind.name)):
        raise errors.limit_exceeded(PER_VCN[kind.name])


def _check_route_table(call: Call, vcn_id: str) -> None:
    if call.body.get("routeTableId"):
        network_life.in_vcn(call.world, call.region, ROUTE_TABLE, call.body["routeTableId"], vcn_id)


def _update(call: Call, kind: Kind) -> Resource:
    gateway = network_life.editable(call, kind)
    _check_route_table(call, gateway.body["vcnId"])
    return gateway


def _delete(call: Call, kind: Kind) -> Resource:
    gateway = network_life.editable(call, kind)
    for table in route_tables.users_of(call.world, gateway.ocid):
        raise network_life.referenced(kind, gateway, ROUTE_TABLE.words, table.ocid)
    network_life.end(call.world, gateway)
    return gateway


# internet gateways ----------------------------------------------------------------------------------------------


@service.post(
    "/internetGateways",
    operation="CreateInternetGateway",
    body=f"{MODELS}.CreateInternetGatewayDetails",
    reply=INTERNET_GATEWAY.model,
)
def create_internet_gateway(call: Call) -> Reply:
    _prepare(call, INTERNET_GATEWAY)
    return Reply.of(network_life.begin(call.world, INTERNET_GATEWAY, call.body, region=call.region))


@service.put(
    "/internetGateways/{igId}",
    operation="UpdateInternetGateway",
    body=f"{MODELS}.UpdateInternetGatewayDetails",
    reply=INTERNET_GATEWAY.model,
)
def update_internet_gateway(call: Call) -> Reply:
    return Reply.of(call.world.change(_update(call, INTERNET_GATEWAY), **call.body))


@service.delete("/internetGateways/{igId}", operation="DeleteInternetGateway")
def delete_internet_gateway(call: Call) -> Reply:
    _delete(call, INTERNET_GATEWAY)
    return Reply()


# NAT gateways ---------------------------------------------------------------------------------------------------


@service.post(
    "/natGateways", operation="CreateNatGateway", body=f"{MODELS}.CreateNatGatewayDetails", reply=NAT_GATEWAY.model
)
def create_nat_gateway(call: Call) -> Reply:
    _prepare(call, NAT_GATEWAY)
    compartment = call.body["compartmentId"]
    wanted = call.body.get("publicIpId")
    reserved = public_ips.free_reserved(call.world, call.region, wanted) if wanted else None
    limits.require(call.world, compartment=compartment, ad=None, region=call.region, needs={"nat-gateway-count": 1})
    address = reserved.body["ipAddress"] if reserved else public_ips.free_address(call.world)
    body = {"blockTraffic": False} | call.body | {"natIp": address}
    gateway = network_life.begin(call.world, NAT_GATEWAY, body, region=call.region)
    if reserved is not None:
        public = public_ips.assign(call.world, reserved, gateway)
    else:
        public = public_ips.begin_ephemeral(call.world, gateway, compartment, ipAddress=address)
    return Reply.of(call.world.change(gateway, publicIpId=public.ocid))


@service.put(
    "/natGateways/{natGatewayId}",
    operation="UpdateNatGateway",
    body=f"{MODELS}.UpdateNatGatewayDetails",
    reply=NAT_GATEWAY.model,
)
def update_nat_gateway(call: Call) -> Reply:
    return Reply.of(call.world.change(_update(call, NAT_GATEWAY), **call.body))


@service.delete("/natGateways/{natGatewayId}", operation="DeleteNatGateway")
def delete_nat_gateway(call: Call) -> Reply:
    public_ips.let_go(call.world, _delete(call, NAT_GATEWAY).ocid)
    return Reply()


# service gateways -----------------------------------------------------------------------------------------------


@service.post(
    "/serviceGateways",
    operation="CreateServiceGateway",
    body=f"{MODELS}.CreateServiceGatewayDetails",
    reply=SERVICE_GATEWAY.model,
)
def create_service_gateway(call: Call) -> Reply:
    _prepare(call, SERVICE_GATEWAY)
    opened = [_opened(call, one["serviceId"]) for one in call.body["services"]]
    body = call.body | {"services": opened, "blockTraffic": False}
    return Reply.of(network_life.begin(call.world, SERVICE_GATEWAY, body, region=call.region))


@service.put(
    "/serviceGateways/{serviceGatewayId}",
    operation="UpdateServiceGateway",
    body=f"{MODELS}.UpdateServiceGatewayDetails",
    reply=SERVICE_GATEWAY.model,
)
def update_service_gateway(call: Call) -> Reply:
    gateway = _update(call, SERVICE_GATEWAY)
    changes = dict(call.body)
    if "services" in changes:
        changes["services"] = [_opened(call, one["serviceId"]) for one in changes["services"]]
    return Reply.of(call.world.change(gateway, **changes))


@service.delete("/serviceGateways/{serviceGatewayId}", operation="DeleteServiceGateway")
def delete_service_gateway(call: Call) -> Reply:
    _delete(call, SERVICE_GATEWAY)
    return Reply()


@service.post(
    "/serviceGateways/{serviceGatewayId}/actions/attachService",
    operation="AttachServiceId",
    body=f"{MODELS}.ServiceIdRequestDetails",
    reply=SERVICE_GATEWAY.model,
)
def attach_service(call: Call) -> Reply:
    gateway = network_life.editable(call, SERVICE_GATEWAY)
    opened = _opened(call, call.body["serviceId"])
    others = [one for one in gateway.body["services"] if one != opened]
    return Reply.of(call.world.change(gateway, services=[*others, opened]))


@service.post(
    "/serviceGateways/{serviceGatewayId}/actions/detachService",
    operation="DetachServiceId",
    body=f"{MODELS}.ServiceIdRequestDetails",
    reply=SERVICE_GATEWAY.model,
)
def detach_service(call: Call) -> Reply:
    gateway = network_life.editable(call, SERVICE_GATEWAY)
    closed = _opened(call, call.body["serviceId"])
    return Reply.of(call.world.change(gateway, services=[one for one in gateway.body["services"] if one != closed]))


def _opened(call: Call, ocid: str) -> dict[str, Any]:
    found = oracle_services.find(call.world, call.region, ocid)
    return {"serviceId": found["id"], "serviceName": found["name"]}
