"""Everything billable in the tenancy, counted from the resources themselves and priced like a plan."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import oci
import pytest
from oci.core import models as core
from oci.object_storage import models as storage

from ocifree_pipeline.deployment.allowances import Resource, allowance
from ocifree_pipeline.deployment.pricing import price
from ocifree_pipeline.sandbox.profiles import Profile
from ocifree_pipeline.systems.oci.inventory import inventory, items_of
from ocifree_pipeline_tests.conformance.computing import Computing, computing
from ocifree_pipeline_tests.sandbox.harness import running
from ocifree_pipeline_tests.systems.oci.tenancy import Tenancy

FREE = allowance("always-free-2026").limits_for("payg")


@pytest.fixture
def tenancy(tmp_path: Path) -> Iterator[Tenancy]:
    with running(tmp_path, mode="manual", profile=Profile(account="payg")) as sandbox:
        yield Tenancy(sandbox, tmp_path)


@pytest.fixture
def here(tenancy: Tenancy) -> Computing:
    return computing(tenancy.sandbox)


def kinds(tenancy: Tenancy) -> dict[str, int]:
    found: dict[str, int] = {}
    for thing in inventory(tenancy.session):
        found[thing.item.kind] = found.get(thing.item.kind, 0) + 1
    return found


def reasons(tenancy: Tenancy) -> tuple[str, ...]:
    return price(items_of(inventory(tenancy.session)), FREE)[1]


def taken(tenancy: Tenancy, resource: Resource) -> int:
    prices, _ = price(items_of(inventory(tenancy.session)), FREE)
    return sum(one.takes.get(resource, 0) for one in prices)


def test_a_free_machine_with_its_disk_is_within(tenancy: Tenancy, here: Computing) -> None:
    made = here.launch()
    here.micro()
    assert kinds(tenancy) == {"instance": 2, "volume": 2, "vcn": 1}
    assert reasons(tenancy) == ()
    assert taken(tenancy, Resource.BLOCK_STORAGE_GB) == 100
    here.compute.terminate_instance(made.id, preserve_boot_volume=True)
    here.wait()
    assert kinds(tenancy) == {"instance": 1, "volume": 2, "vcn": 1}, "a disk that was left behind still counts"
    assert taken(tenancy, Resource.A1_OCPUS) == 0


def test_what_costs_is_named(tenancy: Tenancy, here: Computing) -> None:
    size = core.LaunchInstanceShapeConfigDetails(ocpus=1, memory_in_gbs=16)
    image = here.from_image(here.platform_image("x86_64").id)
    here.launch(shape="VM.Standard.E4.Flex", shape_config=size, source_details=image, display_name="paid")
    made = here.launch(display_name="fast")
    volume = here.compute.list_boot_volume_attachments(here.ad, here.tenancy, instance_id=made.id).data[0]
    here.block.update_boot_volume(volume.boot_volume_id, core.UpdateBootVolumeDetails(vpus_per_gb=20))
    here.block.create_volume(
        core.CreateVolumeDetails(compartment_id=here.tenancy, availability_domain=here.ad, size_in_gbs=160)
    )
    here.wait()
    told = " ".join(reasons(tenancy))
    assert "instance paid: only VM.Standard.A1.Flex and VM.Standard.E2.1.Micro are ever free" in told
    assert "volume fast (Boot Volume): 20 volume performance units" in told
    assert "boot and block storage (GB): 210 in all, 200 are free" in told


def test_it_looks_into_every_compartment(tenancy: Tenancy, here: Computing) -> None:
    identity = tenancy.session.client("identity.IdentityClient")
    details = oci.identity.models.CreateCompartmentDetails
    outer = identity.create_compartment(details(compartment_id=here.tenancy, name="outer", description="x")).data
    here.wait(60)
    inner = identity.create_compartment(details(compartment_id=outer.id, name="inner", description="x")).data
    here.wait(60)
    namespace = here.objects.get_namespace().data
    here.objects.create_bucket(namespace, storage.CreateBucketDetails(name="theirs", compartment_id=inner.id))
    here.objects.put_object(namespace, "theirs", "one", b"x" * 1000)
    (bucket,) = [one for one in inventory(tenancy.session) if one.item.kind == "bucket"]
    assert (bucket.compartment, bucket.item.attributes["bytes"], bucket.owner) == (inner.id, 1000, None)
    assert reasons(tenancy) == ()
    assert taken(tenancy, Resource.OBJECT_STORAGE_GB) == 1


def test_what_is_on_its_way_out_is_seen_and_not_counted(tenancy: Tenancy, here: Computing) -> None:
    made = here.launch()
    here.compute.terminate_instance(made.id)
    (instance,) = [one for one in inventory(tenancy.session) if one.item.kind == "instance"]
    assert instance.is_ending
    assert taken(tenancy, Resource.A1_OCPUS) == 0


def test_it_only_reads(tenancy: Tenancy, here: Computing) -> None:
    here.launch()
    tenancy.sandbox.recorder.clear()
    inventory(tenancy.session)
    assert tenancy.mutating_calls() == []
