"""Core network, route tables: where packets that leave a subnet go. Every VCN has a default one."""

from typing import Any

from ocifree_pipeline.sandbox.oracle import addresses, errors, network_life, oracle_services
from ocifree_pipeline.sandbox.oracle.network_life import MODELS, ROUTE_TABLE, SUBNET, VCN, service
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply
from ocifree_pipeline.sandbox.world import Resource, World

MOST_RULES = 200
GATEWAYS = {
    "internetgateway": network_life.INTERNET_GATEWAY,
    "natgateway": network_life.NAT_GATEWAY,
    "servicegateway": network_life.SERVICE_GATEWAY,
}

network_life.offer(ROUTE_TABLE)


def furnish(world: World, vcn: Resource) -> Resource:
    """The default route table of a new VCN: empty, everything stays inside."""
    body = {
        "compartmentId": vcn.body["compartmentId"],
        "vcnId": vcn.ocid,
        "displayName": f"Default Route Table for {vcn.body['displayName']}",
        "routeRules": [],
    }
    return network_life.begin(world, ROUTE_TABLE, body, region=vcn.region, hidden={"default": True})


@service.post(
    "/routeTables", operation="CreateRouteTable", body=f"{MODELS}.CreateRouteTableDetails", reply=ROUTE_TABLE.model
)
def create_route_table(call: Call) -> Reply:
    call.compartment(call.body["compartmentId"])
    vcn = network_life.related(call.world, call.region, VCN, call.body["vcnId"])
    rules = checked_rules(call.world, vcn, call.body["routeRules"])
    body = call.body | {"routeRules": rules}
    return Reply.of(network_life.begin(call.world, ROUTE_TABLE, body, region=call.region))


@service.put(
    "/routeTables/{rtId}",
    operation="UpdateRouteTable",
    body=f"{MODELS}.UpdateRouteTableDetails",
    reply=ROUTE_TABLE.model,
)
def update_route_table(call: Call) -> Reply:
    table = network_life.editable(call, ROUTE_TABLE)
    vcn = network_life.related(call.world, call.region, VCN, table.body["vcnId"])
    changes = dict(call.body)
    if "routeRules" in changes:
        changes["routeRules"] = checked_rules(call.world, vcn, changes["routeRules"])
    return Reply.of(call.world.change(table, **changes))


@service.delete("/routeTables/{rtId}", operation="DeleteRouteTable")
def delete_route_table(call: Call) -> Reply:
    table = network_life.editable(call, ROUTE_TABLE)
    if table.hidden.get("default"):
        raise errors.conflict(f"The Route Table {table.ocid} is the default one of its VCN and cannot be deleted")
    for user in (SUBNET, *GATEWAYS.values()):
        for one in call.world.all(user.name):
            if not one.gone and one.body.get("routeTableId") == table.ocid:
                raise network_life.referenced(ROUTE_TABLE, table, user.words, one.ocid)
    network_life.end(call.world, table)
    return Reply()


def checked_rules(world: World, vcn: Resource, rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rules as the service keeps them; 400 for the first that cannot be."""
    if len(rules) > MOST_RULES:
        raise errors.limit_exceeded("route-rule-count")
    kept = [_checked(world, vcn, rule) for rule in rules]
    seen: set[str] = set()
    for rule in kept:
        if rule["destination"] in seen:
            raise errors.invalid_parameter(f"Two route rules have the same destination {rule['destination']}")
        seen.add(rule["destination"])
    return kept


def users_of(world: World, target: str) -> list[Resource]:
    """The route tables with a rule that sends packets to ``target``."""
    return [
        table
        for table in world.all(ROUTE_TABLE.name)
        if not table.gone and any(rule["networkEntityId"] == target for rule in table.body["routeRules"])
    ]


def _checked(world: World, vcn: Resource, rule: dict[str, Any]) -> dict[str, Any]:
    if ("destination" in rule) == ("cidrBlock" in rule):
        raise errors.invalid_parameter("A route rule needs a destination, and only one: destination or cidrBlock")
    destination = rule["destination"] if "destination" in rule else rule["cidrBlock"]
    kind = rule.get("destinationType", "CIDR_BLOCK")
    target = _target(world, vcn, rule["networkEntityId"])
    if (kind == "SERVICE_CIDR_BLOCK") != (target.kind == "servicegateway"):
        raise errors.invalid_parameter(
            "A route rule with a SERVICE_CIDR_BLOCK targets a service gateway, no other does"
        )
    if kind == "SERVICE_CIDR_BLOCK":
        oracle_services.check_label(world, vcn.region, destination, "destination")
    else:
        destination = str(addresses.any_block(destination, "destination"))
    described = {"description": rule["description"]} if "description" in rule else {}
    return described | {
        "destination": destination,
        "destinationType": kind,
        "networkEntityId": target.ocid,
        "routeType": "STATIC",
    }


def _target(world: World, vcn: Resource, ocid: str) -> Resource:
    target = world.anywhere(ocid)
    if target is not None and target.kind in GATEWAYS:
        return network_life.in_vcn(world, vcn.region, GATEWAYS[target.kind], ocid, vcn.ocid)
    if target is None or target.kind != "privateip":
        raise errors.related_not_found()
    subnet = world.table(SUBNET.name)[target.body["subnetId"]]
    if subnet.body["vcnId"] != vcn.ocid:
        raise errors.invalid_parameter(f"The private IP {ocid} does not belong to the VCN {vcn.ocid}")
    vnic = world.get("vnic", target.body.get("vnicId", ""))
    if vnic is None or not vnic.body["skipSourceDestCheck"]:
        raise errors.invalid_parameter(
            f"The private IP {ocid} cannot be the target of a route rule: "
            "its VNIC must have the source/destination check disabled"
        )
    return target
