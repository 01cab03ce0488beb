"""The unmodified SDK against instances: their launch, what it refuses, their life, what hangs on them."""

import base64
from collections.abc import Iterator
from typing import Any

import oci
import pytest
from oci.core import models

from ocifree_pipeline.sandbox.profiles import Profile
from ocifree_pipeline_tests.conformance.computing import A1, MICRO, MINUTE, Computing, computing
from ocifree_pipeline_tests.conformance.network import refused
from ocifree_pipeline_tests.sandbox.harness import RunningSandbox, running

HOUR = 3600
FLEX = models.LaunchInstanceShapeConfigDetails


@pytest.fixture
def here(manual: RunningSandbox) -> Computing:
    return computing(manual)


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Computing]:
    """A tenancy that only ever refuses: it may be shared. A1 is absent from the second availability domain."""
    profile = Profile(account="payg", a1_absent_ad=2)
    with running(tmp_path_factory.mktemp("refusing"), mode="manual", profile=profile) as sandbox:
        yield computing(sandbox)


def states(here: Computing, instance: str, seconds: list[int]) -> list[str]:
    """The states that a client sees after so many seconds each."""
    seen = []
    for pause in seconds:
        here.wait(pause)
        seen.append(here.compute.get_instance(instance).data.lifecycle_state)
    return seen


# launch ---------------------------------------------------------------------------------------------------------------


def test_the_life_of_an_instance(here):
    made = here.compute.launch_instance(here.details(freeform_tags={"owner": "me"}))
    instance, request = made.data, made.headers["opc-work-request-id"]
    assert (instance.lifecycle_state, instance.region) == ("PROVISIONING", "uk-london-1")
    assert (instance.shape_config.ocpus, instance.shape_config.memory_in_gbs) == (1, 6)
    assert (instance.system_tags, instance.extended_metadata, instance.security_attributes) == ({}, {}, {})
    assert states(here, instance.id, [10, 20, 20]) == ["PROVISIONING", "STARTING", "RUNNING"]
    assert here.work.get_work_request(request).data.status == "SUCCEEDED"
    assert here.compute.get_instance(instance.id).data.fault_domain.startswith("FAULT-DOMAIN-")
    gone = here.compute.terminate_instance(instance.id)
    assert states(here, instance.id, [1, 40]) == ["TERMINATING", "TERMINATED"]
    assert here.work.get_work_request(gone.headers["opc-work-request-id"]).data.status == "SUCCEEDED"
    listed = here.compute.list_instances(here.tenancy, lifecycle_state="TERMINATED").data
    assert [one.id for one in listed] == [instance.id]
    with refused(404, "NotAuthorizedOrNotFound"):
        here.compute.terminate_instance(instance.id)
    here.wait(HOUR)
    with refused(404, "NotAuthorizedOrNotFound"):
        here.compute.get_instance(instance.id)


def test_what_clients_read_after_a_launch(here):
    instance = here.launch(display_name="node")
    (boot,) = here.compute.list_boot_volume_attachments(here.ad, here.tenancy, instance_id=instance.id).data
    assert boot.lifecycle_state == "ATTACHED"
    assert here.compute.get_boot_volume_attachment(boot.id).data.boot_volume_id == boot.boot_volume_id
    volume = here.block.get_boot_volume(boot.boot_volume_id).data
    assert (volume.display_name, volume.size_in_gbs, volume.vpus_per_gb) == ("node (Boot Volume)", 50, 10)
    assert (volume.image_id, volume.lifecycle_state) == (instance.image_id, "AVAILABLE")
    (attached,) = here.compute.list_vnic_attachments(here.tenancy, instance_id=instance.id).data
    assert attached.lifecycle_state == "ATTACHED"
    vnic = here.network.client.get_vnic(attached.vnic_id).data
    assert (vnic.is_primary, vnic.display_name, vnic.hostname_label) == (True, "node", "node")
    assert vnic.public_ip
    assert vnic.private_ip.startswith("10.0.1.")
    assert [one.id for one in here.compute.list_instances(here.tenancy, display_name="node").data] == [instance.id]
    assert here.compute.list_instances(here.tenancy, availability_domain="Kfkm:UK-LONDON-1-AD-3").data == []


def test_a_micro_and_the_defaults_of_a_flexible_shape(here):
    micro = here.micro()
    assert (micro.shape_config.ocpus, micro.shape_config.memory_in_gbs, micro.shape_config.vcpus) == (1, 1, 2)
    ampere = here.launch(shape_config=FLEX(ocpus=2))
    assert ampere.shape_config.memory_in_gbs == 12


