"""The job destroy in the real graph: the typed name, what the record says afterwards, and a life after it."""

from __future__ import annotations

import time
from typing import Any

import dagster as dg
import pytest

from ocifree_pipeline.automation.destroy import OP
from ocifree_pipeline.cli.status import read_states
from ocifree_pipeline.deployment.errors import PreconditionMissing
from ocifree_pipeline.record.destroyed import destroyed_since_made, last_mark, note_destroyed
from ocifree_pipeline.record.facts import find_facts, read_facts
from ocifree_pipeline.record.foundation import NetworkFacts
from ocifree_pipeline.record.tenancy import LimitsFacts
from ocifree_pipeline.systems.journal import journal_of
from ocifree_pipeline_tests.assets.conftest import FOUNDATION, Deployment, _proxmox_ground, proxmox

__all__ = ["_proxmox_ground", "proxmox"]

BASTION, AMPERE = "machines/bastion", "machines/ampere_1"


def destroy(deployment: Deployment, typed: str = "lab") -> dg.ExecuteInProcessResult:
    return deployment.definitions.resolve_job_def("destroy").execute_in_process(
        instance=deployment.instance,
        run_config={"ops": {OP: {"config": {"confirm": typed}}}},
        raise_on_error=False,
    )


def what_failed(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    data = result.failure_data_for_node(OP)
    assert data is not None
    assert data.user_failure_data is not None
    return {name: value.value for name, value in data.user_failure_data.metadata.items()}


def standing(deployment: Deployment) -> list[str]:
    def look(world: Any) -> list[str]:
        return [
            kind
            for kind, table in world.tables.items()
            for one in table.values()
            if not one.gone
            and one.state != "DETACHED"
            and (one.body.get("freeformTags") or {}).get("ocifree-deployment")
        ]

    return deployment.sandbox.inside(look)


def test_after_the_end_nothing_stands_and_a_new_life_begins(proxmox: Deployment) -> None:
    proxmox.materialize("oci/image_bucket", BASTION, AMPERE)
    first, image = proxmox.facts(AMPERE)["ocid"], proxmox.facts("oci/custom_image/proxmox_ampere")
    assert {"instance", "vcn", "quota", "budget", "publicip", "bucket"} <= set(standing(proxmox))
    result = destroy(proxmox)
    assert result.success, what_failed(result)
    assert standing(proxmox) == []
    for key in ("oci/network", "tenancy/guardrails", "oci/image_bucket", BASTION, AMPERE):
        assert destroyed_since_made(proxmox.instance, key), key
    for key in ("tenancy/limits", "tenancy/plan"):
        assert destroyed_since_made(proxmox.instance, key) is None
    assert find_facts(proxmox.instance, "tenancy/limits", LimitsFacts) is not None
    assert find_facts(proxmox.instance, "oci/network", NetworkFacts) is None
    with pytest.raises(PreconditionMissing, match="oci/network was destroyed"):
        read_facts(proxmox.instance, "oci/network", NetworkFacts)
    assert proxmox.metadata(AMPERE)["facts"]["ocid"] == first, "history is kept"
    assert journal_of("lab").file.exists()

    calls = proxmox.mutations()
    marks = last_mark(proxmox.instance, AMPERE)
    assert destroy(proxmox).success
    assert proxmox.mutations() == calls
    assert last_mark(proxmox.instance, AMPERE) == marks

    failed = proxmox.errors(proxmox.materialize(AMPERE, good=False))
    assert failed["machines__ampere_1"]["what"] == "oci/network was destroyed"
    proxmox.materialize(*FOUNDATION)
    proxmox.pretend("oci/custom_image/proxmox_ampere", **image)
    again = proxmox.materialize(BASTION, AMPERE)
    assert proxmox.facts(AMPERE)["ocid"] != first
    assert all(one.passed for one in again.get_asset_check_evaluations()), "the new machine is not a replacement"
    assert destroyed_since_made(proxmox.instance, AMPERE) is None


def test_another_name_destroys_nothing(proxmox: Deployment) -> None:
    calls = proxmox.mutations()
    told = what_failed(destroy(proxmox, "lap"))
    assert told["error"] == "NeedsConfirmation"
    assert "ampere_1" in told["why"]
    assert "may never have capacity for them again" in told["why"]
    assert told["again"] == "ocifree destroy"
    assert proxmox.mutations() == calls


def test_it_does_not_start_while_something_is_being_made(proxmox: Deployment) -> None:
    job = proxmox.definitions.resolve_implicit_global_asset_job_def()
    running = proxmox.instance.create_run_for_job(job, status=dg.DagsterRunStatus.NOT_STARTED)
    told = what_failed(destroy(proxmox))
    assert told["what"] == f"another run is under way: {running.run_id[:8]}"
    proxmox.instance.report_run_failed(running)
    assert destroy(proxmox).success


def test_what_ended_before_it_broke_off_is_noted_and_the_rest_goes_on(proxmox: Deployment) -> None:
    from ocifree_pipeline.sandbox.faults import Rule

    proxmox.materialize(BASTION)
    proxmox.sandbox.faults.add(
        Rule(operation="DeleteVcn", status=409, code="IncorrectState", message="something is in it", times=1)
    )
    told = what_failed(destroy(proxmox))
    assert told["error"] == "NotVerified"
    assert "vcn lab-vcn" in told["why"]
    assert "something is in it" in told["why"]
    assert destroyed_since_made(proxmox.instance, BASTION)
    assert destroyed_since_made(proxmox.instance, "oci/network") is None, "it stands, in part"
    assert "quota" in standing(proxmox)
    assert destroy(proxmox).success
    assert standing(proxmox) == []


def test_status_shows_what_was_destroyed_as_missing() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        for key in ("oci/network", "tenancy/plan"):
            instance.report_runless_asset_event(dg.AssetMaterialization(asset_key=key.split("/")))
        states = {one.key: one for one in read_states(instance, time.time())}
        assert (states["oci/network"].state, states["tenancy/plan"].state) == ("made", "made")
        note_destroyed(instance, "oci/network", "run 1234")
        states = {one.key: one for one in read_states(instance, time.time())}
        assert (states["oci/network"].state, states["tenancy/plan"].state) == ("missing", "made")
        assert states["oci/network"].summary.startswith("destroyed on 20")
        instance.report_runless_asset_event(dg.AssetMaterialization(asset_key=["oci", "network"]))
        assert {one.key: one.state for one in read_states(instance, time.time())}["oci/network"] == "made"
