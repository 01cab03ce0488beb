"""The unmodified SDK against images: Oracle's own, imports with their firmware trap, shape entries, schemas."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import oci
import pytest
from oci.core import models

from ocifree_pipeline.sandbox.profiles import Profile
from ocifree_pipeline_tests.conformance.computing import A1, MICRO, MINUTE, UEFI, Computing, computing
from ocifree_pipeline_tests.conformance.network import refused
from ocifree_pipeline_tests.sandbox.harness import running


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Computing]:
    with running(tmp_path_factory.mktemp("images"), mode="manual", profile=Profile(account="payg")) as sandbox:
        yield computing(sandbox)


@pytest.fixture(scope="module")
def namespace(here: Computing, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The namespace whose bucket holds a bootable disk for Arm."""
    return here.qcow2(tmp_path_factory.mktemp("disk"), "aarch64")


@pytest.fixture
def image(here: Computing, namespace: str) -> str:
    return here.import_image(namespace, shapes=())


def create(here: Computing, **body: Any) -> Any:
    given = {"compartmentId": here.tenancy} | body
    return here.sandbox.request("POST", "/20160918/images", json=given)


# shapes and Oracle's images -------------------------------------------------------------------------------------------


def test_shapes_differ_between_availability_domains(here):
    ads = here.sandbox.inside(lambda world: world.availability_domains(world.home_region))
    shapes = {
        ad: {one.shape: one for one in here.compute.list_shapes(here.tenancy, availability_domain=ad).data}
        for ad in ads
    }
    assert [MICRO in shapes[ad] for ad in ads] == [True, False, False]
    arm, micro = shapes[ads[0]][A1], shapes[ads[0]][MICRO]
    assert (arm.is_flexible, arm.ocpu_options.max, arm.memory_options.default_per_ocpu_in_g_bs) == (True, 80, 6)
    assert (micro.is_flexible, micro.ocpus, micro.memory_in_gbs, micro.billing_type) == (False, 1, 1, "ALWAYS_FREE")
    assert [one.shape for one in here.compute.list_shapes(here.tenancy, shape=A1).data] == [A1]
    paged = oci.pagination.list_call_get_all_results(here.compute.list_shapes, here.tenancy, limit=3).data
    assert [one.shape for one in paged] == [one.shape for one in here.compute.list_shapes(here.tenancy).data]
    with refused(400, "InvalidParameter"):
        here.compute.list_shapes(here.tenancy, availability_domain="Kfkm:UK-LONDON-1-AD-9")


@pytest.mark.parametrize("system", ["Canonical Ubuntu", "Oracle Linux"])
@pytest.mark.parametrize(("shape", "marked"), [(A1, True), (MICRO, False)])
def test_platform_images_exist_for_both_architectures(here, system, shape, marked):
    found = here.compute.list_images(here.tenancy, operating_system=system, shape=shape).data
    assert found
    assert all(("aarch64" in one.display_name) is marked for one in found)
    assert all(one.compartment_id is None and one.launch_options.firmware == "UEFI_64" for one in found)
    assert [one.time_created for one in found] == sorted((one.time_created for one in found), reverse=True)
    assert {one.shape for one in here.compute.list_shapes(here.tenancy, image_id=found[0].id).data} >= {shape}


def test_platform_images_are_nobodys_to_change(here):
    image = here.platform_image().id
    assert here.compute.get_image(image).data.id == image
    with refused(404, "NotAuthorizedOrNotFound"):
        here.compute.delete_image(image)
    with refused(404, "NotAuthorizedOrNotFound"):
        here.compute.update_image(image, models.UpdateImageDetails(display_name="mine"))
    with refused(404, "NotAuthorizedOrNotFound"):
        here.compute.add_image_shape_compatibility_entry(image, MICRO)


# imports --------------------------------------------------------------------------------------------------------------


