"""The unmodified SDK against block storage: volumes, boot volumes, backups, attachments."""

import pytest
from oci.core import models

from ocifree_pipeline_tests.conformance.computing import Computing, computing
from ocifree_pipeline_tests.conformance.network import refused
from ocifree_pipeline_tests.sandbox.harness import RunningSandbox


@pytest.fixture
def here(manual: RunningSandbox) -> Computing:
    return computing(manual)


def volume(here: Computing, size: int = 50, **fields):
    details = models.CreateVolumeDetails(
        **({"compartment_id": here.tenancy, "availability_domain": here.ad, "size_in_gbs": size} | fields)
    )
    made = here.block.create_volume(details).data
    here.wait(10)
    return here.block.get_volume(made.id).data


def boot_volume_of(here: Computing, instance: str) -> str:
    (found,) = here.compute.list_boot_volume_attachments(here.ad, here.tenancy, instance_id=instance).data
    return found.boot_volume_id


def test_the_life_of_a_volume(here):
    details = models.CreateVolumeDetails(
        compartment_id=here.tenancy, availability_domain=here.ad, size_in_gbs=60, display_name="data"
    )
    made = here.block.create_volume(details).data
    assert (made.lifecycle_state, made.size_in_mbs, made.vpus_per_gb) == ("PROVISIONING", 60 * 1024, 10)
    with refused(409, "IncorrectState"):
        here.block.update_volume(made.id, models.UpdateVolumeDetails(size_in_gbs=70))
    here.wait(10)
    grown = here.block.update_volume(made.id, models.UpdateVolumeDetails(size_in_gbs=70, display_name="more")).data
    assert (grown.lifecycle_state, grown.size_in_gbs, grown.display_name) == ("PROVISIONING", 70, "more")
    here.wait(20)
    with refused(400, "InvalidParameter", "smaller than the current size"):
        here.block.update_volume(made.id, models.UpdateVolumeDetails(size_in_gbs=60))
    assert [one.id for one in here.block.list_volumes(compartment_id=here.tenancy, display_name="more").data] == [
        made.id
    ]
    here.block.delete_volume(made.id)
    assert here.block.get_volume(made.id).data.lifecycle_state == "TERMINATING"
    here.wait(10)
    assert here.block.get_volume(made.id).data.lifecycle_state == "TERMINATED"
    with refused(404, "NotAuthorizedOrNotFound"):
        here.block.delete_volume(made.id)
    here.wait(3600)
    with refused(404, "NotAuthorizedOrNotFound"):
        here.block.get_volume(made.id)


@pytest.mark.parametrize(
    ("fields", "status", "code", "says"),
    [
        ({"size_in_gbs": 49}, 400, "InvalidParameter", "between 50 GB and 32768 GB"),
        ({"size_in_gbs": 40000}, 400, "InvalidParameter", "between 50 GB and 32768 GB"),
        ({"vpus_per_gb": 15}, 400, "InvalidParameter", "multiple of 10"),
        ({"availability_domain": None}, 400, "MissingParameter", "availabilityDomain"),
        ({"availability_domain": "nowhere"}, 400, "InvalidParameter", "nowhere"),
        ({"size_in_gbs": 250}, 400, "LimitExceeded", "total-storage-gb"),
        ({"size_in_gbs": None}, 400, "LimitExceeded", "total-storage-gb"),
        ({"kms_key_id": "ocid1.key"}, 501, "MethodNotImplemented", "kmsKeyId"),
        ({"volume_backup_id": "none"}, 400, "RelatedResourceNotAuthorizedOrNotFound", ""),
    ],
)
def test_what_a_volume_refuses(here, fields, status, code, says):
    with refused(status, code, says):
        volume(here, **fields)


def test_growth_counts_against_the_limit(here):
    made = volume(here, 150)
    with refused(400, "LimitExceeded", "total-storage-gb"):
        here.block.update_volume(made.id, models.UpdateVolumeDetails(size_in_gbs=201))


@pytest.mark.parametrize("kind", ["iscsi", "paravirtualized"])
def test_attachments(here, kind):
    instance, made = here.launch(), volume(here)
    cls = models.AttachIScsiVolumeDetails if kind == "iscsi" else models.AttachParavirtualizedVolumeDetails
    details = cls(instance_id=instance.id, volume_id=made.id)
    attached = here.compute.attach_volume(details).data
    assert (attached.attachment_type, attached.lifecycle_state) == (kind, "ATTACHING")
    assert attached.device == "/dev/oracleoci/oraclevdb"
    if kind == "iscsi":
        assert attached.iqn.startswith("iqn.2015-12.com.oracleiaas:")
    here.wait(10)
    with refused(409, "Conflict", "attached to an instance already"):
        here.compute.attach_volume(details)
    with refused(409, "Conflict", "detach it first"):
        here.block.delete_volume(made.id)
    listed = here.compute.list_volume_attachments(here.tenancy, instance_id=instance.id).data
    assert [one.lifecycle_state for one in listed] == ["ATTACHED"]
    here.compute.detach_volume(attached.id)
    here.wait(10)
    assert here.compute.get_volume_attachment(attached.id).data.lifecycle_state == "DETACHED"
    here.block.delete_volume(made.id)


