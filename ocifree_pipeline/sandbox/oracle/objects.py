"""Object Storage, objects: put, get (ranges too), head, delete, list, rename. Bytes pass through in chunks."""

import re
from collections.abc import Mapping
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from ocifree_pipeline.sandbox.clock import parse
from ocifree_pipeline.sandbox.oracle import errors, object_errors, object_files
from ocifree_pipeline.sandbox.oracle.buckets import BUCKET, MODELS, bucket_of, find_bucket, measure, require_room
from ocifree_pipeline.sandbox.oracle.retention_rules import require_changeable
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply, Service
from ocifree_pipeline.sandbox.world import Resource, World

KEPT_HEADERS = ("content-language", "content-encoding", "content-disposition", "cache-control")
TIERS = frozenset({"Standard", "InfrequentAccess"})
LONGEST_NAME = 1024
LONGEST_NUMBER = 18
HEADER_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
HEADER_VALUE = re.compile(r"[^\x00-\x1f\x7f]*")
META = "opc-meta-"
FROM_QUERY = {
    "httpResponseContentDisposition": "content-disposition",
    "httpResponseCacheControl": "cache-control",
    "httpResponseContentType": "content-type",
    "httpResponseContentLanguage": "content-language",
    "httpResponseContentEncoding": "content-encoding",
    "httpResponseExpires": "expires",
}

service = Service("objectstorage")

Stored = dict[str, Any]


def object_file(world: World, space: str, bucket: str, name: str, region: str | None = None) -> tuple[Path, int]:
    """An object as one file on disk, and its size; OracleError 404 when there is no such object."""
    home = find_bucket(world, space, bucket, region or world.home_region)
    stored = find_object(home, name)
    stored["segments"] = object_files.join(world, stored["segments"])
    file, size = stored["segments"][0]
    return object_files.directory(world) / file, size


def find_object(bucket: Resource, name: str) -> Stored:
    stored: Stored | None = bucket.hidden["objects"].get(name)
    if stored is None:
        raise object_errors.object_not_found(name, bucket.body["name"])
    return stored


@service.put(f"{BUCKET}/o/{{objectName*}}", operation="PutObject", body="stream")
async def put_object(call: Call) -> Reply:
    return await put(call, call.path["objectName"])


async def put(call: Call, name: str) -> Reply:
    """Take the body as an object. What forbids it is asked before the body is read, and again after it."""
    bucket = bucket_of(call)
    described = describe(call.headers)
    announced = int(call.headers.get("content-length") or 0)
    _require_putable(call, bucket, name, announced)
    received = await object_files.receive(call.world, call.stream, call.headers)
    try:
        bucket = bucket_of(call)
        _require_putable(call, bucket, name, received.size)
    except errors.OracleError:
        object_files.discard(call.world, [[received.file, received.size]])
        raise
    content = {
        "segments": [[received.file, received.size]],
        "size": received.size,
        "md5": received.md5,
        "checksums": received.checksums,
    }
    stored = store(call.world, bucket, name, described | content)
    headers = {"etag": stored["etag"], "opc-content-md5": received.md5, "last-modified": _modified(stored)}
    return Reply(headers=headers | received.checksums)


def store(world: World, bucket: Resource, name: str, content: Stored) -> Stored:
    """Make ``content`` the object of that name, in place of what was there."""
    now = world.clock.stamp()
    before = bucket.hidden["objects"].get(name)
    if before is not None:
        object_files.discard(world, before["segments"])
    stored = content | {"etag": world.fresh("etag", 36), "timeCreated": now, "timeModified": now}
    bucket.hidden["objects"][name] = stored
    measure(world, bucket)
    return stored


