"""The way to a node of the cluster, whatever it stands on: an instance of its own, or a guest on a Proxmox node."""

from __future__ import annotations

from dataclasses import replace

from ocifree_pipeline.deployment.plan import Machine
from ocifree_pipeline.record.definition import Step
from ocifree_pipeline.record.machines import InstanceFacts, dialer_for, hop_to, key_of
from ocifree_pipeline.record.talos import guest_address
from ocifree_pipeline.systems.ssh.dialer import Dialer


def way_to(step: Step, number: int) -> tuple[Dialer, str]:
    """How the node of this number is dialled, and its address there.

    A guest is behind the Proxmox node that it was made on. It may have moved since, and still be reached that way: all
    nodes share its network.
    """
    plan = step.blueprint.plan
    machine = plan.ampere[number - 1]
    if plan.topology != "talos-native":
        return way_over(step, machine, number)
    hop = hop_to(step.blueprint, step.facts(key_of(machine), InstanceFacts))
    return dialer_for(step, machine.name), hop.host


def way_over(step: Step, machine: Machine, number: int) -> tuple[Dialer, str]:
    """The same to a guest by way of this very machine."""
    facts = step.facts(key_of(machine), InstanceFacts)
    dialer, hop = dialer_for(step, machine.name), hop_to(step.blueprint, facts)
    address = guest_address(step.blueprint.declaration.network.guests, number).address.ip
    return replace(dialer, jump=replace(hop, through=dialer.jump)), str(address)
