"""The pipeline's own numbers as metrics: cost, idle machines, the hunt, runs. All of it is read from the record."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg

from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.record.facts import find_facts
from ocifree_pipeline.record.machines import CAPACITY, CapacityFacts, InstanceFacts, is_claimed, key_of
from ocifree_pipeline.systems.grafana.remote_write import Sample

DAY = timedelta(days=1)
FROM_METADATA = (
    ("assurance/cost_report", "cost", "ocifree_cost"),
    ("assurance/cost_report", "days proven at zero", "ocifree_cost_days_proven"),
    ("assurance/idle_report", "machines at risk", "ocifree_machines_at_risk"),
)


def samples(instance: dg.DagsterInstance, blueprint: Blueprint, now: float) -> list[Sample]:
    """What is known. What was never measured is left out rather than sent as zero."""
    labels = {"deployment": blueprint.declaration.name}
    numbers = [*_reported(instance), *_hunt(instance, blueprint), *_runs(instance, now)]
    return [Sample(name, value, labels) for name, value in numbers] + [
        Sample("ocifree_asset_seconds", seconds, {**labels, "asset": key}) for key, seconds in _seconds(instance)
    ]


def _reported(instance: dg.DagsterInstance) -> Iterator[tuple[str, float]]:
    for key, number, name in FROM_METADATA:
        value = _number(instance, key, number)
        if value is not None:
            yield name, value


def _hunt(instance: dg.DagsterInstance, blueprint: Blueprint) -> Iterator[tuple[str, float]]:
    missing = [
        machine
        for machine in blueprint.plan.machines
        if find_facts(instance, key_of(machine), InstanceFacts) is None and not is_claimed(instance, machine.name)
    ]
    yield "ocifree_machines_missing", float(len(missing))
    seen = find_facts(instance, CAPACITY, CapacityFacts)
    if seen is not None:
        yield "ocifree_claim_attempts", float(seen.tries)
        yield "ocifree_hunt_last_asked_seconds", seen.asked_at


def _runs(instance: dg.DagsterInstance, now: float) -> Iterator[tuple[str, float]]:
    since = datetime.fromtimestamp(now, UTC) - DAY
    yield "ocifree_runs_a_day", float(instance.get_runs_count(dg.RunsFilter(created_after=since)))
    failed = dg.RunsFilter(created_after=since, statuses=[dg.DagsterRunStatus.FAILURE])
    yield "ocifree_runs_failed_a_day", float(instance.get_runs_count(failed))


def _seconds(instance: dg.DagsterInstance) -> Iterator[tuple[str, float]]:
    for key in instance.all_asset_keys():
        name = key.to_user_string()
        seconds = _number(instance, name, "seconds")
        if seconds is not None:
            yield name, seconds


def _number(instance: dg.DagsterInstance, key: str, number: str) -> float | None:
    event = instance.get_latest_materialization_event(dg.AssetKey.from_user_string(key))
    value = event.asset_materialization.metadata.get(number) if event and event.asset_materialization else None
    return float(value.value) if value is not None and isinstance(value.value, int | float) else None