def test_the_newest_image_of_a_filter_is_taken(here):
    wanted = models.InstanceSourceImageFilterDetails(
        compartment_id=here.tenancy, operating_system="Oracle Linux", operating_system_version="9"
    )
    source = models.InstanceSourceViaImageDetails(instance_source_image_filter_details=wanted)
    image = here.compute.get_image(here.launch(source_details=source).image_id).data
    assert image.display_name == "Oracle-Linux-9.6-aarch64-2026.09.24-0"


def test_a_retry_token_launches_once(here):
    details = here.details()
    first = here.compute.launch_instance(details, opc_retry_token="one").data
    assert here.compute.launch_instance(details, opc_retry_token="one").data.id == first.id
    assert len(here.compute.list_instances(here.tenancy).data) == 1
    with refused(409, "InvalidatedRetryToken"):
        here.compute.launch_instance(here.details(display_name="other"), opc_retry_token="one")


def changed(**fields: Any) -> dict[str, Any]:
    return fields


@pytest.mark.parametrize(
    ("change", "status", "code", "says"),
    [
        (changed(shape="VM.Standard.Z9"), 404, "NotAuthorizedOrNotFound", "shape VM.Standard.Z9 not found"),
        (changed(ad=2), 404, "NotAuthorizedOrNotFound", f"shape {A1} not found"),
        (changed(shape=MICRO, ad=3, shape_config=None), 404, "NotAuthorizedOrNotFound", f"shape {MICRO} not found"),
        (changed(availability_domain="nowhere"), 400, "InvalidParameter", "nowhere"),
        (changed(fault_domain="FAULT-DOMAIN-9"), 400, "InvalidParameter", "FAULT-DOMAIN-9"),
        (changed(shape=None), 400, "MissingParameter", "shape"),
        (changed(shape=MICRO, shape_config=None), 400, "InvalidParameter", "is not valid for image"),
        (changed(shape_config=None), 400, "InvalidParameter", "shapeConfig.ocpus is required"),
        (changed(shape_config=FLEX(ocpus=1.5)), 400, "InvalidParameter", "whole number"),
        (changed(shape_config=FLEX(ocpus=0)), 400, "InvalidParameter", "from 1 to 80"),
        (changed(shape_config=FLEX(ocpus=1, memory_in_gbs=65)), 400, "InvalidParameter", "from 1 to 64"),
        (changed(shape_config=FLEX(ocpus=2, memory_in_gbs=1)), 400, "InvalidParameter", "from 2 to 128"),
        (changed(shape_config=FLEX(ocpus=1, nvmes=1)), 501, "MethodNotImplemented", "nvmes"),
        (changed(shape_config=FLEX(ocpus=3, memory_in_gbs=6)), 400, "LimitExceeded", "standard-a1-core-count"),
        (changed(shape_config=FLEX(ocpus=1, memory_in_gbs=13)), 400, "LimitExceeded", "standard-a1-memory-count"),
        (changed(boot=49), 400, "InvalidParameter", "at least 50 GB"),
        (changed(boot=40000), 400, "InvalidParameter", "32768"),
        (changed(vpus=15), 400, "InvalidParameter", "multiple of 10"),
        (changed(source_details=None), 400, "MissingParameter", "sourceDetails"),
        (changed(image="ocid1.image.oc1..none"), 400, "RelatedResourceNotAuthorizedOrNotFound", ""),
        (changed(subnet=None), 400, "MissingParameter", "subnetId"),
        (changed(subnet="ocid1.subnet.oc1..none"), 400, "RelatedResourceNotAuthorizedOrNotFound", ""),
        (changed(firmware="BIOS"), 400, "InvalidParameter", "Overriding launchOptions.firmware"),
        (
            changed(metadata={"ssh_authorized_keys": "ssh-ed25519 not*base64"}),
            400,
            "InvalidParameter",
            "ssh public key",
        ),
        (changed(metadata={"user_data": "#cloud-config"}), 400, "InvalidParameter", "base64"),
        (changed(metadata={"big": "x" * 33000}), 400, "InvalidParameter", "32000"),
        (changed(dedicated_vm_host_id="ocid1.host"), 501, "MethodNotImplemented", "dedicatedVmHostId"),
        (changed(compartment_id="ocid1.compartment.oc1..none"), 404, "NotAuthorizedOrNotFound", ""),
    ],
)
def test_what_a_launch_refuses(refusing, change, status, code, says):
    here, change = refusing, dict(change)
    if "ad" in change:
        number = change.pop("ad")
        change["availability_domain"] = f"Kfkm:UK-LONDON-1-AD-{number}"
    if {"boot", "vpus", "image"} & change.keys():
        options = {
            "boot_volume_size_in_gbs": change.pop("boot", None),
            "boot_volume_vpus_per_gb": change.pop("vpus", None),
        }
        change["source_details"] = here.from_image(change.pop("image", here.platform_image().id), **options)
    if "subnet" in change:
        change["create_vnic_details"] = models.CreateVnicDetails(subnet_id=change.pop("subnet"))
    if "firmware" in change:
        change["launch_options"] = models.LaunchOptions(firmware=change.pop("firmware"))
    before = here.sandbox.state()
    with refused(status, code, says):
        here.compute.launch_instance(here.details(**change))
    assert here.sandbox.state()["tables"] == before["tables"]


