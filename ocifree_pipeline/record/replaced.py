"""Machines of a name that were here before the one that is now, and Oracle's word that they are gone."""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg

from ocifree_pipeline.deployment.errors import Conflict
from ocifree_pipeline.record.definition import Step
from ocifree_pipeline.record.machines import InstanceFacts

ENDED = (None, "TERMINATED", "TERMINATING")
MOST = 1000


def earlier(step: Step, machine: str) -> tuple[str, ...]:
    """The instances that were recorded under this name before, the newest first."""
    key = dg.AssetKey(["machines", machine])
    now = step.facts(f"machines/{machine}", InstanceFacts).ocid
    found: dict[str, None] = {}
    for record in step.instance.fetch_materializations(key, limit=MOST).records:
        event = record.asset_materialization
        facts = event.metadata.get("facts") if event else None
        if facts is not None and isinstance(facts.value, Mapping) and facts.value.get("ocid") not in (None, now):
            found[str(facts.value["ocid"])] = None
    return tuple(found)


def was_replaced(step: Step, machine: str) -> bool:
    """Whether there was another one. Conflict when Oracle does not say that it has ended: it may come back."""
    from ocifree_pipeline.systems.oci.instances import lifecycle_of
    from ocifree_pipeline.systems.oci.session import session_for

    before = earlier(step, machine)
    if not before:
        return False
    session = session_for(step.blueprint.declaration.site)
    states = {ocid: lifecycle_of(session, ocid) for ocid in before}
    there = [f"{ocid} is {state}" for ocid, state in states.items() if state not in ENDED]
    if there:
        raise Conflict(
            f"an earlier {machine} still exists, and is not forgotten",
            why="; ".join(there)[:400],
            fix="start it and let it take its place again, or terminate it in Oracle's console; then materialize this "
            "again",
        )
    return True
