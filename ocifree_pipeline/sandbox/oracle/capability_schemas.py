"""Core compute, image capability schemas: what an image can be launched with, and with what by default.

A schema of an image narrows the global one. ``Compute.Firmware`` is the way to give UEFI to an image that was
imported with BIOS.
"""

from typing import Any

from ocifree_pipeline.sandbox.oracle import compute_life, errors, images, pages
from ocifree_pipeline.sandbox.oracle.compute_life import MODELS, service
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply
from ocifree_pipeline.sandbox.world import Resource, World

KIND = "imagecapabilityschema"
MODEL = f"{MODELS}.ComputeImageCapabilitySchema"
GLOBAL_ID = "ocid1.globalimagecapabilityschema.oc1..aaaaaaaaglobal00000000000000000000000000000000000000"
CREATED = "2020-09-01T00:00:00.000Z"
VERSION = "c1c42f5a-2e8b-4f36-9d3c-6a6d3b1a7e02"
LINGER_SECONDS = 600


def _choice(default: str, *values: str) -> dict[str, Any]:
    return {"descriptorType": "enumstring", "source": "GLOBAL", "values": list(values), "defaultValue": default}


def _switch(default: bool) -> dict[str, Any]:
    return {"descriptorType": "boolean", "source": "GLOBAL", "defaultValue": default}


GLOBAL: dict[str, dict[str, Any]] = {
    "Compute.Firmware": _choice("UEFI_64", "BIOS", "UEFI_64"),
    "Compute.LaunchMode": _choice("PARAVIRTUALIZED", "NATIVE", "EMULATED", "PARAVIRTUALIZED", "CUSTOM"),
    "Compute.SecureBoot": _switch(False),
    "Compute.AMD_SecureEncryptedVirtualization": _switch(False),
    "Network.AttachmentType": _choice("PARAVIRTUALIZED", "E1000", "VFIO", "PARAVIRTUALIZED"),
    "Network.IPv6Only": _switch(False),
    "Storage.BootVolumeType": _choice("PARAVIRTUALIZED", "ISCSI", "SCSI", "IDE", "PARAVIRTUALIZED"),
    "Storage.LocalDataVolumeType": _choice("PARAVIRTUALIZED", "ISCSI", "SCSI", "IDE", "PARAVIRTUALIZED", "VFIO"),
    "Storage.RemoteDataVolumeType": _choice("PARAVIRTUALIZED", "ISCSI", "SCSI", "IDE", "PARAVIRTUALIZED"),
    "Storage.ConsistentVolumeNaming": _switch(True),
    "Storage.ParaVirtualization.EncryptionInTransit": _switch(True),
    "Storage.ParaVirtualization.AttachmentVersion": {
        "descriptorType": "enuminteger",
        "source": "GLOBAL",
        "values": [1, 2],
        "defaultValue": 1,
    },
    "Storage.Iscsi.MultipathDeviceSupported": _switch(False),
}
LAUNCH_OPTIONS = {
    "Compute.Firmware": "firmware",
    "Network.AttachmentType": "networkType",
    "Storage.BootVolumeType": "bootVolumeType",
    "Storage.RemoteDataVolumeType": "remoteDataVolumeType",
    "Storage.ConsistentVolumeNaming": "isConsistentVolumeNamingEnabled",
    "Storage.ParaVirtualization.EncryptionInTransit": "isPvEncryptionInTransitEnabled",
}
"""Which launch option a capability decides."""


def launch_options(world: World, image: Resource) -> dict[str, Any]:
    """What an instance of this image is launched with when it asks for nothing."""
    options: dict[str, Any] = dict(image.body["launchOptions"])
    for capability, descriptor in _schema_of(world, image.ocid).items():
        if capability in LAUNCH_OPTIONS and "defaultValue" in descriptor:
            options[LAUNCH_OPTIONS[capability]] = descriptor["defaultValue"]
    return options


