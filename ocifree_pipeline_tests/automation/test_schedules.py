"""Schedules run what has something to look at, so that waiting for capacity is not a failure every day."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from ocifree_pipeline.automation.schedules import schedules
from ocifree_pipeline.definitions import definitions_for
from ocifree_pipeline.deployment.blueprint import Blueprint, blueprint_of
from ocifree_pipeline.deployment.examples import example
from ocifree_pipeline.deployment.loading import parse
from ocifree_pipeline.record.destroyed import note_destroyed


@pytest.fixture(scope="module")
def blueprint() -> Blueprint:
    return blueprint_of(parse(example("talos-native")))


@pytest.fixture
def instance(dagster_home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.get() as found:
        yield found


@pytest.fixture(scope="module")
def definitions(blueprint: Blueprint) -> dg.Definitions:
    return definitions_for(blueprint)


def runs(name: str, definitions: dg.Definitions, instance: dg.DagsterInstance) -> list[dg.RunRequest]:
    schedule = definitions.resolve_schedule_def(name)
    context = dg.build_schedule_context(
        instance=instance,
        scheduled_execution_time=datetime(2027, 1, 1, 5, tzinfo=UTC),
        repository_def=definitions.get_repository_def(),
    )
    return list(schedule.evaluate_tick(context).run_requests or [])


def made(instance: dg.DagsterInstance, key: str) -> None:
    instance.report_runless_asset_event(dg.AssetMaterialization(key.split("/")))


def test_before_anything_was_made_nothing_runs(
    blueprint: Blueprint, definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    for schedule in schedules(blueprint):
        assert runs(schedule.name, definitions, instance) == [], schedule.name
        assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING


@pytest.mark.parametrize(
    ("name", "after"),
    [("daily_cost", "tenancy/limits"), ("daily_idle", "oci/network"), ("daily_backup", "talos/cluster")],
)
def test_each_begins_with_what_it_reports_on(
    name: str, after: str, definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    made(instance, after)
    assert len(runs(name, definitions, instance)) == 1


def test_the_daily_comparison_looks_at_what_stands(definitions: dg.Definitions, instance: dg.DagsterInstance) -> None:
    made(instance, "oci/network")
    made(instance, "machines/bastion")
    (request,) = runs("daily_drift", definitions, instance)
    assert {str(key.name) for key in request.asset_check_keys or ()} == {"drift", "guest_answers"}
    note_destroyed(instance, "oci/network", "run 1")
    (request,) = runs("daily_drift", definitions, instance)
    assert {key.asset_key.to_user_string() for key in request.asset_check_keys or ()} == {"machines/bastion"}
