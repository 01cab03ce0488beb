"""What upgrade_proxmox and tolerance_drill do: one node at a time goes away, and a stop on the first doubt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ocifree_pipeline.automation.upgrades import doubts, stopping
from ocifree_pipeline.deployment.errors import NotVerified, Refused
from ocifree_pipeline.record import cluster as talos
from ocifree_pipeline.record.ceph import CEPH, CephFacts
from ocifree_pipeline.record.definition import Step, record_anew
from ocifree_pipeline.record.facts import find_facts
from ocifree_pipeline.record.proxmox import CLUSTER, ClusterFacts, lasting_nodes_of

if TYPE_CHECKING:
    from ocifree_pipeline.systems.proxmox.gates import Gate
    from ocifree_pipeline.systems.proxmox.node import Node

PROXMOX = "ocifree upgrade proxmox"
DRILL = "dagster job execute -m ocifree_pipeline.definitions -j tolerance_drill"
DRILL_RISK = "each node is restarted once without a warning, with everything that runs on it"
RISK = "one node at a time restarts; a guest that no other node has room for is off meanwhile"


def upgrade_proxmox(step: Step) -> str:
    from ocifree_pipeline.systems.journal import journal_of
    from ocifree_pipeline.systems.proxmox.membership import view_of
    from ocifree_pipeline.systems.proxmox.upgrading import Upgrade

    declaration = step.blueprint.declaration
    require_proxmox(step)
    facts = step.facts(CLUSTER, ClusterFacts)
    with lasting_nodes_of(step) as nodes:
        gate = gate_of(step, facts.name, nodes)
        upgrade = Upgrade(gate, journal_of(declaration.name), _control_planes(step))
        turns = upgrade.plan()
        for line in (line for turn in turns for line in turn.lines()):
            step.say(f"plan: {line}")
        for turn in turns:
            with stopping(turn.node.name, PROXMOX):
                upgrade.take(turn)
        versions = {view.node: view.version for view in map(view_of, nodes)}
    if len(set(versions.values())) > 1:
        raise NotVerified(
            "the nodes have different versions of Proxmox VE",
            why=", ".join(f"{name} has {version}" for name, version in versions.items()),
            fix=f"`{PROXMOX}` again; a node may have another list of repositories",
        )
    (release,) = set(versions.values())
    said = f"Proxmox VE {release} on every node; upgraded now: {', '.join(turn.node.name for turn in turns) or 'none'}"
    record_anew(step, CLUSTER, facts.model_copy(update={"release": release}), said)
    return said


def tolerance_drill(step: Step) -> str:
    """Each node is lost once, without a warning: the others keep their quorum and their storage, and it comes back."""
    from ocifree_pipeline.systems.proxmox.losing import lose

    require_proxmox(step)
    facts = step.facts(CLUSTER, ClusterFacts)
    told = []
    with lasting_nodes_of(step) as nodes:
        for node in nodes:
            with stopping(node.name, DRILL):
                told.append(str(lose(gate_of(step, facts.name, nodes), node)))
    return "; ".join(told)


def require_proxmox(step: Step) -> None:
    if step.blueprint.plan.topology != "proxmox-ceph":
        raise Refused(
            "this deployment has no Proxmox",
            why=f"its topology is {step.blueprint.plan.topology}",
            fix="ocifree upgrade talos",
        )


def gate_of(step: Step, cluster: str, nodes: Sequence[Node]) -> Gate:
    from ocifree_pipeline.systems.proxmox.gates import Counts, Gate

    ceph = find_facts(step.instance, CEPH, CephFacts)
    counts = Counts(len(ceph.monitors), len(ceph.osds)) if ceph else None
    return Gate(cluster, nodes, step.say, counts, _upstairs(step))


def _has_talos(step: Step) -> bool:
    return find_facts(step.instance, talos.CLUSTER, talos.ClusterFacts) is not None


def _upstairs(step: Step) -> Callable[[], list[str]]:
    """What is not well with Kubernetes on the guests, once there is one."""
    if not _has_talos(step):
        return list

    def look() -> list[str]:
        with talos.nodes_of(step) as nodes:
            return doubts(step, nodes)

    return look


def _control_planes(step: Step) -> frozenset[str]:
    if not _has_talos(step):
        return frozenset()
    return frozenset(place.hostname for place in talos.places_of(step) if place.is_control_plane)
