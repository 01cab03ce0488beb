"""The hunt for hosts as clients see it: reports, direct and late refusals, ghosts, throttling, a ban."""

from typing import Any

import oci
import pytest
from oci.core import models

from ocifree_pipeline.sandbox import capacity
from ocifree_pipeline.sandbox.oracle import patience
from ocifree_pipeline.sandbox.profiles import Profile
from ocifree_pipeline_tests.conformance.computing import A1, MICRO, Computing, computing
from ocifree_pipeline_tests.conformance.network import refused
from ocifree_pipeline_tests.sandbox.harness import RunningSandbox, running

HOUR = 3600
DRY = {"process": "trace", "windows": []}


@pytest.fixture
def here(manual: RunningSandbox) -> Computing:
    return computing(manual)


def configure(here: Computing, **description: Any) -> None:
    here.sandbox.inside(lambda world: capacity.configure(world, DRY | description))


def report(here: Computing, *shapes: Any, **changes: Any) -> list[Any]:
    """What a capacity report says about each entry; a name stands for one OCPU with 6 GB."""
    config = models.CapacityReportInstanceShapeConfig(ocpus=1, memory_in_gbs=6)
    entries = [
        models.CreateCapacityReportShapeAvailabilityDetails(
            instance_shape=one, instance_shape_config=config if one == A1 else None
        )
        if isinstance(one, str)
        else one
        for one in shapes
    ]
    given = {"compartment_id": here.tenancy, "availability_domain": here.ad, "shape_availabilities": entries} | changes
    answer = here.compute.create_compute_capacity_report(models.CreateComputeCapacityReportDetails(**given)).data
    return list(answer.shape_availabilities)


def test_a_report_knows_three_answers(here):
    assert [one.availability_status for one in report(here, A1, MICRO)] == ["AVAILABLE", "AVAILABLE"]
    configure(here)
    found = report(here, A1, MICRO, "BM.Standard.Z1")
    statuses = [one.availability_status for one in found]
    assert statuses == ["OUT_OF_HOST_CAPACITY", "AVAILABLE", "HARDWARE_NOT_SUPPORTED"]
    assert found[0].available_count is None
    assert (found[0].instance_shape_config.ocpus, found[0].fault_domain) == (1, None)
    elsewhere = here.ad.replace("AD-1", "AD-2")
    assert [one.availability_status for one in report(here, MICRO, availability_domain=elsewhere)] == [
        "HARDWARE_NOT_SUPPORTED"
    ]


def test_a_report_by_fault_domain_counts(here):
    configure(here, windows=[{"faultDomain": "FAULT-DOMAIN-2", "ocpus": 4}])
    config = models.CapacityReportInstanceShapeConfig(ocpus=2, memory_in_gbs=12)
    entries = [
        models.CreateCapacityReportShapeAvailabilityDetails(
            instance_shape=A1, instance_shape_config=config, fault_domain=f"FAULT-DOMAIN-{number}"
        )
        for number in (1, 2)
    ]
    out, room = report(here, *entries)
    assert (out.availability_status, out.fault_domain) == ("OUT_OF_HOST_CAPACITY", "FAULT-DOMAIN-1")
    assert (room.availability_status, room.available_count) == ("AVAILABLE", 2)


def test_what_a_report_refuses(here):
    identity = here.sandbox.client(oci.identity.IdentityClient)
    details = oci.identity.models.CreateCompartmentDetails(compartment_id=here.tenancy, name="apps", description="d")
    other = identity.create_compartment(details).data.id
    here.wait(10)
    with refused(400, "InvalidParameter", "root compartment"):
        report(here, A1, compartment_id=other)
    with refused(400, "InvalidParameter", "1 to 10 entries, not 11"):
        report(here, *[A1] * 11)
    with refused(400, "InvalidParameter", "1 to 10 entries, not 0"):
        report(here)
    with refused(400, "InvalidParameter"):
        report(here, A1, availability_domain="nowhere")
    too_large = models.CapacityReportInstanceShapeConfig(ocpus=81)
    with refused(400, "InvalidParameter", "whole number"):
        report(
            here,
            models.CreateCapacityReportShapeAvailabilityDetails(instance_shape=A1, instance_shape_config=too_large),
        )


def test_a_window_is_hunted_down(here):
    configure(here, windows=[{"ad": "*AD-1", "from": HOUR, "to": HOUR + 600, "ocpus": 1}])
    with refused(500, "InternalError", "Out of host capacity."):
        here.compute.launch_instance(here.details())
    assert here.compute.list_instances(here.tenancy).data == []
    here.wait(HOUR)
    assert here.launch().lifecycle_state == "RUNNING"
    with refused(500, "InternalError", "Out of host capacity."):
        here.compute.launch_instance(here.details())