def describe(headers: Mapping[str, str]) -> Stored:
    """What the client's headers say of an object, besides its bytes; 400 for what no header could carry back."""
    for name, value in headers.items():
        require_header(name, value)
    tier = headers.get("storage-tier") or "Standard"  # the Go SDK sends it empty
    if tier not in TIERS:
        raise errors.not_built(f"storage tier {tier} of objects")
    for name in headers:
        if name.startswith("opc-sse-"):
            raise errors.not_built("customer-managed keys of objects")
    return {
        "contentType": headers.get("content-type") or "application/octet-stream",
        "headers": {name: headers[name] for name in KEPT_HEADERS if name in headers},
        "meta": {name.removeprefix(META): value for name, value in headers.items() if name.startswith(META)},
        "storageTier": tier,
    }


def require_header(name: str, value: str) -> None:
    if not HEADER_NAME.fullmatch(name) or not HEADER_VALUE.fullmatch(value) or value != value.strip():
        raise errors.invalid_parameter(f"{name!r} with the value {value!r} cannot be a header")


def require_name(name: str) -> None:
    if not 0 < len(name.encode()) <= LONGEST_NAME:
        raise object_errors.bad_object_name(f"must have 1 to {LONGEST_NAME} bytes in UTF-8")
    if any(sign in name for sign in "\0\r\n"):
        raise object_errors.bad_object_name("must not contain NUL, CR or LF")


def require_conditions(bucket: Resource, name: str, headers: Mapping[str, str]) -> None:
    """412 when the client's conditions on what is there now do not hold."""
    existing = bucket.hidden["objects"].get(name)
    unwanted, wanted = headers.get("if-none-match"), headers.get("if-match")
    if unwanted is not None and unwanted != "*":
        raise errors.invalid_parameter("if-none-match can only be '*'")
    if unwanted and existing:
        raise object_errors.if_none_match_failed(name)
    if wanted is not None and (existing is None or wanted not in {"*", existing["etag"]}):
        raise object_errors.if_match_failed(wanted, existing["etag"] if existing else None)


def _require_putable(call: Call, bucket: Resource, name: str, size: int) -> None:
    require_name(name)
    require_conditions(bucket, name, call.headers)
    require_changeable(call.world, bucket, name)
    existing = bucket.hidden["objects"].get(name)
    require_room(call.world, bucket, size - (existing["size"] if existing else 0))


@service.get(f"{BUCKET}/o/{{objectName*}}", operation="GetObject")
def get_object(call: Call) -> Reply:
    return get(call, call.path["objectName"])


@service.head(f"{BUCKET}/o/{{objectName*}}", operation="HeadObject")
def head_object(call: Call) -> Reply:
    return head(call, call.path["objectName"])


def get(call: Call, name: str) -> Reply:
    stored = find_object(bucket_of(call), name)
    _refuse_known(call, stored)
    headers, size = _headers(stored), stored["size"]
    for parameter, header in FROM_QUERY.items():
        if (value := call.query.get(parameter)) is not None:
            require_header(header, value)
            headers[header] = value
    start, length, status = 0, size, 200
    wanted = _range(call.headers.get("range", ""), size)
    if wanted is not None:
        start, length, status = wanted[0], wanted[1] - wanted[0], 206
        headers["content-range"] = f"bytes {start}-{wanted[1] - 1}/{size}"
        headers.pop("content-md5", None)
    bytes_ = object_files.read(call.world, stored["segments"], start, length)
    return Reply(status=status, headers=headers, stream=bytes_, length=length)


def head(call: Call, name: str) -> Reply:
    stored = find_object(bucket_of(call), name)
    _refuse_known(call, stored)
    return Reply(headers=_headers(stored), length=stored["size"])


@service.delete(f"{BUCKET}/o/{{objectName*}}", operation="DeleteObject")
def delete_object(call: Call) -> Reply:
    bucket = bucket_of(call)
    _delete(call.world, bucket, call.path["objectName"], call.headers.get("if-match"))
    return Reply(headers={"last-modified": format_datetime(call.world.clock.now(), usegmt=True)})


