"""Guardrails and foundation as assets: the real graph, and real host names through the proxy door."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from oci.budget import BudgetClient
from oci.core import VirtualNetworkClient
from oci.core import models as core
from oci.limits import QuotasClient
from oci.limits import models as limits

from ocifree_pipeline.deployment.allowances import Resource
from ocifree_pipeline.deployment.watching import Turn
from ocifree_pipeline.record.foundation import GUARDRAILS, STORAGE_QUOTA, GuardrailsFacts, NetworkFacts, guards_of
from ocifree_pipeline.record.watched import note_turn
from ocifree_pipeline_tests.assets.conftest import FOUNDATION, Deployment, Ground, deployment, ground
from ocifree_pipeline_tests.chaos.whole_graph import Here, WholeGraph

ALL = (*FOUNDATION, "oci/image_bucket")


@pytest.fixture(scope="module")
def _ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with ground(tmp_path_factory.mktemp("talos"), topology="talos-native") as found:
        yield found


@pytest.fixture
def standing(_ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    """The network stands."""
    with _ground.again(tmp_path / "home", monkeypatch) as found:
        yield found


@pytest.fixture
def nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    """An empty tenancy."""
    with deployment(tmp_path, monkeypatch, topology="talos-native") as found:
        yield found


def verdicts(result: dg.ExecuteInProcessResult) -> dict[str, tuple[bool, str]]:
    return {
        f"{one.asset_key.to_user_string()}:{one.check_name}": (one.passed, str(one.metadata["summary"].value))
        for one in result.get_asset_check_evaluations()
    }


def test_from_an_empty_tenancy_to_the_foundation_and_again_without_a_change(nothing: Deployment) -> None:
    found = verdicts(nothing.materialize(*ALL))
    assert found["tenancy/guardrails:quota_refuses_paid"] == (
        True,
        "nothing of a paid shape is given, and all A1 of the plan is",
    )
    assert found["oci/network:plan_is_free"][0]
    assert found["oci/network:drift"] == (True, "as it was made")
    network = NetworkFacts.model_validate(nothing.facts("oci/network"))
    assert set(network.subnets) == {"public", "private"}
    assert network.nodes_subnet == "public"
    guards = GuardrailsFacts.model_validate(nothing.facts("tenancy/guardrails"))
    assert guards.statements[0] == "zero compute-core quotas in tenancy"
    assert set(nothing.facts("oci/reserved_ips")["addresses"]) == {"ingress", "bastion"}
    assert nothing.facts("oci/image_bucket")["bucket"] == "lab-images"
    assert "create vcn lab-vcn: 10.0.0.0/16" in nothing.metadata("oci/network")["plan"]

    before = {key: nothing.facts(key) for key in ALL}
    nothing.sandbox.recorder.clear()
    nothing.materialize(*ALL)
    assert nothing.mutations() == 0
    assert {key: nothing.facts(key) for key in ALL} == before
    assert nothing.metadata("oci/network")["plan"] == "nothing to do"


def test_drift_is_named_and_one_command_repairs_it_in_place(standing: Deployment) -> None:
    network = NetworkFacts.model_validate(standing.facts("oci/network"))
    client = standing.client(VirtualNetworkClient)
    client.update_vcn(network.vcn, core.UpdateVcnDetails(display_name="renamed"))
    check = _run_check(standing, "oci/network", "drift")
    assert not check.passed
    assert "change vcn lab-vcn: name: renamed -> lab-vcn" in str(check.metadata["summary"].value)
    assert "ocifree up --select 'oci/network'" in str(check.metadata["summary"].value)
    found = verdicts(standing.materialize("oci/network"))
    assert found["oci/network:drift"][0]
    assert client.get_vcn(network.vcn).data.display_name == "lab-vcn"


def test_a_guard_that_somebody_weakened_is_found_without_writing_and_put_back(standing: Deployment) -> None:
    facts = GuardrailsFacts.model_validate(standing.facts("tenancy/guardrails"))
    assert _run_check(standing, "tenancy/guardrails", "drift").passed
    standing.client(QuotasClient).update_quota(facts.quota, limits.UpdateQuotaDetails(statements=[facts.statements[0]]))
    standing.client(BudgetClient).delete_alert_rule(*facts.alert_rule.split("/"))
    standing.sandbox.recorder.clear()
    check = _run_check(standing, "tenancy/guardrails", "drift")
    said = str(check.metadata["summary"].value)
    assert not check.passed
    assert "change quota ocifree-lab: statements" in said
    assert "create alert rule ocifree-lab-first-cent" in said
    assert check.severity is dg.AssetCheckSeverity.ERROR, "mended in place"
    assert standing.mutations() == 0
    standing.materialize("tenancy/guardrails")
    assert _run_check(standing, "tenancy/guardrails", "drift").passed


def test_the_last_machine_settles_the_quota_and_a_second_run_changes_nothing(native: WholeGraph) -> None:
    """Three domains, any of which may have room: wide while they are hunted, and narrow before the run ends."""

    def given(here: Here) -> dict[str, int]:
        found = guards_of(here.instance)
        assert found is not None
        lines = [line for line in found.statements if "request.ad" in line]
        return {line.split("'")[1][-4:]: int(line.split(" to ")[1].split()[0]) for line in lines}

    with native.before(STORAGE_QUOTA) as here:
        hunted = given(here)
        assert set(hunted) == {"AD-1", "AD-2", "AD-3"}
        assert sum(hunted.values()) > 200
        assert len(here.make(STORAGE_QUOTA).plan) == 1
        assert given(here) == {"AD-1": 200}
        here.sandbox.recorder.clear()
        assert {key: outcome.plan for key, outcome in here.everything().items() if outcome.plan} == {}
        assert here.sandbox.recorder.query(mutating=True) == []

        note_turn(here.instance, "ampere_1", Turn.LOST, "Oracle took it back")
        here.make(GUARDRAILS)
        assert given(here) == hunted, "the next one may be found anywhere"


def test_a_free_account_gets_one_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An account that may keep no images and has no NAT gateway."""
    with deployment(tmp_path, monkeypatch, topology="talos-native") as found:
        from ocifree_pipeline.sandbox.oracle import limits as sandbox_limits

        found.sandbox.inside(lambda world: sandbox_limits.override(world, "reserved-public-ip-count", 1))
        for _ in range(2):  # our own address must not count against us the second time
            found.materialize(*FOUNDATION)
            assert set(found.facts("oci/reserved_ips")["addresses"]) == {"ingress"}
        for limit in ("custom-image-count", "nat-gateway-count"):
            found.sandbox.inside(lambda world, name=limit: sandbox_limits.override(world, name, 0))
        found.materialize("tenancy/limits")
        assert "those of a free account, and `site.account` says payg" in found.metadata("tenancy/limits")["summary"]


