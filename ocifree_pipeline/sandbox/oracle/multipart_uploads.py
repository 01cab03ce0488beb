"""Object Storage, multipart uploads: parts in any order and any number of times, then one commit, or an abort.

Parts count against the tenancy's storage from the moment they arrive, and stay until they are committed or aborted.
"""

import base64
import hashlib
import re
from typing import Any
from urllib.parse import quote

from ocifree_pipeline.sandbox.oracle import errors, object_errors, object_files, objects, pages
from ocifree_pipeline.sandbox.oracle.buckets import BUCKET, MODELS, bucket_of, measure, require_room
from ocifree_pipeline.sandbox.oracle.retention_rules import require_changeable
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply, Service
from ocifree_pipeline.sandbox.world import Resource

MOST_PARTS = 10_000
HEADER_OF = {
    "contentType": "content-type",
    "contentLanguage": "content-language",
    "contentEncoding": "content-encoding",
    "contentDisposition": "content-disposition",
    "cacheControl": "cache-control",
    "storageTier": "storage-tier",
}
UPLOAD = f"{BUCKET}/u/{{objectName*}}"

service = Service("objectstorage")


@service.post(
    f"{BUCKET}/u",
    operation="CreateMultipartUpload",
    body=f"{MODELS}.CreateMultipartUploadDetails",
    reply=f"{MODELS}.MultipartUpload",
)
def create_multipart_upload(call: Call) -> Reply:
    bucket = bucket_of(call)
    name = call.body["object"]
    objects.require_name(name)
    objects.require_conditions(bucket, name, call.headers)
    headers = {header: call.body[key] for key, header in HEADER_OF.items() if key in call.body}
    for key, value in call.body.get("metadata", {}).items():
        headers[objects.META + key.lower().removeprefix(objects.META)] = value
    upload = {
        "object": name,
        "timeCreated": call.world.clock.stamp(),
        "described": objects.describe(headers),
        "parts": {},
    }
    identity = call.world.fresh("upload", 36)
    bucket.hidden["uploads"][identity] = upload
    return Reply(_shown(bucket, identity, upload), headers={"location": f"{call.path['bucketName']}/u/{quote(name)}"})


@service.put(UPLOAD, operation="UploadPart", body="stream")
async def upload_part(call: Call) -> Reply:
    number = call.query.need("uploadPartNum")
    if not re.fullmatch(r"[0-9]{1,9}", number) or not 1 <= int(number) <= MOST_PARTS:
        raise errors.invalid_parameter(f"uploadPartNum must be an integer from 1 to {MOST_PARTS}, not {number!r}")
    number = str(int(number))
    _require_part(call, number, int(call.headers.get("content-length") or 0))
    received = await object_files.receive(call.world, call.stream, call.headers)
    segment = [received.file, received.size]
    try:
        bucket, upload = _require_part(call, number, received.size)
    except errors.OracleError:
        object_files.discard(call.world, [segment])
        raise
    before = upload["parts"].get(number)
    if before is not None:
        object_files.discard(call.world, [before["segment"]])
    etag = call.world.fresh("etag", 36)
    upload["parts"][number] = {"segment": segment, "md5": received.md5, "etag": etag}
    measure(call.world, bucket)
    headers = {"etag": etag, "opc-content-md5": received.md5}
    return Reply(headers=headers | received.checksums)


@service.get(UPLOAD, operation="ListMultipartUploadParts", reply=f"list[{MODELS}.MultipartUploadPartSummary]")
def list_multipart_upload_parts(call: Call) -> Reply:
    _, upload = _find(call)
    rows = [
        {"partNumber": int(number), "etag": part["etag"], "md5": part["md5"], "size": part["segment"][1]}
        for number, part in _ordered(upload)
    ]
    return pages.page(call, rows, id_key="partNumber", default_limit=1000)


@service.get(f"{BUCKET}/u", operation="ListMultipartUploads", reply=f"list[{MODELS}.MultipartUpload]")
def list_multipart_uploads(call: Call) -> Reply:
    bucket = bucket_of(call)
    rows = [_shown(bucket, identity, upload) for identity, upload in bucket.hidden["uploads"].items()]
    return pages.page(call, sorted(rows, key=lambda row: str(row["object"])), id_key="uploadId", default_limit=1000)