def test_an_import_through_the_sdk_gets_bios(here, namespace):
    source = models.ImageSourceViaObjectStorageTupleDetails(
        bucket_name="images", namespace_name=namespace, object_name="disk.qcow2", source_image_type="QCOW2"
    )
    details = models.CreateImageDetails(
        compartment_id=here.tenancy, display_name="mine", launch_mode="PARAVIRTUALIZED", image_source_details=source
    )
    made = here.compute.create_image(details)
    assert (made.data.lifecycle_state, made.data.launch_options.firmware) == ("IMPORTING", "BIOS")
    assert (made.data.operating_system, made.data.operating_system_version) == ("Custom", "Custom")
    request = made.headers["opc-work-request-id"]
    here.wait(60)
    running_ = here.work.get_work_request(request).data
    assert (running_.status, running_.resources[0].action_type) == ("IN_PROGRESS", "IN_PROGRESS")
    assert 0 < running_.percent_complete < 100
    with refused(409, "IncorrectState"):
        here.compute.add_image_shape_compatibility_entry(made.data.id, A1)
    here.wait(10 * MINUTE)
    done = here.work.get_work_request(request).data
    assert (done.status, done.operation_type) == ("SUCCEEDED", "CreateImage")
    (touched,) = done.resources
    assert (touched.action_type, touched.entity_type, touched.identifier) == ("CREATED", "image", made.data.id)
    image = here.compute.get_image(made.data.id).data
    assert (image.lifecycle_state, image.size_in_mbs, image.billable_size_in_gbs) == ("AVAILABLE", 3072, 1)
    assert [one.id for one in here.compute.list_images(here.tenancy, display_name="mine").data] == [image.id]


def test_an_import_by_uri_and_with_custom_launch_options(here, namespace):
    uri = f"https://objectstorage.uk-london-1.oraclecloud.com/n/{namespace}/b/images/o/disk.qcow2"
    source = {"sourceType": "objectStorageUri", "sourceUri": uri, "sourceImageType": "QCOW2"}
    made = create(here, launchMode="CUSTOM", launchOptions=UEFI, imageSourceDetails=source)
    assert made.status_code == 200
    assert made.json()["launchOptions"] | UEFI == made.json()["launchOptions"]


URI = {"sourceType": "objectStorageUri", "sourceUri": "https://example.com/disk.qcow2"}


@pytest.mark.parametrize(
    ("body", "source", "answer", "says"),
    [
        ({}, None, (400, "InvalidParameter"), "either instanceId or imageSourceDetails"),
        ({"instanceId": "ocid1.instance"}, {}, (400, "InvalidParameter"), "either instanceId or imageSourceDetails"),
        ({"launchMode": "CUSTOM"}, {}, (400, "InvalidParameter"), "needs launchOptions"),
        ({"launchMode": "NATIVE", "launchOptions": UEFI}, {}, (400, "InvalidParameter"), "only be given with"),
        ({"launchOptions": {"firmware": "UEFI_32"}}, {}, (400, "InvalidParameter"), "launchOptions.firmware"),
        ({"launchOptions": {"firmwares": "UEFI_64"}}, {}, (400, "InvalidParameter"), "launchOptions.firmwares"),
        ({"launchMode": "MAGIC"}, {}, (400, "InvalidParameter"), "launchMode"),
        ({"displayName": "x" * 256}, {}, (400, "InvalidParameter"), "255"),
        ({"compartmentId": "ocid1.compartment.oc1..none"}, {}, (404, "NotAuthorizedOrNotFound"), ""),
        ({}, {"objectName": "gone.qcow2"}, (404, "ObjectNotFound"), "gone.qcow2"),
        ({}, {"sourceImageType": "ISO"}, (400, "InvalidParameter"), "sourceImageType"),
        ({}, {"sourceType": "floppy"}, (400, "InvalidParameter"), "imageSourceDetails"),
        ({}, {"objectName": None}, (400, "MissingParameter"), "imageSourceDetails.objectName"),
        ({"imageSourceDetails": URI}, None, (400, "InvalidParameter"), "not the URI of an object"),
    ],
)
def test_what_an_import_refuses(here, namespace, body, source, *, answer, says):
    given = body if source is None else body | {"imageSourceDetails": here.source(namespace) | source}
    found = create(here, **given)
    assert (found.status_code, found.json()["code"]) == answer
    assert says in found.json()["message"]