def test_nothing_is_made_while_a_foreign_policy_leaves_no_a1(nothing: Deployment) -> None:
    nothing.client(QuotasClient).create_quota(
        limits.CreateQuotaDetails(
            compartment_id=nothing.sandbox.tenancy,
            name="company",
            description="company",
            statements=["zero compute-core quotas in tenancy"],
        )
    )
    nothing.sandbox.advance(600)
    result = nothing.materialize(*ALL, good=False)
    error = nothing.errors(result)["tenancy__guardrails"]
    assert error["error"] == "Conflict"
    assert "quota policy company holds standard-a1-core-count at 0" in error["why"]
    assert nothing.sandbox.recorder.count(operation="CreateVcn") == 0


def test_the_opentofu_engine_without_its_program_says_what_to_install(
    standing: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOFU", "/nowhere/tofu")
    declaration = standing.blueprint.declaration
    other = declaration.model_copy(
        update={"foundation": declaration.foundation.model_copy(update={"engine": "opentofu"})}
    )
    from ocifree_pipeline.deployment.blueprint import Blueprint

    changed = Deployment(standing.sandbox, Blueprint(other, standing.blueprint.plan), standing.instance)
    result = changed.materialize("oci/network", good=False)
    error = changed.errors(result)["oci__network"]
    assert error["error"] == "PreconditionMissing"
    assert "install OpenTofu" in error["fix"]


def _run_check(found: Deployment, asset: str, name: str) -> Any:
    key = dg.AssetCheckKey(dg.AssetKey(asset.split("/")), name)
    job = dg.define_asset_job("checked", selection=dg.AssetSelection.checks(key))
    picked = dg.Definitions(assets=found.definitions.assets, asset_checks=found.definitions.asset_checks, jobs=[job])
    result = picked.resolve_job_def("checked").execute_in_process(instance=found.instance)
    (evaluation,) = result.get_asset_check_evaluations()
    return evaluation


def test_a_changed_limit_is_shown_kept_and_does_not_disturb_twice(standing: Deployment) -> None:
    from ocifree_pipeline.sandbox.oracle import limits as sandbox_limits

    standing.materialize("tenancy/limits")
    assert standing.facts("tenancy/limits")["changed"] == []
    standing.sandbox.inside(lambda world: sandbox_limits.override(world, "reserved-public-ip-count", 1))
    standing.materialize("tenancy/limits")
    metadata = standing.metadata("tenancy/limits")
    assert "changed since the last reading: " in metadata["summary"]
    assert metadata["changed since the last reading"] == 1
    (words,) = standing.facts("tenancy/limits")["changed"]
    assert words == "reserved public addresses in the region: 50 -> 1"
    facts = standing.facts("tenancy/limits")
    standing.materialize("tenancy/limits")
    assert standing.facts("tenancy/limits") == facts, "the same facts have the same data version"
    assert standing.metadata("tenancy/limits")["changed since the last reading"] == 0


def test_another_allowance_is_a_change(standing: Deployment) -> None:
    from ocifree_pipeline.record.tenancy import LimitsFacts, changes

    standing.materialize("tenancy/limits")
    now = LimitsFacts.model_validate(standing.facts("tenancy/limits"))
    free = {**now.free, Resource.A1_OCPUS: 4}
    before = now.model_copy(update={"allowance": "always-free-2025", "free": free})
    assert changes(before, now) == (
        "the allowance: always-free-2025 -> always-free-2026",
        "A1 OCPUs that are free: 4 -> 2",
    )
    assert changes(now.model_copy(update={"allowance": "", "free": {}}), now) == (), "an older record says nothing"
