"""The daily comparison changes nothing, and only the policy `repair` mends, once for each finding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
import yaml

from ocifree_pipeline.automation.drift import JOB, tick
from ocifree_pipeline.definitions import definitions_for
from ocifree_pipeline.deployment.blueprint import Blueprint, blueprint_of
from ocifree_pipeline.deployment.examples import EXAMPLES, example
from ocifree_pipeline.deployment.loading import parse

CHANGES_SOMETHING = {"live_migration", "quota_refuses_paid"}
ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN


def blueprint(policy: str, name: str = "proxmox-ceph") -> Blueprint:
    return blueprint_of(parse(yaml.safe_dump(yaml.safe_load(example(name)) | {"drift": policy})))


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return definitions_for(blueprint("repair"))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def found(instance: dg.DagsterInstance, asset: str, passed: bool, severity: dg.AssetCheckSeverity = ERROR) -> None:
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey(asset.split("/")), check_name="drift", passed=passed, severity=severity
        )
    )


def look(instance: dg.DagsterInstance, definitions: dg.Definitions, policy: str = "repair") -> Any:
    context = dg.build_sensor_context(instance=instance, definitions=definitions, sensor_name="repair_drift")
    return tick(blueprint(policy), context)


def words(result: Any) -> str:
    assert isinstance(result, dg.SkipReason)
    return str(result.skip_message)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_daily_job_looks_at_every_layer_and_at_nothing_that_changes_something(name: str) -> None:
    job = definitions_for(blueprint("report", name)).resolve_job_def(JOB)
    keys = job.asset_layer.asset_graph.asset_check_keys
    checks, groups = {key.name for key in keys}, {key.asset_key.path[0] for key in keys}
    assert {"tenancy", "oci", "machines", "talos", "platform", "assurance"} <= groups
    assert not checks & CHANGES_SOMETHING
    assert not job.asset_layer.executable_asset_keys, "it materializes nothing"


def test_what_may_be_mended_is_requested_once_for_each_finding(
    instance: dg.DagsterInstance, definitions: dg.Definitions
) -> None:
    found(instance, "oci/network", True)
    assert words(look(instance, definitions)) == "nothing differs"
    found(instance, "oci/network", False)
    found(instance, "platform/gateway", False, WARN)
    (request,) = look(instance, definitions).run_requests
    assert [key.to_user_string() for key in request.asset_selection] == ["oci/network"]
    (again,) = look(instance, definitions).run_requests
    assert again.run_key == request.run_key, "Dagster starts no second run for the same key"
    found(instance, "oci/network", False)
    (later,) = look(instance, definitions).run_requests
    assert later.run_key != request.run_key


def test_the_policy_report_mends_nothing(instance: dg.DagsterInstance, definitions: dg.Definitions) -> None:
    found(instance, "oci/network", False)
    assert (
        words(look(instance, definitions, "report")) == "oci/network differ, and the policy is `report`: ocifree drift"
    )


def test_what_a_person_must_decide_is_left(instance: dg.DagsterInstance, definitions: dg.Definitions) -> None:
    found(instance, "platform/gateway", False, WARN)
    assert "only a person can decide" in words(look(instance, definitions))


def test_nothing_is_mended_behind_the_back_of_a_run(instance: dg.DagsterInstance, definitions: dg.Definitions) -> None:
    found(instance, "oci/network", False)
    job = definitions.resolve_implicit_global_asset_job_def()
    instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    assert "another run is under way" in words(look(instance, definitions))