def test_a_volume_of_another_availability_domain_does_not_fit(here):
    instance = here.launch()
    other = volume(here, availability_domain=here.ad.replace("AD-1", "AD-2"))
    details = models.AttachParavirtualizedVolumeDetails(instance_id=instance.id, volume_id=other.id)
    with refused(400, "InvalidParameter", "availability domain"):
        here.compute.attach_volume(details)


def test_a_terminated_instance_lets_its_volumes_go(here):
    instance, made = here.launch(), volume(here)
    details = models.AttachParavirtualizedVolumeDetails(instance_id=instance.id, volume_id=made.id)
    here.compute.attach_volume(details)
    here.wait(10)
    here.compute.terminate_instance(instance.id)
    here.wait()
    assert here.block.get_volume(made.id).data.lifecycle_state == "AVAILABLE"
    here.block.delete_volume(made.id)


def test_backups_count_and_become_volumes(here):
    made = volume(here)
    backups = []
    for number in range(5):
        details = models.CreateVolumeBackupDetails(volume_id=made.id, display_name=f"b{number}", type="FULL")
        backups.append(here.block.create_volume_backup(details).data)
    assert (backups[0].lifecycle_state, backups[0].type, backups[0].source_type) == ("CREATING", "FULL", "MANUAL")
    with refused(400, "LimitExceeded", "backup-count"):
        here.block.create_volume_backup(models.CreateVolumeBackupDetails(volume_id=made.id))
    here.wait()
    copy = volume(here, size_in_gbs=None, source_details=models.VolumeSourceFromVolumeBackupDetails(id=backups[0].id))
    assert (copy.size_in_gbs, copy.source_details.type) == (50, "volumeBackup")
    renamed = here.block.update_volume_backup(backups[0].id, models.UpdateVolumeBackupDetails(display_name="kept")).data
    assert renamed.display_name == "kept"
    here.block.delete_volume_backup(backups[1].id)
    here.wait(10)
    assert here.block.get_volume_backup(backups[1].id).data.lifecycle_state == "TERMINATED"
    here.block.create_volume_backup(models.CreateVolumeBackupDetails(volume_id=made.id))
    names = {one.display_name for one in here.block.list_volume_backups(here.tenancy, lifecycle_state="AVAILABLE").data}
    assert names == {"kept", "b2", "b3", "b4"}


def test_boot_volumes_are_backed_up_and_restored(here):
    instance = here.launch()
    boot = boot_volume_of(here, instance.id)
    details = models.CreateBootVolumeBackupDetails(boot_volume_id=boot, display_name="golden")
    backup = here.block.create_boot_volume_backup(details).data
    assert (backup.boot_volume_id, backup.image_id) == (boot, instance.image_id)
    restore = models.CreateBootVolumeDetails(
        compartment_id=here.tenancy,
        availability_domain=here.ad,
        source_details=models.BootVolumeSourceFromBootVolumeBackupDetails(id=backup.id),
    )
    with refused(409, "IncorrectState"):
        here.block.create_boot_volume(restore)
    here.wait()
    restored = here.block.create_boot_volume(restore).data
    here.wait(10)
    source = models.InstanceSourceViaBootVolumeDetails(boot_volume_id=restored.id)
    again = here.launch(source_details=source, display_name="again")
    assert (again.lifecycle_state, boot_volume_of(here, again.id)) == ("RUNNING", restored.id)
    listed = here.block.list_boot_volumes(availability_domain=here.ad, compartment_id=here.tenancy).data
    assert {one.id for one in listed} == {boot, restored.id}


def test_a_boot_volume_grows_but_not_below_fifty(here):
    boot = boot_volume_of(here, here.launch().id)
    assert here.block.update_boot_volume(boot, models.UpdateBootVolumeDetails(size_in_gbs=80)).data.size_in_gbs == 80
    here.wait()
    with refused(400, "InvalidParameter"):
        here.block.update_boot_volume(boot, models.UpdateBootVolumeDetails(size_in_gbs=40))
    with refused(404, "NotAuthorizedOrNotFound"):
        here.block.get_boot_volume("ocid1.bootvolume.oc1.uk-london-1.none")