def refused_option(world: World, image: Resource, wanted: dict[str, Any]) -> str | None:
    """The first launch option that this image does not allow. Without a schema only its own value is allowed."""
    own, schema = launch_options(world, image), _schema_of(world, image.ocid)
    for name, value in wanted.items():
        capability = next((one for one, option in LAUNCH_OPTIONS.items() if option == name), "")
        descriptor = schema.get(capability)
        allowed = descriptor.get("values", [True, False]) if descriptor else [own.get(name, value)]
        if value not in allowed:
            return name
    return None


def _schema_of(world: World, image: str) -> dict[str, dict[str, Any]]:
    for schema in world.all(KIND):
        if schema.body["imageId"] == image and not schema.gone:
            data: dict[str, dict[str, Any]] = schema.body["schemaData"]
            return data
    return {}


@service.get(
    "/computeGlobalImageCapabilitySchemas",
    operation="ListComputeGlobalImageCapabilitySchemas",
    reply=f"list[{MODELS}.ComputeGlobalImageCapabilitySchemaSummary]",
)
def list_global(call: Call) -> Reply:
    wanted = call.query.get("displayName")
    return pages.page(call, [_global()] if wanted in {None, _global()["displayName"]} else [])


@service.get(
    "/computeGlobalImageCapabilitySchemas/{schemaId}",
    operation="GetComputeGlobalImageCapabilitySchema",
    reply=f"{MODELS}.ComputeGlobalImageCapabilitySchema",
)
def get_global(call: Call) -> Reply:
    _need_global(call)
    return Reply(_global())


@service.get(
    "/computeGlobalImageCapabilitySchemas/{schemaId}/versions",
    operation="ListComputeGlobalImageCapabilitySchemaVersions",
    reply=f"list[{MODELS}.ComputeGlobalImageCapabilitySchemaVersionSummary]",
)
def list_global_versions(call: Call) -> Reply:
    _need_global(call)
    summary = {name: value for name, value in _version().items() if name != "schemaData"}
    return pages.page(call, [summary], id_key="name")


@service.get(
    "/computeGlobalImageCapabilitySchemas/{schemaId}/versions/{versionName}",
    operation="GetComputeGlobalImageCapabilitySchemaVersion",
    reply=f"{MODELS}.ComputeGlobalImageCapabilitySchemaVersion",
)
def get_global_version(call: Call) -> Reply:
    _need_global(call)
    if call.path["versionName"] != VERSION:
        raise errors.not_found()
    return Reply(_version())


@service.post(
    "/computeImageCapabilitySchemas",
    operation="CreateComputeImageCapabilitySchema",
    body=f"{MODELS}.CreateComputeImageCapabilitySchemaDetails",
    reply=MODEL,
)
def create_schema(call: Call) -> Reply:
    call.compartment(call.body["compartmentId"])
    compute_life.check_name(call.body)
    image = call.related(images.KIND, call.body["imageId"])
    compute_life.need_state(image, ("AVAILABLE",), "Image")
    if call.body["computeGlobalImageCapabilitySchemaVersionName"] != VERSION:
        raise errors.invalid_parameter(
            "computeGlobalImageCapabilitySchemaVersionName is not the name of a version of the global schema"
        )
    if any(one.body["imageId"] == image.ocid and not one.gone for one in call.world.all(KIND)):
        raise errors.conflict(f"Image {image.ocid} has an image capability schema already")
    _check(call.body["schemaData"])
    defaults = {
        "displayName": compute_life.default_name(call.world, "imagecapabilityschema"),
        "computeGlobalImageCapabilitySchemaId": GLOBAL_ID,
        "lifecycleState": "ACTIVE",
    }
    return Reply.of(call.world.add(KIND, defaults | call.body, region=call.region))


