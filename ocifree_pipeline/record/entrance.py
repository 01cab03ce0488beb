"""The way of a request from the internet to a node: the reserved address, and on Proxmox the guest behind its host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ocifree_pipeline.deployment.errors import PreconditionMissing
from ocifree_pipeline.deployment.plan import Machine
from ocifree_pipeline.record.definition import Step
from ocifree_pipeline.record.foundation import ReservedIpsFacts, scope_of
from ocifree_pipeline.record.machines import InstanceFacts, host_name, key_of

INGRESS = "ingress"


@dataclass(frozen=True, slots=True)
class Entrance:
    """`reserved` is the id of the address at Oracle; None when the machine's own has to do."""

    machine: Machine
    ocid: str
    address: str
    reserved: str | None


def entrance(step: Step) -> Entrance:
    """The first node. Its own address serves where no reserved one was planned; that one dies with the machine."""
    machine = step.blueprint.plan.ampere[0]
    facts = step.facts(key_of(machine), InstanceFacts)
    reserved = step.facts("oci/reserved_ips", ReservedIpsFacts).addresses.get(INGRESS)
    if reserved is not None:
        return Entrance(machine, facts.ocid, reserved.address, reserved.id)
    if facts.public_ip is None:
        raise PreconditionMissing(
            f"nothing public leads to {facts.name}",
            why="no address is reserved for the ingress, and the machine has none of its own",
            fix="set kubernetes.gateway.enabled: false, or free a reserved address at Oracle",
        )
    return Entrance(machine, facts.ocid, facts.public_ip, None)


def lead_to_node(step: Step, at: Entrance) -> list[str]:
    """Point the reserved address at the machine; what was done, in words."""
    from ocifree_pipeline.systems.oci import instances

    if at.reserved is None:
        return []
    scope = scope_of(step)
    instance: Any = instances.read(scope.session, at.ocid)
    if not instances.give_address(scope, instances.card_of(scope, instance), at.reserved):
        return []
    return [f"point {at.address} at {host_name(step.blueprint, at.machine.name)}"]
