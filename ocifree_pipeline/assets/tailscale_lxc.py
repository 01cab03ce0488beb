"""proxmox/tailscale_lxc_<n>: a container on each node that puts the network of the guests into the tailnet."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface

from ocifree_pipeline.deployment.errors import Forbidden, NotVerified, Transient
from ocifree_pipeline.record.definition import Step
from ocifree_pipeline.record.facts import materialize_command
from ocifree_pipeline.record.machines import InstanceFacts, host_name, key_of
from ocifree_pipeline.record.outcome import Facts, Outcome
from ocifree_pipeline.record.proxmox import CLUSTER, NETWORK, ClusterFacts, GuestsFacts, api_of, nodes_of
from ocifree_pipeline.record.tailnet import key_for, listed, tailnet
from ocifree_pipeline.systems.oci.waiting import Pause, TimedOut, wait_for
from ocifree_pipeline.systems.proxmox.node import Node
from ocifree_pipeline.systems.tailscale.tailnet import Joining, join, membership

CONSOLE = "https://login.tailscale.com/admin/machines"
ANSWER_SECONDS = 120.0


class TailscaleLxcFacts(Facts):
    """proxmox/tailscale_lxc_<n>"""

    name: str
    vmid: int
    address: str
    route: str


def lxc_key(number: int) -> str:
    return f"proxmox/tailscale_lxc_{number}"


def materialize(step: Step, number: int) -> Outcome:
    from ocifree_pipeline.systems.journal import journal_of
    from ocifree_pipeline.systems.proxmox import containers, guests

    declaration, machine = step.blueprint.declaration, step.blueprint.plan.ampere[number - 1]
    step.facts(CLUSTER, ClusterFacts)
    network = step.facts(NETWORK, GuestsFacts)
    architecture = step.facts(key_of(machine), InstanceFacts).architecture or "aarch64"
    name = f"{host_name(step.blueprint, machine.name)}-tailnet"
    with nodes_of(step, [machine]) as (node,), api_of(step) as api:
        found = guests.find(api, name, declaration.name, "lxc")
        lines: list[str] = []
        if found is None:
            template, lines = containers.template_for(api, node, architecture)
            container = containers.Container(
                name=name,
                node=node.name,
                deployment=declaration.name,
                template=template,
                bridge=network.bridge,
                address=_address(network, node),
                gateway=network.gateways[node.name],
            )
            step.say(f"make {name} on {node.name}")
            found, made = guests.ensure(api, journal_of(declaration.name), containers.order_of(container))
            lines += [f"make {name} on {node.name} as container {found.vmid}"] if made else []
        guests.settle(journal_of(declaration.name), name)
        lines += containers.give_tunnel(api, node, found)
        lines += guests.start(api, found, "lxc")
        lines += containers.prepare(node, found)
        run = containers.inside(node, found.vmid)
        now = membership(run, name)
        if not now.is_in:
            step.say(f"join {name} to the tailnet")
            joining = Joining(name, declaration.access.tailscale.tags, (network.range,))
            join(run, joining, key_for(step, name))
            lines.append(f"join {name} to the tailnet, offering {network.range}")
            now = membership(run, name)
        if now.address is None or not now.is_in:
            raise NotVerified(
                f"{name} is not in the tailnet",
                why=f"its Tailscale is in the state {now.state}",
                fix=f"on {node.name}: pct exec {found.vmid} -- tailscale status",
            )
        lines += _let_through(step, name, now.address, network.range)
        _answers(node, name, now.address)
    facts = TailscaleLxcFacts(name=name, vmid=found.vmid, address=now.address, route=network.range)
    return Outcome(
        summary=f"{name} answers at {facts.address} and offers {facts.route}",
        facts=facts,
        plan=tuple(lines),
        numbers={"changes": len(lines)},
        links={"machines": CONSOLE},
        look_inside=f"ssh to {machine.name} (see its asset), then: sudo pct exec {facts.vmid} -- tailscale status",
    )


def _address(network: GuestsFacts, node: Node) -> IPv4Interface:
    """The one behind the node's own, in its part of the range."""
    gateway = IPv4Address(network.gateways[node.name])
    return IPv4Interface(f"{gateway + 1}/{network.range.partition('/')[2]}")


def _let_through(step: Step, name: str, address: str, route: str) -> list[str]:
    """A route that is offered is used only when the tailnet lets it through. Without the right to, a person does."""
    control = tailnet(step)
    device = listed(control.devices(), address) if control else None
    if control is None or (device is not None and route in device.routes):
        return []
    if device is None:
        raise NotVerified(
            f"the tailnet does not list {name}",
            why=f"it says that it has {address} there; perhaps it is another tailnet than that of the OAuth client",
            fix=f"look at {CONSOLE}",
        )
    try:
        control.let_through(device, {*device.routes, route})
    except Forbidden:
        step.say(f"the OAuth client may not let {route} through; do it by hand at {CONSOLE}")
        return []
    return [f"let the route {route} of {name} through"]


def _answers(node: Node, name: str, address: str) -> None:
    """Asked from its node, which is in the tailnet itself."""

    def knock() -> bool:
        if node.run(["tailscale", "ping", "-c", "1", "--timeout=5s", "--until-direct=false", address]).exit:
            raise Transient(f"{name} does not answer", why=f"asked from {node.name}", fix="look again")
        return True

    try:
        wait_for(knock, bool, what=f"{name} answers at {address}", timeout=ANSWER_SECONDS, pause=Pause(2))
    except TimedOut as error:
        raise NotVerified(
            f"{name} does not answer at {address}",
            why=error.why,
            fix=f"{materialize_command('links/tailnet')} says whether {node.name} itself is in the tailnet",
        ) from error