@service.get(
    "/computeImageCapabilitySchemas",
    operation="ListComputeImageCapabilitySchemas",
    reply=f"list[{MODELS}.ComputeImageCapabilitySchemaSummary]",
)
def list_schemas(call: Call) -> Reply:
    if compartment := call.query.get("compartmentId"):
        call.compartment(compartment)
    alive = [one for one in call.world.all(KIND) if not one.gone]
    found = pages.listing(call, alive, filters=("compartmentId", "imageId", "displayName"), compartment=False)
    hidden = ("computeGlobalImageCapabilitySchemaId", "lifecycleState")
    found.body = [{name: value for name, value in one.items() if name not in hidden} for one in found.body]
    return found


@service.get("/computeImageCapabilitySchemas/{schemaId}", operation="GetComputeImageCapabilitySchema", reply=MODEL)
def get_schema(call: Call) -> Reply:
    schema = call.find(KIND, call.path["schemaId"])
    if not call.query.flag("isMergeEnabled"):
        return Reply.of(schema)
    merged = schema.body | {"schemaData": GLOBAL | schema.body["schemaData"]}
    return Reply(merged, headers={"etag": schema.etag})


@service.put(
    "/computeImageCapabilitySchemas/{schemaId}",
    operation="UpdateComputeImageCapabilitySchema",
    body=f"{MODELS}.UpdateComputeImageCapabilitySchemaDetails",
    reply=MODEL,
)
def update_schema(call: Call) -> Reply:
    schema = _alive(call)
    compute_life.check_name(call.body)
    if "schemaData" in call.body:
        _check(call.body["schemaData"])
    return Reply.of(call.world.change(schema, **call.body))


@service.delete("/computeImageCapabilitySchemas/{schemaId}", operation="DeleteComputeImageCapabilitySchema")
def delete_schema(call: Call) -> Reply:
    schema = _alive(call)
    call.world.change(schema, lifecycleState="DELETED")
    compute_life.vanish_after(call.world, schema, LINGER_SECONDS)
    return Reply()


compute_life.offer_move(KIND, "ComputeImageCapabilitySchema", "/computeImageCapabilitySchemas", "schemaId")


def _alive(call: Call) -> Resource:
    schema = call.edit(KIND, call.path["schemaId"])
    if schema.gone:
        raise errors.not_found()
    return schema


def _need_global(call: Call) -> None:
    if call.path["schemaId"] != GLOBAL_ID:
        raise errors.not_found()


def _global() -> dict[str, Any]:
    return {
        "id": GLOBAL_ID,
        "displayName": "OCI.ComputeGlobalImageCapabilitySchema",
        "currentVersionName": VERSION,
        "timeCreated": CREATED,
        "freeformTags": {},
        "definedTags": {},
    }


def _version() -> dict[str, Any]:
    return {
        "name": VERSION,
        "computeGlobalImageCapabilitySchemaId": GLOBAL_ID,
        "displayName": "Version 2",
        "schemaData": GLOBAL,
        "timeCreated": CREATED,
    }


def _check(data: dict[str, dict[str, Any]]) -> None:
    """A schema may only narrow what the global one allows."""
    for name, descriptor in data.items():
        wide = GLOBAL.get(name)
        if wide is None:
            raise errors.invalid_parameter(f"schemaData: {name!r} is not a capability of the global schema")
        if descriptor["descriptorType"] != wide["descriptorType"]:
            raise errors.invalid_parameter(f"schemaData.{name}: descriptorType must be {wide['descriptorType']}")
        if "values" not in wide:
            continue
        if not descriptor["values"] or not set(descriptor["values"]) <= set(wide["values"]):
            allowed = ", ".join(map(str, wide["values"]))
            raise errors.invalid_parameter(f"schemaData.{name}: values must be some of {allowed}")
        if descriptor.get("defaultValue", descriptor["values"][0]) not in descriptor["values"]:
            raise errors.invalid_parameter(f"schemaData.{name}: defaultValue must be one of its values")
