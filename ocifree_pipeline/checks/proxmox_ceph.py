"""Checks of proxmox/ceph and proxmox/ceph_pool, each asked of Ceph itself."""

from __future__ import annotations

from ocifree_pipeline.record.ceph import CEPH, CephFacts, PoolFacts, witness
from ocifree_pipeline.record.definition import Step, Verdict
from ocifree_pipeline.systems.ceph.space import read_space
from ocifree_pipeline.systems.ceph.status import judge, read_status

SLACK = 0.03
"""What partition tables and Ceph's own records take of the planned space."""
RISK = "min_size 1 is accepted: a second failure while a node is away loses what was just written"


def ceph_health(step: Step) -> Verdict:
    """Only named warnings are let pass, every OSD is up and in, every placement group is active and clean."""
    facts = step.facts(CEPH, CephFacts)
    with witness(step) as node:
        status = read_status(node)
    judgement = judge(status, monitors=len(facts.monitors), osds=len(facts.osds))
    groups = ", ".join(f"{count} {state}" for state, count in status.groups.items())
    counts = f"{len(status.in_quorum)} monitors, {status.up} of {status.osds} OSDs up, {groups or 'no groups'}"
    return Verdict(
        judgement.is_good,
        f"{status.health}: {counts}" if judgement.is_good else judgement.sentence(),
        numbers={"osds_up": status.up, "monitors": len(status.in_quorum)},
        evidence=tuple({"what": "tolerated", "found": line} for line in judgement.tolerated),
    )


def usable_space(step: Step) -> Verdict:
    """What the OSDs have, against what the plan has promised; and the risk that was accepted with min_size 1."""
    facts = step.facts(step.key, PoolFacts)
    with witness(step) as node:
        space = read_space(node, facts.size)
    planned = step.blueprint.plan.ceph
    promised = planned.usable_gb if planned else 0
    enough = space.usable_gb >= promised * (1 - SLACK)
    words = f"{space.usable_gb:.1f} GB usable, the plan said {promised}: {space.how()}"
    return Verdict(
        enough,
        f"{words}. {RISK}" if facts.min_size == 1 else words,
        numbers={"usable_gb": round(space.usable_gb, 1), "used_gb": round(space.used_gb, 1)},
        evidence=(
            {"what": "found", "found": space.how()},
            {"what": "planned", "found": planned.how if planned else ""},
        ),
        warn=True,
    )
