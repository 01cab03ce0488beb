"""Object Storage, buckets and the namespace. What is in a bucket is kept in its hidden state, by name:

- ``objects``: name -> ``segments`` (see ``object_files``), ``size``, ``md5``, ``etag``, times, headers, metadata;
- ``uploads``: upload id -> object name, its headers, and ``parts`` by number;
- ``pars`` and ``retention``: pre-authenticated requests and retention rules, by id.
"""

import re
from collections.abc import Iterator
from typing import Any

from ocifree_pipeline.sandbox import money
from ocifree_pipeline.sandbox.oracle import errors, limits, object_errors, pages
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply, Service
from ocifree_pipeline.sandbox.world import Resource, World

KIND = "bucket"
MODELS = "oci.object_storage.models"
NAME = re.compile(r"[A-Za-z0-9._-]{1,256}")
BUCKET = "/n/{namespaceName}/b/{bucketName}"
FIELDS = frozenset({"approximateCount", "approximateSize", "autoTiering"})
SUMMARY = ("namespace", "name", "compartmentId", "createdBy", "timeCreated")
NOT_PLAYED = {
    "publicAccessType": "NoPublicAccess",
    "storageTier": "Standard",
    "versioning": "Disabled",
    "autoTiering": "Disabled",
}
"""Settings with a meaning that the sandbox does not play: only the value that means "off" is taken."""

service = Service("objectstorage")


def namespace(world: World) -> str:
    """The tenancy's name in Object Storage: twelve letters and digits that nobody chose."""
    if "objectNamespace" not in world.facts:
        world.facts["objectNamespace"] = "ax" + world.fresh("object namespace", 10)
    return str(world.facts["objectNamespace"])


def find_bucket(world: World, space: str, name: str, region: str) -> Resource:
    """The bucket of that name in a region, or 404."""
    if space == namespace(world):
        for bucket in world.all(KIND):
            if bucket.body["name"] == name and bucket.region == region:
                return bucket
    raise object_errors.bucket_not_found(name, space)


def bucket_of(call: Call) -> Resource:
    return find_bucket(call.world, call.path["namespaceName"], call.path["bucketName"], call.region)


def segments_of(bucket: Resource) -> Iterator[list[Any]]:
    """Every file in a bucket, those of unfinished uploads included."""
    for one in bucket.hidden["objects"].values():
        yield from one["segments"]
    for upload in bucket.hidden["uploads"].values():
        yield from (part["segment"] for part in upload["parts"].values())


def require_room(world: World, bucket: Resource, growth: int) -> None:
    """Let ``growth`` more bytes pass, or 400: the tenancy's storage is limited."""
    if growth <= 0:
        return
    try:
        limits.require(
            world,
            compartment=bucket.body["compartmentId"],
            ad=None,
            needs={"storage-bytes": growth},
            region=bucket.region,
        )
    except errors.OracleError as error:
        raise object_errors.storage_exceeded(error.message) from error


def measure(world: World, bucket: Resource) -> None:
    """Tell the ledger how much the bucket holds now."""
    money.adjust(world, bucket, {"bytes": sum(size for _, size in segments_of(bucket))})


@service.get("/n", operation="GetNamespace", reply="str")
def get_namespace(call: Call) -> Reply:
    compartment = call.query.get("compartmentId")
    if compartment is not None:
        call.compartment(compartment)
    return Reply(namespace(call.world))


@service.get("/n/{namespaceName}", operation="GetNamespaceMetadata", reply=f"{MODELS}.NamespaceMetadata")
def get_namespace_metadata(call: Call) -> Reply:
    return _metadata(call)


def _metadata(call: Call) -> Reply:
    _own(call)
    default = call.world.facts.get("objectDefaults", {})
    return Reply(
        {
            "namespace": namespace(call.world),
            "defaultS3CompartmentId": default.get("defaultS3CompartmentId", call.world.tenancy),
            "defaultSwiftCompartmentId": default.get("defaultSwiftCompartmentId", call.world.tenancy),
        }
    )


@service.put(
    "/n/{namespaceName}",
    operation="UpdateNamespaceMetadata",
    body=f"{MODELS}.UpdateNamespaceMetadataDetails",
    reply=f"{MODELS}.NamespaceMetadata",
)
def update_namespace_metadata(call: Call) -> Reply:
    _own(call)
    for compartment in call.body.values():
        call.compartment(compartment)
    call.world.facts.setdefault("objectDefaults", {}).update(call.body)
    return _metadata(call)


@service.post(
    "/n/{namespaceName}/b", operation="CreateBucket", body=f"{MODELS}.CreateBucketDetails", reply=f"{MODELS}.Bucket"
)
def create_bucket(call: Call) -> Reply:
    _own(call)
    call.compartment(call.body["compartmentId"])
    _check(call, call.body)
    _require_free_name(call, call.body["name"])
    limits.require(
        call.world,
        compartment=call.body["compartmentId"],
        ad=None,
        needs={"bucket-count": 1},
        region=call.region,
    )
    filled = NOT_PLAYED | {
        "namespace": namespace(call.world),
        "metadata": {},
        "createdBy": call.principal.user,
        "objectEventsEnabled": False,
        "replicationEnabled": False,
        "isReadOnly": False,
    }
    hidden: dict[str, Any] = {"objects": {}, "uploads": {}, "pars": {}, "retention": {}}
    bucket = call.world.add(KIND, filled | call.body, region=call.region, hidden=hidden)
    return _shown(bucket, location=f"/n/{call.path['namespaceName']}/b/{bucket.body['name']}")


