"""A tenancy in which a whole deployment stands, to be taken down."""

from __future__ import annotations

from typing import Any

from oci.core import models as core

from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.deployment.foundation import FoundationSpec
from ocifree_pipeline.systems.oci.foundation.desired import guardrails
from ocifree_pipeline.systems.oci.foundation.engine import Engine
from ocifree_pipeline.systems.oci.foundation.native import NativeFoundation
from ocifree_pipeline.systems.oci.teardown import Teardown
from ocifree_pipeline_tests.systems.oci.tenancy import Tenancy

A1 = "VM.Standard.A1.Flex"
UNSEEN = ("workrequest", "compartment")
"""Deleted compartments and finished jobs stay visible for ever."""


def engine(here: Tenancy) -> Engine:
    return Engine(here.session, "lab", "lab", here.journal(), clock=here.clock)


def tags(role: str) -> dict[str, str]:
    return {"ocifree-deployment": "lab", "ocifree-key": role}


def furnish(here: Tenancy, blueprint: Blueprint, spec: FoundationSpec, *, machines: int = 2) -> dict[str, Any]:
    """A foundation, guardrails, an image, machines, and a disk that was left behind."""
    native = NativeFoundation(spec, engine(here))
    made: dict[str, Any] = {}
    for part in ("network", "reserved_ips", "image_bucket"):
        made |= native.apply(native.plan(part))  # type: ignore[arg-type]
    guards = engine(here)
    wanted = guardrails("lab", here.session.tenancy, ["zero database quotas in tenancy"], blueprint.declaration.budget)
    made |= guards.apply(guards.plan(wanted))
    compartment = made["compartment"].id
    compute = here.session.client("core.ComputeClient")
    identity = here.session.client("identity.IdentityClient")
    ad = identity.list_availability_domains(here.session.tenancy).data[0].name
    image = compute.list_images(here.session.tenancy, operating_system="Canonical Ubuntu", shape=A1).data[0].id
    instances = [
        compute.launch_instance(
            core.LaunchInstanceDetails(
                availability_domain=ad, compartment_id=compartment, display_name=f"lab-ampere-{number}", shape=A1,
                shape_config=core.LaunchInstanceShapeConfigDetails(ocpus=1, memory_in_gbs=6),
                create_vnic_details=core.CreateVnicDetails(
                    subnet_id=made["subnet/public"].id, nsg_ids=[made["group/inside"].id]
                ),
                source_details=core.InstanceSourceViaImageDetails(image_id=image),
                freeform_tags=tags(f"machines/ampere_{number}"),
            )
        ).data
        for number in range(1, machines + 1)
    ]  # fmt: skip
    here.sandbox.advance(120)
    for instance in instances:
        attached = compute.list_boot_volume_attachments(ad, compartment, instance_id=instance.id).data[0]
        here.session.client("core.BlockstorageClient").update_boot_volume(
            attached.boot_volume_id,
            core.UpdateBootVolumeDetails(freeform_tags=tags(instance.freeform_tags["ocifree-key"])),
        )
    compute.create_image(
        core.CreateImageDetails(
            compartment_id=compartment, display_name="lab-image", instance_id=instances[0].id,
            freeform_tags=tags("oci/custom_image/x"),
        )
    )  # fmt: skip
    here.sandbox.advance(600)
    if machines > 1:
        compute.terminate_instance(instances[-1].id, preserve_boot_volume=True)
    here.sandbox.advance(120)
    storage = here.session.client("object_storage.ObjectStorageClient")
    storage.put_object(made["bucket"].attribute("namespace"), made["bucket"].name, "backups/etcd", b"x")
    return made | {"ad": ad}


def teardown(here: Tenancy, **more: Any) -> Teardown:
    return Teardown(here.session, "lab", "lab", here.journal(), clock=here.clock, **more)


def what_is_there(here: Tenancy) -> list[str]:
    """After everything that lingers has vanished."""
    here.sandbox.advance(86400)
    return [line for line in here.in_words() if line.split()[0] not in UNSEEN]
