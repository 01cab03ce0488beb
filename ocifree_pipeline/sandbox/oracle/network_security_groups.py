"""Core network, security groups: firewall rules of chosen VNICs. The rules have operations of their own."""

import hashlib
from collections.abc import Iterator
from typing import Any

from ocifree_pipeline.sandbox.oracle import errors, network_life, pages, security_rules
from ocifree_pipeline.sandbox.oracle.network_life import MODELS, SECURITY_GROUP, VCN, service
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply
from ocifree_pipeline.sandbox.world import Resource, World

MOST_RULES = 120
MOST_RULES_AT_ONCE = 25
MOST_GROUPS = 5
RULES = "rules"
PEERS = {"INGRESS": ("source", "destination"), "EGRESS": ("destination", "source")}
"""Direction -> the side that a rule of this direction must name, and the one that it must not."""

ONE = "/networkSecurityGroups/{networkSecurityGroupId}"

network_life.offer(SECURITY_GROUP)


@service.post(
    "/networkSecurityGroups",
    operation="CreateNetworkSecurityGroup",
    body=f"{MODELS}.CreateNetworkSecurityGroupDetails",
    reply=SECURITY_GROUP.model,
)
def create_network_security_group(call: Call) -> Reply:
    call.compartment(call.body["compartmentId"])
    network_life.related(call.world, call.region, VCN, call.body["vcnId"])
    return Reply.of(network_life.begin(call.world, SECURITY_GROUP, call.body, region=call.region, hidden={RULES: []}))


@service.put(
    ONE,
    operation="UpdateNetworkSecurityGroup",
    body=f"{MODELS}.UpdateNetworkSecurityGroupDetails",
    reply=SECURITY_GROUP.model,
)
def update_network_security_group(call: Call) -> Reply:
    return Reply.of(call.world.change(network_life.editable(call, SECURITY_GROUP), **call.body))


@service.delete(ONE, operation="DeleteNetworkSecurityGroup")
def delete_network_security_group(call: Call) -> Reply:
    group = network_life.editable(call, SECURITY_GROUP)
    for member in members(call.world, group.ocid):
        words = "VNIC" if member.kind == "vnic" else "load balancer"
        raise network_life.referenced(SECURITY_GROUP, group, words, member.ocid)
    network_life.end(call.world, group)
    return Reply()


def members(world: World, group: str) -> Iterator[Resource]:
    """The VNICs and the load balancers that the group protects."""
    for kind, field in (
        ("vnic", "nsgIds"),
        ("networkloadbalancer", "networkSecurityGroupIds"),
        ("loadbalancer", "networkSecurityGroupIds"),
    ):
        for one in world.all(kind):
            if not one.gone and group in one.body.get(field, ()):
                yield one


def check_groups(world: World, region: str, groups: list[str], vcn_id: str) -> None:
    """The groups that a VNIC or a load balancer of that VCN wants to join, or an error."""
    if len(groups) > MOST_GROUPS:
        raise errors.invalid_parameter(f"A VNIC can be in {MOST_GROUPS} network security groups, not in {len(groups)}")
    if len(set(groups)) != len(groups):
        raise errors.invalid_parameter("The list of network security groups names one of them twice")
    for group in groups:
        network_life.in_vcn(world, region, SECURITY_GROUP, group, vcn_id)


# rules ----------------------------------------------------------------------------------------------------------


@service.get(
    f"{ONE}/securityRules", operation="ListNetworkSecurityGroupSecurityRules", reply=f"list[{MODELS}.SecurityRule]"
)
def list_security_rules(call: Call) -> Reply:
    group = call.find(SECURITY_GROUP.name, call.path["networkSecurityGroupId"])
    direction = call.query.get("direction")
    if direction not in {None, *PEERS}:
        raise errors.invalid_parameter(f"direction must be INGRESS or EGRESS, not {direction!r}")
    if call.query.get("sortBy") not in {None, "TIMECREATED"}:
        raise errors.invalid_parameter("sortBy must be TIMECREATED")
    rules = [
        _shown(call.world, rule) for rule in group.hidden[RULES] if direction is None or rule["direction"] == direction
    ]
    return pages.page(call, rules[::-1] if call.query.get("sortOrder") == "DESC" else rules)