@service.post(
    f"{BUCKET}/actions/batchDeleteObjects",
    operation="BatchDeleteObjects",
    body=f"{MODELS}.BatchDeleteObjectsDetails",
    reply=f"{MODELS}.BatchDeleteObjectsResult",
)
def batch_delete_objects(call: Call) -> Reply:
    bucket = bucket_of(call)
    deleted: list[Stored] = []
    failed: list[Stored] = []
    for one in call.body["objects"]:
        name = one["objectName"]
        try:
            _delete(call.world, bucket, name, one.get("ifMatch"))
            deleted.append({"objectName": name, "timeLastModified": call.world.clock.stamp()})
        except errors.OracleError as error:
            failed.append({"objectName": name, "statusCode": error.status, "errorMessage": error.message})
    shown = [] if call.body.get("isSkipDeletedResult") else deleted
    return Reply({"deleted": shown, "failed": failed})


@service.post(f"{BUCKET}/actions/renameObject", operation="RenameObject", body=f"{MODELS}.RenameObjectDetails")
def rename_object(call: Call) -> Reply:
    bucket = bucket_of(call)
    source, target = call.body["sourceName"], call.body["newName"]
    stored = find_object(bucket, source)
    require_name(target)
    if call.body.get("srcObjIfMatchETag") not in {None, "*", stored["etag"]}:
        raise object_errors.if_match_failed(call.body["srcObjIfMatchETag"], stored["etag"])
    names = {"newObjIfMatchETag": "if-match", "newObjIfNoneMatchETag": "if-none-match"}
    require_conditions(bucket, target, {names[key]: call.body[key] for key in names if key in call.body})
    if source != target:
        require_changeable(call.world, bucket, source)
        require_changeable(call.world, bucket, target)
        replaced = bucket.hidden["objects"].pop(target, None)
        if replaced is not None:
            object_files.discard(call.world, replaced["segments"])
        bucket.hidden["objects"][target] = bucket.hidden["objects"].pop(source)
    stored.update(etag=call.world.fresh("etag", 36), timeModified=call.world.clock.stamp())
    measure(call.world, bucket)
    return Reply(headers={"etag": stored["etag"], "last-modified": _modified(stored)})


def _delete(world: World, bucket: Resource, name: str, wanted: str | None) -> None:
    stored = find_object(bucket, name)
    if wanted not in {None, "*", stored["etag"]}:
        raise object_errors.if_match_failed(str(wanted), stored["etag"])
    require_changeable(world, bucket, name)
    object_files.discard(world, stored["segments"])
    del bucket.hidden["objects"][name]
    measure(world, bucket)


def _refuse_known(call: Call, stored: Stored) -> None:
    """304 when the client has this very object already; 412 when it wants another one."""
    wanted = call.headers.get("if-match")
    if wanted not in {None, "*", stored["etag"]}:
        raise object_errors.if_match_failed(str(wanted), stored["etag"])
    if call.headers.get("if-none-match") in {"*", stored["etag"]}:
        raise errors.not_modified(stored["etag"])


def _headers(stored: Stored) -> dict[str, str]:
    headers = {
        "etag": stored["etag"],
        "content-type": stored["contentType"],
        "last-modified": _modified(stored),
        "storage-tier": stored["storageTier"],
        "accept-ranges": "bytes",
    }
    headers["opc-multipart-md5" if "-" in stored["md5"] else "content-md5"] = stored["md5"]
    headers.update(stored["headers"])
    headers.update(stored["checksums"])
    headers.update({META + name: value for name, value in stored["meta"].items()})
    return headers


def _modified(stored: Stored) -> str:
    return format_datetime(parse(stored["timeModified"]), usegmt=True)


def _range(text: str, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last; None when the whole object is meant, 416 when nothing of it is."""
    unit, _, wanted = text.partition("=")
    first, dash, last = wanted.partition("-")
    digits = first + last
    if unit.strip() != "bytes" or not dash or not digits.isascii() or not digits.isdigit():
        return None
    if max(len(first), len(last)) > LONGEST_NUMBER:
        raise object_errors.bad_range(size)
    if first:
        start, end = int(first), min(int(last) + 1 if last else size, size)
    else:
        start, end = max(0, size - int(last)), size
    if first and last and int(last) < int(first):
        return None
    if start >= end:
        raise object_errors.bad_range(size)
    return start, end