@service.post(UPLOAD, operation="CommitMultipartUpload", body=f"{MODELS}.CommitMultipartUploadDetails")
def commit_multipart_upload(call: Call) -> Reply:
    bucket, upload = _find(call)
    name = upload["object"]
    chosen = _chosen(upload, call.body)
    objects.require_conditions(bucket, name, call.headers)
    require_changeable(call.world, bucket, name)
    excluded = [part["segment"] for number, part in upload["parts"].items() if number not in chosen]
    object_files.discard(call.world, excluded)
    parts = [part for number, part in _ordered(upload) if number in chosen]
    content = {
        "segments": [part["segment"] for part in parts],
        "size": sum(part["segment"][1] for part in parts),
        "md5": _multipart_md5(parts),
        "checksums": {},
    }
    del bucket.hidden["uploads"][call.query.need("uploadId")]
    stored = objects.store(call.world, bucket, name, upload["described"] | content)
    return Reply(headers={"etag": stored["etag"], "opc-multipart-md5": stored["md5"]})


@service.delete(UPLOAD, operation="AbortMultipartUpload")
def abort_multipart_upload(call: Call) -> Reply:
    bucket, upload = _find(call)
    object_files.discard(call.world, [part["segment"] for part in upload["parts"].values()])
    del bucket.hidden["uploads"][call.query.need("uploadId")]
    measure(call.world, bucket)
    return Reply()


def _find(call: Call) -> tuple[Resource, dict[str, Any]]:
    bucket, identity = bucket_of(call), call.query.need("uploadId")
    upload: dict[str, Any] | None = bucket.hidden["uploads"].get(identity)
    if upload is None or upload["object"] != call.path["objectName"]:
        raise object_errors.no_such_upload(identity)
    return bucket, upload


def _require_part(call: Call, number: str, size: int) -> tuple[Resource, dict[str, Any]]:
    """The upload, if this part may be added to it now."""
    bucket, upload = _find(call)
    before = upload["parts"].get(number)
    etag = before["etag"] if before else None
    wanted, unwanted = call.headers.get("if-match"), call.headers.get("if-none-match")
    if unwanted == "*" and before:
        raise object_errors.if_none_match_failed(f"part {number} of {upload['object']}")
    if wanted is not None and (etag is None or wanted not in {"*", etag}):
        raise object_errors.if_match_failed(wanted, etag)
    require_room(call.world, bucket, size - (before["segment"][1] if before else 0))
    return bucket, upload


def _chosen(upload: dict[str, Any], body: dict[str, Any]) -> set[str]:
    """The numbers of the parts to commit. Every part must be named once: to be taken, or to be left out."""
    chosen: set[str] = set()
    if not body["partsToCommit"]:
        raise object_errors.bad_part("There are no parts to commit")
    for one in body["partsToCommit"]:
        number = str(one["partNum"])
        part = upload["parts"].get(number)
        if part is None:
            raise object_errors.bad_part(f"Part {number} was not uploaded")
        if part["etag"] != one["etag"]:
            raise object_errors.bad_part(f"The ETag of part {number} is {part['etag']}, not {one['etag']}")
        if number in chosen:
            raise object_errors.bad_part(f"Part {number} is named twice")
        chosen.add(number)
    excluded = {str(number) for number in body.get("partsToExclude", ())}
    if chosen & excluded:
        raise object_errors.bad_part(f"Part {min(chosen & excluded)} cannot be committed and excluded")
    forgotten = upload["parts"].keys() - chosen - excluded
    if forgotten:
        raise object_errors.bad_part(f"Part {min(forgotten)} must be either committed or excluded")
    return chosen


def _ordered(upload: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return sorted(upload["parts"].items(), key=lambda item: int(item[0]))


def _multipart_md5(parts: list[dict[str, Any]]) -> str:
    """The MD5 of all MD5s, and how many there are."""
    joined = b"".join(base64.b64decode(part["md5"]) for part in parts)
    digest = base64.b64encode(hashlib.md5(joined, usedforsecurity=False).digest()).decode()
    return f"{digest}-{len(parts)}"


def _shown(bucket: Resource, identity: str, upload: dict[str, Any]) -> dict[str, Any]:
    return {
        "namespace": bucket.body["namespace"],
        "bucket": bucket.body["name"],
        "object": upload["object"],
        "uploadId": identity,
        "timeCreated": upload["timeCreated"],
        "storageTier": upload["described"]["storageTier"],
    }