def test_the_sdk_retries_what_it_should_not(here):
    """500 is retried by the default strategy; each try is a launch that Oracle counts."""
    configure(here)
    eager = oci.retry.RetryStrategyBuilder(max_attempts_check=True, max_attempts=3, retry_base_sleep_time_seconds=0.01)
    with refused(500, "InternalError"):
        here.compute.launch_instance(here.details(), retry_strategy=eager.get_retry_strategy())
    assert here.sandbox.recorder.count(operation="LaunchInstance") == 3


def test_a_late_refusal_comes_in_the_work_request(here):
    configure(here, lateShare=1.0)
    made = here.compute.launch_instance(here.details())
    assert made.data.lifecycle_state == "PROVISIONING"
    here.wait()
    assert here.compute.get_instance(made.data.id).data.lifecycle_state == "TERMINATED"
    request = made.headers["opc-work-request-id"]
    assert here.work.get_work_request(request).data.status == "FAILED"
    (error,) = here.work.list_work_request_errors(request).data
    assert (error.code, error.message) == ("InternalError", "Out of host capacity.")
    volumes = here.block.list_boot_volumes(availability_domain=here.ad, compartment_id=here.tenancy).data
    assert [one.lifecycle_state for one in volumes] == ["TERMINATED"]
    public = here.network.client.list_public_ips("REGION", here.tenancy, lifetime="EPHEMERAL").data
    assert public == []


def test_a_ghost_haunts_the_limits_for_an_hour(here):
    configure(here, ghosts=1.0, windows=[{"from": 60, "ocpus": 8}])
    details = here.details(shape_config=models.LaunchInstanceShapeConfigDetails(ocpus=2, memory_in_gbs=12))
    with refused(500, "InternalError", "Out of host capacity."):
        here.compute.launch_instance(details)
    here.wait(120)
    with refused(400, "LimitExceeded", "standard-a1-core-count, standard-a1-memory-count"):
        here.compute.launch_instance(details)
    here.wait(HOUR)
    assert here.compute.launch_instance(details).data.lifecycle_state == "PROVISIONING"


def test_stopped_instances_may_not_come_back(here):
    instance = here.launch()
    here.compute.instance_action(instance.id, "STOP")
    here.wait()
    configure(here)
    with refused(500, "InternalError", "Out of host capacity."):
        here.compute.instance_action(instance.id, "START")
    assert here.compute.get_instance(instance.id).data.lifecycle_state == "STOPPED"


def test_a_reshape_needs_room_too(here):
    instance = here.launch()
    configure(here)
    config = models.UpdateInstanceShapeConfigDetails(ocpus=2, memory_in_gbs=12)
    with refused(500, "InternalError", "Out of host capacity."):
        here.compute.update_instance(instance.id, models.UpdateInstanceDetails(shape_config=config))
    smaller = models.UpdateInstanceShapeConfigDetails(ocpus=1, memory_in_gbs=3)
    here.compute.update_instance(instance.id, models.UpdateInstanceDetails(shape_config=smaller))


def test_throttling_passes_with_time(here):
    configure(here, throttle={"operations": ["LaunchInstance"], "calls": 2, "seconds": 60})
    for _ in range(2):
        with refused(500, "InternalError"):
            here.compute.launch_instance(here.details())
    with pytest.raises(oci.exceptions.ServiceError) as refusal:
        here.compute.launch_instance(here.details())
    assert (refusal.value.status, refusal.value.code) == (429, "TooManyRequests")
    assert refusal.value.headers["retry-after"] == "60"
    assert refusal.value.message == "Too many requests for the user"
    here.compute.list_instances(here.tenancy)
    here.wait(61)
    with refused(500, "InternalError"):
        here.compute.launch_instance(here.details())


@pytest.mark.parametrize(("answer", "code"), [(401, "NotAuthenticated"), (404, "NotAuthorizedOrNotFound")])
def test_a_ban_ends_everything(tmp_path, answer, code):
    with running(tmp_path, mode="manual", profile=Profile(account="payg")) as sandbox:
        here = computing(sandbox)
        running_one = here.launch()
        configure(here, ban={"operations": ["LaunchInstance"], "calls": 3, "seconds": HOUR, "answer": answer})
        identity, limits = sandbox.client(oci.identity.IdentityClient), sandbox.client(oci.limits.LimitsClient)
        for _ in range(3):
            with refused(500, "InternalError"):
                here.compute.launch_instance(here.details())
        with refused(answer, code):
            here.compute.launch_instance(here.details())
        here.wait(24 * HOUR)
        for call in (
            lambda: here.compute.get_instance(running_one.id),
            identity.list_regions,
            lambda: here.network.client.list_vcns(here.tenancy),
        ):
            with refused(answer, code):
                call()
        if answer == 404:
            found = limits.list_limit_values(here.tenancy, "compute", name="standard-a1-core-count").data
            assert {one.value for one in found} == {0}
        else:
            with refused(401, "NotAuthenticated"):
                limits.list_services(here.tenancy)
        sandbox.inside(patience.pardon)
        assert here.compute.get_instance(running_one.id).data.lifecycle_state == "RUNNING"
