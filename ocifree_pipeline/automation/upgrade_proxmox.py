"""What upgrade_proxmox does: one node at a time is emptied, upgraded and restarted; a stop on the first doubt."""

from __future__ import annotations

from collections.abc import Callable

from ocifree_pipeline.automation.upgrades import doubts, stopping
from ocifree_pipeline.deployment.errors import NotVerified, Refused
from ocifree_pipeline.record import cluster as talos
from ocifree_pipeline.record.ceph import CEPH, CephFacts
from ocifree_pipeline.record.definition import Step, record_anew
from ocifree_pipeline.record.facts import find_facts
from ocifree_pipeline.record.proxmox import CLUSTER, ClusterFacts, lasting_nodes_of

PROXMOX = "ocifree upgrade proxmox"
RISK = "one node at a time restarts; a guest that no other node has room for is off meanwhile"


def upgrade_proxmox(step: Step) -> str:
    from ocifree_pipeline.systems.journal import journal_of
    from ocifree_pipeline.systems.proxmox.membership import view_of
    from ocifree_pipeline.systems.proxmox.upgrading import Counts, Upgrade

    declaration = step.blueprint.declaration
    if step.blueprint.plan.topology != "proxmox-ceph":
        raise Refused(
            "this deployment has no Proxmox",
            why=f"its topology is {step.blueprint.plan.topology}",
            fix="ocifree upgrade talos",
        )
    facts = step.facts(CLUSTER, ClusterFacts)
    ceph = find_facts(step.instance, CEPH, CephFacts)
    with lasting_nodes_of(step) as nodes:
        upgrade = Upgrade(
            facts.name,
            nodes,
            journal_of(declaration.name),
            step.say,
            Counts(len(ceph.monitors), len(ceph.osds)) if ceph else None,
            _upstairs(step),
            _control_planes(step),
        )
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
