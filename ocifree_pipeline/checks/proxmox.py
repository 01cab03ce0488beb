"""Checks of the group proxmox: does every node see the whole cluster, and does a machine move while it runs."""

from __future__ import annotations

from collections.abc import Mapping

from ocifree_pipeline.record.definition import Step, Verdict
from ocifree_pipeline.record.outcome import Scalar
from ocifree_pipeline.record.proxmox import CLUSTER, ClusterFacts, api_of, nodes_of
from ocifree_pipeline.systems.proxmox.membership import doubts, view_of

MOST_SECONDS = 120


def quorate(step: Step) -> Verdict:
    """Asks every node by itself: one that was cut off believes in another cluster than the rest."""
    facts = step.facts(CLUSTER, ClusterFacts)
    with nodes_of(step) as nodes:
        views = [view_of(node) for node in nodes]
    found = doubts(views, facts.name)
    online = min(sum(view.members.values()) for view in views)
    numbers = {"online": online, "nodes": len(views)}
    if found:
        return Verdict(False, "; ".join(found), numbers)
    return Verdict(True, f"all {len(views)} nodes see all {len(views)}, with one configuration", numbers)


def live_migration(step: Step) -> Verdict:
    """A small machine of its own goes to another node and back while it runs, and is removed."""
    from ocifree_pipeline.systems.journal import journal_of
    from ocifree_pipeline.systems.proxmox import migration

    facts = step.facts(CLUSTER, ClusterFacts)
    declaration = step.blueprint.declaration
    if len(facts.nodes) < 2:
        return Verdict(True, "not applicable: there is one node, and nowhere to go")
    here, there = facts.nodes[0], facts.nodes[1]
    with nodes_of(step, step.blueprint.plan.ampere[:1]) as (node,):
        has_kvm = node.has("/dev/kvm")
        machine = node.run(["uname", "-m"]).stdout.strip()
    probe = migration.Probe(
        deployment=declaration.name,
        home=here.name,
        away=there.name,
        pool=declaration.ceph.pool,
        architecture=machine,
        has_kvm=has_kvm,
    )
    with api_of(step) as api:
        trips = migration.rehearse(api, probe, journal_of(declaration.name), step.say)
    slowest = max(trip.seconds for trip in trips)
    rows: tuple[Mapping[str, Scalar], ...] = tuple(
        {"from": trip.source, "to": trip.target, "seconds": trip.seconds} for trip in trips
    )
    said = f"there and back while it ran, the slower way in {slowest:.0f} s"
    return Verdict(slowest < MOST_SECONDS, said, {"seconds": slowest}, rows, warn=True)
