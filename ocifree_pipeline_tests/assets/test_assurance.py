"""Cost and idle reports in the real graph: guards that hold, a guard that is taken away, and the clock moved ahead."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import dagster as dg
import oci
import pytest

from ocifree_pipeline_tests.assets.conftest import Deployment
from ocifree_pipeline_tests.conformance.computing import computing

COST, IDLE, BASTION = "assurance/cost_report", "assurance/idle_report", "machines/bastion"
HOUR, DAY = 3600, 86400


@pytest.fixture
def lab(proxmox: Deployment, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """Time is the sandbox's."""

    def now() -> datetime:
        return proxmox.sandbox.inside(lambda world: world.clock.now())

    monkeypatch.setattr("ocifree_pipeline.record.assurance.now", now)
    return proxmox


def verdicts(result: dg.ExecuteInProcessResult) -> dict[str, tuple[bool, str]]:
    return {one.check_name: (one.passed, one.description or "") for one in result.get_asset_check_evaluations()}


def test_free_machines_cost_nothing_and_time_proves_it(lab: Deployment) -> None:
    lab.materialize(BASTION)
    first = verdicts(lab.materialize(COST))
    assert first["bill_is_zero"] == (True, "0.00 for 0 days, 2 days still open")
    assert first["within_allowance"][0], first
    lab.sandbox.advance(5 * DAY)
    result = lab.materialize(COST)
    found = lab.metadata(COST)
    assert found["days proven at zero"] >= 2
    assert found["days still open"] == 4
    assert found["cost"] == 0.0
    assert {"day", "cost", "state"} <= set(found["evidence"].records[0].data)
    assert verdicts(result)["bill_is_zero"][0]
    assert "0.00 USD for" in found["summary"]


def test_a_guard_that_is_taken_away_is_noticed_twice(lab: Deployment) -> None:
    """Somebody deletes the quota policy and launches a paid machine: seen at once, and on the bill when it comes."""
    quotas = lab.client(oci.limits.QuotasClient)
    for quota in quotas.list_quotas(lab.sandbox.tenancy).data:
        quotas.delete_quota(quota.id)
    lab.sandbox.advance(HOUR)
    here = computing(lab.sandbox)
    size = oci.core.models.LaunchInstanceShapeConfigDetails(ocpus=1, memory_in_gbs=16)
    image = here.from_image(here.platform_image("x86_64").id)
    paid = here.launch(shape="VM.Standard.E4.Flex", shape_config=size, source_details=image, display_name="paid")
    at_once = verdicts(lab.materialize(COST))
    assert at_once["bill_is_zero"][0], "the bill knows nothing yet"
    passed, words = at_once["within_allowance"]
    assert not passed
    assert "instance paid: only VM.Standard.A1.Flex and VM.Standard.E2.1.Micro are ever free" in words
    lab.sandbox.advance(36 * HOUR)
    passed, words = verdicts(lab.materialize(COST))["bill_is_zero"]
    assert not passed
    assert f"USD for instance {paid.id} (COMPUTE B93113 in uk-london-1" in words
    found = lab.metadata(COST)
    assert found["cost"] > 0
    assert f"https://cloud.oracle.com/compute/instances/{paid.id}?region=uk-london-1" in str(found["evidence"])
    assert lab.facts(COST)["charged"] == [f"instance {paid.id}"]


def test_idle_machines_are_warned_about_days_ahead(lab: Deployment) -> None:
    lab.materialize(BASTION, "machines/ampere_1")
    lab.sandbox.advance(2 * DAY)
    result = lab.materialize(IDLE)
    found: dict[str, Any] = lab.metadata(IDLE)
    assert found["bastion days left"] == pytest.approx(5, abs=0.2)
    assert found["ampere_1 p95 memory %"] == 40.0
    assert "ampere_1 days left" not in found
    assert "a Micro has no memory test and looks idle unless it computes" in found["summary"]
    assert lab.facts(IDLE) == {"machines": ["ampere_1", "bastion"], "at_risk": ["bastion"]}
    passed, words = verdicts(result)["reclaim_risk"]
    assert passed
    assert "Users report that Oracle leaves paying accounts alone" in words
    site = lab.blueprint.declaration.site
    free = lab.blueprint.declaration.model_copy(update={"site": site.model_copy(update={"account": "free"})})
    unpaid = Deployment(lab.sandbox, replace(lab.blueprint, declaration=free), lab.instance)
    (evaluation,) = unpaid.materialize(IDLE).get_asset_check_evaluations()
    assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.WARN)