def test_unknown_fields_are_refused(refusing):
    body = oci.base_client.BaseClient.sanitize_for_serialization(refusing.compute.base_client, refusing.details())
    answer = refusing.sandbox.request("POST", "/20160918/instances", json=body | {"gpu": 1})
    assert (answer.status_code, answer.json()["code"]) == (400, "InvalidParameter")


def test_the_allowance_is_used_up_and_comes_back(here):
    one = here.launch(display_name="one")
    two = here.launch(display_name="two")
    with refused(400, "LimitExceeded", "standard-a1-core-regional-count"):
        here.compute.launch_instance(here.details())
    here.compute.instance_action(one.id, "STOP")
    here.wait()
    with refused(400, "LimitExceeded", "standard-a1-core-count"):
        here.compute.launch_instance(here.details())
    here.compute.terminate_instance(two.id)
    here.wait()
    assert here.launch().lifecycle_state == "RUNNING"


# power ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "seconds", "expected"),
    [
        ("STOP", [1, 20], ["STOPPING", "STOPPED"]),
        ("SOFTSTOP", [20, 40], ["STOPPING", "STOPPED"]),
        ("RESET", [1, 20, 20], ["STOPPING", "STARTING", "RUNNING"]),
        ("SOFTRESET", [20, 40, 20], ["STOPPING", "STARTING", "RUNNING"]),
    ],
)
def test_power_actions(here, action, seconds, expected):
    instance = here.launch()
    done = here.compute.instance_action(instance.id, action)
    assert done.headers["opc-work-request-id"]
    assert done.data.lifecycle_state == "STOPPING"
    assert states(here, instance.id, seconds) == expected
    if expected[-1] == "STOPPED":
        with refused(409, "IncorrectState"):
            here.compute.instance_action(instance.id, action)
        here.compute.instance_action(instance.id, "START")
        assert states(here, instance.id, [1, 30]) == ["STARTING", "RUNNING"]


def test_actions_that_do_not_exist_or_come_at_the_wrong_time(here):
    made = here.compute.launch_instance(here.details()).data
    with refused(409, "IncorrectState"):
        here.compute.instance_action(made.id, "STOP")
    here.wait()
    with refused(409, "IncorrectState"):
        here.compute.instance_action(made.id, "START")
    with refused(400, "InvalidParameter", "DANCE"):
        here.compute.instance_action(made.id, "DANCE")
    with refused(404, "NotAuthorizedOrNotFound"):
        here.compute.instance_action("ocid1.instance.oc1.uk-london-1.none", "STOP")


def test_a_launch_can_be_terminated_before_it_runs(here):
    made = here.compute.launch_instance(here.details())
    here.compute.terminate_instance(made.data.id)
    here.wait()
    assert here.compute.get_instance(made.data.id).data.lifecycle_state == "TERMINATED"
    assert here.work.get_work_request(made.headers["opc-work-request-id"]).data.status == "FAILED"
    assert here.compute.list_vnic_attachments(here.tenancy).data[0].lifecycle_state == "DETACHED"


# changes --------------------------------------------------------------------------------------------------------------


def update(here: Computing, instance: str, **fields: Any) -> Any:
    return here.compute.update_instance(instance, models.UpdateInstanceDetails(**fields))