def test_an_object_that_vanishes_fails_the_import_late(here, namespace, tmp_path):
    here.upload(Path(__file__), "other.qcow2")
    made = create(here, imageSourceDetails=here.source(namespace, objectName="other.qcow2"))
    here.objects.delete_object(namespace, "images", "other.qcow2")
    here.wait(10 * MINUTE)
    request = made.headers["opc-work-request-id"]
    assert here.work.get_work_request(request).data.status == "FAILED"
    (error,) = here.work.list_work_request_errors(request).data
    assert "other.qcow2" in error.message
    assert here.compute.get_image(made.json()["id"]).data.lifecycle_state == "DELETED"


def test_a_free_account_imports_nothing(tmp_path):
    with running(tmp_path, mode="manual") as sandbox:
        here = computing(sandbox)
        namespace = here.qcow2(tmp_path, "aarch64")
        answer = create(here, imageSourceDetails=here.source(namespace))
        assert (answer.status_code, answer.json()["code"]) == (400, "LimitExceeded")
        assert "custom-image-count" in answer.json()["message"]


# afterwards -----------------------------------------------------------------------------------------------------------


def test_an_image_is_renamed_deleted_and_gone(here, image):
    etag = here.compute.get_image(image).headers["etag"]
    changed = here.compute.update_image(
        image,
        models.UpdateImageDetails(display_name="new", operating_system="Talos", freeform_tags={"a": "b"}),
        if_match=etag,
    ).data
    assert (changed.display_name, changed.operating_system, changed.freeform_tags) == ("new", "Talos", {"a": "b"})
    with refused(412, "NoEtagMatch"):
        here.compute.delete_image(image, if_match=etag)
    details = models.ExportImageViaObjectStorageTupleDetails(bucket_name="b", namespace_name="n", object_name="o")
    with refused(501, "MethodNotImplemented", "export"):
        here.compute.export_image(image, details)
    here.compute.delete_image(image)
    assert here.compute.get_image(image).data.lifecycle_state == "DELETED"
    assert image not in {one.id for one in here.compute.list_images(here.tenancy).data}
    with refused(404, "NotAuthorizedOrNotFound"):
        here.compute.delete_image(image)
    here.wait(15 * MINUTE)
    with refused(404, "NotAuthorizedOrNotFound"):
        here.compute.get_image(image)


def test_shape_entries(here, image):
    assert here.compute.list_image_shape_compatibility_entries(image).data == []
    assert here.compute.list_shapes(here.tenancy, image_id=image).data == []
    entry = here.compute.add_image_shape_compatibility_entry(image, A1).data
    assert (entry.image_id, entry.shape) == (image, A1)
    limits = models.AddImageShapeCompatibilityEntryDetails(
        ocpu_constraints=models.ImageOcpuConstraints(min=1, max=1),
        memory_constraints=models.ImageMemoryConstraints(min_in_gbs=2, max_in_gbs=8),
    )
    here.compute.add_image_shape_compatibility_entry(image, A1, add_image_shape_compatibility_entry_details=limits)
    assert here.compute.get_image_shape_compatibility_entry(image, A1).data.memory_constraints.max_in_gbs == 8
    assert [one.shape for one in here.compute.list_image_shape_compatibility_entries(image).data] == [A1]
    assert [one.shape for one in here.compute.list_shapes(here.tenancy, image_id=image).data] == [A1]
    assert image in {one.id for one in here.compute.list_images(here.tenancy, shape=A1).data}
    for ocpus, memory, says in ((2, 8, "ocpuConstraints"), (1, 12, "memoryConstraints")):
        size = models.LaunchInstanceShapeConfigDetails(ocpus=ocpus, memory_in_gbs=memory)
        with refused(400, "InvalidParameter", says):
            here.compute.launch_instance(here.details(source_details=here.from_image(image), shape_config=size))
    with refused(404, "NotAuthorizedOrNotFound"):
        here.compute.add_image_shape_compatibility_entry(image, "VM.Standard.Z9")
    wrong = models.AddImageShapeCompatibilityEntryDetails(ocpu_constraints=models.ImageOcpuConstraints(min=4, max=2))
    with refused(400, "InvalidParameter"):
        here.compute.add_image_shape_compatibility_entry(image, A1, add_image_shape_compatibility_entry_details=wrong)
    here.compute.remove_image_shape_compatibility_entry(image, A1)
    with refused(404, "NotAuthorizedOrNotFound"):
        here.compute.get_image_shape_compatibility_entry(image, A1)


