"""Core network, security lists: firewall rules of whole subnets. Every VCN has a default one."""

from typing import Any

from ocifree_pipeline.sandbox.oracle import errors, network_life, security_rules
from ocifree_pipeline.sandbox.oracle.network_life import MODELS, SECURITY_LIST, SUBNET, VCN, service
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply
from ocifree_pipeline.sandbox.world import Resource, World

MOST_RULES = 200
EVERYWHERE = "0.0.0.0/0"
SIDES = {"ingressSecurityRules": "source", "egressSecurityRules": "destination"}

network_life.offer(SECURITY_LIST)


def furnish(world: World, vcn: Resource) -> Resource:
    """The default list of a new VCN: SSH and the ICMP that path MTU discovery needs come in, everything goes out."""
    ssh = {"destinationPortRange": {"min": 22, "max": 22}}
    rules = [
        _ingress(EVERYWHERE, security_rules.TCP, tcpOptions=ssh),
        _ingress(EVERYWHERE, security_rules.ICMP, icmpOptions={"type": 3, "code": 4}),
        *(_ingress(one, security_rules.ICMP, icmpOptions={"type": 3}) for one in vcn.body["cidrBlocks"]),
    ]
    everything = {
        "destination": EVERYWHERE,
        "destinationType": "CIDR_BLOCK",
        "protocol": "all",
        "isStateless": False,
    }
    body = {
        "compartmentId": vcn.body["compartmentId"],
        "vcnId": vcn.ocid,
        "displayName": f"Default Security List for {vcn.body['displayName']}",
        "ingressSecurityRules": rules,
        "egressSecurityRules": [everything],
    }
    return network_life.begin(world, SECURITY_LIST, body, region=vcn.region, hidden={"default": True})


def _ingress(source: str, protocol: str, **options: Any) -> dict[str, Any]:
    return {"source": source, "sourceType": "CIDR_BLOCK", "protocol": protocol, "isStateless": False} | options


@service.post(
    "/securityLists",
    operation="CreateSecurityList",
    body=f"{MODELS}.CreateSecurityListDetails",
    reply=SECURITY_LIST.model,
)
def create_security_list(call: Call) -> Reply:
    call.compartment(call.body["compartmentId"])
    network_life.related(call.world, call.region, VCN, call.body["vcnId"])
    body = call.body | _checked(call, call.body)
    return Reply.of(network_life.begin(call.world, SECURITY_LIST, body, region=call.region))


@service.put(
    "/securityLists/{securityListId}",
    operation="UpdateSecurityList",
    body=f"{MODELS}.UpdateSecurityListDetails",
    reply=SECURITY_LIST.model,
)
def update_security_list(call: Call) -> Reply:
    security_list = network_life.editable(call, SECURITY_LIST)
    return Reply.of(call.world.change(security_list, **call.body | _checked(call, call.body)))


@service.delete("/securityLists/{securityListId}", operation="DeleteSecurityList")
def delete_security_list(call: Call) -> Reply:
    security_list = network_life.editable(call, SECURITY_LIST)
    if security_list.hidden.get("default"):
        raise errors.conflict(
            f"The Security List {security_list.ocid} is the default one of its VCN and cannot be deleted"
        )
    for subnet in call.world.all(SUBNET.name):
        if not subnet.gone and security_list.ocid in subnet.body["securityListIds"]:
            raise network_life.referenced(SECURITY_LIST, security_list, SUBNET.words, subnet.ocid)
    network_life.end(call.world, security_list)
    return Reply()


def _checked(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for name, peer in SIDES.items():
        if name not in body:
            continue
        if len(body[name]) > MOST_RULES:
            raise errors.limit_exceeded("security-rule-count")
        found[name] = [security_rules.checked(call.world, call.region, rule, peer) for rule in body[name]]
    return found