def test_plain_updates_have_a_work_request_too(here):
    instance = here.launch(metadata={"role": "a"})
    done = update(here, instance.id, display_name="renamed", freeform_tags={"a": "b"}, metadata={"role": "b"})
    assert (done.data.display_name, done.data.freeform_tags, done.data.metadata) == (
        "renamed",
        {"a": "b"},
        {"role": "b"},
    )
    assert done.data.lifecycle_state == "RUNNING"
    here.wait(5)
    request = here.work.get_work_request(done.headers["opc-work-request-id"]).data
    assert (request.status, request.resources[0].entity_type) == ("SUCCEEDED", "instance")
    assert request.resources[0].action_type == "UPDATED"
    with refused(400, "InvalidParameter", "cannot be changed after the launch"):
        update(here, instance.id, metadata={"user_data": base64.b64encode(b"x").decode()})
    with refused(412, "NoEtagMatch"):
        here.compute.update_instance(instance.id, models.UpdateInstanceDetails(), if_match="stale")


def test_a_reshape_reboots_and_is_counted(here):
    instance = here.launch()
    config = models.UpdateInstanceShapeConfigDetails(ocpus=2, memory_in_gbs=8)
    with refused(400, "InvalidParameter", "AVOID_DOWNTIME"):
        update(here, instance.id, shape_config=config, update_operation_constraint="AVOID_DOWNTIME")
    done = update(here, instance.id, shape_config=config)
    assert (done.data.lifecycle_state, done.data.shape_config.ocpus) == ("STOPPING", 1)
    with refused(409, "IncorrectState"):
        update(here, instance.id, display_name="busy")
    here.wait()
    after = here.compute.get_instance(instance.id).data
    assert (after.lifecycle_state, after.shape_config.ocpus, after.shape_config.memory_in_gbs) == ("RUNNING", 2, 8)
    assert here.work.get_work_request(done.headers["opc-work-request-id"]).data.status == "SUCCEEDED"
    with refused(400, "LimitExceeded", "standard-a1-core-count"):
        update(here, instance.id, shape_config=models.UpdateInstanceShapeConfigDetails(ocpus=3, memory_in_gbs=8))
    assert update(here, instance.id, shape_config=config).data.lifecycle_state == "RUNNING"
    with refused(400, "InvalidParameter"):
        update(
            here,
            instance.id,
            shape="VM.Standard.A1.Flex",
            shape_config=models.UpdateInstanceShapeConfigDetails(ocpus=0),
        )
    with refused(501, "MethodNotImplemented"):
        update(here, instance.id, dedicated_vm_host_id="ocid1.host")


def test_a_reshape_of_a_stopped_instance_leaves_it_stopped(here):
    instance = here.launch()
    here.compute.instance_action(instance.id, "STOP")
    here.wait()
    update(here, instance.id, shape_config=models.UpdateInstanceShapeConfigDetails(ocpus=1, memory_in_gbs=2))
    here.wait()
    after = here.compute.get_instance(instance.id).data
    assert (after.lifecycle_state, after.shape_config.memory_in_gbs) == ("STOPPED", 2)


# attachments and boot volumes -----------------------------------------------------------------------------------------


def boot_volume(here: Computing, instance: str) -> str:
    (found,) = here.compute.list_boot_volume_attachments(here.ad, here.tenancy, instance_id=instance).data
    volume: str = found.boot_volume_id
    return volume


def test_a_boot_volume_is_preserved_and_launched_again(here):
    instance = here.launch()
    volume = boot_volume(here, instance.id)
    with refused(409, "Conflict", "attached"):
        here.block.delete_boot_volume(volume)
    here.compute.terminate_instance(instance.id, preserve_boot_volume=True)
    here.wait()
    assert here.block.get_boot_volume(volume).data.lifecycle_state == "AVAILABLE"
    source = models.InstanceSourceViaBootVolumeDetails(boot_volume_id=volume)
    again = here.launch(source_details=source)
    assert (again.lifecycle_state, boot_volume(here, again.id)) == ("RUNNING", volume)
    with refused(409, "Conflict", "attached"):
        here.compute.launch_instance(here.details(source_details=source))
    here.compute.terminate_instance(again.id)
    here.wait()
    assert here.block.get_boot_volume(volume).data.lifecycle_state == "TERMINATED"


def test_orphan_boot_volumes_keep_counting(here):
    source = here.from_image(here.platform_image().id, boot_volume_size_in_gbs=150)
    first = here.launch(source_details=source)
    here.compute.terminate_instance(first.id, preserve_boot_volume=True)
    here.wait()
    with refused(400, "LimitExceeded", "total-storage-gb"):
        here.compute.launch_instance(here.details(source_details=source))


