"""Core compute, the import of images: from an object to a disk, with the firmware that the launch mode brings.

The trap of real life is here too: PARAVIRTUALIZED means BIOS, whatever is on the disk.
"""

import json
import math
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from ocifree_pipeline.sandbox.disks.inspection import inspect
from ocifree_pipeline.sandbox.oracle import compute_life, errors, limits, work_requests
from ocifree_pipeline.sandbox.oracle.platform_images import LAUNCH_OPTIONS
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply
from ocifree_pipeline.sandbox.world import World, transition

LARGEST_BYTES = 400 * 1024**3
SECONDS, BYTES_PER_SECOND = 180, 40 * 1024**2
LINGER_SECONDS = 600
URI = re.compile(r"https://[^/]+/(?:p/[^/]+/)?n/(?P<namespace>[^/]+)/b/(?P<bucket>[^/]+)/o/(?P<object>.+)")

PARAVIRTUALIZED: dict[str, Any] = LAUNCH_OPTIONS | {
    "firmware": "BIOS",
    "isPvEncryptionInTransitEnabled": False,
    "isConsistentVolumeNamingEnabled": False,
}
MODES: dict[str, dict[str, Any]] = {
    "NATIVE": LAUNCH_OPTIONS,
    "PARAVIRTUALIZED": PARAVIRTUALIZED,
    "EMULATED": PARAVIRTUALIZED
    | {"bootVolumeType": "IDE", "networkType": "E1000", "remoteDataVolumeType": "PARAVIRTUALIZED"},
    "CUSTOM": PARAVIRTUALIZED,
}


def create(call: Call) -> Reply:
    """Begin the import of an object. It takes minutes; the work request says how it went."""
    source = call.body["imageSourceDetails"]
    namespace, bucket, name = _place(source)
    _, size = _object(call.world, namespace, bucket, name, call.region)
    if size > LARGEST_BYTES:
        raise errors.invalid_parameter(f"The object {name} is larger than {LARGEST_BYTES // 1024**3} GB")
    mode = call.body.get("launchMode", "PARAVIRTUALIZED")
    if mode not in MODES:
        raise errors.invalid_parameter(f"launchMode must be one of {', '.join(MODES)}, not {mode!r}")
    wanted = call.body.get("launchOptions")
    if wanted is not None and mode != "CUSTOM":
        raise errors.invalid_parameter("launchOptions can only be given with the launchMode CUSTOM")
    if wanted is None and mode == "CUSTOM":
        raise errors.invalid_parameter("launchMode CUSTOM needs launchOptions")
    compartment = call.body["compartmentId"]
    limits.require(call.world, compartment=compartment, ad=None, needs={"custom-image-count": 1}, region=call.region)
    body = {
        "displayName": compute_life.default_name(call.world, "image"),
        "createImageAllowed": True,
        "lifecycleState": "IMPORTING",
        "listingType": "NONE",
        "operatingSystem": source.get("operatingSystem", "Custom"),
        "operatingSystemVersion": source.get("operatingSystemVersion", "Custom"),
        "agentFeatures": {"isMonitoringSupported": False, "isManagementSupported": False},
    } | compute_life.known("Image", call.body)
    body |= {"launchMode": mode, "launchOptions": MODES[mode] | (wanted or {})}
    image = call.world.add("image", body, region=call.region, hidden={"shapes": {}})
    request = work_requests.start(
        call.world,
        "CreateImage",
        compartment,
        [work_requests.Touched("CREATED", "image", image.ocid)],
        seconds=SECONDS + size / BYTES_PER_SECOND,
        on_done="image.imported",
        region=call.region,
        ocid=image.ocid,
        namespace=namespace,
        bucket=bucket,
        name=name,
        kind=source.get("sourceImageType", "QCOW2"),
    )
    return Reply.of(image, opc_work_request_id=request.ocid)


@transition("image.imported")
def _imported(world: World, *, request: str, ocid: str, namespace: str, bucket: str, name: str, kind: str) -> None:
    image = world.get("image", ocid)
    if image is None or image.gone:
        work_requests.fail(world, request, "IncorrectState", "The image was deleted while it was imported")
        return
    try:
        path, size = _object(world, namespace, bucket, name, image.region)
    except errors.OracleError:
        world.change(image, lifecycleState="DELETED")
        compute_life.vanish_after(world, image, LINGER_SECONDS)
        work_requests.fail(
            world, request, "ObjectNotFound", f"The object {name} was gone before the import had read it"
        )
        return
    contents = inspect(path, kind)
    options = contents.launch_options
    known = {key: value for key, value in options.items() if key in image.body["launchOptions"]}
    facts = contents.to_json() | {
        "os": image.body["operatingSystem"],
        "osVersion": image.body["operatingSystemVersion"],
    }
    image.hidden["disk"] = json.loads(json.dumps(facts))
    disk_bytes = max(contents.size_bytes, size)
    world.change(
        image,
        lifecycleState="AVAILABLE",
        launchOptions=image.body["launchOptions"] | known,
        sizeInMBs=math.ceil(disk_bytes / 1024**2),
        billableSizeInGBs=math.ceil(size / 1024**3),
    )


def _place(source: dict[str, Any]) -> tuple[str, str, str]:
    """Namespace, bucket and name of the object that a source names."""
    if source["sourceType"] == "objectStorageTuple":
        return source["namespaceName"], source["bucketName"], source["objectName"]
    match = URI.fullmatch(source["sourceUri"])
    if match is None:
        raise errors.invalid_parameter(f"sourceUri {source['sourceUri']!r} is not the URI of an object")
    return match["namespace"], match["bucket"], unquote(match["object"])


def _object(world: World, namespace: str, bucket: str, name: str, region: str) -> tuple[Path, int]:
    from ocifree_pipeline.sandbox.oracle.objects import object_file

    return object_file(world, namespace, bucket, name, region)
