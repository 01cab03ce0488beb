"""What the virtual network lets through between two instances: security lists of subnets, and security groups.

Rules are taken for stateful: what may begin may also be answered. A firewall inside of a guest is not played.
"""

from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import Any

from ocifree_pipeline.sandbox.machines.computer import Computer
from ocifree_pipeline.sandbox.machines.machine import Machine
from ocifree_pipeline.sandbox.oracle import network_life, network_security_groups, vnics
from ocifree_pipeline.sandbox.oracle.security_rules import TCP, UDP
from ocifree_pipeline.sandbox.world import Resource

__all__ = ["COROSYNC_PORT", "TCP", "UDP", "VXLAN_PORT", "permits"]

COROSYNC_PORT, VXLAN_PORT = 5405, 4789
OPTIONS = {TCP: "tcpOptions", UDP: "udpOptions"}


def permits(source: Computer, target: Computer, protocol: str, port: int) -> bool:
    """Whether a connection from one machine to a port of the other gets through."""
    if not isinstance(source, Machine) or not isinstance(target, Machine) or source.key == target.key:
        return True
    here, there = _card(source), _card(target)
    if here is None or there is None:
        return True
    leaves = any(_fits(rule, "destination", there, protocol, port) for rule in _rules(here, "EGRESS"))
    enters = any(_fits(rule, "source", here, protocol, port) for rule in _rules(there, "INGRESS"))
    return leaves and enters


class _Card:
    """A VNIC with what decides about its packets."""

    __slots__ = ("machine", "subnet", "vnic")

    def __init__(self, machine: Machine, vnic: Resource, subnet: Resource) -> None:
        self.machine, self.vnic, self.subnet = machine, vnic, subnet


def _card(machine: Machine) -> _Card | None:
    for vnic in vnics.of_instance(machine.world, machine.instance.ocid):
        subnet = machine.world.get(network_life.SUBNET.name, str(vnic.body.get("subnetId", "")))
        if subnet is not None:
            return _Card(machine, vnic, subnet)
    return None


def _rules(card: _Card, direction: str) -> Iterator[dict[str, Any]]:
    world = card.machine.world
    side = "ingressSecurityRules" if direction == "INGRESS" else "egressSecurityRules"
    for ocid in card.subnet.body.get("securityListIds", ()):
        found = world.get(network_life.SECURITY_LIST.name, ocid)
        yield from found.body.get(side, ()) if found is not None else ()
    for ocid in card.vnic.body.get("nsgIds", ()):
        group = world.get(network_life.SECURITY_GROUP.name, ocid)
        rules = group.hidden[network_security_groups.RULES] if group is not None else ()
        yield from (rule for rule in rules if rule["direction"] == direction)


def _fits(rule: dict[str, Any], side: str, peer: _Card, protocol: str, port: int) -> bool:
    if rule["protocol"] not in {"all", protocol}:
        return False
    ports = rule.get(OPTIONS[protocol], {}).get("destinationPortRange")
    if ports is not None and not ports["min"] <= port <= ports["max"]:
        return False
    kind = rule.get(f"{side}Type", "CIDR_BLOCK")
    if kind == "CIDR_BLOCK":
        network = ip_network(rule[side], strict=False)
        address = ip_address(str(peer.vnic.body["privateIp"]))
        return address.version == network.version and address in network
    return kind == "NETWORK_SECURITY_GROUP" and rule[side] in peer.vnic.body.get("nsgIds", ())
