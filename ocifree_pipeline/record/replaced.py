"""Machines of a name that were here before the one that is now, and Oracle's word that they are gone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from ocifree_pipeline.deployment.errors import Conflict
from ocifree_pipeline.record.definition import Step
from ocifree_pipeline.record.machines import InstanceFacts

if TYPE_CHECKING:
    from ocifree_pipeline.systems.oci.foundation.kinds import Scope

ENDED = (None, "TERMINATED", "TERMINATING")
MOST = 1000


def recorded(instance: dg.DagsterInstance, machine: str) -> Iterator[Mapping[str, Any]]:
    """The facts of every machine that was had under this name, the newest first."""
    for record in instance.fetch_materializations(dg.AssetKey(["machines", machine]), limit=MOST).records:
        event = record.asset_materialization
        facts = event.metadata.get("facts") if event else None
        if facts is not None and isinstance(facts.value, Mapping):
            yield facts.value


def earlier(step: Step, machine: str) -> tuple[str, ...]:
    """The instances that were recorded under this name before, the newest first."""
    now = step.facts(f"machines/{machine}", InstanceFacts).ocid
    ocids = (facts.get("ocid") for facts in recorded(step.instance, machine))
    return tuple(dict.fromkeys(str(ocid) for ocid in ocids if ocid not in (None, now)))


def disks(instance: dg.DagsterInstance, machine: str) -> frozenset[str]:
    """The boot volumes of all that answered under this name: they hold somebody's data, however long ago."""
    return frozenset(str(facts.get("boot_volume")) for facts in recorded(instance, machine))


def require_ended(scope: Scope, before: InstanceFacts) -> None:
    """Nothing carries our tags for it. Conflict when Oracle still has it all the same: then only its tags are gone."""
    from ocifree_pipeline.systems.oci.instances import lifecycle_of

    state = lifecycle_of(scope.session, before.ocid)
    if state not in ENDED:
        tags = json.dumps(scope.tags(f"machines/{before.name}"))
        raise Conflict(
            f"{before.name} is {state} and does not carry our tags any more, so no other is launched beside it",
            why=f"{before.ocid} was recorded as {before.name}; somebody took its freeform tags away",
            fix=f"oci compute instance update --instance-id {before.ocid} --freeform-tags '{tags}'; if another is "
            "wanted instead, end it in Oracle's console first",
        )


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
