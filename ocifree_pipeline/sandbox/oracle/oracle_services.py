"""Oracle's own services as a VCN sees them: labels for route and security rules, and what a service gateway opens."""

import base64
import hashlib
from typing import Any

from ocifree_pipeline.sandbox.oracle import errors, pages
from ocifree_pipeline.sandbox.oracle.identity import region_keys
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply, Service
from ocifree_pipeline.sandbox.world import World

MODEL = "oci.core.models.Service"

service = Service("iaas")


def of_region(world: World, region: str) -> list[dict[str, str]]:
    key = region_keys()[region]
    return [
        _described(world, region, f"All {key} Services In Oracle Services Network"),
        _described(world, region, f"OCI {key} Object Storage"),
    ]


def find(world: World, region: str, ocid: str) -> dict[str, str]:
    for one in of_region(world, region):
        if one["id"] == ocid:
            return one
    raise errors.related_not_found()


def check_label(world: World, region: str, label: str, name: str) -> None:
    known = [one["cidrBlock"] for one in of_region(world, region)]
    if label not in known:
        raise errors.invalid_parameter(f"{name} {label!r} is not a service of this region; it must be one of {known}")


def _described(world: World, region: str, name: str) -> dict[str, str]:
    label = name.lower().replace("object storage", "objectstorage").replace(" ", "-")
    digest = hashlib.shake_256(f"{world.seed}/{label}".encode()).digest(40)
    word = base64.b32encode(digest).decode().lower().rstrip("=")[:52]
    return {
        "id": f"ocid1.service.oc1.{region}.aaaaaaaa{word}",
        "name": name,
        "cidrBlock": label,
        "description": name,
    }


@service.get("/services", operation="ListServices", reply=f"list[{MODEL}]")
def list_services(call: Call) -> Reply:
    found: list[dict[str, Any]] = [dict(one) for one in of_region(call.world, call.region)]
    return pages.page(call, found)


@service.get("/services/{serviceId}", operation="GetService", reply=MODEL)
def get_service(call: Call) -> Reply:
    for one in of_region(call.world, call.region):
        if one["id"] == call.path["serviceId"]:
            return Reply(one)
    raise errors.not_found()
