"""Facts of the group proxmox, and the ways to its nodes: as root over SSH, and to the API with the pipeline's token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Address

from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import Transient
from ocifree_pipeline.deployment.plan import Machine
from ocifree_pipeline.record.definition import Step
from ocifree_pipeline.record.machines import InstanceFacts, dialer_for, hop_to, host_name, key_of
from ocifree_pipeline.record.outcome import Facts
from ocifree_pipeline.record.talos import gateway_of, guest_address
from ocifree_pipeline.systems.proxmox.api import Api, Token, session
from ocifree_pipeline.systems.proxmox.network import Wanted, link_of, mtu_for
from ocifree_pipeline.systems.proxmox.node import Node, as_root
from ocifree_pipeline.systems.ssh.dialer import COMMAND_SECONDS, Result, Run

TWO = 2
CLUSTER = "proxmox/cluster"
NETWORK = "proxmox/network"
TOKEN = "proxmox/token"  # noqa: S105 - its place in the vault


class NodeFacts(Facts):
    """`machine` is its name in the plan, `name` the one that Proxmox knows."""

    machine: str
    name: str
    address: str


class ClusterFacts(Facts):
    """proxmox/cluster. `authority` is the certificate that signs those of its APIs, `token` a place in the vault."""

    name: str
    release: str
    nodes: tuple[NodeFacts, ...]
    authority: str
    user: str
    token_name: str
    token: str

    def node_of(self, machine: str) -> NodeFacts:
        return next(node for node in self.nodes if node.machine == machine)


class GuestsFacts(Facts):
    """proxmox/network: the bridge that all guests are on, whichever node they run on."""

    bridge: str
    mtu: int
    range: str
    gateways: dict[str, str]


@contextmanager
def nodes_of(step: Step, machines: Sequence[Machine] | None = None) -> Iterator[list[Node]]:
    """The nodes with a session of root each, in the order of the plan."""
    wanted = step.blueprint.plan.ampere if machines is None else machines
    facts = [step.facts(key_of(machine), InstanceFacts) for machine in wanted]
    with ExitStack() as stack:
        found = []
        for one in facts:
            run = stack.enter_context(dialer_for(step, one.name).shell(hop_to(step.blueprint, one)))
            found.append(Node(one.name, host_name(step.blueprint, one.name), one.private_ip, as_root(run)))
        yield found


@contextmanager
def lasting_nodes_of(step: Step) -> Iterator[list[Node]]:
    """The same for whoever restarts nodes: a session that broke is opened anew at the next command."""
    with ExitStack() as stack:
        yield [stack.enter_context(_lasting(step, machine)) for machine in step.blueprint.plan.ampere]


@contextmanager
def _lasting(step: Step, machine: Machine) -> Iterator[Node]:
    facts = step.facts(key_of(machine), InstanceFacts)
    session = ExitStack()
    runs: list[Run] = []

    def run(argv: Sequence[str], timeout: float = COMMAND_SECONDS, given: SecretStr | None = None) -> Result:
        try:
            if not runs:
                runs.append(session.enter_context(dialer_for(step, machine.name).shell(hop_to(step.blueprint, facts))))
            return runs[0](argv, timeout, given)
        except Transient:
            runs.clear()
            session.close()
            raise

    with session:
        yield Node(machine.name, host_name(step.blueprint, machine.name), facts.private_ip, as_root(run))


def wanted_network(step: Step, nodes: Sequence[Node]) -> list[Wanted]:
    """The network of the guests on each node; the smallest link decides on the size of its packets."""
    declared = step.blueprint.declaration.network
    mtu = mtu_for([link_of(node) for node in nodes], declared.vxlan.mtu)
    return [
        Wanted(
            gateway=gateway_of(declared.guests, number),
            own=IPv4Address(node.address),
            peers=tuple(IPv4Address(other.address) for other in nodes if other is not node),
            inside=(declared.vcn_cidr,),
            vni=declared.vxlan.vni,
            mtu=mtu,
            entrance=_entrance(step) if number == 1 else None,
        )
        for number, node in enumerate(nodes, start=1)
    ]


def _entrance(step: Step) -> IPv4Address | None:
    """The guest behind the gateway, on the node to which the reserved address leads."""
    declaration = step.blueprint.declaration
    return guest_address(declaration.network.guests, 1).address.ip if declaration.kubernetes.gateway.enabled else None


def third_vote(step: Step, nodes: Sequence[Node]) -> list[str]:
    """Of two nodes neither has a majority without the other; the bastion votes with them, if there is one."""
    bastion = step.blueprint.plan.bastion
    if len(nodes) != TWO or bastion is None:
        return []
    from ocifree_pipeline.systems.proxmox.qdevice import ThirdVote
    from ocifree_pipeline.systems.ssh.host_keys import host_keys_of

    keys = host_keys_of(step.blueprint.declaration.name).of(bastion.name)
    with nodes_of(step, [bastion]) as (machine,):
        return ThirdVote(machine, nodes, [f"{key.kind} {key.blob}" for key in keys], step.say).ensure()


@contextmanager
def api_of(step: Step) -> Iterator[Api]:
    """A session with the first node whose API answers; it passes calls on to the others."""
    from ocifree_pipeline.systems.secrets.vault import vault_of

    cluster = step.facts(CLUSTER, ClusterFacts)
    token = Token(cluster.user, cluster.token_name, vault_of(step.blueprint.declaration.name).get(cluster.token))
    with ExitStack() as stack:
        yield _first_that_answers(step, cluster, token, stack)


def _first_that_answers(step: Step, cluster: ClusterFacts, token: Token, stack: ExitStack) -> Api:
    said = []
    for node in cluster.nodes:
        with ExitStack() as attempt:
            try:
                dialer = dialer_for(step, node.machine)
                api = attempt.enter_context(session(dialer, node.address, authority=cluster.authority, token=token))
                api.get("/version")
            except Transient as error:
                said.append(f"{node.name}: {error.why}")
                continue
            stack.push(attempt.pop_all())
            return api
    raise Transient(
        "no node's Proxmox API answers",
        why="; ".join(said)[:400],
        fix="`ocifree verify` says which machines answer; on a node: systemctl status pveproxy",
    )
