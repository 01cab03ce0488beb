"""From nodes to a cluster: bootstrap, joining, the Kubernetes API over etcd, and the kubelets that report to it.

``refresh`` is called whenever something changed that these depend on; it is cheap, and doing it twice changes nothing.
"""

import json
from typing import Any

from ocifree_pipeline.sandbox.kubernetes import cluster as kubernetes
from ocifree_pipeline.sandbox.kubernetes.cluster import Cluster
from ocifree_pipeline.sandbox.machines import power
from ocifree_pipeline.sandbox.machines.computer import Computer
from ocifree_pipeline.sandbox.talos import etcd as etcds
from ocifree_pipeline.sandbox.talos.etcd import Etcd
from ocifree_pipeline.sandbox.talos.node import Node, nodes, of_key
from ocifree_pipeline.sandbox.world import World, transition

KUBERNETES_API = 6443
ETCD_SECONDS = 10
JOIN_SECONDS = 15
PROMOTE_SECONDS = 5
API_SECONDS = 20
NO_NETWORK_SECONDS = 600
"""How long Talos waits for a node that never becomes ready before it starts the machine again."""


def bootstrap(node: Node, dump: dict[str, Any] | None) -> None:
    """Make the node the first member of a new etcd, empty or from a snapshot."""
    settings = node.settings
    if settings is None:
        raise LookupError("a node without a configuration has no cluster")
    etcd = etcds.found(node.world, settings.identity, settings.cluster)
    etcd.add(node)
    if dump is not None:
        etcd.state["recovered"] = dump
    node.say("etcd: a new cluster is founded with this node as its only member")
    node.world.clock.later(ETCD_SECONDS, "talos.etcd", key=node.key, boots=node.computer.boots)


def api_of(node: Node) -> Cluster | None:
    """The Kubernetes that this node's API server answers for; None while it has nothing to answer from."""
    etcd = etcds.of_node(node)
    if etcd is None or not etcd.state["serves"] or not etcds.runs(node) or not etcds.is_member(node):
        return None
    return kubernetes.find(node.world, etcd.name) if etcd.has_quorum else None


def api_version(computer: Computer) -> str:
    """Of the API server that the configuration of this node names."""
    settings = Node(computer).settings
    return (settings.api_server or settings.kubelet) if settings is not None else ""


def kubernetes_of(node: Node) -> Cluster | None:
    """The Kubernetes that this node belongs to, whether or not it answers now."""
    settings = node.settings
    for etcd in reversed(etcds.of_identity(node.world, settings.identity)) if settings else ():
        if etcd.state["serves"]:
            return kubernetes.find(node.world, etcd.name)
    return None


def refresh(world: World) -> None:
    """Let what follows from power, configuration and membership follow."""
    for node in nodes(world):
        if _may_join(node) is not None and not node.disk.get("joins"):
            node.disk["joins"] = True
            world.clock.later(JOIN_SECONDS, "talos.join", key=node.key, boots=node.computer.boots)
    for name in etcds.of_world(world):
        etcd = Etcd(world, name)
        if etcd.has_quorum and not etcd.state["serves"] and not etcd.state.get("starts"):
            etcd.state["starts"] = True
            world.clock.later(API_SECONDS, "talos.api", name=name)
        for node in etcd.players().values():
            if _learns(etcd, node) and not node.disk.get("promotes"):
                node.disk["promotes"] = True
                world.clock.later(PROMOTE_SECONDS, "talos.promote", key=node.key)
        _register(etcd)


def _learns(etcd: Etcd, node: Node) -> bool:
    member = int(node.disk["etcd"]["member"])
    return member in etcd.members and member not in etcd.voters


def _may_join(node: Node) -> Etcd | None:
    """The etcd that would take this control plane in: one of its cluster, which has a quorum to decide with."""
    settings = node.settings
    if settings is None or not node.is_running or not settings.is_control_plane or node.disk.get("etcd"):
        return None
    found = next((one for one in etcds.of_identity(node.world, settings.identity) if one.has_quorum), None)
    if found is not None and len(found.voters) < len(found.members):
        return None  # etcd lets one learn at a time
    if found is None or not any(one["address"] == node.address for one in found.members.values()):
        return found
    # A disk that was wiped: the member of its address is known, and its data are gone.
    if not node.disk.get("told"):
        node.disk["told"] = True
        node.say(f"etcd: a member with the address {node.address} has already been bootstrapped; remove it first")
    return None


@transition("talos.etcd")
def _etcd_is_up(world: World, key: str, boots: int) -> None:
    node = of_key(world, key)
    if node is None or not node.is_running or node.computer.boots != boots:
        return
    node.disk["etcd_runs"] = True
    refresh(world)


