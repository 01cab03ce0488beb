"""Checks of the group tenancy: did Oracle move the limits, and does the plan really fit."""

from __future__ import annotations

import dagster as dg

from ocifree_pipeline.deployment.allowances import LABELS, Resource
from ocifree_pipeline.deployment.blueprint import room_of
from ocifree_pipeline.deployment.plan import A1_SHAPE, MICRO_SHAPE
from ocifree_pipeline.record.definition import Step, Verdict
from ocifree_pipeline.record.outcome import Scalar
from ocifree_pipeline.record.tenancy import LimitsFacts, MachineFacts, PlanFacts, a1_needs, changes


def limits_drift(step: Step) -> Verdict:
    """Compares the two latest readings. A change is a warning: the plan is solved again from the new limits anyway."""
    latest = step.facts("tenancy/limits", LimitsFacts)
    records = step.instance.fetch_materializations(dg.AssetKey(["tenancy", "limits"]), limit=2).records
    if len(records) < 2 or records[1].asset_materialization is None:
        return Verdict(True, "first reading, nothing to compare with")
    before = LimitsFacts.model_validate(records[1].asset_materialization.metadata["facts"].value)
    changed = changes(before, latest)
    if not changed:
        return Verdict(True, "the same limits as at the previous reading", numbers={"changed": 0})
    return Verdict(False, "; ".join(changed), numbers={"changed": len(changed)}, warn=True)


def envelope(step: Step) -> Verdict:
    """Adds the plan up without the solver, so that a fault in the solver cannot hide here."""
    plan = step.facts("tenancy/plan", PlanFacts)
    read = step.facts("tenancy/limits", LimitsFacts)
    room = room_of(step.blueprint.declaration, read.limits.counts(), read.used_by_others.counts())
    rows: list[dict[str, Scalar]] = []
    for ad in (None, *room.domains):
        machines = [m for m in plan.machines if ad is None or m.availability_domain == ad]
        for resource, planned in _taken(machines).items():
            has = (room.ads[ad] if ad else room.region)[resource].available
            rows.append(
                {
                    "limit": LABELS[resource],
                    "where": ad or "region",
                    "planned": planned,
                    "has": has,
                    "fits": planned <= has,
                }
            )
    over = [row for row in rows if not row["fits"]]
    named = "; ".join(f"{row['limit']} in {row['where']}: {row['planned']} of {row['has']}" for row in over)
    return Verdict(not over, named or f"{len(plan.machines)} machines within every limit", evidence=tuple(rows))


def quota_refuses_paid(step: Step) -> Verdict:
    """Asks Oracle what a launch would be given. None is tried: were the guard down, it would cost money."""
    from ocifree_pipeline.systems.oci.foundation.network import compartment_of
    from ocifree_pipeline.systems.oci.guardrails import prove
    from ocifree_pipeline.systems.oci.session import session_for

    declaration = step.blueprint.declaration
    limits, plan = step.facts("tenancy/limits", LimitsFacts), step.facts("tenancy/plan", PlanFacts)
    session = session_for(declaration.site)
    compartment = compartment_of(session, declaration.name, declaration.compartment)
    place = compartment.id if compartment else None
    proof = prove(session, place, limits.availability_domains, a1_needs(plan.machines))
    return Verdict(
        proof.holds,
        "; ".join(proof.sentences()) or "nothing of a paid shape is given, and all A1 of the plan is",
        evidence=tuple(
            {"quota": row.quota, "where": row.ad, "Oracle would give": row.given, "should be": row.wanted}
            for row in proof.rows
        ),
    )


def _taken(machines: list[MachineFacts]) -> dict[Resource, int]:
    ampere = [m for m in machines if m.shape == A1_SHAPE]
    return {
        Resource.A1_OCPUS: sum(m.ocpus for m in ampere),
        Resource.A1_MEMORY_GB: sum(m.memory_gb for m in ampere),
        Resource.MICRO_INSTANCES: sum(m.shape == MICRO_SHAPE for m in machines),
        Resource.BLOCK_STORAGE_GB: sum(m.boot_volume_gb for m in machines),
    }