@service.get("/n/{namespaceName}/b", operation="ListBuckets", reply=f"list[{MODELS}.BucketSummary]")
def list_buckets(call: Call) -> Reply:
    _own(call)
    compartment = call.compartment(call.query.need("compartmentId")).ocid
    names = (*SUMMARY, "freeformTags", "definedTags") if call.query.get("fields") == "tags" else SUMMARY
    found = sorted(
        (one for one in call.world.all(KIND) if one.region == call.region and one.body["compartmentId"] == compartment),
        key=lambda one: str(one.body["name"]),
    )
    rows = [{name: one.body[name] for name in names} | {"etag": one.etag} for one in found]
    return pages.page(call, rows, id_key="name", default_limit=1000)


@service.get(BUCKET, operation="GetBucket", reply=f"{MODELS}.Bucket")
def get_bucket(call: Call) -> Reply:
    bucket = bucket_of(call)
    _refuse_known(call, bucket)
    asked = {one for text in call.query.all("fields") for one in text.split(",") if one}
    if asked - FIELDS:
        raise errors.invalid_parameter(f"fields must be of {', '.join(sorted(FIELDS))}")
    reply = _shown(bucket)
    if "autoTiering" not in asked:
        del reply.body["autoTiering"]
    if "approximateCount" in asked:
        reply.body["approximateCount"] = len(bucket.hidden["objects"])
    if "approximateSize" in asked:
        reply.body["approximateSize"] = sum(one["size"] for one in bucket.hidden["objects"].values())
    return reply


@service.head(BUCKET, operation="HeadBucket")
def head_bucket(call: Call) -> Reply:
    bucket = bucket_of(call)
    _refuse_known(call, bucket)
    return Reply(headers={"etag": bucket.etag})


@service.post(BUCKET, operation="UpdateBucket", body=f"{MODELS}.UpdateBucketDetails", reply=f"{MODELS}.Bucket")
def update_bucket(call: Call) -> Reply:
    bucket = _edit(call)
    body = dict(call.body)
    if body.pop("namespace", namespace(call.world)) != namespace(call.world):
        raise errors.invalid_parameter("A bucket cannot move to another namespace")
    _check(call, body)
    if "compartmentId" in body:
        call.compartment(body["compartmentId"])
    if body.get("name", bucket.body["name"]) != bucket.body["name"]:
        _require_free_name(call, body["name"])
    metadata = {name: value for name, value in body.pop("metadata", bucket.body["metadata"]).items() if value}
    return _shown(call.world.change(bucket, **body, metadata=metadata))


@service.delete(BUCKET, operation="DeleteBucket")
def delete_bucket(call: Call) -> Reply:
    bucket = _edit(call)
    kinds = {"objects": "objects", "uploads": "multipart uploads", "pars": "pre-authenticated requests"}
    for key, what in kinds.items():
        if bucket.hidden[key]:
            raise object_errors.bucket_not_empty(bucket.body["name"], what)
    money.end(call.world, bucket)
    call.world.remove(bucket)
    return Reply()


def _own(call: Call) -> None:
    if call.path["namespaceName"] != namespace(call.world):
        raise object_errors.namespace_not_found()


def _edit(call: Call) -> Resource:
    bucket = bucket_of(call)
    wanted = call.headers.get("if-match")
    if wanted not in {None, "*", bucket.etag}:
        raise object_errors.if_match_failed(str(wanted), bucket.etag)
    return bucket


def _check(call: Call, body: dict[str, Any]) -> None:
    for name, off in NOT_PLAYED.items():
        if body.get(name, off) not in {off, "Suspended"}:
            raise errors.not_built(f"{name} {body[name]} of buckets")
    if body.get("kmsKeyId"):
        raise errors.not_built("customer-managed keys of buckets")
    if "name" in body and not NAME.fullmatch(body["name"]):
        raise object_errors.bad_bucket_name(body["name"])


def _require_free_name(call: Call, name: str) -> None:
    if any(one.body["name"] == name and one.region == call.region for one in call.world.all(KIND)):
        raise object_errors.bucket_exists(name, namespace(call.world))


def _shown(bucket: Resource, **headers: str) -> Reply:
    return Reply(bucket.body | {"etag": bucket.etag}, headers={"etag": bucket.etag} | headers)


def _refuse_known(call: Call, bucket: Resource) -> None:
    wanted = call.headers.get("if-match")
    if wanted not in {None, "*", bucket.etag}:
        raise object_errors.if_match_failed(str(wanted), bucket.etag)
    if call.headers.get("if-none-match") in {"*", bucket.etag}:
        raise errors.not_modified(bucket.etag)