@transition("talos.join")
def _joins(world: World, key: str, boots: int) -> None:
    node = of_key(world, key)
    if node is None:
        return
    node.disk["joins"] = False
    etcd = _may_join(node)
    if etcd is None or node.computer.boots != boots:
        refresh(world)
        return
    etcd.add(node, learner=True)
    node.disk["etcd_runs"] = True
    node.say(f"etcd: joined as a learner beside {len(etcd.members) - 1} others")
    refresh(world)


@transition("talos.promote")
def _is_promoted(world: World, key: str) -> None:
    """It has all that the others have, so it gets a vote."""
    node = of_key(world, key)
    if node is None:
        return
    node.disk["promotes"] = False
    etcd = etcds.of_node(node)
    if etcd is not None and etcds.runs(node) and _learns(etcd, node) and etcd.has_quorum:
        etcd.promote(int(node.disk["etcd"]["member"]))
        node.say("etcd: promoted to a voting member")
    refresh(world)


@transition("talos.api")
def _api_is_up(world: World, name: str) -> None:
    """The API server answers for the first time: what the configuration brings for it is applied."""
    etcd = Etcd(world, name)
    etcd.state["starts"] = False
    player = next(iter(etcd.players().values()), None)
    settings = player.settings if player is not None else None
    if settings is None or etcd.state["serves"] or not etcd.has_quorum:
        return
    made = kubernetes.create(
        world,
        name,
        kubernetes.Settings(
            version=settings.api_server or settings.kubelet,
            pod_cidr=settings.pods,
            service_cidr=settings.services,
            endpoint=settings.endpoint,
            certificate=settings.kubernetes_ca[0],
        ),
    )
    if (dump := etcd.state.pop("recovered", None)) is not None:
        made.load(dump)
        made = kubernetes.find_existing(world, name)
    etcd.state["serves"] = True
    made.bootstrap(settings.inline_manifests, settings.extra_manifests)
    refresh(world)
    made.settle()


# kubelets -------------------------------------------------------------------------------------------------------------


def _register(etcd: Etcd) -> None:
    """The kubelets of the cluster tell what they run on; those that are gone are missed."""
    if not etcd.state["serves"]:
        return
    made = kubernetes.find(etcd.world, etcd.name)
    if made is None:
        return
    known: dict[str, Any] = etcd.state["registered"]
    alive = set()
    if etcd.has_quorum:
        for node in nodes(etcd.world):
            settings = node.settings
            if settings is None or settings.identity != etcd.state["identity"] or not node.is_running:
                continue
            alive.add(node.hostname)
            told = _as_told(node)
            if known.get(node.hostname) != told:
                known[node.hostname] = told
                made.add_node(node.hostname, _machine(node))
                _watch(node)
        for name in known:
            made.set_node_ready(name, name in alive)
        for name in known.keys() - alive:
            known[name] = None
        made.settle()


def _as_told(node: Node) -> str:
    machine = _machine(node)
    return json.dumps([node.key, node.computer.boots, kubernetes.clone_fields(machine)], sort_keys=True)


def _machine(node: Node) -> kubernetes.Machine:
    settings, computer = node.settings, node.computer
    if settings is None:
        raise LookupError("a node without a configuration has no kubelet")
    return kubernetes.Machine(
        addresses=tuple(computer.addresses),
        control_plane=settings.is_control_plane,
        cpus=computer.vcpus,
        memory_gb=computer.memory_gb,
        architecture="arm64" if computer.architecture == "aarch64" else "amd64",
        labels=settings.labels,
        taints=settings.taints,
        os_image=f"Talos ({node.version})",
        kubelet=settings.kubelet,
        external_cloud_provider=settings.external_cloud_provider,
    )


def _watch(node: Node) -> None:
    clock = node.world.clock
    due = clock.now() + _seconds(NO_NETWORK_SECONDS)
    clock.at(due, "talos.no_network", key=node.key, boots=node.computer.boots)


def _seconds(number: float) -> Any:
    from datetime import timedelta

    return timedelta(seconds=number)


@transition("talos.no_network")
def _no_network(world: World, key: str, boots: int) -> None:
    """A node that has no pod network after its window starts again, in the hope that it helps."""
    node = of_key(world, key)
    if node is None or not node.is_running or node.computer.boots != boots:
        return
    made = kubernetes_of(node)
    if made is not None and not made.has_network(node.hostname):
        node.say("the node did not become ready in 10 minutes: no network plugin has come; rebooting")
        power.restart(node.computer)
        refresh(world)