def firmware_schema(
    here: Computing, image: str, values: list[str], default: str
) -> models.CreateComputeImageCapabilitySchemaDetails:
    (schema,) = here.compute.list_compute_global_image_capability_schemas().data
    descriptor = models.EnumStringImageCapabilitySchemaDescriptor(source="IMAGE", values=values, default_value=default)
    return models.CreateComputeImageCapabilitySchemaDetails(
        compartment_id=here.tenancy,
        image_id=image,
        compute_global_image_capability_schema_version_name=schema.current_version_name,
        schema_data={"Compute.Firmware": descriptor},
    )


def test_the_global_schema(here):
    (schema,) = here.compute.list_compute_global_image_capability_schemas(compartment_id=here.tenancy).data
    assert here.compute.get_compute_global_image_capability_schema(schema.id).data.id == schema.id
    (version,) = here.compute.list_compute_global_image_capability_schema_versions(schema.id).data
    assert version.name == schema.current_version_name
    data = here.compute.get_compute_global_image_capability_schema_version(schema.id, version.name).data.schema_data
    assert data["Compute.Firmware"].values == ["BIOS", "UEFI_64"]
    with refused(404, "NotAuthorizedOrNotFound"):
        here.compute.get_compute_global_image_capability_schema_version(schema.id, "none")


def test_a_capability_schema_gives_uefi_to_an_image(here, image):
    here.compute.add_image_shape_compatibility_entry(image, A1)
    made = here.compute.create_compute_image_capability_schema(
        firmware_schema(here, image, ["UEFI_64"], "UEFI_64")
    ).data
    assert made.lifecycle_state == "ACTIVE"
    launched = here.compute.launch_instance(here.details(source_details=here.from_image(image))).data
    assert launched.launch_options.firmware == "UEFI_64"
    with refused(400, "InvalidParameter", "Overriding launchOptions.firmware"):
        here.compute.launch_instance(
            here.details(source_details=here.from_image(image), launch_options=models.LaunchOptions(firmware="BIOS"))
        )
    here.compute.terminate_instance(launched.id)
    with refused(409, "Conflict"):
        here.compute.create_compute_image_capability_schema(firmware_schema(here, image, ["BIOS"], "BIOS"))
    merged = here.compute.get_compute_image_capability_schema(made.id, is_merge_enabled=True).data
    assert len(merged.schema_data) > len(made.schema_data) == 1
    listed = here.compute.list_compute_image_capability_schemas(compartment_id=here.tenancy, image_id=image).data
    assert [one.id for one in listed] == [made.id]
    renamed = models.UpdateComputeImageCapabilitySchemaDetails(display_name="firmware")
    assert here.compute.update_compute_image_capability_schema(made.id, renamed).data.display_name == "firmware"
    here.compute.delete_compute_image_capability_schema(made.id)
    assert here.compute.list_compute_image_capability_schemas(image_id=image).data == []
    here.wait()


@pytest.mark.parametrize(
    ("values", "default", "says"),
    [
        (["UEFI_32"], "UEFI_32", "must be some of"),
        ([], "", "must be some of"),
        (["UEFI_64"], "BIOS", "one of its values"),
    ],
)
def test_a_schema_only_narrows(here, image, values, default, says):
    with refused(400, "InvalidParameter", says):
        here.compute.create_compute_image_capability_schema(firmware_schema(here, image, values, default))