def test_a_boot_volume_moves_between_stopped_instances(here):
    one, two = here.launch(display_name="one"), here.launch(display_name="two")
    for instance in (one, two):
        here.compute.instance_action(instance.id, "STOP")
    here.wait()
    volumes = [boot_volume(here, instance.id) for instance in (one, two)]
    for instance in (one, two):
        (held,) = here.compute.list_boot_volume_attachments(here.ad, here.tenancy, instance_id=instance.id).data
        here.compute.detach_boot_volume(held.id)
    here.wait(10)
    details = models.AttachBootVolumeDetails(boot_volume_id=volumes[1], instance_id=one.id)
    assert here.compute.attach_boot_volume(details).data.lifecycle_state == "ATTACHING"
    with refused(409, "Conflict"):
        here.compute.attach_boot_volume(models.AttachBootVolumeDetails(boot_volume_id=volumes[0], instance_id=one.id))


def test_secondary_vnics(here):
    instance = here.launch()
    details = models.AttachVnicDetails(
        instance_id=instance.id,
        display_name="second",
        create_vnic_details=models.CreateVnicDetails(subnet_id=here.network.private.id, display_name="inner"),
    )
    made = here.compute.attach_vnic(details).data
    here.wait(10)
    assert here.compute.get_vnic_attachment(made.id).data.lifecycle_state == "ATTACHED"
    vnic = here.network.client.get_vnic(made.vnic_id).data
    assert (vnic.is_primary, vnic.public_ip, vnic.display_name) == (False, None, "inner")
    with refused(400, "LimitExceeded", "vnic-attachments"):
        here.compute.attach_vnic(details)
    (primary,) = (
        one
        for one in here.compute.list_vnic_attachments(here.tenancy, instance_id=instance.id).data
        if one.id != made.id
    )
    with refused(409, "Conflict", "primary"):
        here.compute.detach_vnic(primary.id)
    here.compute.detach_vnic(made.id)
    here.wait(10)
    assert here.compute.get_vnic_attachment(made.id).data.lifecycle_state == "DETACHED"


def test_an_image_of_an_instance(tmp_path):
    with running(tmp_path, mode="manual", profile=Profile(account="payg")) as sandbox:
        here = computing(sandbox)
        instance = here.launch()
        details = models.CreateImageDetails(compartment_id=here.tenancy, instance_id=instance.id, display_name="golden")
        made = here.compute.create_image(details)
        assert made.data.lifecycle_state == "PROVISIONING"
        assert here.compute.get_instance(instance.id).data.lifecycle_state == "CREATING_IMAGE"
        here.wait(10 * MINUTE)
        assert here.compute.get_instance(instance.id).data.lifecycle_state == "RUNNING"
        image = here.compute.get_image(made.data.id).data
        assert (image.lifecycle_state, image.base_image_id, image.size_in_mbs) == (
            "AVAILABLE",
            instance.image_id,
            51200,
        )
        assert here.launch(source_details=here.from_image(image.id)).lifecycle_state == "RUNNING"


def test_an_instance_moves_to_another_compartment(here):
    identity = here.sandbox.client(oci.identity.IdentityClient)
    details = oci.identity.models.CreateCompartmentDetails(compartment_id=here.tenancy, name="apps", description="d")
    target = identity.create_compartment(details).data.id
    here.wait(10)
    instance = here.launch()
    move = models.ChangeInstanceCompartmentDetails(compartment_id=target)
    assert here.compute.change_instance_compartment(instance.id, move).headers["opc-work-request-id"]
    assert [one.id for one in here.compute.list_instances(target).data] == [instance.id]


def test_immediate_mode_shows_every_state_once(tmp_path):
    with running(tmp_path) as sandbox:
        here = computing(sandbox)
        made = here.compute.launch_instance(here.details()).data
        seen = [here.compute.get_instance(made.id).data.lifecycle_state for _ in range(2)]
        assert [made.lifecycle_state, *seen] == ["PROVISIONING", "STARTING", "RUNNING"]


def test_usage_is_billed_from_running_to_stopped(here):
    from ocifree_pipeline.sandbox import money

    instance = here.launch()
    here.wait(HOUR)
    here.compute.instance_action(instance.id, "STOP")
    here.wait(HOUR)
    here.compute.terminate_instance(instance.id)
    here.wait()
    spans = here.sandbox.inside(lambda world: list(money.spans(world)))
    (ran,) = [one for one in spans if one.kind == "instance"]
    assert HOUR <= (ran.end - ran.start).total_seconds() <= HOUR + 3 * MINUTE
    assert ran.facts == {"shape": A1, "ocpus": 1.0, "memoryInGBs": 6.0}
    (kept,) = [one for one in spans if one.kind == "bootvolume"]
    assert (kept.end - kept.start).total_seconds() > 2 * HOUR
