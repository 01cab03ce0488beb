"""The account around real resources: what they take from the limits, what they cost, when Oracle takes them back."""

from datetime import timedelta

import oci
import pytest
from oci.core import models

from ocifree_pipeline.sandbox import idle, outbox
from ocifree_pipeline.sandbox.profiles import Profile
from ocifree_pipeline_tests.conformance.network import Network, create_network, refused
from ocifree_pipeline_tests.conformance.test_budgets import budget, rule
from ocifree_pipeline_tests.conformance.test_limits import availability
from ocifree_pipeline_tests.conformance.test_quotas import RECOMMENDED, create
from ocifree_pipeline_tests.conformance.test_usage import ask, to_next_month
from ocifree_pipeline_tests.sandbox.harness import running

A1, E4, MICRO = "VM.Standard.A1.Flex", "VM.Standard.E4.Flex", "VM.Standard.E2.1.Micro"
HOUR = 3600


@pytest.fixture
def free(tmp_path):
    with running(tmp_path, mode="manual") as here:
        yield create_network(here)


@pytest.fixture
def paying(tmp_path):
    with running(tmp_path, mode="manual", profile=Profile(account="payg", a1_ocpus=16, a1_memory_gb=96)) as here:
        yield create_network(here)


def launch(network: Network, shape: str = A1, ocpus: float = 2, memory: float = 12):
    compute = network.sandbox.client(oci.core.ComputeClient)
    image = compute.list_images(network.tenancy, operating_system="Canonical Ubuntu", shape=shape).data[0].id
    flexible = models.LaunchInstanceShapeConfigDetails(ocpus=ocpus, memory_in_gbs=memory)
    details = models.LaunchInstanceDetails(
        availability_domain=network.ad,
        compartment_id=network.tenancy,
        display_name="node",
        shape=shape,
        shape_config=None if shape == MICRO else flexible,
        source_details=models.InstanceSourceViaImageDetails(image_id=image),
        create_vnic_details=models.CreateVnicDetails(subnet_id=network.public.id),
    )
    made = compute.launch_instance(details).data
    network.settle()
    return compute.get_instance(made.id).data


def terminate(network: Network, instance: str, *, preserve: bool) -> None:
    compute = network.sandbox.client(oci.core.ComputeClient)
    compute.terminate_instance(instance, preserve_boot_volume=preserve)
    network.settle()


def test_instances_and_orphan_volumes_take_from_the_limits(free):
    limits = free.sandbox.client(oci.limits.LimitsClient)

    def taken() -> list[int]:
        return [
            availability(limits, free.sandbox, "compute", "standard-a1-core-count", free.ad)[0],
            availability(limits, free.sandbox, "compute", "standard-a1-memory-regional-count")[0],
            availability(limits, free.sandbox, "block-storage", "total-free-storage-gb-regional")[0],
        ]

    made = launch(free)
    size = taken()[2]
    assert taken() == [2, 12, size]
    with refused(400, "LimitExceeded", "standard-a1-core-count, standard-a1-memory-count, standard-a1-core-regional"):
        launch(free, ocpus=1, memory=6)
    with refused(400, "LimitExceeded", "standard-e4-core-count"):
        launch(free, shape=E4)
    terminate(free, made.id, preserve=True)
    assert taken() == [0, 0, size], "an orphan boot volume keeps counting"


def test_a_quota_policy_lets_free_shapes_through_and_refuses_paid_ones(paying):
    with_ad = [one.replace("Kfkm:UK-LONDON-1-AD-1", paying.ad) for one in RECOMMENDED]
    create(paying.sandbox, *with_ad)
    paying.sandbox.advance(120)
    with refused(400, "QuotaExceeded", "standard-e4-core-count, standard-e4-memory-count"):
        launch(paying, shape=E4, ocpus=1, memory=16)
    assert launch(paying).lifecycle_state == "RUNNING"
    assert launch(paying, shape=MICRO).lifecycle_state == "RUNNING"
    with refused(400, "QuotaExceeded", "standard-a1-core-count, standard-a1-memory-count"):
        launch(paying, ocpus=1, memory=6)


def test_what_is_left_running_shows_on_the_bill_and_in_the_mail(paying):
    sandbox = paying.sandbox
    start = to_next_month(sandbox)
    end = start + timedelta(days=3)
    rule(sandbox, budget(sandbox).id)
    free_one = launch(paying)
    launch(paying, shape=MICRO)
    sandbox.advance(2 * 24 * HOUR)
    rows = ask(sandbox, start, end, "TOTAL", group_by=["service"]).items
    assert {row.service for row in rows} == {"COMPUTE", "BLOCK_STORAGE"}
    assert sum(row.computed_amount for row in rows) == 0
    assert sandbox.inside(outbox.messages) == []
    costly = launch(paying, shape=E4, ocpus=1, memory=16)
    sandbox.advance(24 * HOUR)
    terminate(paying, costly.id, preserve=False)
    sandbox.advance(24 * HOUR)
    by_resource = {
        row.resource_id: row.computed_amount for row in ask(sandbox, start, end, "TOTAL", group_by=["resourceId"]).items
    }
    assert by_resource[free_one.id] == 0
    assert by_resource[costly.id] == pytest.approx(24 * (0.025 + 16 * 0.0015), rel=0.02)
    (mail,) = sandbox.inside(outbox.messages)
    assert mail["to"] == ["a@example.com", "b@example.com"]


def test_a_stopped_instance_costs_its_volume_only(paying):
    sandbox = paying.sandbox
    start = to_next_month(sandbox)
    made = launch(paying, shape=E4, ocpus=1, memory=16)
    sandbox.client(oci.core.ComputeClient).instance_action(made.id, "STOP")
    sandbox.advance(4 * 24 * HOUR)
    rows = {
        row.sku_part_number: row.computed_quantity
        for row in ask(sandbox, start, start + timedelta(days=3), "TOTAL", group_by=["skuPartNumber"]).items
    }
    assert rows["B93113"] < 0.1
    assert rows["B91961"] > 4


def test_idle_machines_are_taken_back(free):
    sandbox = free.sandbox
    busy, bastion = launch(free), launch(free, shape=MICRO)
    compute = sandbox.client(oci.core.ComputeClient)

    def states() -> list[str]:
        return [compute.get_instance(one.id).data.lifecycle_state for one in (busy, bastion)]

    sandbox.advance(8 * 24 * HOUR)
    assert states() == ["RUNNING", "STOPPED"], "the Micro does nothing, and its memory does not count"
    sandbox.inside(lambda world: idle.load(world, world.table("instance")[busy.id], cpu=4, network=1, memory=10))
    sandbox.advance(8 * 24 * HOUR)
    assert states() == ["STOPPED", "STOPPED"]
    assert [mail["about"]["instance"] for mail in sandbox.inside(outbox.messages)] == [bastion.id, busy.id]
    compute.instance_action(bastion.id, "START")
    sandbox.advance(60)
    assert states() == ["STOPPED", "RUNNING"]
