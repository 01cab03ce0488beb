"""The images that Oracle publishes. They are the same for everybody, so they are facts and not state of a world."""

import base64
import hashlib
from dataclasses import dataclass
from functools import cache
from typing import Any

from ocifree_pipeline.sandbox.disks.inspection import Contents
from ocifree_pipeline.sandbox.oracle.shape_catalogue import SHAPES
from ocifree_pipeline.sandbox.world import Resource

SIZE_MB = 47694
BILLABLE_GB = 3
LAUNCH_OPTIONS: dict[str, Any] = {
    "bootVolumeType": "PARAVIRTUALIZED",
    "firmware": "UEFI_64",
    "networkType": "PARAVIRTUALIZED",
    "remoteDataVolumeType": "PARAVIRTUALIZED",
    "isPvEncryptionInTransitEnabled": True,
    "isConsistentVolumeNamingEnabled": True,
}
ARCHITECTURES = {"x86_64": "", "aarch64": "-aarch64"}


@dataclass(frozen=True, slots=True)
class Series:
    """One operating system in one version, and the days of its releases. ``{arch}`` stands where Oracle has it."""

    name: str
    operating_system: str
    version: str
    releases: tuple[str, ...]
    arm_version: str = ""


CATALOGUE = (
    Series("Canonical-Ubuntu-24.04{arch}", "Canonical Ubuntu", "24.04", ("2026.08.28-0", "2026.09.30-0")),
    Series(
        "Canonical-Ubuntu-24.04-Minimal{arch}",
        "Canonical Ubuntu",
        "24.04 Minimal",
        ("2026.09.30-0",),
        arm_version="24.04 Minimal aarch64",
    ),
    Series("Canonical-Ubuntu-22.04{arch}", "Canonical Ubuntu", "22.04", ("2026.09.30-0",)),
    Series("Oracle-Linux-9.6{arch}", "Oracle Linux", "9", ("2026.08.25-0", "2026.09.24-0")),
    Series("Oracle-Linux-8.10{arch}", "Oracle Linux", "8", ("2026.09.24-0",)),
)


@cache
def published(region: str) -> dict[str, Resource]:
    """OCID -> image. Nobody changes them."""
    images = [
        _image(region, series, architecture, release)
        for series in CATALOGUE
        for architecture in ARCHITECTURES
        for release in series.releases
    ]
    return {image.ocid: image for image in images}


def _image(region: str, series: Series, architecture: str, release: str) -> Resource:
    name = f"{series.name.format(arch=ARCHITECTURES[architecture])}-{release}"
    digest = base64.b32encode(hashlib.shake_256(f"{region}/{name}".encode()).digest(33)).decode().lower()
    ocid = f"ocid1.image.oc1.{region}.aaaaaaaa{digest[:52]}"
    version = series.arm_version if architecture == "aarch64" and series.arm_version else series.version
    day = release.partition("-")[0].replace(".", "-")
    created = f"{day}T09:00:00.000Z"
    body = {
        "id": ocid,
        "displayName": name,
        "createImageAllowed": True,
        "lifecycleState": "AVAILABLE",
        "launchMode": "NATIVE",
        "launchOptions": LAUNCH_OPTIONS,
        "agentFeatures": {"isMonitoringSupported": True, "isManagementSupported": True},
        "listingType": "NONE",
        "operatingSystem": series.operating_system,
        "operatingSystemVersion": version,
        "sizeInMBs": SIZE_MB,
        "billableSizeInGBs": BILLABLE_GB,
        "timeCreated": created,
        "freeformTags": {},
        "definedTags": {},
    }
    disk = Contents("QCOW2", SIZE_MB * 1024**2, loaders=(architecture,), boot_code=architecture == "x86_64")
    shapes: dict[str, Any] = {one.name: {} for one in SHAPES.values() if one.architecture == architecture}
    facts = disk.to_json() | {"os": series.operating_system, "osVersion": version}
    etag = hashlib.sha256(ocid.encode()).hexdigest()[:40]
    return Resource(ocid, "image", body, {"disk": facts, "shapes": shapes}, region, etag, created)
