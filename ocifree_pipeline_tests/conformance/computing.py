"""Compute through the real SDK: images from objects, instances in a small network, time to let them live."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import oci
from oci.core import models

from ocifree_pipeline.sandbox.disks.making import write_qcow2
from ocifree_pipeline_tests.conformance.network import Network, create_network
from ocifree_pipeline_tests.sandbox.harness import RunningSandbox

A1 = "VM.Standard.A1.Flex"
MICRO = "VM.Standard.E2.1.Micro"
UEFI = {
    "firmware": "UEFI_64",
    "bootVolumeType": "PARAVIRTUALIZED",
    "networkType": "PARAVIRTUALIZED",
    "remoteDataVolumeType": "PARAVIRTUALIZED",
}
MINUTE = 60


@dataclass
class Computing:
    """A sandbox in manual mode, its clients, and a network that is ready. ``ad`` is the first one, with Micro."""

    sandbox: RunningSandbox
    network: Network
    compute: oci.core.ComputeClient = field(init=False)
    block: oci.core.BlockstorageClient = field(init=False)
    objects: oci.object_storage.ObjectStorageClient = field(init=False)
    work: oci.work_requests.WorkRequestClient = field(init=False)

    def __post_init__(self) -> None:
        self.compute = self.sandbox.client(oci.core.ComputeClient)
        self.block = self.sandbox.client(oci.core.BlockstorageClient)
        self.objects = self.sandbox.client(oci.object_storage.ObjectStorageClient)
        self.work = self.sandbox.client(oci.work_requests.WorkRequestClient)

    @property
    def tenancy(self) -> str:
        return self.sandbox.tenancy

    @property
    def ad(self) -> str:
        return self.network.ad

    def wait(self, seconds: float = 2 * MINUTE) -> None:
        """Let so much virtual time pass, with every step in between."""
        self.sandbox.advance(seconds)

    def platform_image(self, architecture: str = "aarch64", system: str = "Canonical Ubuntu") -> Any:
        shape = A1 if architecture == "aarch64" else MICRO
        found = self.compute.list_images(self.tenancy, operating_system=system, shape=shape).data
        return found[0]

    def details(self, **changes: Any) -> models.LaunchInstanceDetails:
        """A launch that works: A1, one OCPU, Ubuntu, a public address."""
        given: dict[str, Any] = {
            "availability_domain": self.ad,
            "compartment_id": self.tenancy,
            "display_name": "ampere-1",
            "shape": A1,
            "shape_config": models.LaunchInstanceShapeConfigDetails(ocpus=1, memory_in_gbs=6),
            "create_vnic_details": models.CreateVnicDetails(subnet_id=self.network.public.id),
        } | changes
        if "source_details" not in given:
            given["source_details"] = self.from_image(self.platform_image().id)
        return models.LaunchInstanceDetails(**given)

    def from_image(self, image: str, **options: Any) -> models.InstanceSourceViaImageDetails:
        return models.InstanceSourceViaImageDetails(image_id=image, **options)

    def launch(self, **changes: Any) -> Any:
        """Launch, and wait until it runs."""
        made = self.compute.launch_instance(self.details(**changes)).data
        self.wait()
        return self.compute.get_instance(made.id).data

    def micro(self, **changes: Any) -> Any:
        given = {"shape": MICRO, "shape_config": None, "display_name": "bastion"} | changes
        given.setdefault("source_details", self.from_image(self.platform_image("x86_64").id))
        return self.launch(**given)

    def upload(self, path: Path, name: str = "disk.qcow2") -> str:
        """Put a file into the bucket ``images``; returns the namespace."""
        namespace: str = self.objects.get_namespace().data
        existing = self.objects.list_buckets(namespace, self.tenancy).data
        if not existing:
            bucket = oci.object_storage.models.CreateBucketDetails(name="images", compartment_id=self.tenancy)
            self.objects.create_bucket(namespace, bucket)
        with path.open("rb") as file:
            self.objects.put_object(namespace, "images", name, file)
        return namespace

    def qcow2(self, directory: Path, *loaders: str, **options: Any) -> str:
        """Upload a small bootable disk; returns the namespace."""
        return self.upload(write_qcow2(directory / "disk.qcow2", loaders, **options))

    def source(self, namespace: str, **changes: Any) -> dict[str, Any]:
        return {
            "sourceType": "objectStorageTuple",
            "bucketName": "images",
            "namespaceName": namespace,
            "objectName": "disk.qcow2",
            "sourceImageType": "QCOW2",
            "operatingSystem": "Debian",
            "operatingSystemVersion": "13",
        } | changes

    def import_image(self, namespace: str, *, shapes: tuple[str, ...] = (A1,), **body: Any) -> str:
        """CreateImage as a raw signed request, for the SDK's model lacks launchOptions. Ready when this returns."""
        given = {"compartmentId": self.tenancy, "imageSourceDetails": self.source(namespace)} | body
        response = self.sandbox.request("POST", "/20160918/images", json=given)
        assert response.status_code == 200, response.text
        self.wait(10 * MINUTE)
        image: str = response.json()["id"]
        for shape in shapes:
            self.compute.add_image_shape_compatibility_entry(image, shape)
        return image

    def console(self, instance: str) -> str:
        """The serial console, captured and read to its end."""
        details = models.CaptureConsoleHistoryDetails(instance_id=instance)
        history = self.compute.capture_console_history(details).data
        self.wait(10)
        assert self.compute.get_console_history(history.id).data.lifecycle_state == "SUCCEEDED"
        return self.compute.get_console_history_content(history.id, length=1024 * 1024).data.decode()


def computing(sandbox: RunningSandbox) -> Computing:
    return Computing(sandbox, create_network(sandbox))
