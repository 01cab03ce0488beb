"""The bodies of proxmox/ceph and proxmox/ceph_pool: storage that the Proxmox nodes share."""

from __future__ import annotations

from ocifree_pipeline.deployment.errors import PreconditionMissing
from ocifree_pipeline.record.ceph import CEPH, CephFacts, OsdFacts, PoolFacts
from ocifree_pipeline.record.definition import Step
from ocifree_pipeline.record.outcome import Outcome
from ocifree_pipeline.record.proxmox import CLUSTER, ClusterFacts, nodes_of
from ocifree_pipeline.systems.ceph import observing, planning
from ocifree_pipeline.systems.ceph.building import Builder
from ocifree_pipeline.systems.ceph.observing import Seen
from ocifree_pipeline.systems.ceph.places import Place
from ocifree_pipeline.systems.ceph.pool import PoolBuilder, Wanted
from ocifree_pipeline.systems.ceph.space import read_space
from ocifree_pipeline.systems.ceph.status import judge, read_status
from ocifree_pipeline.systems.journal import journal_of

RISK = "min_size 1: while a node is away there is one copy, and a second failure loses what was just written"


def ceph(step: Step) -> Outcome:
    """Monitors, managers and an OSD on each node: what is missing is added, nothing that is there is touched."""
    declaration, plan = step.blueprint.declaration, step.blueprint.plan
    step.facts(CLUSTER, ClusterFacts)
    wanted = planning.Wanted(
        network=str(declaration.network.private_subnet),
        size=declaration.ceph.size,
        min_size=declaration.ceph.min_size,
        settings=planning.memory_settings(min(machine.memory_gb for machine in plan.ampere)),
    )
    with nodes_of(step) as nodes:
        builder = Builder(wanted, nodes, journal_of(declaration.name), step.say)
        _, actions = builder.plan()
        builder.apply(actions)
        status, judgement = builder.healthy()
        seen = observing.observe(nodes)
    facts = CephFacts(
        fsid=status.fsid,
        network=wanted.network,
        monitors=dict(sorted(seen.monitors.items())),
        managers=tuple(sorted(seen.managers)),
        osds=tuple(_osds(seen)),
    )
    return Outcome(
        summary=f"Ceph is {status.health}: {len(status.in_quorum)} monitors, {status.up} OSDs up and in, "
        f"{sum(status.groups.values())} placement groups active and clean",
        facts=facts,
        plan=tuple(action.line for action in actions),
        numbers={"changes": len(actions), "osds": status.up, "monitors": len(status.in_quorum)},
        evidence=[
            {"what": "cluster", "found": status.fsid},
            {"what": "quorum", "found": ", ".join(status.in_quorum)},
            *({"what": f"osd.{osd.number}", "found": f"{osd.node} {osd.path}"} for osd in facts.osds),
            *({"what": "tolerated", "found": line} for line in judgement.tolerated),
        ],
        look_inside=f"on {plan.ampere[0].name}: sudo ceph -s",
    )


def _osds(seen: Seen) -> list[OsdFacts]:
    found = [
        OsdFacts(number=place.osd, node=node, path=place.path)
        for node, place in seen.places.items()
        if isinstance(place, Place) and place.osd is not None
    ]
    return sorted(found, key=lambda osd: int(osd.number))


def ceph_pool(step: Step) -> Outcome:
    """The pool, its storage on every node, and how much of it guests may fill."""
    declared, plan = step.blueprint.declaration.ceph, step.blueprint.plan
    count = len(step.facts(CEPH, CephFacts).osds)
    with nodes_of(step) as nodes:
        judgement = judge(read_status(nodes[0]), monitors=len(nodes), osds=count)
        builder = PoolBuilder(
            Wanted(declared.pool, declared.size, declared.min_size),
            nodes,
            journal_of(step.blueprint.declaration.name),
            step.say,
        )
        changes = builder.plan()
        if changes and not judgement.is_good:
            raise PreconditionMissing(
                "Ceph is not healthy enough for a pool",
                why=judgement.sentence()[:600],
                fix="ocifree up --select 'proxmox/ceph'",
            )
        builder.apply(changes)
        pool = builder.proved()
        space = read_space(nodes[0], pool.size)
    planned = plan.ceph.how if plan.ceph else ""
    risk = [{"what": "standing warning", "found": RISK}] if pool.min_size == 1 else []
    return Outcome(
        summary=f"{pool.name}: about {space.usable_gb:.0f} GB usable, {pool.size} copies"
        + (f"; WARNING, {RISK}" if pool.min_size == 1 else ""),
        facts=PoolFacts(pool=pool.name, number=pool.number, size=pool.size, min_size=pool.min_size, storage=pool.name),
        plan=tuple(one.line for one in changes),
        numbers={
            "changes": len(changes),
            "usable_gb": round(space.usable_gb, 1),
            "used_gb": round(space.used_gb, 1),
            "min_size": pool.min_size,
        },
        evidence=[
            {"what": "space", "found": space.how()},
            {"what": "the plan said", "found": planned},
            *risk,
        ],
        look_inside=f"on {plan.ampere[0].name}: sudo ceph df",
    )