@service.post(
    f"{ONE}/actions/addSecurityRules",
    operation="AddNetworkSecurityGroupSecurityRules",
    body=f"{MODELS}.AddNetworkSecurityGroupSecurityRulesDetails",
    reply=f"{MODELS}.AddedNetworkSecurityGroupSecurityRules",
)
def add_security_rules(call: Call) -> Reply:
    group = network_life.editable(call, SECURITY_GROUP)
    wanted = _some(call.body.get("securityRules", []))
    checked = [_checked(call, group, rule) for rule in wanted]
    if len(group.hidden[RULES]) + len(checked) > MOST_RULES:
        raise errors.limit_exceeded("security-rules-per-network-security-group-count")
    taken = {rule["id"] for rule in group.hidden[RULES]}
    added = []
    for rule in checked:
        number = _fresh_id(call.world, taken)
        taken.add(number)
        added.append(rule | {"id": number, "timeCreated": call.world.clock.stamp()})
    group.hidden[RULES].extend(added)
    call.world.touch(group)
    return Reply({"securityRules": [_shown(call.world, rule) for rule in added]}, headers={"etag": group.etag})


@service.post(
    f"{ONE}/actions/updateSecurityRules",
    operation="UpdateNetworkSecurityGroupSecurityRules",
    body=f"{MODELS}.UpdateNetworkSecurityGroupSecurityRulesDetails",
    reply=f"{MODELS}.UpdatedNetworkSecurityGroupSecurityRules",
)
def update_security_rules(call: Call) -> Reply:
    group = network_life.editable(call, SECURITY_GROUP)
    known = {rule["id"]: rule for rule in group.hidden[RULES]}
    changed = {}
    for wanted in _some(call.body.get("securityRules", [])):
        old = _known(known, wanted["id"])
        changed[old["id"]] = _checked(call, group, wanted) | {"timeCreated": old["timeCreated"]}
    group.hidden[RULES] = [changed.get(rule["id"], rule) for rule in group.hidden[RULES]]
    call.world.touch(group)
    shown = [_shown(call.world, rule) for rule in changed.values()]
    return Reply({"securityRules": shown}, headers={"etag": group.etag})


@service.post(
    f"{ONE}/actions/removeSecurityRules",
    operation="RemoveNetworkSecurityGroupSecurityRules",
    body=f"{MODELS}.RemoveNetworkSecurityGroupSecurityRulesDetails",
    status=204,
)
def remove_security_rules(call: Call) -> Reply:
    group = network_life.editable(call, SECURITY_GROUP)
    known = {rule["id"]: rule for rule in group.hidden[RULES]}
    doomed = {_known(known, one)["id"] for one in _some(call.body.get("securityRuleIds", []))}
    group.hidden[RULES] = [rule for rule in group.hidden[RULES] if rule["id"] not in doomed]
    call.world.touch(group)
    return Reply()


@service.get(
    f"{ONE}/vnics", operation="ListNetworkSecurityGroupVnics", reply=f"list[{MODELS}.NetworkSecurityGroupVnic]"
)
def list_vnics(call: Call) -> Reply:
    group = call.find(SECURITY_GROUP.name, call.path["networkSecurityGroupId"])
    found = [
        {
            "vnicId": member.ocid,
            "resourceId": member.hidden.get("instance") or member.ocid,
            "timeAssociated": member.hidden.get("groupsSince", {}).get(group.ocid, member.created),
        }
        for member in members(call.world, group.ocid)
        if member.kind == "vnic"
    ]
    found.sort(key=lambda one: one["timeAssociated"], reverse=call.query.get("sortOrder") == "DESC")
    return pages.page(call, found, id_key="vnicId")


def _some(items: list[Any]) -> list[Any]:
    if not 1 <= len(items) <= MOST_RULES_AT_ONCE:
        raise errors.invalid_parameter(f"Between 1 and {MOST_RULES_AT_ONCE} rules can be changed at once")
    return items


def _known(rules: dict[str, dict[str, Any]], ocid: str) -> dict[str, Any]:
    if ocid not in rules:
        raise errors.invalid_parameter(f"The network security group has no security rule {ocid}")
    return rules[ocid]


def _checked(call: Call, group: Resource, rule: dict[str, Any]) -> dict[str, Any]:
    must, must_not = PEERS[rule["direction"]]
    if must_not in rule:
        raise errors.invalid_parameter(f"An {rule['direction']} rule has no {must_not}")

    def check_group(ocid: str) -> None:
        network_life.in_vcn(call.world, call.region, SECURITY_GROUP, ocid, group.body["vcnId"])

    return security_rules.checked(call.world, call.region, rule, must, group=check_group)


def _shown(world: World, rule: dict[str, Any]) -> dict[str, Any]:
    """A rule turns invalid when the group that it names is deleted."""
    peer = PEERS[rule["direction"]][0]
    valid = True
    if rule[f"{peer}Type"] == "NETWORK_SECURITY_GROUP":
        other = world.get(SECURITY_GROUP.name, rule[peer])
        valid = other is not None and other.state == "AVAILABLE"
    return rule | {"isValid": valid}


def _fresh_id(world: World, taken: set[str]) -> str:
    while (word := hashlib.sha256(world.fresh("securityrule").encode()).hexdigest()[:6].upper()) in taken:
        pass
    return word
