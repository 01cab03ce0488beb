"""links/tailnet: the machines are in the tailnet, its control server says so, and they answer at their addresses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ocifree_pipeline.deployment.errors import NotVerified, Transient
from ocifree_pipeline.deployment.plan import Machine
from ocifree_pipeline.record.definition import Step
from ocifree_pipeline.record.machines import InstanceFacts, dialer_for, hop_to, host_name, key_of
from ocifree_pipeline.record.outcome import Outcome
from ocifree_pipeline.record.tailnet import TailnetFacts, key_for, listed, tailnet
from ocifree_pipeline.systems.oci.waiting import Pause, TimedOut, wait_for
from ocifree_pipeline.systems.proxmox.node import as_root
from ocifree_pipeline.systems.tailscale.tailnet import (
    Device,
    Joining,
    Membership,
    Tailnet,
    install,
    is_installed,
    join,
    membership,
)

ANSWER_SECONDS = 120.0
CONSOLE = "https://login.tailscale.com/admin/machines"


@dataclass(frozen=True, slots=True)
class _Member:
    facts: InstanceFacts
    hostname: str
    address: str


def links(step: Step) -> Outcome:
    lines: list[str] = []
    members = [_member(step, machine, lines) for machine in step.blueprint.tailnet_machines]
    control = tailnet(step)
    devices = _known(control, members) if control else ()
    if control:
        lines += _sweep(step, control, devices, members)
    for member in members:
        _answers(step, member, members)
    facts = TailnetFacts(addresses={member.facts.name: member.address for member in members})
    return Outcome(
        summary=f"{len(members)} machines in the tailnet, each answers at its address there",
        facts=facts,
        plan=tuple(lines),
        numbers={"machines": len(members), "changes": len(lines)},
        evidence=[
            {"machine": one.facts.name, "address": one.address, "listed as": _name(devices, one)} for one in members
        ],
        links={"machines": CONSOLE},
        look_inside="tailscale status",
    )


def _member(step: Step, machine: Machine, lines: list[str]) -> _Member:
    """The machine's place in the tailnet. One that is not in yet joins over the way there is."""
    declaration = step.blueprint.declaration
    facts = step.facts(key_of(machine), InstanceFacts)
    hostname = host_name(step.blueprint, machine.name)
    with dialer_for(step, machine.name).shell(hop_to(step.blueprint, facts)) as run:
        root = as_root(run)
        if not is_installed(root):
            step.say(f"install Tailscale on {hostname}")
            lines.append(f"install Tailscale on {hostname}")
            install(root, hostname)
        now = membership(root, facts.name)
        if not now.is_in:
            step.say(f"join {hostname} to the tailnet")
            lines.append(f"join {hostname} to the tailnet")
            join(root, Joining(hostname, declaration.access.tailscale.tags), key_for(step, machine.name))
            now = membership(root, facts.name)
    return _Member(facts, hostname, _address(now, hostname))


def _address(now: Membership, hostname: str) -> str:
    if now.address is None or not now.is_in:
        raise NotVerified(
            f"{hostname} is not in the tailnet",
            why=f"its Tailscale is in the state {now.state}",
            fix=f"on {hostname}: tailscale status; journalctl -u tailscaled",
        )
    return now.address


def _known(control: Tailnet, members: Sequence[_Member]) -> tuple[Device, ...]:
    """Every machine is in the control server's list, with the address that it has."""
    devices = control.devices()
    missing = [member.hostname for member in members if listed(devices, member.address) is None]
    if missing:
        raise NotVerified(
            f"the tailnet does not list {', '.join(missing)}",
            why="they say that they are in it; perhaps it is another tailnet than that of access.tailscale.oauth",
            fix=f"look at {CONSOLE}",
        )
    return devices


def _sweep(step: Step, control: Tailnet, devices: Sequence[Device], members: Sequence[_Member]) -> list[str]:
    """Entries of machines of ours that are gone, by their name and tags; they would never leave by themselves."""
    ours = set(step.blueprint.declaration.access.tailscale.tags)
    names, addresses = {member.hostname for member in members}, {member.address for member in members}
    lines = []
    for device in devices:
        is_old = device.hostname in names and not addresses.intersection(device.addresses) and not device.connected
        if is_old and ours.intersection(device.tags):
            control.remove(device)
            lines.append(f"take the entry of an earlier {device.hostname} out of the tailnet: {device.addresses[0]}")
    return lines


def _answers(step: Step, member: _Member, members: Sequence[_Member]) -> None:
    """Its own host key, seen at its address in the tailnet from another machine there."""
    witness = next((one for one in members if one is not member), None)
    if witness is None:
        return
    dialer, through = dialer_for(step, witness.facts.name), hop_to(step.blueprint, witness.facts)
    inside = replace(dialer, jump=replace(through, through=dialer.jump))
    target = replace(hop_to(step.blueprint, member.facts), host=member.address)

    def knock() -> bool:
        if inside.run(target, ["true"]).exit:
            raise Transient(f"{member.hostname} does not answer", why="the command failed", fix="look again")
        return True

    try:
        wait_for(
            knock, bool, what=f"{member.hostname} answers at {member.address}", timeout=ANSWER_SECONDS, pause=Pause(2)
        )
    except TimedOut as error:
        raise NotVerified(
            f"{member.hostname} does not answer at {member.address}",
            why=f"asked from {witness.hostname}; {error.why}",
            fix=f"the policy of the tailnet must let these machines talk to each other at port 22: {CONSOLE}",
        ) from error


def _name(devices: Sequence[Device], member: _Member) -> str:
    found = listed(tuple(devices), member.address)
    return found.id if found else "not asked: an auth key shows no list"
